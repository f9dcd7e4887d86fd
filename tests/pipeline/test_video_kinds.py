"""Which files are recordings: those of many containers are read, and what is left aside is told."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.contract import DataError
from pipeline.datasets.check import check_dataset
from pipeline.datasets.folder import FolderDataset
from pipeline.datasets.inventory import take_inventory
from pipeline.datasets.reader import open_frames
from tests.pipeline import layouts

FRAMES = 60


def encode(path: Path, codec: str, container: str) -> None:
    """Write pictures 0, 1, ... with what OpenCV cannot write."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for number in range(FRAMES):
            grey_HW = layouts.picture(number, 96, 128)
            frame = av.VideoFrame.from_ndarray(np.stack([grey_HW] * 3, axis=-1), format="bgr24")
            frame.pts = number
            for packet in stream.encode(frame):
                file.mux(packet)
        for packet in stream.encode(None):
            file.mux(packet)


def check_reads(root: Path) -> None:
    """Check that the one video, in test/, holds what was written, and that all commands count the same."""
    (record,) = take_inventory(FolderDataset(root), root / "inventory.json").records
    assert record.num_frames == FRAMES
    with open_frames(record.video) as reader:
        assert [layouts.told(frame) for frame in reader.read(0, FRAMES)] == [frame % 24 for frame in range(FRAMES)]
    assert check_dataset(FolderDataset(root)).splits[1].frames == FRAMES
    assert check_dataset(FolderDataset(root), deep=True).splits[1].frames == FRAMES


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        *(("a.flv", "FLV1"), ("a.3gp", "mp4v"), ("a.3g2", "mp4v"), ("a.asf", "WMV2"), ("a.m2ts", "MPG2"), ("a.vob", "MPG2")),
        *(("a.m2t", "mp4v"), ("a.MTS", "MPG2"), ("a.FLV", "FLV1")),
    ],
)
def test_containers_that_opencv_writes_are_read_to_the_last_frame(tmp_path: Path, name: str, codec: str) -> None:
    layouts.write_video(tmp_path / "test" / name, FRAMES, codec, size=(96, 128))
    check_reads(tmp_path)
    (tmp_path / "labels.csv").write_text("video,start_seconds,end_seconds\na,0.4,0.8\n")
    assert layouts.anomalous(layouts.labels_of(FolderDataset(tmp_path), "a", FRAMES)) == list(range(10, 20))


@pytest.mark.parametrize(
    ("name", "codec", "container"),
    [
        *(("a.flv", "libx264", "flv"), ("a.ts", "libx264", "mpegts"), ("a.m2ts", "libx264", "mpegts")),
        *(("a.mkv", "libx265", "matroska"), ("a.ogv", "libvpx", "ogg")),
    ],
)
def test_containers_of_recorders_are_read_to_the_last_frame(tmp_path: Path, name: str, codec: str, container: str) -> None:
    (tmp_path / "test").mkdir()
    encode(tmp_path / "test" / name, codec, container)
    check_reads(tmp_path)


@pytest.mark.parametrize(("name", "codec"), [("a.264", "libx264"), ("a.h264", "libx264"), ("a.hevc", "libx265")])
def test_video_without_a_container_is_counted_and_labelled_by_frames_but_has_no_seconds(
    tmp_path: Path, name: str, codec: str
) -> None:
    (tmp_path / "test").mkdir()
    encode(tmp_path / "test" / name, codec, "hevc" if codec == "libx265" else "h264")
    check_reads(tmp_path)
    (tmp_path / "labels.csv").write_text("video,start,end\na,10,20\n")
    assert layouts.anomalous(layouts.labels_of(FolderDataset(tmp_path), "a", FRAMES)) == list(range(10, 20))
    (tmp_path / "labels.csv").write_text("video,start_seconds,end_seconds\na,0.4,0.8\n")
    with pytest.raises(DataError, match=r"expected a frame rate, to which 0\.4 s refer, found none in it; give frames"):
        layouts.labels_of(FolderDataset(tmp_path), "a", FRAMES)


# ---- what is left aside


def test_files_of_unknown_suffixes_are_told_and_labels_and_thumbnails_are_not(tmp_path: Path) -> None:
    root = tmp_path / "data"
    layouts.write_video(root / "train" / "gate" / "a.mp4")
    layouts.write_video(root / "test" / "gate" / "b.mp4")
    layouts.write_image(root / "test" / "gate" / "b.jpg", layouts.picture(0))
    for name in ("labels.csv", "b.srt", "b.json", "notes.TXT", ".hidden.dav", "Thumbs.db"):
        (root / "test" / "gate" / name).write_bytes(b"0")
    assert FolderDataset(root).survey.remarks == ()
    for name in ("train/gate/1.dav", "train/gate/2.DAV", "test/3.part", "test/gate/raw"):
        (root / name).write_bytes(b"0")
    (warning,) = (found for found in check_dataset(FolderDataset(root)).warnings if "left aside" in found)
    assert f"{root}/train/gate/1.dav: expected a video or an image" in warning
    assert ".dav (2), .part (1), no suffix (1)" in warning


def test_a_folder_of_unknown_files_only_says_so_and_is_a_problem(tmp_path: Path) -> None:
    layouts.write_video(tmp_path / "train" / "a.mp4")
    (tmp_path / "train" / "gate").mkdir()
    (tmp_path / "train" / "gate" / "b.dav").write_bytes(b"0")
    checked = check_dataset(FolderDataset(tmp_path))
    assert any("found an empty folder" in found for found in checked.problems)
    assert any("b.dav" in found for found in checked.warnings)
