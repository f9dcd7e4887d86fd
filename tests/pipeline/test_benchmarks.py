"""CUHK Avenue, ShanghaiTech and UBnormal are read as published, and what is wrong with them is said with the file."""

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import load_config
from pipeline.contract import DataError, Labels
from pipeline.datasets.avenue import AvenueDataset
from pipeline.datasets.base import Dataset
from pipeline.datasets.registry import open_dataset
from pipeline.datasets.shanghaitech import ShanghaiTechDataset
from pipeline.datasets.truth import load_npy_masks
from pipeline.datasets.ubnormal import UbnormalDataset, read_tracks
from tests.pipeline import layouts
from tests.pipeline.layouts import anomalous, labels_of

FRAMES = layouts.FRAMES


def masks(labels: Labels) -> np.ndarray:
    assert labels.pixel_mask_THW is not None
    return np.stack(list(labels.pixel_mask_THW))


def names(dataset: Dataset, split: str) -> list[str]:
    return [video.id for video in dataset.videos() if video.split == split]


CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_configuration_is_accepted_and_names_its_layout(path: Path) -> None:
    settings = load_config(path).dataset
    name = path.stem.removesuffix("-paper")
    assert settings.name == name
    dataset = open_dataset(settings)
    assert dataset.kind == settings.kind
    assert dataset.benchmark == (None if name in ("demo", "cameras") else name)


# ---- Avenue


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_avenue_masks_of_both_matlab_formats_are_the_label_set_3712(tmp_path: Path, version: str) -> None:
    layouts.make_avenue(tmp_path, version=version)
    dataset = AvenueDataset(tmp_path)
    labels = labels_of(dataset, "02")
    assert (anomalous(labels), labels.source) == ([4, 5, 6, 7, 8], "testing_label_mask (set 3712)")
    np.testing.assert_array_equal(masks(labels), layouts.mask_THW(range(4, 9)))
    assert names(dataset, "train") == ["01", "02"]


def test_avenue_is_found_from_the_folder_and_from_its_parent(tmp_path: Path) -> None:
    base = layouts.make_avenue(tmp_path)
    assert [AvenueDataset(root).base for root in (tmp_path, base)] == [base, base]
    assert anomalous(labels_of(AvenueDataset(base), "01")) == [4, 5, 6, 7, 8]


def test_avenue_label_set_3867_is_another_file_and_says_so(tmp_path: Path) -> None:
    layouts.make_avenue(tmp_path)
    labels_N = np.zeros(2 * FRAMES)
    labels_N[[2, FRAMES + 3, 2 * FRAMES - 1]] = 1
    np.save(tmp_path / "frame_labels_avenue.npy", labels_N[None])
    dataset = AvenueDataset(tmp_path, label_set="3867")
    first, second = labels_of(dataset, "01"), labels_of(dataset, "02")
    assert (anomalous(first), anomalous(second)) == ([2], [3, FRAMES - 1])
    assert first.source == "frame_labels_avenue.npy (set 3867)"
    np.testing.assert_array_equal(masks(first), layouts.mask_THW(range(4, 9)))


def test_avenue_label_set_3867_without_its_file_says_where_to_get_it(tmp_path: Path) -> None:
    layouts.make_avenue(tmp_path)
    with pytest.raises(DataError, match=r"frame_labels_avenue\.npy: expected the frame labels of set 3867, found none"):
        labels_of(AvenueDataset(tmp_path, label_set="3867"), "01")


def test_avenue_labels_of_another_number_than_the_counted_frames_are_refused(tmp_path: Path) -> None:
    layouts.make_avenue(tmp_path)
    np.save(tmp_path / "frame_labels_avenue.npy", np.zeros(2 * FRAMES - 1))
    with pytest.raises(DataError, match=r"expected labels of the 40 frames of 2 testing videos, found 39"):
        labels_of(AvenueDataset(tmp_path, label_set="3867"), "02")


def test_avenue_masks_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    layouts.make_avenue(tmp_path)
    path = tmp_path / "ground_truth_demo" / "testing_label_mask" / "1_label.mat"
    cells = list(layouts.mask_THW([3]).astype(np.uint8))
    for content, message in (
        (cells[:-1], r"1_label\.mat: expected labels of 20 frames \(video 01\), found 19"),
        ([*cells[:-1], np.zeros((8, 8))], r"expected masks of 24 x 36 pixels .* found 8 x 8"),
    ):
        layouts.write_mat(path, content, name="volLabel")
        with pytest.raises(DataError, match=message):
            labels_of(AvenueDataset(tmp_path), "01")
    layouts.write_mat(path, cells)
    with pytest.raises(DataError, match=r"1_label\.mat: expected the variable volLabel"):
        labels_of(AvenueDataset(tmp_path), "01")
    path.unlink()
    with pytest.raises(DataError, match=r"1_label\.mat: expected the masks of 01, since other videos have theirs"):
        labels_of(AvenueDataset(tmp_path), "01")


