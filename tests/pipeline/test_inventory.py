"""The inventory knows videos by content, reads nothing twice, and one bad video never stops the others."""

import errno
import json
import os
import pickle
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from pipeline.contract import DataError, Video
from pipeline.datasets.folder import FolderDataset
from pipeline.datasets.inventory import Inventory, label_problems, take_inventory
from pipeline.datasets.probe import Content, probe
from pipeline.datasets.reader import open_frames
from pipeline.datasets.ucsd import UcsdDataset
from tests.pipeline import layouts


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three videos: two files and a folder of frames."""
    layouts.write_video(tmp_path / "data" / "train" / "a.mp4")
    layouts.write_video(tmp_path / "data" / "train" / "b.avi", count=24, codec="MJPG")
    layouts.write_frames(tmp_path / "data" / "test" / "c")
    return tmp_path / "data"


def take(root: Path) -> Inventory:
    return take_inventory(FolderDataset(root), root.parent / "inventory.json")


def digests(inventory: Inventory) -> dict[str, str]:
    return {record.id: record.digest for record in inventory.records}


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the videos that were read since the test cleared the list."""
    names: list[str] = []

    def counted(video: Video, known: Mapping[str, Content]) -> Content:
        names.append(video.id)
        return probe(video, known)

    monkeypatch.setattr("pipeline.datasets.inventory.probe", counted)
    return names


def test_frames_sizes_and_rates_are_those_of_the_files(root: Path) -> None:
    found = {record.id: record for record in take(root).records}
    assert {name: record.num_frames for name, record in found.items()} == {"a": 20, "b": 24, "c": 20}
    assert (found["a"].height, found["a"].width, found["a"].fps) == (48, 64, 25.0)
    assert (found["c"].height, found["c"].width, found["c"].fps) == (24, 36, 0.0)
    assert len({record.digest for record in found.values()}) == 3


def test_a_second_inventory_reads_no_video(root: Path, probed: list[str]) -> None:
    first = take(root)
    assert sorted(probed) == ["a", "b", "c"]
    probed.clear()
    assert take(root) == first
    assert probed == []


@pytest.mark.parametrize("name", ["train/a.mp4", "test/c/007.jpg"])
def test_a_touched_file_is_read_again_and_found_unchanged(root: Path, probed: list[str], name: str) -> None:
    first = take(root)
    probed.clear()
    os.utime(root / name, (1, 1))
    assert take(root) == first
    assert len(probed) == 1
    probed.clear()
    take(root)
    assert probed == []


def test_known_content_is_hashed_but_not_decoded_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = take(root)
    shutil.copytree(root, root.parent / "copy")
    for name in ("decode_image", "open_capture"):
        monkeypatch.setattr(f"pipeline.datasets.probe.{name}", lambda *_: pytest.fail("decoded again"))
    assert digests(take(root.parent / "copy")) == digests(first)


def test_a_replaced_video_changes_its_own_digest_only(root: Path) -> None:
    before = digests(take(root))
    layouts.write_video(root / "train" / "a.mp4", count=30)
    after = take(root)
    assert {name for name, digest in digests(after).items() if digest != before[name]} == {"a"}
    assert next(record.num_frames for record in after.records if record.id == "a") == 30


def test_a_replacement_of_the_same_size_and_date_is_noticed(root: Path) -> None:
    before = digests(take(root))
    path = root / "test" / "c" / "003.jpg"
    stat, data = path.stat(), bytearray(path.read_bytes())
    data[15] ^= 1  # the density in the header: the picture still decodes
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    after = digests(take(root))
    assert {name for name in after if after[name] != before[name]} == {"c"}


def test_frames_cut_otherwise_among_files_are_other_content(tmp_path: Path) -> None:
    """Moving a byte from one image to the next must not leave the hash as it was."""
    layouts.write_frames(tmp_path / "data" / "train" / "a", "{}.pgm")
    before = digests(take(tmp_path / "data"))
    first, second = (tmp_path / "data" / "train" / "a" / f"{i}.pgm" for i in (0, 1))
    first.write_bytes(first.read_bytes() + b"\n")
    joined = first.read_bytes() + second.read_bytes()
    first_size = len(first.read_bytes()) - 1
    after = digests(take(tmp_path / "data"))
    assert before != after
    first.write_bytes(joined[:first_size])
    assert digests(take(tmp_path / "data")) == before


