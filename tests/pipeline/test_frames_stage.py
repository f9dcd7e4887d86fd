"""The frames stage: what is stored, whatever is decoded ahead; and what its disk is said to be."""

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import disk
from pipeline.config import Config, FramesSettings
from pipeline.contract import DataError, VideoRecord
from pipeline.datasets.folder import FolderDataset
from pipeline.datasets.inventory import take_inventory
from pipeline.datasets.reader import open_frames
from pipeline.disk_needed import disk_needed
from pipeline.stages.frames import FramesStage
from pipeline.stages.prepare import model_frame, model_frames
from pipeline.stages.source import SourceFrames
from stpa import main
from tests.pipeline import layouts


@pytest.fixture
def records(tmp_path: Path) -> tuple[VideoRecord, ...]:
    layouts.write_video(tmp_path / "data" / "train" / "a.avi", 50, "MJPG")
    layouts.write_frames(tmp_path / "data" / "train" / "b", count=40)
    return take_inventory(FolderDataset(tmp_path / "data"), tmp_path / "inventory.json").records


def whole(record: VideoRecord) -> np.ndarray:
    with open_frames(record.video) as reader:
        return np.asarray(reader.read(0, record.num_frames))


def test_shards_decoded_ahead_are_those_that_were_asked_for_in_any_order(records: tuple[VideoRecord, ...]) -> None:
    source = SourceFrames(ahead=True)
    first, second = records
    spans = [(0, 16), (16, 32), (32, 48), (48, 50), (0, 16), (32, 40), (16, 24)]
    for start, stop in spans:
        np.testing.assert_array_equal(source.read(first, start, stop), whole(first)[start:stop])
    for record, start, stop in ((second, 0, 16), (first, 16, 32), (second, 16, 40)):
        np.testing.assert_array_equal(source.read(record, start, stop), whole(record)[start:stop])


def test_what_fails_ahead_fails_when_it_is_asked_for_and_never_before(records: tuple[VideoRecord, ...]) -> None:
    second = replace(records[1], signature="")  # or it would be seen that it is not as it was counted
    second.video.files[20].write_bytes(b"no image")
    source = SourceFrames(ahead=True)
    assert len(source.read(second, 0, 16)) == 16
    with pytest.raises(DataError, match=r"020\.jpg: expected an image"):
        source.read(second, 16, 32)
    assert len(source.read(second, 32, 40)) == 8


@pytest.mark.parametrize("ahead", [True, False])
def test_a_video_that_is_replaced_while_it_is_read_is_refused_and_what_was_read_before_stands(
    ahead: bool, tmp_path: Path, records: tuple[VideoRecord, ...]
) -> None:
    source, (first, second) = SourceFrames(ahead=ahead), records
    for record in records:
        before = source.read(record, 0, 16)
        np.testing.assert_array_equal(source.read(record, 0, 16), before)
    new = layouts.write_video(tmp_path / "new.avi", 50, "MJPG", fps=10)
    new.replace(first.video.files[0])
    other = layouts.write_image(tmp_path / "new.jpg", layouts.picture(1))
    other.replace(second.video.files[30])
    for record in records:
        for start in (16, 0):
            with pytest.raises(DataError, match=r"(a\.avi|/b): expected the content .* replaced or changed since"):
                source.read(record, start, start + 16)


def test_a_video_that_does_not_open_leaves_no_trace_on_the_one_before(records: tuple[VideoRecord, ...]) -> None:
    source, (first, second) = SourceFrames(), records
    before = source.read(second, 0, 16)
    first.video.files[0].unlink()
    with pytest.raises(DataError, match=r"a\.avi"):
        source.read(first, 0, 16)
    np.testing.assert_array_equal(source.read(second, 0, 16), before)


def test_a_file_that_is_touched_linked_or_copied_onto_itself_while_it_is_read_is_no_other(
    tmp_path: Path, records: tuple[VideoRecord, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SourceFrames()
    for name in ("open_capture", "decode_image"):  # hashing the files tells; nothing is decoded for that
        monkeypatch.setattr(f"pipeline.datasets.probe.{name}", None)
    changes: tuple[Callable[[Path], object], ...] = (
        os.utime,
        lambda path: os.link(path, tmp_path / f"{path.name}.link"),
        lambda path: path.write_bytes(path.read_bytes()),
    )
    for record in records:
        for number, change in enumerate(changes):
            change(record.video.files[0])
            assert len(source.read(record, 8 * number, 8 * number + 8)) == 8
    assert sum(path.name.endswith(".link") for path in tmp_path.iterdir()) == 2


@pytest.mark.parametrize("colour", ["rgb", "grey"])
@pytest.mark.parametrize("size", [(32, 48), (96, 96), (32, 96)], ids=["smaller", "larger", "both"])
def test_a_frame_of_its_own_is_made_as_many_together_are(
    colour: str, size: tuple[int, int]
) -> None:
    settings = FramesSettings.model_validate({"height": size[0], "width": size[1], "colour": colour})
    picture_HWC = np.random.default_rng(0).integers(0, 256, (50, 70, 3)).astype(np.uint8)
    together = model_frames(picture_HWC[None, ..., ::-1].copy(), settings)[0]
    np.testing.assert_array_equal(model_frame(picture_HWC, settings=settings), together)
    out = np.zeros_like(together)
    assert np.shares_memory(model_frame(picture_HWC, out, settings=settings), out)
    np.testing.assert_array_equal(out, together)
    grey_HW = picture_HWC[..., 0].copy()
    together = model_frames(np.repeat(grey_HW[None, ..., None], 3, axis=-1), settings)[0]
    np.testing.assert_array_equal(model_frame(grey_HW, settings=settings), together)


def test_the_disk_that_is_told_beforehand_is_that_of_a_dry_run(tmp_path: Path, records: tuple[VideoRecord, ...]) -> None:
    needed = disk_needed([FramesStage], Config(), {"train": sum(record.num_frames for record in records)})
    words = ["frames", "--dry-run", "--set", f"dataset.root={tmp_path / 'data'}", "--set", f"run.cache={tmp_path / 'cache'}"]
    told = CliRunner().invoke(main, words).output
    assert f"({needed['frames']:,} bytes before compression)" in told


def test_the_disk_that_the_docs_tell_is_that_of_the_settings_files(capsys: pytest.CaptureFixture[str]) -> None:
    disk.main()
    printed = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    docs = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")
    for name in ("ped1", "ped2", "avenue", "shanghaitech"):
        frames, flows, masks, inpaint, normal, spatial, together = map(float, printed[name])
        row = re.search(rf"^\| {name} \(.*\) \| (.*) \|$", docs, re.MULTILINE | re.IGNORECASE)
        assert row, name
        told = [float(cell) for cell in row[1].split(" | ")]
        np.testing.assert_allclose(told, [frames, flows, masks, inpaint, normal + spatial, together], atol=0.06)