# ---- ShanghaiTech


def test_shanghaitech_trains_on_videos_and_tests_on_frames(tmp_path: Path) -> None:
    base = layouts.make_shanghaitech(tmp_path)
    for root in (tmp_path, base):
        dataset = ShanghaiTechDataset(root)
        assert (names(dataset, "train"), names(dataset, "test")) == (["01_001", "12_003"], ["01_0014", "12_0142"])
        assert [video.is_folder for video in dataset.videos()] == [True, True, False, False]
    labels = labels_of(dataset, "12_0142")
    assert (anomalous(labels), labels.source) == ([4, 5, 6, 7, 8], "test_frame_mask")
    np.testing.assert_array_equal(masks(labels), layouts.mask_THW(range(4, 9)))


def test_shanghaitech_pixel_masks_stand_in_for_missing_frame_masks(tmp_path: Path) -> None:
    base = layouts.make_shanghaitech(tmp_path)
    (base / "testing" / "test_frame_mask" / "01_0014.npy").unlink()
    labels = labels_of(ShanghaiTechDataset(base), "01_0014")
    assert (anomalous(labels), labels.source) == ([4, 5, 6, 7, 8], "test_pixel_mask")
    (base / "testing" / "test_pixel_mask" / "01_0014.npy").unlink()
    with pytest.raises(DataError, match=r"01_0014\.npy: expected labels, as other test videos have them, found none"):
        labels_of(ShanghaiTechDataset(base), "01_0014")


def test_extracted_training_frames_are_taken_only_where_the_videos_are_missing(tmp_path: Path) -> None:
    base = layouts.make_shanghaitech(tmp_path)
    layouts.write_frames(base / "training" / "frames" / "01_001")
    both = ShanghaiTechDataset(base)
    assert not any(video.is_folder for video in both.videos() if video.split == "train")
    assert "left aside" in both.survey.remarks[0]
    for path in (base / "training" / "videos").iterdir():
        path.unlink()
    assert names(ShanghaiTechDataset(base), "train") == ["01_001"]


def test_masks_in_a_file_are_read_frame_by_frame(tmp_path: Path) -> None:
    path = tmp_path / "masks.npy"
    stored = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(400, 240, 320))
    stored[7, 3, 4] = 255
    stored.flush()
    del stored
    tracemalloc.start()
    found = load_npy_masks(path, 400, (240, 320), "v")
    marked = [frame for frame, mask_HW in enumerate(found) if mask_HW.any()]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert marked == [7]
    assert (found.shape, len(found), found[7].dtype.kind, int(found[7].sum())) == ((400, 240, 320), 400, "b", 1)
    assert peak < 1_000_000  # of the 30 MB in the file


def test_masks_in_a_file_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "masks.npy"
    for values, message in (
        (np.zeros((19, 24, 36), np.uint8), r"masks\.npy: expected labels of 20 frames \(video v\), found 19"),
        (np.zeros((20, 12, 36), np.uint8), "expected masks of 24 x 36 pixels like the frames, found 12 x 36"),
        (np.zeros((20, 24)), r"expected masks \(frames, height, width\), found float64 \(20, 24\)"),
    ):
        np.save(path, values)
        with pytest.raises(DataError, match=message):
            load_npy_masks(path, 20, (24, 36), "v")


