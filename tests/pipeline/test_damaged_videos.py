"""Video files that were cut off or damaged: noticed whatever the container, or counted where it cannot tell."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from pipeline.datasets.check import check_dataset
from pipeline.datasets.check_result import Checked
from pipeline.datasets.clocks import count_packets
from pipeline.datasets.folder import FolderDataset
from pipeline.datasets.inventory import Inventory, label_problems, take_inventory
from tests.pipeline import layouts

LONG = 100  # frames


def make(root: Path, name: str, codec: str = "mp4v", frames: int = LONG) -> Path:
    """Write a folder with two whole videos, of which the one to test, returned, has the given name."""
    layouts.write_video(root / "train" / "a.mp4", 24)
    return layouts.write_video(root / "test" / name, frames, codec, size=(96, 128))


def cut_off(path: Path, share: float = 0.6) -> Path:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def take(root: Path, *, damaged: bool = False) -> Inventory:
    return take_inventory(FolderDataset(root, damaged=damaged), root / "inventory.json")


def check(root: Path, *, deep: bool = False, damaged: bool = False) -> Checked:
    return check_dataset(FolderDataset(root, damaged=damaged), deep=deep)


def frames_to_test(found: Inventory | Checked) -> int:
    if isinstance(found, Checked):
        return found.splits[1].frames
    return sum(record.num_frames for record in found.records if record.split == "test")


def forget_length(path: Path) -> Path:
    """Make a Matroska file one whose recorder was switched off before it wrote how long the file is."""
    data = bytearray(path.read_bytes())
    at = data.index(b"\x18\x53\x80\x67") + 4
    assert data[at] == 1  # a size of eight bytes
    data[at : at + 8] = b"\x01" + b"\xff" * 7  # all ones: not known
    path.write_bytes(data)
    return path


def write_at(path: Path, places: Iterable[int], codec: str = "mpeg4") -> Path:
    """Write frames at some of the places of a constant rate; in AVI, the others get empty chunks."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number, place in enumerate(places):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 2 * number, np.uint8), format="bgr24")
            frame.pts = place
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return path


# ---- cut off


@pytest.mark.parametrize(
    ("name", "codec"),
    [("b.mkv", "mp4v"), ("b.mkv", "MJPG"), ("b.webm", "VP80"), ("b.wmv", "WMV2"), ("b.asf", "mp4v"), ("b.flv", "FLV1")],
)
def test_a_file_that_was_cut_off_is_told_by_the_length_in_its_header(tmp_path: Path, name: str, codec: str) -> None:
    path = make(tmp_path, name, codec)
    size = path.stat().st_size
    assert not take(tmp_path).problems
    assert not check(tmp_path).problems
    cut_off(path)
    (problem,) = take(tmp_path).problems
    assert f"{name}: expected {size} bytes as its header says, found {int(size * 0.6)}; it was cut off" in problem.message
    assert any("it was cut off" in found for found in check(tmp_path).problems)
    used = take(tmp_path, damaged=True)
    assert not used.problems
    assert 50 < frames_to_test(used) < 75
    assert frames_to_test(check(tmp_path, damaged=True)) == frames_to_test(used)


def test_matroska_that_never_got_a_length_has_the_frames_that_are_there(tmp_path: Path) -> None:
    cut_off(forget_length(make(tmp_path, "b.mkv")))
    found = take(tmp_path)
    assert not found.problems
    assert 50 < frames_to_test(found) < 70
    assert frames_to_test(check(tmp_path)) == frames_to_test(found)


