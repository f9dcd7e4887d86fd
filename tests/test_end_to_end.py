"""The whole pipeline on a small street, as a user types it: every part real, only small."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from street import command, status, stpa

STAGES = ("frames", "flows", "masks", "inpaint", "features-normal", "features", "train", "eval")

pytestmark = pytest.mark.timeout(400)  # the first test that needs the street makes it


def test_every_test_frame_gets_a_score_under_both_protocols(street: Path) -> None:
    results = json.loads((street / "results.json").read_text())
    for protocol, frames in (("paper", 3 * (64 - 15)), ("deployment", 3 * 64)):
        found = results["protocols"][protocol]
        assert found["frames"] == frames
        for indicator in ("spatial", "temporal", "motion", "semantic", "objects", "fused"):
            assert 0 <= found[indicator]["micro_auc"] <= 1
    assert {"micro_auc"} <= set(next(iter(results["baselines"].values())))


def test_a_picture_and_a_table_are_left(street: Path) -> None:
    folders = list(street.glob("cache/street/eval-*/data-*"))
    assert len(folders) == 1
    assert (folders[0] / "picture.png").stat().st_size > 10_000
    assert "fused" in (folders[0] / "table.txt").read_text()


def test_a_report_of_it_is_one_file_with_every_frame(street: Path) -> None:
    told = stpa(street, "report", "-o", "seen/r.html").stdout
    assert "every frame of 3 test videos" in told
    page = (street / "seen" / "r.html").read_text(encoding="utf-8")
    for video in range(3):
        pictures = page.partition(f'id="frame-{video}">')[2].partition("</script>")[0]
        assert len(pictures.split("\n")) == 64
    for part in ("deployment", "flow p99 smoothed", "spatial pseudo-anomaly", "temporal pseudo-anomaly", "train-"):
        assert part in page


def test_a_second_eval_does_no_work_and_says_so(street: Path) -> None:
    again = stpa(street, "eval", "--json")
    assert "eval: nothing to do" in again.stderr
    assert again.stdout == (street / "results.json").read_text()


def test_what_each_part_is_worth_is_told_from_stored_scores(street: Path) -> None:
    told = stpa(street, "eval", "--ablate", "--json")
    assert "eval: nothing to do" in told.stderr
    results, found = json.loads((street / "results.json").read_text()), json.loads(told.stdout)
    assert found["artifact"] == results["artifact"]
    for protocol, part in found["protocols"].items():
        rows = {row["name"]: row for row in part["rows"]}
        assert rows["fused"]["micro_auc"] == results["protocols"][protocol]["fused"]["micro_auc"]
        assert {f"without {name}" for name in results["protocols"][protocol]["fusion_weights"]} <= set(rows)
    assert "weights by labels, region *" in stpa(street, "eval", "--ablate").stdout


def test_regions_are_left_as_files_that_can_be_compared_with_tracks(street: Path) -> None:
    deployment = json.loads((street / "results.json").read_text())["protocols"]["deployment"]
    assert deployment["threshold"] > 0
    assert deployment["regions"]["detections"] > 0
    (files,) = street.glob("cache/street/eval-*/data-*/regions")
    words = ("regions", "street/labels/tracks", str(files), "--num-frames", str(3 * 64), "--json")
    done = subprocess.run(command(*words), cwd=street, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout)["detections"] == deployment["regions"]["detections"]


def test_status_knows_that_all_is_fresh_and_what_a_changed_setting_would_cost(street: Path) -> None:
    assert {name: row["state"] for name, row in status(street).items()} == dict.fromkeys(STAGES, "fresh")
    changed = status(street, "--set", "inpaint.steps=3")
    stale = {"inpaint", "features", "train", "eval"}
    assert {name for name, row in changed.items() if row["state"] != "fresh"} == stale
    assert "steps 2 -> 3" in changed["inpaint"]["why"]
    assert "upstream inpaint changed" in changed["features"]["why"]


def test_a_costly_stage_is_not_made_for_another_one_unasked(street: Path) -> None:
    refused = stpa(street, "train", "--set", "inpaint.steps=3", code=4)
    assert "stpa inpaint" in refused.stderr
    assert not list(street.glob("cache/street/train-*/.partial-*"))


def test_a_dry_run_makes_nothing(street: Path) -> None:
    before = sorted(path.name for path in (street / "cache" / "street").iterdir())
    told = stpa(street, "inpaint", "--set", "inpaint.steps=3", "--dry-run")
    assert "inpaint: would make 6 of 6 shards" in told.stdout
    assert sorted(path.name for path in (street / "cache" / "street").iterdir()) == before


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_stage_goes_on_where_it_was(street: Path, how: signal.Signals) -> None:
    overrides = ("--set", f"inpaint.seed={int(how)}", "--set", "inpaint.steps=8")
    artifact = street / "cache" / "street" / f"inpaint-{status(street, *overrides)['inpaint']['key']}"
    running = subprocess.Popen(
        command("inpaint", "--config", "s.toml", *overrides), cwd=street, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 100
    while not any(artifact.glob("receipts/*.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(running.pid, how)
    _, errors = running.communicate(timeout=60)
    assert running.returncode != 0
    assert "Traceback" not in errors
    row = status(street, *overrides)["inpaint"]
    assert (row["state"], row["shards"]) == ("partial", 6)
    kept = {path.name: path.stat().st_mtime_ns for path in artifact.glob("receipts/*.json")}
    assert len(kept) == row["shards_done"] >= 1
    done = stpa(street, "inpaint", *overrides)
    assert f"made {6 - len(kept)} shards" in done.stderr
    assert all((artifact / "receipts" / name).stat().st_mtime_ns == written for name, written in kept.items())


def test_an_added_video_costs_only_its_own_shards(street: Path) -> None:
    source = street / "street" / "train"
    first = sorted(source.glob("*.mp4"))[0]
    # one byte behind the last box: another content, the same pictures
    (source / "zz-added.mp4").write_bytes(first.read_bytes() + b"\0")
    try:
        rows = status(street)
        assert (rows["flows"]["state"], rows["flows"]["shards_done"], rows["flows"]["shards"]) == ("partial", 12, 14)
        assert "zz-added" in rows["flows"]["why"]
        assert "made 2 shards" in stpa(street, "flows").stderr
        assert status(street)["train"]["state"] == "stale"
    finally:
        (source / "zz-added.mp4").unlink()
    assert status(street)["eval"]["state"] == "fresh"
