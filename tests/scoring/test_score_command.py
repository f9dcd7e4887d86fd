"""``stpa score`` as a user types it, on files: what it writes, and what it says of bad input."""

import json
import shutil
from pathlib import Path
from typing import Any

import av
import browser
import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from live_street import FPS, NATIVE, read_csv, read_lines, score, street_frames, write_street

from scoring.track_files import read_detections

FRAMES = 70
LOW = ("--set", "eval.false_alarm_rate=0.5")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_street(tmp_path_factory.mktemp("videos") / "gate.avi", FRAMES)


@pytest.fixture(scope="module")
def results(video: Path, bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("results")
    done = score(video, "--model", bundle_folder, "-o", out, "--overlay", "--json", *LOW)
    return out, json.loads(done.stdout)


def test_every_frame_has_a_row_with_each_indicator_and_the_alarm(results: tuple[Path, dict[str, Any]]) -> None:
    out, summary = results
    rows = read_csv(out / "gate.csv")
    assert list(rows[0]) == ["frame", "time", *summary["indicators"], "fused", "alarm"]
    assert [int(row["frame"]) for row in rows] == list(range(FRAMES))
    np.testing.assert_allclose([float(row["time"]) for row in rows], np.arange(FRAMES) / FPS, atol=1e-3)
    told = [row["alarm"] == "1" for row in rows]
    assert told == [float(row["fused"]) >= summary["threshold"] for row in rows]
    assert 0 < sum(told) == summary["videos"][0]["alarm_frames"]


def test_lines_of_json_say_the_same_and_where(results: tuple[Path, dict[str, Any]]) -> None:
    out, summary = results
    lines, rows = read_lines(out / "gate.jsonl"), read_csv(out / "gate.csv")
    assert [line["frame"] for line in lines] == [int(row["frame"]) for row in rows]
    for line, row in zip(lines, rows, strict=True):
        assert {name: float(row[name]) for name in line["scores"]} == line["scores"]
        for region in line["regions"]:
            x1, y1, x2, y2 = region["box"]
            assert 0 <= x1 <= x2 < NATIVE[1]
            assert 0 <= y1 <= y2 < NATIVE[0]
            assert region["alarm"] == (region["score"] >= summary["region_threshold"])
            assert region["source"] in summary["indicators"]
    assert sum(len(line["regions"]) for line in lines) == summary["videos"][0]["regions"] > 0


def test_region_files_are_read_as_detections_by_stpa_regions(results: tuple[Path, dict[str, Any]]) -> None:
    out, summary = results
    detections = read_detections(out / "regions")["gate"]
    lines = read_lines(out / "gate.jsonl")
    assert len(detections.frame_D) == summary["videos"][0]["regions"]
    assert [list(box_4) for box_4 in detections.box_D4] == [region["box"] for line in lines for region in line["regions"]]


def test_the_summary_tells_the_speed_of_every_part_and_what_the_scores_came_from(
    results: tuple[Path, dict[str, Any]], bundle_folder: Path
) -> None:
    out, summary = results
    (video,) = summary["videos"]
    assert {"decode", "resize", "flow", "spatial", "temporal", "windows and maps", "overlay"} <= set(video["parts"])
    for part in video["parts"].values():
        assert part["frames_per_second"] == pytest.approx(FRAMES / part["seconds"], rel=0.1, abs=1)
    assert sum(part["seconds"] for part in video["parts"].values()) <= video["seconds"]
    kept = json.loads((out / "gate.json").read_text())
    assert (kept["protocol"], kept["model_identity"]) == ("deployment", summary["model_identity"])
    assert kept["highest"] == video["highest"]


def test_the_overlay_plays_and_shows_every_frame_with_its_curve(results: tuple[Path, dict[str, Any]]) -> None:
    out, _ = results
    with av.open(str(out / "gate.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert container.duration is not None
        assert container.duration / 1e6 == pytest.approx(FRAMES / FPS, abs=0.05)
        frames = [(float(frame.time), frame.to_ndarray(format="rgb24")) for frame in container.decode(stream)]
    np.testing.assert_allclose([seconds for seconds, _ in frames], np.arange(FRAMES) / FPS, atol=1e-3)
    height, width = frames[0][1].shape[:2]
    picture = round(NATIVE[0] * width / NATIVE[1])
    assert height > picture
    own = [cv2.resize(frame_HWC, (width, picture)).mean(2).ravel() for frame_HWC in street_frames(FRAMES)[::20]]
    shown = [frame_HWC[:picture].mean(2).ravel() for _, frame_HWC in frames[::20]]
    likeness_SO = np.corrcoef(shown, own)[: len(shown), len(shown) :]
    assert list(likeness_SO.argmax(1)) == list(range(len(own)))
    inked = [(frame_HWC[picture + 24 :].min(2) < 90).any(0).sum() for _, frame_HWC in frames]
    assert inked[10] < inked[40] < inked[69]  # the curve grows


@pytest.mark.skipif(bool(browser.missing()), reason=browser.missing())
def test_a_browser_plays_the_overlay_and_jumps_within_it(results: tuple[Path, dict[str, Any]]) -> None:
    page = results[0] / "page.html"
    page.write_text('<!doctype html><video src="gate.mp4" muted preload="auto"></video>')
    with browser.browser() as window:
        window.open(page, ready=False)
        video = "document.querySelector('video')"
        window.wait(f"return {video}.readyState >= 2 || {video}.error !== null")
        assert window.run(f"return {video}.error") is None
        assert window.run(f"return {video}.duration") == pytest.approx(FRAMES / FPS, abs=0.1)
        assert window.run(f"return {video}.videoWidth") > 0
        window.run(f"{video}.currentTime = 2")
        window.wait(f"return !{video}.seeking && {video}.currentTime === 2")
        window.run(f"{video}.play()")
        window.wait(f"return {video}.ended")


def test_parquet_tables_hold_what_the_csv_files_hold(
    video: Path, bundle_folder: Path, results: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    score(video, "--model", bundle_folder, "-o", tmp_path, "--format", "parquet", *LOW)
    table, rows = pq.read_table(tmp_path / "gate.parquet").to_pydict(), read_csv(results[0] / "gate.csv")
    assert list(table) == list(rows[0])
    np.testing.assert_allclose(table["fused"], [float(row["fused"]) for row in rows], rtol=1e-5)
    assert table["alarm"] == [row["alarm"] == "1" for row in rows]
    regions = pq.read_table(tmp_path / "regions" / "gate.parquet").to_pydict()
    boxes = list(zip(*(regions[edge] for edge in ("x1", "y1", "x2", "y2")), strict=True))
    assert boxes == [tuple(region["box"]) for line in read_lines(tmp_path / "gate.jsonl") for region in line["regions"]]
    assert not (tmp_path / "gate.csv").exists()


def test_standard_output_takes_lines_of_json_only(video: Path, bundle_folder: Path, tmp_path: Path) -> None:
    done = score(video, "--model", bundle_folder, "-o", "-")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["frame"] for line in lines] == list(range(FRAMES))
    assert {line["video"] for line in lines} == {"gate"}
    assert "--overlay" in score(video, "--model", bundle_folder, "-o", "-", "--overlay", code=2).stderr


def test_a_folder_of_videos_gives_one_result_each_with_safe_names_and_a_summary(
    bundle_folder: Path, tmp_path: Path
) -> None:
    write_street(tmp_path / "in" / "a.avi", 20)
    write_street(tmp_path / "in" / "a.mp4", 21, codec="mp4v")
    write_street(tmp_path / "in" / "night" / "gate 2.avi", 22)
    (tmp_path / "in" / "bad.avi").write_bytes(b"no video")
    write_street(tmp_path / "in" / "short.avi", 9)
    done = score(tmp_path / "in", "--model", bundle_folder, "-o", tmp_path / "out", "--json", code=5)
    summary = json.loads(done.stdout)
    counts = {path.stem: len(read_csv(path)) for path in (tmp_path / "out").glob("*.csv")}
    assert sorted(counts.values()) == [20, 21, 22]
    assert counts["night%2Fgate 2"] == 22
    assert len(counts) == 3
    assert {video["frames"] for video in summary["videos"]} == {20, 21, 22}
    assert "bad.avi" in done.stderr
    assert "short.avi: expected at least 16 frames in a row (one clip), found 9" in done.stderr
    assert not list((tmp_path / "out").glob("*short*"))


def test_a_folder_of_frames_has_no_times_unless_they_are_told(bundle_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, frame_HWC in enumerate(street_frames(20)):
        assert cv2.imwrite(str(folder / f"{number:03d}.png"), frame_HWC[..., ::-1])
    score(folder, "--model", bundle_folder, "-o", tmp_path / "out")
    rows = read_csv(tmp_path / "out" / "frames.csv")
    assert ([row["time"] for row in rows], len(rows)) == ([""] * 20, 20)
    score(folder, "--model", bundle_folder, "-o", tmp_path / "out", "--overwrite", "--set", "eval.fps=10")
    assert [row["time"] for row in read_csv(tmp_path / "out" / "frames.csv")][:3] == ["0.000", "0.100", "0.200"]


def test_a_video_of_another_size_is_resized_as_for_training(bundle_folder: Path, tmp_path: Path) -> None:
    write_street(tmp_path / "large.avi", 20, size=(120, 90))
    score(tmp_path / "large.avi", "--model", bundle_folder, "-o", tmp_path, "--set", "eval.region_rate=0.99")
    boxes = np.array([region["box"] for line in read_lines(tmp_path / "large.jsonl") for region in line["regions"]])
    assert 48 < boxes[:, 3].max() < 120  # rows of the video, not of the model's 32
    assert boxes[:, 2].max() < 90


def test_a_damaged_video_keeps_what_was_scored_before(bundle_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, frame_HWC in enumerate(street_frames(40)):
        assert cv2.imwrite(str(folder / f"{number:03d}.png"), frame_HWC[..., ::-1])
    (folder / "033.png").write_bytes(b"damaged")
    done = score(folder, "--model", bundle_folder, "-o", tmp_path, code=5)
    assert len(read_csv(tmp_path / "frames.csv")) == 33
    assert "033.png: expected an image" in done.stderr


def test_results_are_not_replaced_unasked(
    video: Path, bundle_folder: Path, results: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    before = (results[0] / "gate.csv").read_bytes()
    refused = score(video, "--model", bundle_folder, "-o", results[0], code=2)
    assert "gate.csv is there already" in refused.stderr
    assert "--overwrite" in refused.stderr
    assert (results[0] / "gate.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("nothing.mp4", None, "found nothing there"),
        ("empty.mp4", b"", "found an empty file"),
        ("text.mp4", b"this is no video", "found 16 bytes that it cannot read"),
        ("folder", "folder", "expected videos or folders of frames, found none"),
    ],
)
def test_bad_sources_are_named_with_what_was_found(
    bundle_folder: Path, tmp_path: Path, name: str, content: bytes | str | None, says: str
) -> None:
    if content == "folder":
        (tmp_path / name).mkdir()
    elif isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    done = score(tmp_path / name, "--model", bundle_folder, "-o", tmp_path / "out", code=3)
    assert name in done.stderr
    assert says in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_bundle_that_is_missing_or_broken_is_named_with_the_remedy(
    video: Path, bundle_folder: Path, tmp_path: Path
) -> None:
    assert "found nothing at" in score(video, "--model", tmp_path / "none", code=2).stderr
    assert "run stpa train" in score(video, "--model", tmp_path, code=3).stderr
    broken = shutil.copytree(bundle_folder, tmp_path / "broken")
    (broken / "inputs.json").unlink()
    assert "inputs.json" in score(video, "--model", broken, code=3).stderr
    (broken / "temporal.safetensors").write_bytes(b"cut")
    assert "temporal.safetensors" in score(video, "--model", broken, code=3).stderr


def test_the_artifact_of_a_train_stage_stands_for_the_only_bundle_in_it(
    video: Path, bundle_folder: Path, results: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    shutil.copytree(bundle_folder, tmp_path / "train-1" / "data-1")
    done = score(video, "--model", tmp_path / "train-1", "-o", tmp_path / "out", "--json")
    found = json.loads(done.stdout)
    assert (found["model"], found["model_identity"]) == ("train-1", results[1]["model_identity"])
    shutil.copytree(bundle_folder, tmp_path / "train-1" / "data-2")
    refused = score(video, "--model", tmp_path / "train-1", "-o", tmp_path / "more", code=2)
    assert "found 2 (data-1, data-2); name one of them" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--set", "frames.height=64"), "comes from the bundle"),
        (("--set", "eval.poling=frame"), "pooling"),
        (("--set", "eval.device=tpu"), "eval.device"),
        (("--format", "xml"), "csv"),
        (("--delay", "0"), "delay"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_read(
    video: Path, bundle_folder: Path, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    done = score(video, "--model", bundle_folder, "-o", tmp_path / "out", *arguments, code=2)
    assert says in done.stderr
    assert not (tmp_path / "out").exists()


def test_without_known_windows_there_is_no_alarm_and_that_is_said(
    video: Path, bundle_folder: Path, tmp_path: Path
) -> None:
    old = shutil.copytree(bundle_folder, tmp_path / "old")
    (old / "windows.safetensors").unlink()
    done = score(video, "--model", old, "-o", tmp_path)
    assert "knows no threshold" in done.stderr
    assert {row["alarm"] for row in read_csv(tmp_path / "gate.csv")} == {""}
    assert (tmp_path / "regions" / "gate.csv").read_text() == ""
