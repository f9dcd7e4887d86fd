"""Labels of recordings: none is cut off at the end without a word, and what does not fit is told with its line."""

from pathlib import Path

import pytest

from pipeline.contract import DataError
from pipeline.datasets.check import check_dataset
from pipeline.datasets.folder import FolderDataset
from pipeline.datasets.inventory import label_problems, take_inventory
from tests.pipeline import layouts

LONG = 100  # frames at 25 a second


@pytest.fixture
def root(tmp_path: Path) -> Path:
    layouts.write_video(tmp_path / "train" / "a.mp4", 50)
    layouts.write_video(tmp_path / "test" / "b.mp4", LONG)
    return tmp_path


def label(root: Path, *rows: str, header: str = "video,start,end") -> None:
    (root / "labels.csv").write_text("\n".join((header, *rows, "")))


def anomalous(dataset: FolderDataset, part: str = "b") -> list[int]:
    """Return the anomalous frames of a part; the check must think of its labels as every later command does."""
    record = next(record for record in take_inventory(dataset, dataset.root / "inventory.json").records if record.id == part)
    checked = check_dataset(dataset)
    assert len(checked.problems) == len(label_problems(dataset, [record]))
    found = dataset.labels(record.video, record.num_frames)
    assert found is not None
    return layouts.anomalous(found)


# ---- where labels end


@pytest.mark.parametrize("row", ["b,25,5000", "b,25,101", "b,1s,200s", "b,1s,0:00:05.1", "b,100,101"])
@pytest.mark.parametrize("fps", [None, 12.5])
@pytest.mark.parametrize("left_out", ["", "b,0,4", "b,50,60"])
def test_labels_behind_the_end_are_refused_whatever_is_left_out(
    root: Path, row: str, fps: float | None, left_out: str
) -> None:
    label(root, "b,10,20", row)
    (root / "left_out.csv").write_text(f"video,start,end\n{left_out}\n")
    with pytest.raises(DataError, match=r"labels\.csv, line 3: expected a stretch within the (about )?100 frames"):
        anomalous(FolderDataset(root, fps=fps), "b@2" if "50" in left_out else "b")


@pytest.mark.parametrize("fps", [None, 12.5, 9.0])
@pytest.mark.parametrize("row", ["b,90,100", "b,3.6s,4.9s", "b,3.6s,4s"])
def test_labels_may_reach_the_end_and_in_seconds_a_little_further(root: Path, fps: float | None, row: str) -> None:
    label(root, row)
    (root / "left_out.csv").write_text("video,start,end\nb,0,20\n")
    found = anomalous(FolderDataset(root, fps=fps))
    assert found == list({None: range(70, 80), 12.5: range(35, 40), 9.0: range(26, 29)}[fps])


def test_labels_may_reach_behind_a_part_of_which_the_end_of_the_recording_is_left_out(root: Path) -> None:
    label(root, "b,40,95")
    (root / "left_out.csv").write_text("video,start,end\nb,50,\n")
    assert anomalous(FolderDataset(root)) == list(range(40, 50))


def test_of_uneven_recordings_the_end_is_that_of_their_last_frame(root: Path) -> None:
    layouts.write_uneven(root / "test" / "b.mp4", [40] * 30 + [80] * 30)  # 61 frames in 3.68 s
    label(root, "b,60,61")
    assert anomalous(FolderDataset(root))[-1:] == [60]
    label(root, "b,2s,4.5s")
    assert anomalous(FolderDataset(root, fps=12.5))[-1] == 45
    label(root, "b,10,62")
    with pytest.raises(DataError, match=r"line 2: expected a stretch within the about 61 frames"):
        anomalous(FolderDataset(root, fps=12.5))


def test_arrays_of_another_length_are_not_blamed_on_a_release(root: Path) -> None:
    layouts.write_labels(root / "labels" / "b.npy", [1], LONG - 1)
    with pytest.raises(DataError, match=r"b\.npy: expected labels of 100 frames .* found 99; give one per recorded frame"):
        anomalous(FolderDataset(root))