class Bomb:
    """Unpickled, it leaves a folder behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", ["frame", "pixel"])
def test_a_pickle_among_the_masks_is_refused_and_never_loaded(tmp_path: Path, kind: str) -> None:
    base = layouts.make_shanghaitech(tmp_path)
    bomb = np.array([Bomb(tmp_path / "exploded")], object)
    np.save(base / "testing" / f"test_{kind}_mask" / "01_0014.npy", bomb, allow_pickle=True)
    with pytest.raises(DataError, match=r"01_0014\.npy: expected NumPy data without Python objects"):
        labels_of(ShanghaiTechDataset(base), "01_0014")
    assert not (tmp_path / "exploded").exists()


# ---- UBnormal


def test_ubnormal_trains_on_normal_video_only_and_leaves_validation_aside(tmp_path: Path) -> None:
    dataset = UbnormalDataset(layouts.make_ubnormal(tmp_path))
    assert names(dataset, "train") == sorted(layouts.UBNORMAL["normal_training"])
    assert names(dataset, "test") == ["abnormal_scene_2_scenario_4", "normal_scene_2_scenario_3"]
    assert sum("1 videos are left aside" in remark for remark in dataset.survey.remarks) == 3


def test_ubnormal_tracks_say_which_objects_are_anomalous_when(tmp_path: Path) -> None:
    labels = labels_of(UbnormalDataset(layouts.make_ubnormal(tmp_path)), "abnormal_scene_2_scenario_4")
    assert anomalous(labels) == list(range(4, 11))
    expected = np.zeros((FRAMES, layouts.HEIGHT, layouts.WIDTH), np.bool_)
    expected[4:9, 4:8, 3:8] = True
    expected[8:11, 10:12, 20:30] = True
    np.testing.assert_array_equal(masks(labels), expected)


def test_ubnormal_corrected_tracks_go_first(tmp_path: Path) -> None:
    layouts.make_ubnormal(tmp_path)
    name = "abnormal_scene_2_scenario_4"
    (tmp_path / "Scene2" / f"{name}_annotations" / f"{name}_new_tracks.txt").write_text("7.0,5,6\n")
    labels = labels_of(UbnormalDataset(tmp_path), name)
    assert (anomalous(labels), labels.source) == ([5, 6], f"{name}_new_tracks.txt")


def test_ubnormal_normal_videos_need_no_annotations(tmp_path: Path) -> None:
    labels = labels_of(UbnormalDataset(layouts.make_ubnormal(tmp_path)), "normal_scene_2_scenario_3")
    assert anomalous(labels) == []
    assert masks(labels).shape == (FRAMES, layouts.HEIGHT, layouts.WIDTH)
    assert not masks(labels).any()


def test_ubnormal_lists_may_lie_in_the_root_and_are_asked_for_where_missing(tmp_path: Path) -> None:
    layouts.make_ubnormal(tmp_path)
    path = tmp_path / "scripts" / "normal_test_video_names.txt"
    path.rename(tmp_path / path.name)
    assert len(names(UbnormalDataset(tmp_path), "test")) == 2
    (tmp_path / path.name).unlink()
    with pytest.raises(DataError, match=r"normal_test_video_names\.txt: expected this list of videos .* found none"):
        UbnormalDataset(tmp_path).videos()


def test_ubnormal_names_every_listed_video_that_is_missing(tmp_path: Path) -> None:
    layouts.make_ubnormal(tmp_path)
    for name in ("normal_scene_1_scenario_1", "normal_scene_2_scenario_3"):
        (tmp_path / f"Scene{name.split('_')[2]}" / f"{name}.mp4").unlink()
    problems = [str(error) for error in UbnormalDataset(tmp_path).survey.problems]
    assert len(problems) == 2
    assert "Scene1/normal_scene_1_scenario_1.mp4: expected this video, which normal_training_video_names.txt" in problems[0]


def test_ubnormal_annotations_that_are_incomplete_name_the_first_missing_map(tmp_path: Path) -> None:
    layouts.make_ubnormal(tmp_path)
    name = "abnormal_scene_2_scenario_4"
    folder = tmp_path / "Scene2" / f"{name}_annotations"
    (folder / f"{name}_0009_gt.png").unlink()
    with pytest.raises(DataError, match=rf"expected an id map of each of the 7 frames in tracks, .* first {name}_0009_gt"):
        labels_of(UbnormalDataset(tmp_path), name)
    (folder / f"{name}_tracks.txt").unlink()
    with pytest.raises(DataError, match=r"_tracks\.txt: expected a readable file"):
        labels_of(UbnormalDataset(tmp_path), name)


@pytest.mark.parametrize("text", ["7,4", "7,x,9", "7,9,4", "7,-1,4", "7,1.5,4", "7 4 8", "7,1,inf"])
def test_ubnormal_tracks_of_another_form_are_named_by_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a_tracks.txt"
    path.write_text(f"1,2,3\n{text}\n")
    with pytest.raises(DataError, match=r"a_tracks\.txt, line 2: expected object,start,end, found"):
        read_tracks(path)
