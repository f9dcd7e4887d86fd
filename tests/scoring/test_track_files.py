"""Track and detection files as others write them, and tracks derived from pixel masks."""

import itertools
from pathlib import Path

import cv2
import hypothesis.extra.numpy
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings

from pipeline.contract import DataError
from scoring.mask_tracks import tracks_from_masks
from scoring.region_metrics import Tracks
from scoring.track_files import read_detections, read_tracks
from scoring.ubnormal_tracks import read_ubnormal


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path.parent


def rows_of(tracks: Tracks) -> list[tuple[float, ...]]:
    return [
        (int(track), int(frame), *box.tolist())
        for track, frame, box in zip(tracks.track_R, tracks.frame_R, tracks.box_R4, strict=True)
    ]


def test_lines_of_the_reference_are_read_as_they_stand(tmp_path: Path) -> None:
    folder = write(tmp_path / "01.txt", "0,5,10,20,30,40\n0,6,11,20,31,40.5\n\n1,6,0,0,3,3\n")
    assert rows_of(read_tracks(folder)["01"]) == [(0, 5, 10, 20, 30, 40), (0, 6, 11, 20, 31, 40.5), (1, 6, 0, 0, 3, 3)]


def test_a_line_of_column_names_is_skipped(tmp_path: Path) -> None:
    folder = write(tmp_path / "a.csv", "track,frame,x1,y1,x2,y2\n0,5,10,20,30,40\n")
    assert len(rows_of(read_tracks(folder)["a"])) == 1


def test_merl_boxes_keep_their_size_and_move_to_numbers_from_0(tmp_path: Path) -> None:
    folder = write(tmp_path / "Test001.txt", "1 3 10.5 20 10 5\n")  # frame track cx cy w h: columns 6 to 15, rows 18 to 22
    assert rows_of(read_tracks(folder, "merl")["Test001"]) == [(3, 0, 5, 17, 14, 21)]


def test_an_empty_track_file_is_a_normal_video(tmp_path: Path) -> None:
    write(tmp_path / "normal.txt", "\n")
    folder = write(tmp_path / "other.txt", "0,5,10,20,30,40\n")
    assert {video: len(tracks.frame_R) for video, tracks in read_tracks(folder).items()} == {"normal": 0, "other": 1}


def test_detections_keep_the_order_of_their_lines(tmp_path: Path) -> None:
    found = read_detections(write(tmp_path / "01.txt", "7,1,2,3,4,0.5\n2,1,2,3,4,0.5\n"))["01"]
    assert found.frame_D.tolist() == [7, 2]
    assert found.score_D.tolist() == [0.5, 0.5]


def test_a_video_with_a_slash_in_its_id_lies_in_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "night" / "gate.txt", "0,5,10,20,30,40\n")
    assert list(read_tracks(tmp_path)) == ["night/gate"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,5,10,20,30\n", "expected 6 columns track,frame,x1,y1,x2,y2, found 5"),
        ("1 3 10.5 20 10 5\n", "--format merl"),
        ("0,5,10,20,nan,40\n", "expected finite numbers, found '0,5,10,20,nan,40'"),
        ("0,5.5,10,20,30,40\n", "expected frame to be whole numbers from 0, found 5.5"),
        ("0,-1,10,20,30,40\n", "found -1"),
        ("0,5,30,20,10,40\n", "x1 <= x2 and y1 <= y2, found 30,20,10,40"),
        ("4,5,10,20,30,40\n4,5,10,20,30,41\n", "expected one box of track 4 in frame 5, found 2"),
        ("0,5,10,20,30,40\n0,6,10,20,30,x\n", "could not convert string 'x'"),
    ],
)
def test_a_line_that_is_not_of_the_format_is_refused_with_the_file(tmp_path: Path, text: str, message: str) -> None:
    folder = write(tmp_path / "01.txt", text)
    with pytest.raises(DataError) as caught:
        read_tracks(folder)
    assert "01.txt" in str(caught.value)
    assert message in str(caught.value)


def test_two_files_of_one_video_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "01.txt", "0,5,10,20,30,40\n")
    folder = write(tmp_path / "01.csv", "0,5,10,20,30,40\n")
    with pytest.raises(DataError, match="expected one file of video 01"):
        read_tracks(folder)


def test_a_folder_without_such_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected track files \(one \.txt or \.csv per video\), found none"):
        read_tracks(tmp_path)


def test_a_moving_blob_in_masks_is_one_track_with_its_box() -> None:
    mask_THW = np.zeros((3, 20, 30), np.bool_)
    for frame in range(3):
        mask_THW[frame, 5:9, 10 + frame : 16 + frame] = True
    assert rows_of(tracks_from_masks(mask_THW)) == [(0, frame, 10 + frame, 5, 15 + frame, 8) for frame in range(3)]


