"""Flow that was made elsewhere is read from files, checked against the video, and known by its content."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from flow_run import FRAMES, stored, workspace_of, write_coloured
from numpy.typing import NDArray

from pipeline.artifacts.files import safe_name
from pipeline.config import ConfigError, FlowsSettings, FramesSettings, load_config
from pipeline.contract import DataError, Video, VideoRecord
from pipeline.execution.inputs import StoredInputs
from pipeline.flow_export import export_flows
from pipeline.models.flow import open_flow_estimator
from pipeline.models.flow_files import FORMATS, write_flo
from pipeline.stages.flow_folder import FlowFolder
from pipeline.stages.flows import FlowsStage

HEIGHT, WIDTH = 32, 48
SIZE = FramesSettings(height=HEIGHT, width=WIDTH)


def record(video: str = "a", frames: int = 5, split: str = "train") -> VideoRecord:
    found = Video(id=video, split="train" if split == "train" else "test", files=(Path(video),))
    return VideoRecord(video=found, num_frames=frames, height=2 * HEIGHT, width=2 * WIDTH, fps=25, digest="0")


def some_flow(seed: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(-9, 9, (2, height, width)).astype(np.float16).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the flow of a video of five frames, at the size of the stored ones."""
    (tmp_path / "flow" / "train-a").mkdir(parents=True)
    for i in range(4):
        write_flo(tmp_path / "flow" / "train-a" / f"{i:06d}.flo", some_flow(i))
    return tmp_path / "flow"


@pytest.mark.parametrize("name", list(FORMATS))
def test_exported_flow_comes_back_as_it_was_stored(tmp_path: Path, name: str) -> None:
    write_coloured(tmp_path / "data")
    made = workspace_of(tmp_path, "rgb")
    export_flows(made, made.records, tmp_path / "flow", name, lambda what, done, total: None)
    settings = ["flows.estimator=files", f"flows.folder={tmp_path / 'flow'}"]
    again = workspace_of(tmp_path, "rgb", *settings)
    before, after = (StoredInputs(one).read("flows", "flow", one.records[0]) for one in (made, again))
    assert after.shape == (FRAMES - 1, 2, 64, 96)
    np.testing.assert_allclose(after.astype(np.float32), before.astype(np.float32), atol=0 if name == "flo" else 1 / 100)
    assert made.key("flows") != again.key("flows")


def test_vectors_of_another_size_are_rescaled_with_their_fields(tmp_path: Path) -> None:
    (tmp_path / "train-a").mkdir()
    large_2HW = np.empty((2, 2 * HEIGHT, 2 * WIDTH), np.float32)
    large_2HW[0], large_2HW[1] = 4, -3
    for i in range(4):
        write_flo(tmp_path / "train-a" / f"{i}.flo", large_2HW)
    flow_T2HW = FlowFolder(tmp_path, SIZE).read(record(), 0, 4)
    assert flow_T2HW.shape == (4, 2, HEIGHT, WIDTH)
    assert flow_T2HW.dtype == np.float16
    np.testing.assert_allclose(flow_T2HW[:, 0], 2, atol=1e-3)
    np.testing.assert_allclose(flow_T2HW[:, 1], -1.5, atol=1e-3)


def test_element_i_is_the_file_of_the_ith_number_whatever_their_width_and_start(tmp_path: Path) -> None:
    (tmp_path / "train-a").mkdir()
    for i in range(12):
        write_flo(tmp_path / "train-a" / f"v2_frame{i + 1}.flo", some_flow(i))  # 10 would sort before 2 by letters
    source = FlowFolder(tmp_path, SIZE)
    np.testing.assert_array_equal(source.read(record(frames=13), 8, 12), [some_flow(i) for i in range(8, 12)])
    np.testing.assert_array_equal(source.read(record(frames=13), 1, 2), [some_flow(1)])


def test_each_split_and_video_has_a_folder_of_its_own(folder: Path) -> None:
    odd = record("../b/é", split="test")
    target = folder / safe_name(odd.split, odd.id)
    shutil.copytree(folder / "train-a", target)
    for i in range(4):
        write_flo(target / f"{i:06d}.flo", some_flow(10 + i))
    source = FlowFolder(folder, SIZE)
    for _ in range(2):  # going to and fro
        np.testing.assert_array_equal(source.read(record(), 0, 1), [some_flow(0)])
        np.testing.assert_array_equal(source.read(odd, 0, 1), [some_flow(10)])