@pytest.mark.parametrize(
    ("name", "codec", "mark", "offset", "old", "new"),
    [
        ("b.asf", "WMV2", bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"), 88, b"\2", b"\3"),
        ("b.flv", "FLV1", b"filesize\0", 9, b"\x40", bytes(1)),  # a float that is next to nothing
    ],
)
def test_what_was_broadcast_notes_no_length_to_go_by(
    tmp_path: Path, name: str, codec: str, mark: bytes, offset: int, old: bytes, new: bytes
) -> None:
    path = make(tmp_path, name, codec)
    data = bytearray(path.read_bytes())
    at = data.index(mark) + offset
    assert data[at : at + 1] == old
    data[at : at + 1] = new
    path.write_bytes(data)
    cut_off(path)
    assert not take(tmp_path).problems
    assert frames_to_test(check(tmp_path)) == frames_to_test(take(tmp_path)) < 75


@pytest.mark.parametrize("content", [b"", b"\x00", b"\x84abcd\x18\x53\x80\x67"])
def test_what_only_begins_like_matroska_is_no_video(tmp_path: Path, content: bytes) -> None:
    make(tmp_path, "b.mkv").write_bytes(b"\x1a\x45\xdf\xa3" + content)
    (problem,) = take(tmp_path).problems
    assert "expected a video that OpenCV can open" in problem.message


@pytest.mark.parametrize("name", ["b.ts", "b.mkv"])
def test_labels_are_compared_with_frames_that_are_there_where_no_header_counts_them(tmp_path: Path, name: str) -> None:
    path = make(tmp_path, name)
    cut_off(path if name == "b.ts" else forget_length(path))
    (tmp_path / "labels.csv").write_text("video,start,end\nb,20,90\n")
    inventory = take(tmp_path)
    assert len(label_problems(FolderDataset(tmp_path), inventory.records)) == 1
    (problem,) = check(tmp_path).problems
    assert f"within the {frames_to_test(inventory)} frames" in problem


@pytest.mark.parametrize(
    ("name", "codec"), [("b.mp4", "mp4v"), ("b.mkv", "mp4v"), ("b.ts", "mp4v"), ("b.mpg", "PIM1"), ("b.avi", "MJPG")]
)
def test_the_check_claims_as_many_frames_as_there_are(tmp_path: Path, name: str, codec: str) -> None:
    make(tmp_path, name, codec)
    assert frames_to_test(check(tmp_path)) == LONG
    assert frames_to_test(take(tmp_path)) == LONG


def test_of_frames_that_come_with_gaps_the_packets_tell_the_number(tmp_path: Path) -> None:
    path = write_at(make(tmp_path, "b.mkv"), [*range(20), *range(120, 140)])  # by its duration it had 140
    assert count_packets(path) == frames_to_test(check(tmp_path)) == frames_to_test(take(tmp_path)) == 40


@pytest.mark.parametrize("codec", ["mpeg4", "mjpeg"])
@pytest.mark.parametrize("places", [[*range(30), *range(80, 110)], [*range(0, 110, 2)], [*range(50), *range(53, 60)]])
@pytest.mark.parametrize("indexed", [True, False])
def test_empty_chunks_of_avi_are_no_frames(tmp_path: Path, codec: str, places: list[int], indexed: bool) -> None:
    path = write_at(make(tmp_path, "b.avi"), places, codec)
    if not indexed:
        path.write_bytes(path.read_bytes().replace(b"idx1", b"JUNK"))
    for deep in (False, True):
        found = check(tmp_path, deep=deep)
        assert not found.problems
        assert frames_to_test(found) == len(places)
        assert not any("claims" in warning for warning in found.warnings)
    assert frames_to_test(take(tmp_path)) == len(places)
    assert not take(tmp_path).remarks


def test_labels_behind_the_end_of_avi_with_empty_chunks_are_refused(tmp_path: Path) -> None:
    write_at(make(tmp_path, "b.avi"), [*range(30), *range(80, 110)])
    (tmp_path / "labels.csv").write_text("video,start,end\nb,20,90\n")
    inventory = take(tmp_path, damaged=True)
    (problem,) = label_problems(FolderDataset(tmp_path, damaged=True), inventory.records)
    assert "expected a stretch within the 60 frames" in str(problem)


def test_of_avi_that_is_damaged_inside_the_index_tells_how_many_frames_there_were(tmp_path: Path) -> None:
    """Packets do not: those of damaged chunks are passed over, as empty ones are."""
    path = write_at(make(tmp_path, "b.avi"), [*range(0, 200, 2)], "mjpeg")
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(data[:middle] + bytes(12_000) + data[middle + 12_000 :])
    (problem,) = check(tmp_path, deep=True).problems
    assert "b.avi: expected 100 frames as its header says, found" in problem


def test_large_avi_goes_on_in_further_parts(tmp_path: Path) -> None:
    path = make(tmp_path, "b.avi", "MJPG")
    first = path.stat().st_size
    part = b"RIFF" + (10_004).to_bytes(4, "little") + b"AVIX" + bytes(10_000)
    path.write_bytes(path.read_bytes() + part + part)
    assert not take(tmp_path).problems
    path.write_bytes(path.read_bytes()[: first + 15_000])
    (problem,) = take(tmp_path).problems
    assert f"expected {first + 20_024} bytes as its header says, found {first + 15_000}; it was cut off" in problem.message


# ---- damaged inside


def damage(path: Path) -> Path:
    """Overwrite a stretch in the middle, behind which nothing is decoded."""
    data = bytearray(path.read_bytes())
    at = len(data) // 3
    data[at : at + 2000] = np.random.default_rng(0).bytes(2000)
    path.write_bytes(data)
    return path


def test_a_file_of_which_many_frames_cannot_be_decoded_is_a_problem_of_a_deep_check(tmp_path: Path) -> None:
    path = damage(make(tmp_path, "b.mp4"))
    (problem,) = check(tmp_path, deep=True).problems
    left = frames_to_test(take(tmp_path))
    assert left < 90
    assert f"{path}: expected {LONG} frames as its header says, found {left} that can be decoded" in problem
    assert 'dataset.damaged = "use"' in problem
    used = check(tmp_path, deep=True, damaged=True)
    assert not used.problems
    assert f"{path}: its header claims {LONG} frames, {left} can be decoded and count" in used.warnings
    assert f"{path}: its header claims {LONG} frames, {left} can be decoded and count" in take(tmp_path).remarks


def test_decoders_write_nothing_of_their_own_on_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    damage(make(tmp_path, "b.mp4"))
    cut_off(tmp_path / "train" / "a.mp4")
    assert len(check(tmp_path, deep=True).problems) == 3
    assert capfd.readouterr() == ("", "")


def test_a_trimmed_file_is_not_damaged(tmp_path: Path) -> None:
    """Phones trim by an edit list, and leave what is not to be shown where it is."""
    path = make(tmp_path, "b.mp4")
    data = bytearray(path.read_bytes())
    for at in (data.index(b"mvhd") + 20, data.index(b"elst") + 12):  # of both, a duration
        data[at : at + 4] = (int.from_bytes(data[at : at + 4], "big") // 2).to_bytes(4, "big")
    path.write_bytes(data)
    assert frames_to_test(take(tmp_path)) == frames_to_test(check(tmp_path)) == LONG // 2
    assert not check(tmp_path, deep=True).problems
    assert not take(tmp_path).remarks


def test_a_trimmed_file_of_which_the_sound_is_longer_is_not_damaged(tmp_path: Path) -> None:
    """Then the whole movie is as long as the sound."""
    path = make(tmp_path, "b.mp4")
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 12  # of the picture only
    data[at : at + 4] = (int.from_bytes(data[at : at + 4], "big") // 2).to_bytes(4, "big")
    path.write_bytes(data)
    assert frames_to_test(take(tmp_path)) == frames_to_test(check(tmp_path)) == LONG // 2
    assert not check(tmp_path, deep=True).problems
    assert not take(tmp_path).remarks