def test_blobs_apart_are_tracks_of_their_own_and_a_blob_that_was_gone_begins_anew() -> None:
    mask_THW = np.zeros((4, 20, 30), np.bool_)
    mask_THW[:, 2:4, 2:4] = True
    mask_THW[[0, 1, 3], 10:12, 20:22] = True
    rows = rows_of(tracks_from_masks(mask_THW))
    assert [row[:2] for row in rows if row[2] == 2] == [(0, 0), (0, 1), (0, 2), (0, 3)]
    assert [row[:2] for row in rows if row[2] == 20] == [(1, 0), (1, 1), (2, 3)]


def test_of_two_parts_of_a_blob_the_larger_continues_its_track() -> None:
    mask_THW = np.zeros((2, 10, 30), np.bool_)
    mask_THW[0, 5, 0:20] = True
    mask_THW[1, 5, 0:5] = True
    mask_THW[1, 5, 6:20] = True
    assert {row[2]: row[0] for row in rows_of(tracks_from_masks(mask_THW)) if row[1] == 1} == {0: 1, 6: 0}


def test_pixels_that_touch_at_a_corner_are_one_region() -> None:
    mask_THW = np.zeros((1, 4, 4), np.bool_)
    mask_THW[0, [1, 2], [1, 2]] = True
    assert rows_of(tracks_from_masks(mask_THW)) == [(0, 0, 1, 1, 2, 2)]


def test_the_pieces_into_which_a_post_cuts_an_object_are_one_region_and_people_apart_are_two() -> None:
    mask_THW = np.zeros((1, 240, 320), np.bool_)
    mask_THW[0, 100:140, 50:80] = True
    mask_THW[0, 100:140, 62:67] = False  # five pixels wide
    mask_THW[0, 100:140, 95:120] = True
    assert rows_of(tracks_from_masks(mask_THW)) == [(0, 0, 50, 100, 79, 139), (1, 0, 95, 100, 119, 139)]


def test_masks_without_anomaly_have_no_track() -> None:
    assert rows_of(tracks_from_masks(np.zeros((5, 4, 4), np.bool_))) == []


@pytest.fixture
def ubnormal(tmp_path: Path) -> Path:
    folder = tmp_path / "Scene1" / "abnormal_scene_1_scenario_2_annotations"
    write(folder / "abnormal_scene_1_scenario_2_tracks.txt", "1,0,2\n7,1,2")
    for frame in range(3):
        id_HW = np.zeros((12, 16), np.uint8)
        id_HW[2:5, frame : frame + 4] = 1
        if frame == 2:
            id_HW[8:10, 8:10] = 7
        assert cv2.imwrite(str(folder / f"abnormal_scene_1_scenario_2_{frame:04d}_gt.png"), id_HW)
    return folder


def test_ubnormal_regions_are_boxes_of_objects_where_they_can_be_seen(ubnormal: Path) -> None:
    tracks = read_ubnormal(ubnormal.parents[1])["abnormal_scene_1_scenario_2"]
    assert rows_of(tracks) == [(1, 0, 0, 2, 3, 4), (1, 1, 1, 2, 4, 4), (1, 2, 2, 2, 5, 4), (7, 2, 8, 8, 9, 9)]


def test_ubnormals_corrected_tracks_are_preferred(ubnormal: Path) -> None:
    write(ubnormal / "abnormal_scene_1_scenario_2_new_tracks.txt", "7,2,2\n")
    assert [row[:2] for row in rows_of(read_ubnormal(ubnormal.parent)["abnormal_scene_1_scenario_2"])] == [(7, 2)]


def test_a_missing_id_map_of_ubnormal_is_named_with_both_numbers(ubnormal: Path) -> None:
    (ubnormal / "abnormal_scene_1_scenario_2_0001_gt.png").unlink()
    with pytest.raises(DataError, match=r"from 0 to 2 of video abnormal_scene_1_scenario_2, found none of 1 .*holds 2"):
        read_ubnormal(ubnormal.parent)


@settings(deadline=None)
@given(hypothesis.extra.numpy.arrays(np.bool_, (4, 7, 9)))
def test_every_component_of_every_frame_is_one_region_and_a_track_only_goes_on_where_pixels_are_shared(
    mask_THW: np.ndarray,
) -> None:
    rows = rows_of(tracks_from_masks(mask_THW))
    label_THW = [scipy.ndimage.label(mask_HW, np.ones((3, 3)))[0] for mask_HW in mask_THW]
    for frame, label_HW in enumerate(label_THW):
        found = [(x.start, y.start, x.stop - 1, y.stop - 1) for y, x in scipy.ndimage.find_objects(label_HW)]
        assert sorted(found) == sorted(row[2:] for row in rows if row[1] == frame)
    by_track: dict[float, list[tuple[float, ...]]] = {}
    for row in rows:
        by_track.setdefault(row[0], []).append(row)
    for regions in by_track.values():
        frames = [int(row[1]) for row in regions]
        assert frames == list(range(frames[0], frames[0] + len(frames)))
        for before, now in itertools.pairwise(regions):
            assert before[2] <= now[4]
            assert now[2] <= before[4]
            assert before[3] <= now[5]
            assert now[3] <= before[5]
