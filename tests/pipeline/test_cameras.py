"""Your own cameras: parts of recordings, rates, damage, rotation, and labels that are told of recordings."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import ConfigError, DatasetSettings
from pipeline.contract import Cut, DataError, Labels, Moment, Video, VideoRecord
from pipeline.datasets.check import check_dataset
from pipeline.datasets.clocks import Clock
from pipeline.datasets.cuts import count_kept, frame_at, kept_frames
from pipeline.datasets.folder import FolderDataset
from pipeline.datasets.inventory import Inventory, take_inventory
from pipeline.datasets.reader import open_frames
from pipeline.datasets.registry import open_dataset
from stpa import main
from tests.pipeline import layouts

LONG = 100  # frames of a recording at 25 per second


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two cameras of different size and rate, a recording of each to learn from and to test."""
    for split in ("train", "test"):
        layouts.write_video(tmp_path / "data" / split / "gate" / "morning.mp4", LONG)
        layouts.write_video(tmp_path / "data" / split / "yard" / "noon.avi", LONG, "MJPG", (36, 48), fps=50)
    return tmp_path / "data"


def take(dataset: FolderDataset) -> Inventory:
    return take_inventory(dataset, dataset.root.parent / "inventory.json")


def records(dataset: FolderDataset) -> dict[str, VideoRecord]:
    return {f"{record.split}/{record.id}": record for record in take(dataset).records}


def numbers(video: Video) -> list[int]:
    """Return the numbers that the frames of a video show."""
    found = []
    with open_frames(video) as reader:
        while (frame := reader.next_frame()) is not None:
            found.append(layouts.told(frame))
    return found


def labels(dataset: FolderDataset, name: str) -> Labels:
    record = records(dataset)[f"test/{name}"]
    found = dataset.labels(record.video, record.num_frames)
    assert found is not None
    return found


def shown(frames: range | list[int]) -> list[int]:
    return [frame % 24 for frame in frames]


# ---- which frames count


@given(st.floats(5, 60), st.floats(1, 60), st.integers(0, 400), st.integers(0, 60), st.none() | st.integers(0, 400))
def test_counting_frames_that_count_agrees_with_listing_them(
    rate: float, fps: float, recorded: int, start: int, stop: int | None
) -> None:
    cut = Cut(recording="a", start=Moment(value=start), stop=None if stop is None else Moment(value=stop), fps=fps)
    if rate / fps < 0.95:
        with pytest.raises(DataError, match=r"expected at least .* frames per second .*lower dataset\.fps"):
            frame_at(cut, Clock(rate=rate), 0, "a")
        return
    listed = []
    for index in range(recorded):
        frame = frame_at(cut, Clock(rate=rate), index, "a")
        if frame is None or frame >= recorded:
            break
        listed.append(frame)
    assert count_kept(cut, Clock(rate=rate), recorded, "a") == len(listed)
    assert kept_frames(cut, Clock(rate=rate), len(listed), "a").tolist() == listed
    assert sorted(set(listed)) == listed


def test_recordings_of_two_rates_are_thinned_out_to_one(root: Path) -> None:
    found = records(FolderDataset(root, fps=12.5))
    assert {name: (record.num_frames, record.fps) for name, record in found.items() if "train" in name} == {
        "train/gate/morning": (50, 12.5),
        "train/yard/noon": (25, 12.5),
    }
    assert numbers(found["train/gate/morning"].video) == shown(range(0, LONG, 2))
    assert numbers(found["train/yard/noon"].video) == shown(range(0, LONG, 4))


def test_a_thinned_out_video_reads_the_same_from_anywhere(root: Path) -> None:
    record = records(FolderDataset(root, fps=10))["train/gate/morning"]
    with open_frames(record.video) as reader:
        whole = reader.read(0, record.num_frames)
        for start, stop in ((30, 40), (3, 9), (8, 12), (0, 1)):
            np.testing.assert_array_equal(reader.read(start, stop), whole[start:stop])
        with pytest.raises(DataError, match="expected at least 41 frames, found 40"):
            reader.read(30, 41)


def test_a_rate_that_the_camera_does_not_reach_names_the_recording_and_both_rates(root: Path) -> None:
    (problem,) = (found for found in take(FolderDataset(root, fps=50)).problems if found.split == "train")
    assert "morning.mp4: expected at least 50 frames per second (dataset.fps), found 25" in problem.message
    checked = check_dataset(FolderDataset(root, fps=50))
    assert sum("expected at least 50 frames per second" in found for found in checked.problems) == 2


def test_a_rate_that_is_nearly_there_is_taken_as_it_is(root: Path) -> None:
    found = records(FolderDataset(root, fps=25.5, camera="gate"))["train/gate/morning"]
    assert (found.num_frames, found.fps) == (LONG, 25)


