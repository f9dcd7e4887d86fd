"""True regions in files of two forms, and on any layout."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.config import DatasetSettings
from pipeline.contract import DataError
from pipeline.datasets.registry import open_dataset
from pipeline.datasets.track_files import read_track_file
from pipeline.datasets.ubnormal import UbnormalDataset
from scoring.mask_tracks import tracks_of_labels
from scoring.track_files import read_tracks
from tests.pipeline import layouts

TEXTS = {
    "boxes": "track,frame,x1,y1,x2,y2\n3,0,1,2,4,6\n3,1,2,2,5,6\n\n8,1,0,0,0,0\n",
    "merl": "1 3 3.5 5 4 5\n2 3 4.5 5 4 5\n2 8 1 1 1 1\n",
}


@pytest.mark.parametrize("form", TEXTS)
def test_both_forms_say_the_same_and_what_the_regions_command_reads(tmp_path: Path, form: str) -> None:
    (tmp_path / "01.txt").write_text(TEXTS[form])
    row_R6 = read_track_file(tmp_path / "01.txt")
    assert row_R6.tolist() == [[3, 0, 1, 2, 4, 6], [3, 1, 2, 2, 5, 6], [8, 1, 0, 0, 0, 0]]
    theirs = read_tracks(tmp_path, form)["01"]
    np.testing.assert_array_equal(theirs.box_R4, row_R6[:, 2:])
    np.testing.assert_array_equal(theirs.frame_R, row_R6[:, 1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3\n", "expected 6 columns track,frame,x1,y1,x2,y2, found 3"),
        ("1 2 3\n", "expected 6 columns frame track cx cy w h, found 3"),
        ("1,2,3,4,5,nan\n", "found '1,2,3,4,5,nan'"),
        ("1,0.5,3,4,5,6\n", "expected frame to be whole numbers from 0, found 0.5"),
        ("0 1 3 4 5 6\n", "expected frame to be whole numbers from 0, found -1"),
        ("1,2,5,4,3,6\n", r"expected boxes x1,y1,x2,y2 with x1 <= x2 and y1 <= y2, found 5,4,3,6 \(1 of 1\)"),
        ("1,2,3,4,5,6\n1,2,3,4,5,6\n", "expected one box of track 1 in frame 2, found 2"),
    ],
)
def test_lines_of_another_form_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "01.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        read_track_file(tmp_path / "01.txt")


def test_tracks_of_a_folder_are_given_to_any_layout(tmp_path: Path) -> None:
    layouts.make_ucsd(tmp_path)
    (tmp_path / "tracks").mkdir()
    (tmp_path / "tracks" / "Test001.txt").write_text("7,5,0,0,3,3\n")
    dataset = open_dataset(DatasetSettings(kind="ucsd", root=tmp_path, tracks=tmp_path / "tracks"))
    tracks = tracks_of_labels(layouts.labels_of(dataset, "Test001"))
    assert tracks is not None
    assert (tracks.track_R.tolist(), tracks.box_R4.tolist()) == ([7], [[0, 0, 3, 3]])
    assert (tmp_path / "tracks" / "Test001.txt") in dataset.label_files(dataset.videos()[0])
    with pytest.raises(DataError, match=r"Test002\.txt: expected the tracks of Test002, which has anomalous"):
        layouts.labels_of(dataset, "Test002")
    (tmp_path / "tracks" / "Test001.txt").write_text("7,20,0,0,3,3\n")
    with pytest.raises(DataError, match=r"within the 20 frames of video Test001, found frame 20 \(from 0\)"):
        layouts.labels_of(dataset, "Test001")


def test_a_folder_of_tracks_that_is_not_there_is_a_problem_before_any_work(tmp_path: Path) -> None:
    layouts.make_ucsd(tmp_path)
    dataset = open_dataset(DatasetSettings(kind="ucsd", root=tmp_path, tracks=tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"nowhere: expected a folder of tracks \(dataset.tracks\), found none"):
        dataset.videos()


def test_ubnormal_objects_are_tracks_while_they_can_be_seen(tmp_path: Path) -> None:
    dataset = UbnormalDataset(layouts.make_ubnormal(tmp_path))
    name = layouts.UBNORMAL["abnormal_test"][0]
    hidden = np.zeros((layouts.HEIGHT, layouts.WIDTH), np.uint8)
    layouts.write_image(tmp_path / "Scene2" / f"{name}_annotations" / f"{name}_0006_gt.png", hidden)
    tracks = tracks_of_labels(layouts.labels_of(dataset, name))
    assert tracks is not None
    found = sorted(zip(tracks.track_R.tolist(), tracks.frame_R.tolist(), tracks.box_R4.tolist(), strict=True))
    assert found == [
        *((7, frame, [3, 4, 7, 7]) for frame in (4, 5, 7, 8)),
        *((9, frame, [20, 10, 29, 11]) for frame in (8, 9, 10)),
    ]
    normal = tracks_of_labels(layouts.labels_of(dataset, layouts.UBNORMAL["normal_test"][0]))
    assert normal is not None
    assert not len(normal.frame_R)
