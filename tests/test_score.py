"""``stpa score`` and ``stpa eval`` agree on the videos that both can see, all indicators."""

import csv
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from street import command

from pipeline.files import connect
from tests.pipeline.s3_server import new_bucket, use_s3

pytestmark = pytest.mark.timeout(400)
TOLERANCE = 1e-3
"""Of z-scores and the fused score: other batches round differently, and features are stored in half precision."""


def score(folder: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command("score", *arguments), cwd=folder, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done


def bundle(street: Path) -> Path:
    (folder,) = street.glob("cache/street/train-*/data-*")
    return folder


def test_scores_of_any_video_are_those_of_eval_under_deployment(street: Path) -> None:
    summary = json.loads(score(street, "street/test", "--model", str(bundle(street)), "-o", "any", "--json").stdout)
    (evaluated,) = street.glob("cache/street/eval-*/data-*")
    store: Any = zarr.open_group(evaluated / "scores.zarr", mode="r")
    table = {name: np.asarray(array[:]) for name, array in store["deployment"].arrays()}
    videos = store.attrs["videos"]
    results = json.loads((street / "results.json").read_text())
    assert summary["threshold"] == pytest.approx(results["protocols"]["deployment"]["threshold"])
    names = [*summary["indicators"], "fused"]
    assert {"spatial", "temporal", "motion", "semantic", "objects", "fused"} == set(names)
    for place, video in enumerate(videos):
        with (street / "any" / f"{Path(video).name}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 64
        for name in names:
            expected_N = table[f"score.{name}"][table["video"] == place]
            np.testing.assert_allclose([float(row[name]) for row in rows], expected_N, atol=TOLERANCE)
        boxes = (street / "any" / "regions" / f"{Path(video).name}.csv").read_text().splitlines()
        stored = (evaluated / "regions" / f"{Path(video).name}.csv").read_text().splitlines()
        assert [row.rpartition(",")[0] for row in boxes] == [row.rpartition(",")[0] for row in stored]


def test_a_settings_file_stands_for_the_bundle_of_its_project(street: Path) -> None:
    video = next((street / "street" / "test").glob("*.mp4"))
    by_folder = score(street, str(video), "--model", str(bundle(street)), "-o", "-").stdout
    assert score(street, str(video), "--model", "s.toml", "-o", "-").stdout == by_folder
    assert len(by_folder.splitlines()) == 64


def test_a_bundle_in_an_object_store_scores_as_on_a_disk_and_its_url_alone_is_refused(
    street: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_s3(monkeypatch)
    url, artifact = new_bucket(), bundle(street).parent
    system, bucket = connect(url)
    for path in artifact.rglob("*"):
        if path.is_file():
            system.pipe_file(f"{bucket}/far/street/{path.relative_to(artifact.parent).as_posix()}", path.read_bytes())
    settings = tmp_path / "far.toml"
    settings.write_text((street / "s.toml").read_text() + f'cache = "{url}/far"\n')
    video = str(next((street / "street" / "test").glob("*.mp4")))
    expected = score(street, video, "--model", str(bundle(street)), "-o", "-").stdout
    assert score(street, video, "--model", str(settings), "-o", "-").stdout == expected
    refused = score(street, video, "--model", f"{url}/far/street/{artifact.name}", "-o", "-", code=2).stderr
    assert "found the URL s3:/" in refused
    assert "give the settings file of its project" in refused


def test_a_project_that_was_not_trained_with_these_settings_says_what_to_run(street: Path) -> None:
    video = next((street / "street" / "test").glob("*.mp4"))
    refused = score(street, str(video), "--model", "s.toml", "--set", "train.seed=77", "-o", "none", code=4)
    assert "stpa train" in refused.stderr
    assert not (street / "none").exists()


def test_another_encoder_than_that_of_the_training_is_refused(street: Path, tmp_path: Path) -> None:
    video = next((street / "street" / "test").glob("*.mp4"))
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    arguments = (str(video), "--model", str(bundle(street)), "-o", "none")
    refused = score(street, *arguments, "--set", f"features.model={tmp_path}", code=2)
    assert "found another one" in refused.stderr
    assert "found none" in score(street, *arguments, "--set", f"features.model={tmp_path}/x", code=2).stderr
