"""The runner makes what is missing, once, and says what it could not make."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.artifacts.plan import make_plan
from pipeline.artifacts.workspace import Workspace
from pipeline.config import DatasetSettings, load_config
from pipeline.datasets.inventory import take_inventory
from pipeline.datasets.registry import open_dataset
from pipeline.execution.inputs import StoredInputs
from pipeline.execution.runner import Outcome, forget, run_shards
from pipeline.stages.frames import FramesStage


def make_frame_folders(root: Path, videos: int = 2, frames: int = 40) -> None:
    for video in range(videos):
        folder = root / "train" / f"{video:02d}"
        folder.mkdir(parents=True)
        for i in range(frames):
            image = np.full((48, 64, 3), 5 * i + video, np.uint8)
            assert cv2.imwrite(str(folder / f"{i:03d}.png"), image)


def open_workspace(tmp_path: Path, *overrides: str) -> Workspace:
    config = load_config(
        None,
        [
            f"run.cache='{tmp_path / 'cache'}'",
            "run.shard_frames=16",
            "frames.height=32",
            "frames.width=48",
            f"dataset.root='{tmp_path / 'data'}'",
            *overrides,
        ],
    )
    dataset = open_dataset(DatasetSettings(kind="folder", root=tmp_path / "data"))
    records = take_inventory(dataset, tmp_path / "cache" / "inventory.json").records
    return Workspace(config, [FramesStage], records)


def run(workspace: Workspace) -> Outcome:
    plan = make_plan(workspace, "frames")
    return run_shards(workspace, plan, plan.missing, lambda what, done, total: None)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_shard_is_made_once_and_a_second_run_does_nothing(tmp_path: Path, workers: int) -> None:
    make_frame_folders(tmp_path / "data")
    workspace = open_workspace(tmp_path, f"run.workers={workers}")
    assert run(workspace).made == 6
    assert run(workspace).made == 0
    assert make_plan(workspace, "frames").state == "fresh"
    frames = StoredInputs(workspace).read("frames", "frames", workspace.records[1])
    assert frames.shape == (40, 32, 48, 3)
    np.testing.assert_array_equal(frames[:, 5, 5, 0], 5 * np.arange(40) + 1)


def test_a_bad_shard_fails_alone_and_its_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_frame_folders(tmp_path / "data")
    workspace = open_workspace(tmp_path)
    seen = {record.video.files[0]: record.signature for record in workspace.records}
    monkeypatch.setattr("pipeline.datasets.unchanged.sign", lambda files, folder: seen[files[0]])
    (tmp_path / "data" / "train" / "00" / "020.png").write_bytes(b"as a disk damages it: nothing but reading it tells")
    outcome = run(workspace)
    assert outcome.made == 5
    assert list(outcome.failures) == ["train/00 shard 2"]
    assert "020.png" in outcome.failures["train/00 shard 2"]
    assert make_plan(workspace, "frames").state == "partial"


def test_a_video_that_changed_after_it_was_counted_fails_whole_and_alone(tmp_path: Path) -> None:
    make_frame_folders(tmp_path / "data")
    workspace = open_workspace(tmp_path)
    (tmp_path / "data" / "train" / "00" / "020.png").write_bytes(b"another file since then")
    outcome = run(workspace)
    assert outcome.made == 3
    assert list(outcome.failures) == [f"train/00 shard {shard}" for shard in (1, 2, 3)]
    assert all("replaced or changed" in reason for reason in outcome.failures.values())


def test_force_makes_only_the_named_videos_again(tmp_path: Path) -> None:
    make_frame_folders(tmp_path / "data")
    workspace = open_workspace(tmp_path)
    run(workspace)
    forget(workspace, "frames", workspace.records[:1])
    assert run(workspace).made == 3