def test_added_and_removed_videos_come_and_go_without_reading_the_others(root: Path, probed: list[str]) -> None:
    take(root)
    probed.clear()
    layouts.write_video(root / "train" / "d.mp4")
    (root / "train" / "b.avi").unlink()
    assert list(digests(take(root))) == ["c", "a", "d"]  # test before train
    assert probed == ["d"]
    assert set(json.loads((root.parent / "inventory.json").read_text())["videos"]) == {"test/c", "train/a", "train/d"}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "train" / "a.mp4").write_bytes(b""), r"a\.mp4: .* found an empty file"),
        (lambda root: (root / "train" / "a.mp4").write_bytes(b"no video"), r"a\.mp4: .* found 8 bytes that it cannot read"),
        (lambda root: truncate(root / "train" / "a.mp4"), r"a\.mp4: expected \d+ bytes as its header says, found \d+; it"),
        (lambda root: truncate(root / "train" / "b.avi"), r"b\.avi: expected \d+ bytes as its header says, found \d+"),
        (lambda root: relink(root / "train" / "a.mp4"), r"a\.mp4: cannot be read"),
        (lambda root: pipe(root / "train" / "a.mp4"), r"a\.mp4: cannot be read .it is no file."),
        (lambda root: pipe(root / "test" / "c" / "007.jpg"), r"007\.jpg: cannot be read .it is no file."),
        (lambda root: layouts.write_video(root / "train" / "a.mp4", count=15), r"at least 16 frames .one clip., found 15"),
        (lambda root: layouts.write_image(root / "test/c/007.jpg", layouts.picture(7, 30, 40)), r"007\.jpg: .* 30 x 40"),
        (lambda root: (root / "test" / "c" / "007.jpg").write_bytes(b"x"), r"007\.jpg: expected an image"),
        (lambda root: truncate(root / "test" / "c" / "007.jpg"), r"007\.jpg: expected an image"),
        (lambda root: (root / "test" / "c" / "007.jpg").unlink(), r"007\.jpg: expected this frame after 006\.jpg"),
        (lambda root: [path.unlink() for path in (root / "test" / "c").iterdir()], "found an empty folder"),
    ],
    ids=[
        *("empty", "garbage", "cut-mp4", "cut-avi", "dangling", "pipe", "image-pipe"),
        *("short", "size", "image", "cut-image", "gap", "no-frames"),
    ],
)
def test_a_bad_video_is_reported_with_its_file_and_the_others_are_used(
    root: Path, spoil: Callable[[Path], object], message: str
) -> None:
    spoil(root)
    inventory = take(root)
    assert len(inventory.problems) == 1
    assert re.search(message, inventory.problems[0].message), inventory.problems[0].message
    assert len(inventory.records) == 2
    assert inventory.problems[0].id not in digests(inventory)
    assert take(root) == inventory