@pytest.mark.parametrize(
    ("frames", "message"),
    [(4, r"expected 3 files .* video's 4 frames, found 4 \.flo and 0 \.png"), (6, r"expected 5 files .*, found 4 \.flo")],
)
def test_another_number_of_files_than_pairs_is_refused(folder: Path, frames: int, message: str) -> None:
    with pytest.raises(DataError, match=rf"train-a: {message}"):
        FlowFolder(folder, SIZE).read(record(frames=frames), 0, 1)


def test_what_is_wrong_with_the_files_of_a_video_is_named(folder: Path) -> None:
    files = folder / "train-a"
    with pytest.raises(DataError, match="expected the flow of train video b, found no such folder"):
        FlowFolder(folder, SIZE).read(record("b"), 0, 1)
    (files / "000003.flo").rename(files / "000007.flo")
    with pytest.raises(DataError, match="expected files numbered 0 to 3, found a gap"):
        FlowFolder(folder, SIZE).read(record(), 0, 1)
    (files / "000007.flo").rename(files / "last.flo")
    with pytest.raises(DataError, match=r"last\.flo: expected a number in the name"):
        FlowFolder(folder, SIZE).read(record(), 0, 1)
    (files / "last.flo").rename(files / "000003.png")
    with pytest.raises(DataError, match=r"expected 4 files of one kind, .* found 3 \.flo and 1 \.png"):
        FlowFolder(folder, SIZE).read(record(), 0, 1)


@pytest.mark.parametrize(
    ("flow_2HW", "message"),
    [
        (some_flow(0, WIDTH, HEIGHT), r"in the proportions of the video \(64 x 96\) .*, found 48 x 32"),
        (np.where(np.arange(WIDTH) == 3, np.nan, some_flow(0)), "found 32 that are unknown"),
        (np.where(np.arange(WIDTH) == 3, 1e5, some_flow(0)), "found 32 that are unknown or longer"),
    ],
)
def test_flow_that_cannot_be_that_of_the_frames_is_refused(
    folder: Path, flow_2HW: NDArray[np.float32], message: str
) -> None:
    write_flo(folder / "train-a" / "000002.flo", flow_2HW)
    source = FlowFolder(folder, SIZE)
    source.read(record(), 0, 2)
    with pytest.raises(DataError, match=rf"000002\.flo: .*{message}"):
        source.read(record(), 2, 4)


def stage(folder: Path | None, *overrides: str) -> FlowsStage:
    given = [f"flows.folder={folder}"] if folder else []
    return FlowsStage(load_config(None, ["flows.estimator=files", *given, *overrides]))


def test_the_key_knows_the_content_of_files_and_not_their_place(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "moved")
    (tmp_path / "moved" / "train-a" / "notes.txt").write_text("no flow")
    first = stage(folder).settings()
    assert first == stage(tmp_path / "moved").settings() == stage(folder, "flows.updates=3", "flows.source=video").settings()
    write_flo(folder / "train-a" / "000001.flo", some_flow(9))
    assert stage(folder).settings() != first
    plain = FlowsStage(load_config(None, [f"flows.folder={folder}"])).settings()
    assert plain == {"estimator": "farneback", "source": "frames"}


@pytest.mark.parametrize(("make", "message"), [(False, "expected a folder, found none at"), (True, r"found none in .*gone")])
def test_a_folder_without_flow_is_refused_before_anything_is_read(tmp_path: Path, make: bool, message: str) -> None:
    if make:
        (tmp_path / "gone").mkdir()
    with pytest.raises(ConfigError, match=rf"flows\.folder: {message}" if not make else message):
        stage(tmp_path / "gone").check()
    assert stage(tmp_path / "gone").settings()["files"] == "missing"


def test_a_folder_that_is_not_given_is_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"flows\.estimator = files: expected flows\.folder"):
        stage(None).check()


def test_new_video_has_no_flow_files(folder: Path) -> None:
    with pytest.raises(ConfigError, match="expected an estimator that finds the flow of new frames"):
        open_flow_estimator(FlowsSettings(estimator="files", folder=folder))


def test_shards_of_one_run_see_every_file(folder: Path, tmp_path: Path) -> None:
    write_coloured(tmp_path / "data")  # 18 frames: two shards
    shutil.rmtree(folder / "train-a")
    (folder / "train-a").mkdir()
    for i in range(FRAMES - 1):
        write_flo(folder / "train-a" / f"{i:06d}.flo", some_flow(i, 64, 96))
    _, flow_T2HW = stored(tmp_path, "rgb", "flows.estimator=files", f"flows.folder={folder}")
    np.testing.assert_array_equal(flow_T2HW, [some_flow(i, 64, 96) for i in range(FRAMES - 1)])
