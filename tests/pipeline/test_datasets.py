"""Every layout yields the same records and labels, and says what is wrong with what it cannot read."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import ConfigError, DatasetSettings
from pipeline.contract import DataError
from pipeline.datasets.avenue import AvenueDataset
from pipeline.datasets.base import Dataset
from pipeline.datasets.folder import FolderDataset
from pipeline.datasets.frames_layout import FramesDataset
from pipeline.datasets.inventory import label_problems, take_inventory
from pipeline.datasets.mat_intervals import read_mat_intervals
from pipeline.datasets.reader import open_frames
from pipeline.datasets.registry import DATASETS, open_dataset
from pipeline.datasets.shanghaitech import ShanghaiTechDataset
from pipeline.datasets.synthetic import SyntheticDataset
from pipeline.datasets.truth import load_npy
from pipeline.datasets.ubnormal import UbnormalDataset
from pipeline.datasets.ucsd import UcsdDataset
from tests.pipeline import layouts
from tests.pipeline.layouts import anomalous, labels_of

SHARED = Path(__file__).parents[3] / "shared"
FRAMES = layouts.FRAMES


# ---- what holds for every layout


def ucsd(root: Path) -> Dataset:
    layouts.make_ucsd(root)
    return UcsdDataset(root)


def frames(root: Path) -> Dataset:
    layouts.make_frames_layout(root / "ped2")
    np.save(root / "ped2" / "frame_labels_ped2.npy", np.arange(2 * FRAMES + 2)[None] % 2)
    return FramesDataset(root)


def folder(root: Path) -> Dataset:
    layouts.make_folder(root)
    (root / "labels.csv").write_text("video,start,end\nnoon,3,5\n")
    return FolderDataset(root)


def synthetic(root: Path) -> Dataset:
    return SyntheticDataset(layouts.make_synthetic(root))


def avenue(root: Path) -> Dataset:
    layouts.make_avenue(root)
    return AvenueDataset(root)


def shanghaitech(root: Path) -> Dataset:
    layouts.make_shanghaitech(root)
    return ShanghaiTechDataset(root)


def ubnormal(root: Path) -> Dataset:
    return UbnormalDataset(layouts.make_ubnormal(root))


@pytest.fixture(params=[ucsd, avenue, shanghaitech, ubnormal, frames, folder, synthetic], ids=lambda maker: maker.__name__)
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> Dataset:
    make: Callable[[Path], Dataset] = request.param
    return make(tmp_path)


def test_videos_come_sorted_with_both_splits_and_no_mask_folder_among_them(dataset: Dataset) -> None:
    names = [(video.split, video.id) for video in dataset.videos()]
    assert names == sorted(set(names))
    assert {split for split, _ in names} == {"train", "test"}
    assert not [name for _, name in names if name.endswith("_gt")]


def test_every_video_reads_from_its_first_frame_to_its_last_in_order(dataset: Dataset) -> None:
    for video in dataset.videos():
        with open_frames(video) as reader:
            assert [layouts.told(frame_HWC) for frame_HWC in reader.read(0, FRAMES)] == list(range(FRAMES)), video.id


def test_test_videos_have_a_label_per_frame_and_training_videos_none(dataset: Dataset) -> None:
    for video in dataset.videos():
        num_frames = len(video.files) if video.is_folder else FRAMES
        labels = dataset.labels(video, num_frames)
        if video.split == "train":
            assert labels is None
            assert not dataset.label_files(video)
        else:
            assert labels is not None
            assert labels.frame_T.dtype == np.bool_
            assert labels.frame_T.shape == (num_frames,)
            assert labels.source
            assert dataset.label_files(video) or video.id.startswith("normal_")  # UBnormal's, which need none
            assert all(path.is_file() for path in dataset.label_files(video))


def test_every_video_and_label_file_is_taken_stock_of(dataset: Dataset, tmp_path: Path) -> None:
    inventory = take_inventory(dataset, tmp_path / "inventory.json")
    assert [(record.split, record.id) for record in inventory.records] == [(v.split, v.id) for v in dataset.videos()]
    assert inventory.problems == ()
    assert label_problems(dataset, inventory.records) == ()
    path = next(path for video in dataset.videos() for path in dataset.label_files(video))
    path.write_bytes(path.read_bytes() + b" ")
    assert take_inventory(dataset, tmp_path / "inventory.json").label_digest not in ("", inventory.label_digest)


@pytest.mark.parametrize("kind", DATASETS)
def test_an_empty_root_is_refused_with_the_root_and_the_remedy(tmp_path: Path, kind: str) -> None:
    dataset = open_dataset(DatasetSettings(kind=kind, root=tmp_path))
    with pytest.raises(DataError, match=rf"{tmp_path}: expected .* found ") as caught:
        dataset.videos()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["ucsd", "avenue", "shanghaitech", "ubnormal", "frames", "folder"])
def test_a_missing_root_is_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(DataError, match="nowhere"):
        open_dataset(DatasetSettings(kind=kind, root=tmp_path / "nowhere")).videos()


def test_an_unknown_kind_names_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="did you mean 'frames'"):
        open_dataset(DatasetSettings(kind="frame"))


# ---- ucsd


def test_ucsd_is_found_from_any_folder_of_its_archive(tmp_path: Path) -> None:
    base = layouts.make_ucsd(tmp_path / "UCSD_Anomaly_Dataset.v1p2")
    for root in (tmp_path, base.parent, base):
        assert UcsdDataset(root).base == base


def test_ucsd_masks_are_read_whatever_their_names_and_without_test005(tmp_path: Path) -> None:
    layouts.make_ucsd(tmp_path, tests=(4, 6, 10), masked=(4, 6, 10))
    dataset = UcsdDataset(tmp_path)
    assert [video.id for video in dataset.videos() if video.split == "test"] == ["Test004", "Test006", "Test010"]
    for name in ("Test004", "Test006"):
        labels = labels_of(dataset, name)
        assert anomalous(labels) == list(range(5, 11))
        assert labels.pixel_mask_THW is not None
        np.testing.assert_array_equal(labels.pixel_mask_THW, layouts.mask_THW(range(5, 11)))
        assert labels.source == f"pixel masks {name}_gt"


def test_ucsd_intervals_count_from_one_and_include_both_ends(tmp_path: Path) -> None:
    base = layouts.make_ucsd(tmp_path, name="UCSDped1", tests=(1, 2), masked=(1,), anomalous=range(4, 9))
    layouts.write_intervals(base / "Test" / "UCSDped1.m", ["5:9", "1:2, 19:20"])
    dataset = UcsdDataset(tmp_path, part="ped1")
    first, second = labels_of(dataset, "Test001"), labels_of(dataset, "Test002")
    assert (anomalous(first), first.source) == ([4, 5, 6, 7, 8], "UCSDped1.m")
    assert first.pixel_mask_THW is not None
    assert (anomalous(second), second.pixel_mask_THW) == ([0, 1, 18, 19], None)


def test_ucsd_entries_belong_to_video_numbers_though_one_folder_is_missing(tmp_path: Path) -> None:
    base = layouts.make_ucsd(tmp_path, tests=(1, 3), masked=())
    layouts.write_intervals(base / "Test" / "UCSDped2.m", ["1:1", "2:2", "3:3"])
    assert anomalous(labels_of(UcsdDataset(tmp_path), "Test003")) == [2]


def test_ucsd_says_where_intervals_and_masks_disagree(tmp_path: Path) -> None:
    base = layouts.make_ucsd(tmp_path, tests=(1,), masked=(1,), anomalous=range(5, 11))
    layouts.write_intervals(base / "Test" / "UCSDped2.m", ["6:13"])
    assert labels_of(UcsdDataset(tmp_path), "Test001").source == "UCSDped2.m (2 frames differ from the pixel masks)"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["5:21"], r"UCSDped2\.m: expected .* within the 20 frames of video Test001, found frames 4 to 20"),
        (["9:5"], "within the 20 frames"),
        (["0:5"], "within the 20 frames"),
        (["five"], r"expected a range of frames such as 61:180, found 'five'"),
    ],
)
def test_ucsd_intervals_that_do_not_fit_are_refused(tmp_path: Path, lines: list[str], message: str) -> None:
    base = layouts.make_ucsd(tmp_path, tests=(1,), masked=())
    layouts.write_intervals(base / "Test" / "UCSDped2.m", lines)
    with pytest.raises(DataError, match=message):
        labels_of(UcsdDataset(tmp_path), "Test001")


def test_ucsd_interval_file_is_data_and_never_a_program(tmp_path: Path) -> None:
    base = layouts.make_ucsd(tmp_path, tests=(1,), masked=())
    (base / "Test" / "UCSDped2.m").write_text("for i=1:3, TestVideoFile{i}.gt_frame = [i:20]; end")
    with pytest.raises(DataError, match="restore the published file"):
        labels_of(UcsdDataset(tmp_path), "Test001")


def test_ucsd_with_fewer_masks_than_frames_names_the_folder_and_both_numbers(tmp_path: Path) -> None:
    base = layouts.make_ucsd(tmp_path, tests=(6,), masked=(6,))
    (base / "Test" / "Test006_gt" / "frame020.bmp").unlink()
    with pytest.raises(DataError, match=r"Test006_gt: expected labels of 20 frames .* found 19"):
        labels_of(UcsdDataset(tmp_path), "Test006")


def test_ucsd_masks_of_another_size_are_refused(tmp_path: Path) -> None:
    base = layouts.make_ucsd(tmp_path, tests=(1,), masked=(1,))
    layouts.write_image(base / "Test" / "Test001_gt" / "003.bmp", layouts.picture(0, 10, 12))
    with pytest.raises(DataError, match=r"003\.bmp: expected masks of 24 x 36 pixels .* found 10 x 12"):
        labels_of(UcsdDataset(tmp_path), "Test001")


def test_ucsd_masks_for_some_videos_only_need_the_interval_file(tmp_path: Path) -> None:
    layouts.make_ucsd(tmp_path, tests=(1, 2), masked=(1,))
    with pytest.raises(DataError, match=r"Test002_gt: expected masks or UCSDped2\.m, found neither"):
        labels_of(UcsdDataset(tmp_path), "Test002")


# ---- frames


@pytest.mark.parametrize(("pattern", "first"), [("{:03d}.jpg", 0), ("{}.jpg", 1), ("{:06d}.png", 1), ("img_{}.png", 95)])
def test_frames_are_ordered_by_number_from_any_number_on(tmp_path: Path, pattern: str, first: int) -> None:
    layouts.make_frames_layout(tmp_path)
    layouts.write_frames(tmp_path / "training" / "frames" / "04", pattern, first)
    video = next(video for video in FramesDataset(tmp_path).videos() if video.id == "04")
    assert [path.name for path in video.files] == [pattern.format(first + i) for i in range(FRAMES)]


def test_concatenated_labels_are_cut_in_natural_order(tmp_path: Path) -> None:
    layouts.make_frames_layout(tmp_path, tests=("1", "2", "10"), counts=(20, 22, 24))
    labels_N = np.zeros(66, np.uint8)
    labels_N[[0, 20, 21, 42, 65]] = 1
    np.save(tmp_path / f"frame_labels_{tmp_path.name}.npy", labels_N)
    dataset = FramesDataset(tmp_path)
    found = {name: anomalous(labels_of(dataset, name, n)) for name, n in (("1", 20), ("2", 22), ("10", 24))}
    assert found == {"1": [0], "2": [0, 1], "10": [0, 23]}


def test_labels_of_another_set_than_was_named_are_refused_by_every_command(tmp_path: Path) -> None:
    root = layouts.make_frames_layout(tmp_path / "avenue", tests=("1", "2"), counts=(20, 22))
    np.save(root / "frame_labels_avenue.npy", np.arange(42) % 6 == 0)
    assert anomalous(labels_of(FramesDataset(root, label_set="7"), "1", 20)) == [0, 6, 12, 18]
    with pytest.raises(DataError, match=r"avenue\.npy: expected 8 anomalous frames \(dataset\.labels\), found 7"):
        labels_of(FramesDataset(root, label_set="8"), "1", 20)


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("version", ["5", "7.3"])
def test_mat_intervals_of_both_generations_count_from_one_and_include_both_ends(
    tmp_path: Path, version: str, wrapped: bool
) -> None:
    root = layouts.make_frames_layout(tmp_path / "ped2", tests=("01", "02", "03"), counts=(20, 20, 20))
    gts = ([[1, 19], [2, 20]], [[5], [7]], np.empty((2, 0)))
    layouts.write_mat(root / "ped2.mat", gts, version=version, wrapped=wrapped)
    dataset = FramesDataset(root)
    found = [anomalous(labels_of(dataset, name)) for name in ("01", "02", "03")]
    assert found == [[0, 1, 18, 19], [4, 5, 6], []]


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_mat_rows_of_start_and_end_are_told_from_columns(tmp_path: Path, version: str) -> None:
    rows = layouts.write_mat(tmp_path / "a.mat", [[[3, 5], [8, 9], [11, 12]], [[1, 4], [7, 9]], [[2, 9]]], version=version)
    assert read_mat_intervals(rows, num_videos=3) == [[(2, 5), (7, 9), (10, 12)], [(0, 4), (6, 9)], [(1, 9)]]
    columns = layouts.write_mat(tmp_path / "b.mat", [[[1, 7], [4, 9]], [[2], [9]]], version=version)
    assert read_mat_intervals(columns, num_videos=2) == [[(0, 4), (6, 9)], [(1, 9)]]


@pytest.mark.parametrize("version", ["5", "7.3"])
@pytest.mark.parametrize(
    ("gts", "message"),
    [
        ([[[1], [2]]], r"ped2\.mat: expected intervals of 2 test videos, found 1 entries"),
        ([[[1], [2]], [[19], [21]]], r"ped2\.mat: expected .* within the 20 frames of video 02, found frames 18 to 20"),
        ([[[1], [2]], [[1.5], [3]]], r"expected whole frame numbers for test video 2"),
        ([[[1], [2]], np.ones((3, 3))], r"expected 2 x N starts and ends for test video 2"),
    ],
)
def test_mat_intervals_that_do_not_fit_are_refused(tmp_path: Path, version: str, gts: list[object], message: str) -> None:
    root = layouts.make_frames_layout(tmp_path / "ped2", counts=(20, 20))
    layouts.write_mat(root / "ped2.mat", gts, version=version)
    with pytest.raises(DataError, match=message):
        labels_of(FramesDataset(root), "02")


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0 MAT-file", b"\x89HDF\r\n\x1a\n" + bytes(600)])
def test_a_damaged_mat_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ped2.mat"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"ped2\.mat: expected a MATLAB file with gt, found"):
        read_mat_intervals(path, num_videos=2)


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_a_mat_file_without_gt_says_so(tmp_path: Path, version: str) -> None:
    import h5py
    import scipy.io

    path = tmp_path / "a.mat"
    if version == "5":
        scipy.io.savemat(path, {"other": np.ones(3)})
    else:
        with h5py.File(path, "w") as file:
            file["other"] = np.ones(3)
    with pytest.raises(DataError, match=r"expected the variable gt .* found none"):
        read_mat_intervals(path, num_videos=3)


def test_labels_of_another_number_than_the_frames_suggest_missing_videos(tmp_path: Path) -> None:
    layouts.make_frames_layout(tmp_path / "ped2")
    np.save(tmp_path / "ped2" / "frame_labels_ped2.npy", np.zeros(40))
    with pytest.raises(DataError, match=r"frame_labels_ped2\.npy: expected labels of the 42 frames of 2 test .* found 40"):
        labels_of(FramesDataset(tmp_path), "01")


@pytest.mark.parametrize("place", ["ped2", "."])
def test_labels_are_found_in_the_folder_and_beside_it(tmp_path: Path, place: str) -> None:
    layouts.make_frames_layout(tmp_path / "ped2")
    np.save(tmp_path / place / "frame_labels_ped2.npy", np.ones(42))
    assert labels_of(FramesDataset(tmp_path / "ped2"), "01").frame_T.all()


def test_labels_are_found_through_a_link_of_another_name(tmp_path: Path) -> None:
    layouts.make_frames_layout(tmp_path / "store" / "4711")
    np.save(tmp_path / "frame_labels_ped2.npy", np.ones(42))
    (tmp_path / "ped2").symlink_to(tmp_path / "store" / "4711")
    assert labels_of(FramesDataset(tmp_path / "ped2"), "01").source == "frame_labels_ped2.npy"


def test_several_label_files_of_other_names_are_not_guessed_among(tmp_path: Path) -> None:
    layouts.make_frames_layout(tmp_path / "mine")
    for name in ("avenue", "ped2"):
        np.save(tmp_path / "mine" / f"frame_labels_{name}.npy", np.ones(42))
    with pytest.raises(DataError, match=r"expected one label file, best named frame_labels_mine\.npy, found .*_avenue"):
        labels_of(FramesDataset(tmp_path / "mine"), "01")


def test_a_layout_without_labels_has_none_and_a_pickled_json_is_not_touched(tmp_path: Path) -> None:
    root = layouts.make_frames_layout(tmp_path / "ped2")
    (root / "gt_label.json").write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    dataset = FramesDataset(root)
    video = next(video for video in dataset.videos() if video.split == "test")
    assert dataset.labels(video, 20) is None
    assert not (tmp_path / "exploded").exists()


class Bomb:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.path),)


def test_a_pickled_npy_is_refused_and_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "frame_labels.npy"
    np.save(path, np.array([Bomb(tmp_path / "exploded")]), allow_pickle=True)
    with pytest.raises(DataError, match=r"frame_labels\.npy: expected NumPy data without Python objects"):
        load_npy(path)
    path.write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    with pytest.raises(DataError, match="pickles are never loaded"):
        load_npy(path)
    assert not (tmp_path / "exploded").exists()


def test_several_datasets_in_the_root_are_not_guessed_among(tmp_path: Path) -> None:
    for name in ("avenue", "ped2"):
        layouts.make_frames_layout(tmp_path / name)
    with pytest.raises(DataError, match=r"found several: avenue, ped2; set dataset\.root"):
        FramesDataset(tmp_path).videos()


# ---- folder


def test_folder_ids_are_paths_without_suffix(tmp_path: Path) -> None:
    layouts.make_folder(tmp_path)
    names = [f"{video.split}/{video.id}" for video in FolderDataset(tmp_path).videos()]
    assert names == ["test/night/gate", "test/night/yard", "test/noon", "train/cam2/day", "train/lobby"]


def test_folder_labels_may_be_arrays_rows_or_masks(tmp_path: Path) -> None:
    layouts.make_folder(tmp_path)
    layouts.write_labels(tmp_path / "labels" / "frames" / "night" / "gate.npy", [2, 3])
    layouts.write_labels(tmp_path / "labels" / "noon.npy", [])
    layouts.write_masks(tmp_path / "labels" / "masks" / "night" / "yard.npz", layouts.mask_THW([7]))
    dataset = FolderDataset(tmp_path)
    assert anomalous(labels_of(dataset, "night/gate")) == [2, 3]
    assert anomalous(labels_of(dataset, "noon")) == []
    yard = labels_of(dataset, "night/yard")
    assert (anomalous(yard), yard.source) == ([7], "labels/masks/night/yard.npz")


def test_folder_csv_intervals_start_at_zero_and_exclude_the_end(tmp_path: Path) -> None:
    layouts.make_folder(tmp_path)
    (tmp_path / "labels.csv").write_text("video,start,end\nnoon,0,2\nnight/gate,18,20\nnoon, 5 ,6\n", encoding="utf-8-sig")
    dataset = FolderDataset(tmp_path)
    assert anomalous(labels_of(dataset, "noon")) == [0, 1, 5]
    assert anomalous(labels_of(dataset, "night/gate")) == [18, 19]
    assert anomalous(labels_of(dataset, "night/yard")) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,start,end\n", r"labels\.csv: expected the header video,start,end \(frames\) or .*, found 'file,start,end'"),
        ("video,start,end\nnon,1,2\n", r"labels\.csv, line 2: expected a test video, found 'non'; did you mean 'noon'"),
        ("video,start,end\nnoon,1\n", r"line 2: expected video,start,end with two times, found 'noon,1'"),
        ("video,start,end\nnoon,5,5\n", r"line 2: expected 0 <= start < end"),
        ("video,start,end\nnoon,5,21\n", r"line 2: expected .* the 20 frames of recording noon, found frames 5 to 20"),
    ],
)
def test_folder_csv_mistakes_are_named_by_line(tmp_path: Path, text: str, message: str) -> None:
    layouts.make_folder(tmp_path)
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        labels_of(FolderDataset(tmp_path), "noon")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(19), r"noon\.npy: expected labels of 20 frames \(video noon\), found 19"),
        (np.full(20, 2), "expected labels 0 .normal. and 1"),
        (np.full(20, np.nan), "expected labels 0 .normal. and 1"),
        (np.zeros((4, 5)), r"\(N,\) or \(1, N\), found shape \(4, 5\)"),
        (np.array(["a"] * 20), "expected labels 0"),
    ],
    ids=["length", "values", "nan", "shape", "text"],
)
def test_folder_labels_that_do_not_fit_are_refused(tmp_path: Path, values: np.ndarray, message: str) -> None:
    layouts.make_folder(tmp_path)
    (tmp_path / "labels").mkdir()
    np.save(tmp_path / "labels" / "noon.npy", values)
    with pytest.raises(DataError, match=message):
        labels_of(FolderDataset(tmp_path), "noon")


def test_folder_labels_for_some_test_videos_only_are_refused(tmp_path: Path) -> None:
    layouts.make_folder(tmp_path)
    layouts.write_labels(tmp_path / "labels" / "noon.npy", [1])
    with pytest.raises(DataError, match=r"gate\.npy: expected labels, since other test videos have them .*noon\.npy"):
        labels_of(FolderDataset(tmp_path), "night/gate")


def test_folder_with_two_sources_of_labels_is_refused(tmp_path: Path) -> None:
    layouts.make_folder(tmp_path)
    layouts.write_labels(tmp_path / "labels" / "noon.npy", [1])
    (tmp_path / "labels.csv").write_text("video,start,end\n")
    with pytest.raises(DataError, match=r"noon\.npy: expected one source of labels for noon, found .*labels\.csv too"):
        labels_of(FolderDataset(tmp_path), "noon")


def test_folder_masks_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    layouts.make_folder(tmp_path)
    path = layouts.write_masks(tmp_path / "labels" / "masks" / "night" / "yard.npz", layouts.mask_THW([7], 19))
    with pytest.raises(DataError, match=r"yard\.npz: expected labels of 20 frames .* found 19"):
        labels_of(FolderDataset(tmp_path), "night/yard")
    layouts.write_masks(path, np.ones((20, 8, 8), np.bool_))
    with pytest.raises(DataError, match=r"expected masks of 24 x 36 pixels .* found 8 x 8"):
        labels_of(FolderDataset(tmp_path), "night/yard")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"yard\.npz"):
        labels_of(FolderDataset(tmp_path), "night/yard")


def test_two_videos_with_one_id_are_both_named(tmp_path: Path) -> None:
    layouts.write_video(tmp_path / "test" / "gate.mp4")
    layouts.write_video(tmp_path / "test" / "gate.avi", codec="MJPG")
    with pytest.raises(DataError, match=r"gate\.avi: expected one test video with the id 'gate', found .*gate\.mp4 too"):
        FolderDataset(tmp_path).videos()


def test_the_same_id_in_both_splits_is_fine(tmp_path: Path) -> None:
    for split in ("train", "test"):
        layouts.write_video(tmp_path / split / "gate.mp4")
    assert [video.split for video in FolderDataset(tmp_path).videos()] == ["test", "train"]


def test_loose_images_among_folders_say_where_to_put_them(tmp_path: Path) -> None:
    layouts.write_frames(tmp_path / "train", count=2)
    with pytest.raises(DataError, match=r"train: expected videos or one folder of frames per video, found images; make"):
        FolderDataset(tmp_path).videos()


@pytest.mark.parametrize("name", ["a..b", "Straße 7", "e\u0301", "\u00e9", "100%", "a@b", "x\\y", "'quoted'", "[1]"])
def test_odd_names_are_kept_as_ids(tmp_path: Path, name: str) -> None:
    layouts.write_frames(tmp_path / "train" / name)
    video = FolderDataset(tmp_path).videos()[0]
    assert video.id == name
    with open_frames(video) as reader:
        assert layouts.told(reader.read(19, 20)[0]) == 19


def test_names_that_terminals_trip_over_are_quoted_in_ids(tmp_path: Path) -> None:
    for name in ("a\nb", "a\x1b[2Jb", "a\u202eb", os.fsdecode(b"a\xffb")):
        layouts.write_frames(tmp_path / "train" / name, count=1)
    ids = [video.id for video in FolderDataset(tmp_path).videos()]
    assert ids == ["a%0Ab", "a%1B[2Jb", "a%202Eb", "a%DCFFb"]


def test_a_quoted_id_that_another_video_has_by_nature_is_a_double(tmp_path: Path) -> None:
    for name in ("a\nb", "a%0Ab"):
        layouts.write_frames(tmp_path / "train" / name, count=1)
    with pytest.raises(DataError, match="expected one train video with the id 'a%0Ab'"):
        FolderDataset(tmp_path).videos()


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    layouts.write_frames(tmp_path / "elsewhere" / "yard")
    layouts.write_frames(tmp_path / "data" / "train" / "lobby")
    train = tmp_path / "data" / "train"
    (train / "linked").symlink_to(tmp_path / "elsewhere")
    (train / "lobby" / "up").symlink_to(train)
    (train / "itself").symlink_to(train / "itself")
    (train / "nowhere.mp4").symlink_to(tmp_path / "none.mp4")
    assert [video.id for video in FolderDataset(tmp_path / "data").videos()] == ["linked/yard", "lobby", "nowhere"]


def test_an_empty_or_gapped_folder_is_a_matter_of_that_video(tmp_path: Path) -> None:
    (tmp_path / "train" / "empty").mkdir(parents=True)
    layouts.write_frames(tmp_path / "train" / "gapped")
    (tmp_path / "train" / "gapped" / "007.jpg").unlink()
    layouts.write_frames(tmp_path / "train" / "doubled")
    layouts.write_image(tmp_path / "train" / "doubled" / "007.png", layouts.picture(7))
    layouts.write_frames(tmp_path / "train" / "unnumbered")
    layouts.write_image(tmp_path / "train" / "unnumbered" / "cover.png", layouts.picture(7))
    empty, messages = "expected frames, found an empty folder; fill or remove it", {}
    for video in FolderDataset(tmp_path).videos():
        with pytest.raises(DataError) as caught:
            open_frames(video)
        messages[video.id] = str(caught.value)
    assert empty in messages["empty"]
    assert "007.jpg: expected this frame after 006.jpg, found 008.jpg; restore the 1 missing" in messages["gapped"]
    assert "expected one file per frame, found 007.jpg as well for frame 7" in messages["doubled"]
    assert "cover.png: expected a number in the name of every frame" in messages["unnumbered"]


def test_a_video_whose_name_would_crash_opencv_is_read(tmp_path: Path) -> None:
    path = layouts.write_video(tmp_path / "train" / "ok.mp4")
    path.rename(path.with_name(os.fsdecode(b"\xff.mp4")))
    program = f"""