def truncate(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 3])


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def relink(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def test_a_bad_video_is_not_read_again_until_it_changes(root: Path, probed: list[str]) -> None:
    (root / "train" / "a.mp4").write_bytes(b"no video")
    first = take(root)
    probed.clear()
    assert take(root).problems == first.problems
    assert probed == []
    layouts.write_video(root / "train" / "a.mp4")
    assert not take(root).problems
    assert probed == ["a"]


def test_a_disk_that_failed_once_is_tried_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.read_bytes

    def fail(path: Path) -> bytes:
        if path.name == "003.jpg":
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", fail)
        problems = take(root).problems
    assert [problem.id for problem in problems] == ["c"]
    assert "Input/output error" in str(problems[0])
    assert not take(root).problems


def test_of_a_recording_that_was_broken_off_the_frames_count_that_can_be_read(root: Path) -> None:
    path = root / "train" / "b.avi"
    whole = digests(take(root))["b"]
    data = path.read_bytes()
    path.write_bytes(data[:4] + bytes(4) + data[8 : len(data) * 9 // 10])  # the recorder never wrote its length
    record = next(record for record in take(root).records if record.id == "b")
    assert record.digest != whole
    assert 16 <= record.num_frames < 24
    with open_frames(record.video) as reader:
        assert len(reader.read(0, record.num_frames)) == record.num_frames
        with pytest.raises(DataError, match=f"found {record.num_frames}"):
            reader.read(0, record.num_frames + 1)


@pytest.mark.parametrize("tail", [b"", bytes(100), b"appended by some program"])
def test_whole_files_pass_whatever_was_appended(root: Path, tail: bytes) -> None:
    for name in ("a.mp4", "b.avi"):
        path = root / "train" / name
        path.write_bytes(path.read_bytes() + tail)
    assert not take(root).problems


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"version": 2}', b"\xff\xfe", b'{"version": 2, "opencv": "", "videos": {"train/a": 3}}']
)
def test_a_damaged_cache_file_counts_as_none(root: Path, content: bytes) -> None:
    first = take(root)
    (root.parent / "inventory.json").write_bytes(content)
    assert take(root) == first


def test_what_another_opencv_could_not_read_is_tried_again(root: Path, probed: list[str]) -> None:
    (root / "train" / "a.mp4").write_bytes(b"no video")
    take(root)
    path = root.parent / "inventory.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "opencv": "1.0"}))
    probed.clear()
    take(root)
    assert probed == ["a"]


def test_an_interruption_keeps_what_was_saved_before_it(
    root: Path, monkeypatch: pytest.MonkeyPatch, probed: list[str]
) -> None:
    monkeypatch.setattr("pipeline.datasets.known_files.SAVE_SECONDS", -1.0)

    def interrupt(what: str, done: float, total: float) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take_inventory(FolderDataset(root), root.parent / "inventory.json", interrupt)
    probed.clear()
    assert len(take(root).records) == 3
    assert len(probed) == 1


def test_a_full_disk_names_the_cache_file_and_leaves_nothing_behind(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=r"No space left on device: .*inventory\.json"):
            take(root)
    assert [path.name for path in root.parent.iterdir()] == ["data"]
    assert len(take(root).records) == 3


def test_progress_ends_with_all_videos_that_had_to_be_read(root: Path) -> None:
    heard: list[tuple[str, float, float]] = []
    for _ in range(2):
        take_inventory(FolderDataset(root), root.parent / "i.json", lambda *report: heard.append(report))
    assert heard == [("inventory", 1, 3), ("inventory", 2, 3), ("inventory", 3, 3)]


def test_messages_about_odd_file_names_can_be_printed(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\x1b.mp4")
    (tmp_path / "data" / "train").mkdir(parents=True)
    (tmp_path / "data" / "train" / name).write_bytes(b"no video")
    message = str(take(tmp_path / "data").problems[0])
    assert message.isprintable()
    message.encode()


def test_a_record_of_many_frames_travels_small_to_other_processes(tmp_path: Path) -> None:
    layouts.write_frames(tmp_path / "data" / "train" / "a", "{:04d}.pgm", count=200)
    record = take(tmp_path / "data").records[0]
    again = pickle.loads(pickle.dumps(record))
    assert again == record
    assert hash(again) == hash(record)
    assert list(again.video.files) == [tmp_path / "data" / "train" / "a" / f"{i:04d}.pgm" for i in range(200)]
    assert len(pickle.dumps(record)) < 200 * 20


# ---- labels


def labelled(tmp_path: Path) -> Path:
    layouts.make_folder(tmp_path / "data")
    for name, frames in (("night/gate", [2]), ("night/yard", [3]), ("noon", [])):
        layouts.write_labels(tmp_path / "data" / "labels" / "frames" / f"{name}.npy", frames)
    return tmp_path / "data"


def test_the_digest_of_labels_follows_their_content_not_their_dates(tmp_path: Path) -> None:
    root = labelled(tmp_path)
    first = take(root).label_digest
    path = root / "labels" / "frames" / "noon.npy"
    os.utime(path, (1, 1))
    assert take(root).label_digest == first
    layouts.write_labels(path, [4])
    changed = take(root).label_digest
    assert changed != first
    path.rename(root / "labels" / "noon.npy")  # another file, the same labels
    assert take(root).label_digest == changed


def test_labels_swapped_between_two_videos_are_other_labels(tmp_path: Path) -> None:
    root = labelled(tmp_path)
    first = take(root).label_digest
    gate, yard = (root / "labels" / "frames" / "night" / f"{name}.npy" for name in ("gate", "yard"))
    swapped = gate.read_bytes()
    gate.write_bytes(yard.read_bytes())
    yard.write_bytes(swapped)
    assert take(root).label_digest != first


def test_a_dataset_without_labels_has_an_empty_label_digest(root: Path) -> None:
    assert take(root).label_digest == ""


def test_replaced_masks_change_the_label_digest(tmp_path: Path) -> None:
    base = layouts.make_ucsd(tmp_path / "data")
    first = take_inventory(UcsdDataset(base), tmp_path / "i.json").label_digest
    layouts.write_image(base / "Test" / "Test006_gt" / "frame001.bmp", layouts.mask_THW([0])[0] * np.uint8(255))
    assert take_inventory(UcsdDataset(base), tmp_path / "i.json").label_digest != first


def test_labels_that_do_not_fit_are_told_before_the_work(tmp_path: Path) -> None:
    root = labelled(tmp_path)
    dataset = FolderDataset(root)
    records = take(root).records
    assert label_problems(dataset, records) == ()
    layouts.write_labels(root / "labels" / "frames" / "noon.npy", [1], count=21)
    (root / "labels" / "frames" / "night" / "gate.npy").write_bytes(b"\x80\x04K\x01.")
    messages = [str(problem) for problem in label_problems(dataset, records)]
    assert len(messages) == 2
    assert "pickles are never loaded" in messages[0]
    assert "noon.npy: expected labels of 20 frames (video noon), found 21" in messages[1]