def test_folders_of_images_do_not_say_their_rate_and_cannot_be_thinned_out(tmp_path: Path) -> None:
    layouts.write_frames(tmp_path / "data" / "train" / "a")
    (problem,) = take(FolderDataset(tmp_path / "data", fps=5)).problems
    assert "expected a frame rate, to thin it out to dataset.fps = 5, found none" in problem.message


def test_stretches_that_are_left_out_cut_a_recording_in_two(root: Path) -> None:
    (root / "left_out.csv").write_text("video,start,end\ntrain/gate/morning,40,60\ntrain/yard/noon,1.0s,\n")
    found = records(FolderDataset(root))
    assert {name: record.num_frames for name, record in found.items()} == {
        "train/gate/morning@1": 40,
        "train/gate/morning@2": 40,
        "train/yard/noon": 50,
        "test/gate/morning": LONG,
        "test/yard/noon": LONG,
    }
    assert numbers(found["train/gate/morning@2"].video) == shown(range(60, 100))
    assert numbers(found["train/yard/noon"].video) == shown(range(50))
    assert len({record.digest for record in found.values() if "gate" in record.id}) == 3  # two parts, and the whole


def test_parts_are_counted_and_thinned_out_from_their_own_start(root: Path) -> None:
    (root / "left_out.csv").write_text("video,start,end\ntrain/gate/morning,0:00:00,0:00:00.2\n")
    found = records(FolderDataset(root, fps=12.5))["train/gate/morning"]
    assert numbers(found.video) == shown(range(5, 100, 2))


def test_folders_of_images_may_be_cut_by_frames(tmp_path: Path) -> None:
    layouts.write_frames(tmp_path / "data" / "train" / "a", first=1, count=45)
    (tmp_path / "data" / "left_out.csv").write_text("video,start,end\na,20,25\n")
    found = records(FolderDataset(tmp_path / "data"))
    assert numbers(found["train/a@1"].video) == list(range(20))
    assert numbers(found["train/a@2"].video) == shown(range(25, 45))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("gate/morning,1,2", r"line 2: expected a video, found 'gate/morning'; did you mean '(train|test)/gate/morning'"),
        ("train/gate/morning,0.5,2", r"line 2: expected a whole number of frames, found 0.5; write 0.5s"),
        ("train/gate/morning,5,2", r"line 2: expected 0 <= start < end"),
        ("train/gate/morning,1,2s", r"line 2: expected start and end both in frames or in seconds"),
        ("train/gate/morning,soon,2", r"line 2: expected .* or seconds such as 12.5s or 0:01:12.5, found 'soon'"),
        ("train/gate/morning,1,2\ntrain/gate/morning,1s,2s", r"expected frames or seconds for gate/morning, found both"),
    ],
)
def test_mistakes_in_what_is_left_out_are_told_before_anything_is_read(root: Path, row: str, message: str) -> None:
    (root / "left_out.csv").write_text(f"video,start,end\n{row}\n")
    with pytest.raises(DataError, match=message):
        FolderDataset(root).videos()


def test_without_any_of_it_digests_are_those_of_the_files(root: Path) -> None:
    plain = records(FolderDataset(root))["train/gate/morning"]
    assert plain.video.cut is None
    assert records(FolderDataset(root, damaged=True))["train/gate/morning"].digest == plain.digest
    assert records(FolderDataset(root, fps=5))["train/gate/morning"].digest != plain.digest


# ---- cameras


def test_a_camera_is_chosen_by_its_folder(root: Path) -> None:
    assert FolderDataset(root).cameras() == ["gate", "yard"]
    assert {video.id for video in FolderDataset(root, camera="ga*").videos()} == {"gate/morning"}
    with pytest.raises(DataError, match=r"expected a camera like 'door' \(dataset.camera\), found gate, yard"):
        FolderDataset(root, camera="door").videos()


def test_a_table_may_name_the_videos_of_other_cameras(root: Path) -> None:
    (root / "labels.csv").write_text("video,start,end\nyard/noon,0,10\ngate/morning,5,8\n")
    assert layouts.anomalous(labels(FolderDataset(root, camera="gate"), "gate/morning")) == [5, 6, 7]


def test_settings_of_recordings_are_refused_for_published_datasets(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'dataset.fps: expected dataset.kind = "folder" with it, found \'ucsd\''):
        open_dataset(DatasetSettings(kind="ucsd", root=tmp_path, fps=10))


# ---- damage and rotation


def cut_off(path: Path, share: float = 0.6) -> Path:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def test_of_a_recording_that_was_cut_off_the_usable_part_is_used_and_told(root: Path) -> None:
    cut_off(root / "train" / "yard" / "noon.avi")
    (problem,) = take(FolderDataset(root)).problems
    assert "it was cut off" in problem.message
    inventory = take(FolderDataset(root, damaged=True))
    assert not inventory.problems
    (remark,) = inventory.remarks
    found = {record.id: record for record in inventory.records if record.split == "train"}["yard/noon"]
    assert 16 <= found.num_frames < LONG
    assert f"its first {found.num_frames} frames are used" in remark
    assert "noon.avi" in remark
    assert numbers(found.video)[: found.num_frames] == shown(range(found.num_frames))


