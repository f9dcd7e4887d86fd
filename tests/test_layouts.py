"""Every layout of docs/datasets.md, traps included, from its files to metrics: every stage real, only small."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from stpa import main
from tests.pipeline import layouts

SETTINGS = """
[frames]
height = 32
width = 48

[flows]
estimator = "dis"

[masks]
source = "random"

[inpaint]
model = "opencv-telea"      # what paints is tested elsewhere

[train]
width = 0.05
batch_size = 2
epochs = 0.1
discriminator_epochs = 1
calibration_windows = 16

[eval]
protocols = ["deployment"]
bootstrap = 0
"""
DERIVED = "tracks derived from pixel masks"
N = layouts.FRAMES

Found = Mapping[str, Any]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Found]:
    """Return what runs all stages over a dataset, as a user types them, and gives back the metrics."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.toml").write_text(SETTINGS)

    def run_all(**dataset: str) -> Found:
        words = [word for name, value in dataset.items() for word in ("--set", f"dataset.{name}={value}")]
        for stage in ("flows", "inpaint", "features", "train"):
            done = CliRunner().invoke(main, [stage, "--config", "s.toml", *words])
            assert done.exit_code == 0, done.output
        done = CliRunner().invoke(main, ["eval", "--config", "s.toml", "--json", *words])
        assert done.exit_code == 0, done.output
        found: Found = json.loads(done.stdout)
        assert found["protocols"]["deployment"]["frames"] == found["frames"]
        return found

    return run_all


def numbers(found: Found) -> tuple[int, int, int]:
    """Return test videos, test frames, and how many of these are anomalous."""
    return found["labelled_videos"], found["frames"], found["anomalous_frames"]


def regions(found: Found) -> tuple[int, int, str]:
    """Return true regions, tracks, and where they come from."""
    told = found["protocols"]["deployment"]["regions"]
    return told["regions"], told["tracks"], told["source"]


def test_ped2_as_published_without_test005(tmp_path: Path, run: Callable[..., Found]) -> None:
    layouts.make_ucsd(tmp_path)  # videos 1, 2 and 6, of which the masks of 6 are called frame001.bmp
    found = run(kind="ucsd", root="UCSDped2")
    assert numbers(found) == (3, 3 * N, 3 * 6)
    assert regions(found) == (3 * 6, 3, DERIVED)


def test_ped1_with_intervals_and_masks_of_some_videos(tmp_path: Path, run: Callable[..., Found]) -> None:
    base = layouts.make_ucsd(tmp_path, name="UCSDped1", masked=(2,))
    layouts.write_intervals(base / "Test" / "UCSDped1.m", ["6:11", "6:11", "1:2", "1:2", "1:2", "3:5, 20:20"])
    found = run(kind="ucsd", part="ped1", root="UCSDped1")
    assert numbers(found) == (3, 3 * N, 6 + 6 + 4)
    assert found["protocols"]["deployment"]["regions"] is None  # of two videos it is not known where


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_avenue_under_each_label_set(tmp_path: Path, run: Callable[..., Found], version: str) -> None:
    layouts.make_avenue(tmp_path / "avenue", version=version)
    if version == "5":
        found = run(kind="avenue", root="avenue")
        assert numbers(found) == (2, 2 * N, 2 * 5)
        assert found["labels"] == ["testing_label_mask (set 3712)"]
    else:
        np.save(tmp_path / "avenue" / "frame_labels_avenue.npy", np.arange(2 * N)[None] < 7)
        found = run(kind="avenue", root="avenue/Avenue Dataset", labels="3867")
        assert numbers(found) == (2, 2 * N, 7)
        assert found["labels"] == ["frame_labels_avenue.npy (set 3867)"]
    assert regions(found) == (2 * 5, 2, DERIVED)


def test_shanghaitech_as_published(tmp_path: Path, run: Callable[..., Found]) -> None:
    layouts.make_shanghaitech(tmp_path)
    found = run(kind="shanghaitech", root="shanghaitech")
    assert numbers(found) == (2, 2 * N, 2 * 5)
    assert regions(found) == (2 * 5, 2, DERIVED)


def test_ubnormal_with_the_tracks_of_its_objects(tmp_path: Path, run: Callable[..., Found]) -> None:
    layouts.make_ubnormal(tmp_path / "UBnormal")
    found = run(kind="ubnormal", root="UBnormal")
    assert numbers(found) == (2, 2 * N, 7)  # object 7 in frames 4 to 8, object 9 in 8 to 10
    assert regions(found) == (5 + 3, 2, "tracks of UBnormal's objects")


def test_the_common_layout_with_concatenated_labels(tmp_path: Path, run: Callable[..., Found]) -> None:
    layouts.make_frames_layout(tmp_path / "avenue", tests=("2", "10"), counts=(N, N + 2), first=1)
    np.save(tmp_path / "frame_labels_avenue.npy", (np.arange(2 * N + 2) % 5 == 0)[None])
    found = run(kind="frames", root="avenue")
    assert numbers(found) == (2, 2 * N + 2, 9)


def test_the_common_layout_with_intervals_and_tracks_of_others(tmp_path: Path, run: Callable[..., Found]) -> None:
    layouts.make_frames_layout(tmp_path / "ped2")
    layouts.write_mat(tmp_path / "ped2" / "ped2.mat", [[[3], [6]], np.zeros((2, 0))], version="7.3")
    (tmp_path / "tracks").mkdir()
    (tmp_path / "tracks" / "01.txt").write_text("".join(f"{frame} 1 10 10 5 5\n" for frame in (3, 4, 5, 6)))  # from 1
    found = run(kind="frames", root="ped2", tracks="tracks")
    assert numbers(found) == (2, 2 * N + 2, 4)
    assert regions(found) == (4, 1, "tracks in tracks/")


def make_cameras(root: Path) -> Path:
    """Write two cameras of different size and rate; of one recording the end is missing, of another a stretch left out."""
    for split in ("train", "test"):
        layouts.write_video(root / split / "gate" / "a.mp4", 80, size=(48, 64))
        layouts.write_video(root / split / "yard" / "b.avi", 120, "MJPG", (36, 64), fps=50)
    damaged = root / "train" / "yard" / "b.avi"
    damaged.write_bytes(damaged.read_bytes()[:-8_000])
    (root / "left_out.csv").write_text("video,start,end\ntest/gate/a,38,44\n")
    (root / "labels.csv").write_text("video,start_seconds,end_seconds\ngate/a,0.8,2.4\n")
    return root


def test_your_own_cameras_with_one_model_for_all_or_one_for_each(tmp_path: Path, run: Callable[..., Found]) -> None:
    make_cameras(tmp_path / "mine")
    shared = {"kind": "folder", "root": "mine", "fps": "12.5", "damaged": "use"}
    found = run(name="all", **shared)
    # gate/a: frames 0 to 37 and 44 to 79 at half the rate, anomalous from frame 20 to 59; yard/b at a quarter of 50
    assert numbers(found) == (3, 19 + 18 + 30, 9 + 8)
    gate = run(name="gate", camera="gate", **shared)
    assert numbers(gate) == (2, 19 + 18, 9 + 8)
    assert gate["labels"] == ["labels.csv"]


def test_a_folder_of_files_and_frames_without_any_labels_is_scored(tmp_path: Path, run: Callable[..., Found]) -> None:
    layouts.make_folder(tmp_path / "mine")
    found = run(kind="folder", root="mine")
    assert found["labelled_videos"] == 0
    assert found["protocols"]["deployment"]["frames"] == 3 * N