from pathlib import Path
from pipeline.datasets.folder import FolderDataset
from pipeline.datasets.reader import open_frames
(video,) = FolderDataset(Path({str(tmp_path)!r})).videos()
with open_frames(video) as reader:
    print(video.id, len(reader.read(0, {layouts.FRAMES})), reader.next_frame())
"""
    root = Path(__file__).parents[2]
    result = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, f"%DCFF {layouts.FRAMES} None\n"), result.stderr


# ---- synthetic


def test_synthetic_labels_and_masks_agree(tmp_path: Path) -> None:
    labels = labels_of(SyntheticDataset(layouts.make_synthetic(tmp_path)), "test-000")
    assert anomalous(labels) == [4, 5, 6, 7, 8]
    assert labels.pixel_mask_THW is not None
    np.testing.assert_array_equal([mask_HW.any() for mask_HW in labels.pixel_mask_THW], labels.frame_T)


def test_a_synthetic_test_video_without_labels_is_refused(tmp_path: Path) -> None:
    layouts.make_synthetic(tmp_path)
    for path in (tmp_path / "labels").rglob("*.n*"):
        path.unlink()
    with pytest.raises(DataError, match=r"test-000\.npy: expected the labels of test-000, found none"):
        labels_of(SyntheticDataset(tmp_path), "test-000")


# ---- the real thing


@pytest.mark.skipif(not (SHARED / "data" / "ped2").is_dir(), reason="needs ../shared/data/ped2, no part of the repository")
@pytest.mark.parametrize("layout", ["ucsd", "frames"])
def test_real_ped2_has_the_published_numbers_in_both_layouts(tmp_path: Path, layout: str) -> None:
    tool = SHARED / "tools" / "unpack_ped2.py"
    subprocess.run([sys.executable, str(tool), str(tmp_path), "--layout", layout], check=True)
    dataset = open_dataset(DatasetSettings(kind=layout, root=tmp_path))
    videos = {split: [video for video in dataset.videos() if video.split == split] for split in ("train", "test")}
    assert {split: len(found) for split, found in videos.items()} == {"train": 16, "test": 12}
    frames = {split: sum(len(video.files) for video in found) for split, found in videos.items()}
    assert frames == {"train": 2550, "test": 2010}
    labels = [labels_of(dataset, video.id, len(video.files)) for video in videos["test"]]
    truth_N = np.load(SHARED / "data" / "ped2" / "frame_labels.npy")
    np.testing.assert_array_equal(np.concatenate([label.frame_T for label in labels]), truth_N)
    assert truth_N.sum() == 1648
    if layout == "ucsd":
        with np.load(SHARED / "data" / "ped2" / "pixel_masks.npz") as bits:
            for number, label in enumerate(labels, start=1):
                mask_THW = np.unpackbits(bits[f"{number:02d}"], axis=-1, count=360).astype(np.bool_)
                assert label.pixel_mask_THW is not None
                np.testing.assert_array_equal(label.pixel_mask_THW, mask_THW)