def test_the_check_counts_the_usable_part_and_warns(root: Path) -> None:
    cut_off(root / "train" / "yard" / "noon.avi")
    usable = records(FolderDataset(root, damaged=True))["train/yard/noon"].num_frames
    checked = check_dataset(FolderDataset(root, damaged=True))
    assert not [problem for problem in checked.problems if "cut off" in problem]
    assert [warning for warning in checked.warnings if "cut off" in warning and "what can be decoded is used" in warning]
    assert checked.splits[0].frames == usable + LONG


def test_labels_may_reach_further_than_what_is_left_of_a_recording(root: Path) -> None:
    cut_off(root / "test" / "yard" / "noon.avi")
    left = records(FolderDataset(root, damaged=True))["test/yard/noon"].num_frames
    (root / "labels.csv").write_text("video,start,end\nyard/noon,10,99\nyard/noon,95,100\n")
    assert layouts.anomalous(labels(FolderDataset(root, damaged=True), "yard/noon")) == list(range(10, left))
    (root / "labels.csv").unlink()
    layouts.write_labels(root / "labels" / "gate" / "morning.npy", [], LONG)
    layouts.write_labels(root / "labels" / "yard" / "noon.npy", range(10, LONG), LONG)
    assert layouts.anomalous(labels(FolderDataset(root, damaged=True), "yard/noon")) == list(range(10, left))
    layouts.write_labels(root / "labels" / "gate" / "morning.npy", [], LONG + 1)
    with pytest.raises(DataError, match=r"expected labels of 100 frames .* found 101"):  # this one is whole
        labels(FolderDataset(root, damaged=True), "gate/morning")


def test_damage_that_is_refused_again_is_a_problem_again(root: Path) -> None:
    cut_off(root / "train" / "yard" / "noon.avi")
    assert not take(FolderDataset(root, damaged=True)).problems
    assert len(take(FolderDataset(root)).problems) == 1


def test_a_camera_that_was_turned_is_read_upright(tmp_path: Path) -> None:
    path = layouts.write_video(tmp_path / "data" / "train" / "a.mp4", size=(48, 64))
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40  # version, flags, times, id, duration, layer, volume come before it
    turned = (0, 1, 0, -1, 0, 0, 48, 0, 1 << 14)  # 90 degrees clockwise: 16.16 fixed point, the last column 2.30
    data[matrix : matrix + 36] = b"".join((value << 16).to_bytes(4, "big", signed=True) for value in turned)
    path.write_bytes(data)
    (record,) = take(FolderDataset(tmp_path / "data")).records
    assert (record.height, record.width) == (64, 48)
    with open_frames(record.video) as reader:
        assert reader.read(0, 2).shape == (2, 64, 48, 3)


# ---- labels of recordings


def test_labels_in_seconds_are_those_of_the_recording_whatever_the_rate(root: Path) -> None:
    (root / "labels.csv").write_text("video,start_seconds,end_seconds\ngate/morning,1.2,1.48\nyard/noon,0:00:01,2.1s\n")
    dataset = FolderDataset(root)
    assert layouts.anomalous(labels(dataset, "gate/morning")) == list(range(30, 37))
    assert layouts.anomalous(labels(dataset, "yard/noon")) == list(range(50, 100))  # 2.1 s is just behind its end
    thinned = FolderDataset(root, fps=12.5)
    assert layouts.anomalous(labels(thinned, "gate/morning")) == list(range(15, 19))


def test_labels_follow_the_parts_of_a_recording(root: Path) -> None:
    (root / "left_out.csv").write_text("video,start,end\ntest/gate/morning,40,60\n")
    (root / "labels.csv").write_text("video,start,end\ngate/morning,35,65\n")
    dataset = FolderDataset(root)
    assert layouts.anomalous(labels(dataset, "gate/morning@1")) == [35, 36, 37, 38, 39]
    assert layouts.anomalous(labels(dataset, "gate/morning@2")) == [0, 1, 2, 3, 4]
    (root / "labels.csv").write_text("video,start,end\ngate/morning,100,105\n")
    with pytest.raises(DataError, match=r"within the 100 frames of recording gate/morning, found frames 100 to 104"):
        labels(FolderDataset(root), "gate/morning@2")