def test_labels_may_reach_further_than_what_is_left_of_a_damaged_file(root: Path) -> None:
    path = root / "test" / "b.mp4"
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 3 + 2000] = bytes(2000)
    path.write_bytes(data)
    label(root, "b,10,95")
    found = anomalous(FolderDataset(root, damaged=True))
    assert found == list(range(10, 10 + len(found)))


# ---- how a table may be written


@pytest.mark.parametrize(
    "text",
    [
        *("Video,Start,End\nb,10,20\n", "video;start;end\nb;10;20\n", "VIDEO\tStart_Seconds\tEnd_Seconds\nb\t0.4\t0.8\n"),
        *("video,start,end\nb.mp4,10,20\n", "video,start,end,,\nb,10,20,,\n", "video,start,end,label\nb,10,20,fight\n"),
        *('video,start,end,by,note\nb,10,20,me,"one, two"\n', "video,start,end,note\nb,10,20\n"),
        *("video,start,end,id\nb,10,20,0\n", "video,start,end,person,note\nb,10,20,no,normal\n"),
        *("video;start;end;note, other\nb;10;20;a\n", "video\tstart\tend\ta, b; c\nb\t10\t20\ta\n"),
    ],
)
def test_tables_may_be_written_as_spreadsheets_write_them(root: Path, text: str) -> None:
    (root / "labels.csv").write_text(text)
    assert anomalous(FolderDataset(root)) == list(range(10, 20))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("start,end,video\n10,20,b\n", r"labels\.csv: expected the header .*, found 'start,end,video'"),
        ("video,start,end\n\nb,10,20,fight\n", r"line 3: expected video,start,end with two times, found 'b,10,20,fight'"),
        ("video,start,end,label\nb,10,20,Normal\n", r"line 2: expected nothing but .*, found label 'Normal'; remove"),
        ("video,start,end,id,Is_Anomaly\nb,10,20,0,0\n", r"line 2: expected nothing but .*, found is_anomaly '0'; remove"),
        ("video;start;end\nb,10,20\n", r"line 2: expected video,start,end with two times, found 'b,10,20'"),
        ("video,start,end\nb.avi,10,20\n", r"line 2: expected a test video, found 'b\.avi'; give its path below"),
        ("", r"labels\.csv: expected the header .*, found ''"),
    ],
)
def test_tables_of_which_the_meaning_is_not_plain_are_refused(root: Path, text: str, message: str) -> None:
    (root / "labels.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        anomalous(FolderDataset(root))


def test_what_is_left_out_may_be_named_by_its_file(root: Path) -> None:
    layouts.write_video(root / "train" / "b.avi", 50, "MJPG")
    for name, part in (("b.avi", "train/b"), ("b.mp4", "test/b"), ("train/b.avi", "train/b"), ("test/b", "test/b")):
        (root / "left_out.csv").write_text(f"video,start,end\n{name},0,4\n")
        cut = [f"{video.split}/{video.id}" for video in FolderDataset(root).videos() if video.cut is not None]
        assert cut == [part]


def test_an_id_that_ends_like_a_suffix_is_that_of_its_own_file(root: Path) -> None:
    layouts.write_video(root / "test" / "b.mp4.mp4", 60)
    label(root, "b.mp4,1,3")
    assert anomalous(FolderDataset(root), "b.mp4") == [1, 2]
    assert anomalous(FolderDataset(root), "b") == []


def test_a_recording_that_is_left_out_may_keep_its_labels(root: Path) -> None:
    layouts.write_video(root / "test" / "c.mp4", 50)
    label(root, "b,1,3", "c,5,9")
    (root / "left_out.csv").write_text("video,start,end\nc,0,\n")
    assert anomalous(FolderDataset(root)) == [1, 2]