def test_arrays_masks_and_tracks_are_picked_for_the_frames_that_count(root: Path) -> None:
    for name, size in (("gate/morning", (48, 64)), ("yard/noon", (36, 48))):
        masks = np.zeros((LONG, *size), np.bool_)
        masks[20:30, 4:8, 3:8] = True
        layouts.write_masks(root / "labels" / "masks" / f"{name}.npz", masks)
        layouts.write_labels(root / "labels" / "frames" / f"{name}.npy", range(20, 30), LONG)
    (root / "labels" / "tracks" / "gate").mkdir(parents=True)
    (root / "labels" / "tracks" / "gate" / "morning.txt").write_text("".join(f"1,{i},3,4,7,7\n" for i in range(20, 30)))
    found = labels(FolderDataset(root, fps=5, camera="gate"), "gate/morning")
    assert layouts.anomalous(found) == [4, 5]
    assert found.pixel_mask_THW is not None
    assert [bool(mask.any()) for mask in found.pixel_mask_THW] == [4 <= i < 6 for i in range(20)]
    assert found.read_tracks is not None
    assert found.read_tracks().tolist() == [[1, 4, 3, 4, 7, 7], [1, 5, 3, 4, 7, 7]]
    assert found.track_source == "tracks in tracks/"


def test_an_anomalous_video_without_its_tracks_is_refused_where_others_have_some(root: Path) -> None:
    (root / "labels.csv").write_text("video,start,end\ngate/morning,35,65\n")
    (root / "labels" / "tracks").mkdir(parents=True)
    with pytest.raises(DataError, match=r"tracks/gate/morning\.txt: expected the tracks of gate/morning, which"):
        labels(FolderDataset(root), "gate/morning")
    normal = labels(FolderDataset(root), "yard/noon")
    assert normal.read_tracks is not None
    assert normal.read_tracks().shape == (0, 6)


def write_elan(path: Path, tiers: dict[str, list[tuple[int, int]]]) -> None:
    elan = pytest.importorskip("pympi.Elan")
    path.parent.mkdir(parents=True, exist_ok=True)
    file = elan.Eaf(author="")
    file.remove_tier("default")
    for name, stretches in tiers.items():
        file.add_tier(name)
        for start, end in stretches:
            file.add_annotation(name, start, end, "runs")
    file.to_file(str(path))


def test_stretches_marked_in_elan_are_labels(root: Path) -> None:
    marked = {"anomaly": [(400, 800), (2000, 2040)], "notes": [(0, 4000)]}
    write_elan(root / "labels" / "elan" / "gate" / "morning.eaf", marked)
    write_elan(root / "labels" / "elan" / "yard" / "noon.eaf", {"whatever": []})
    dataset = FolderDataset(root)
    assert layouts.anomalous(labels(dataset, "gate/morning")) == [*range(10, 20), 50]
    assert layouts.anomalous(labels(dataset, "yard/noon")) == []
    assert [path.name for path in dataset.label_files(dataset.videos()[0])] == ["morning.eaf"]


def test_several_tiers_of_which_none_is_called_anomaly_are_not_guessed_among(root: Path) -> None:
    write_elan(root / "labels" / "elan" / "gate" / "morning.eaf", {"one": [(400, 800)], "two": [(0, 4000)]})
    with pytest.raises(DataError, match=r"morning\.eaf: expected one tier, or one called 'anomaly', found one, two"):
        labels(FolderDataset(root), "gate/morning")
    (root / "labels" / "elan" / "gate" / "morning.eaf").write_text("<ANNOTATION_DOCUMENT>")
    with pytest.raises(DataError, match=r"morning\.eaf: expected a file of ELAN"):
        labels(FolderDataset(root), "gate/morning")


# ---- as a user sees it


def test_the_check_of_recordings_tells_cameras_apart_and_what_disk_they_take(root: Path) -> None:
    (root / "left_out.csv").write_text("video,start,end\ntest/gate/morning,40,60\n")
    words = ["data", "check", "--set", f"dataset.root={root}", "--set", "dataset.fps=12.5", "--disk", "--set"]
    done = CliRunner().invoke(main, [*words, "dataset.camera=gate"])
    # the same recording is in both splits here, but of the test video a stretch is left out
    assert done.exit_code == 0, done.output
    assert "50" in done.output
    frames = 50 + 20 + 20
    assert f"frames           {frames * 256 * 256 * 3 / 1e6:9.1f} MB" in done.output


def test_uneven_times_of_frames_are_told_by_a_deep_check(tmp_path: Path) -> None:
    """A recorder that lost four seconds in the middle."""
    av = pytest.importorskip("av")
    path = tmp_path / "data" / "train" / "a.mkv"
    path.parent.mkdir(parents=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(40):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 5 * number, np.uint8), format="bgr24")
            frame.pts = number if number < 20 else number + 100
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    warnings = check_dataset(FolderDataset(tmp_path / "data"), deep=True).warnings
    assert [warning for warning in warnings if "a.mkv: variable frame rate" in warning]
    assert [warning for warning in warnings if "found none between 0.760 and 4.800 s" in warning]
