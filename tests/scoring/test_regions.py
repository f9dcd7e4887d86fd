"""Regions in error maps: where they are, how large, how they score, and what normal video shows of them."""

from pathlib import Path

import numpy as np
import pytest
from made_detector import HEIGHT, WIDTH, MadeDetector, make_config, make_record
from numpy.typing import NDArray

from scoring.fusion import evidence
from scoring.protocols import DEPLOYMENT, PAPER
from scoring.region_store import file_name, write_detections
from scoring.regions import CELL, RegionRule, Regions, in_original, region_rule
from trainer.indicators import Tap

CELLS = (HEIGHT // CELL, WIDTH // CELL)


def rule(detector: MadeDetector | None = None, **settings: float) -> RegionRule:
    found = region_rule(detector or MadeDetector(), DEPLOYMENT, make_config(**settings).eval)
    assert found is not None
    return found


def ratio(z: float) -> float:
    """Return the error that the made-up detector takes for a z-score."""
    return float(10 ** (0.2 * z - 1.5))


def calm(frames: int) -> dict[str, NDArray[np.float64]]:
    return {name: np.full((frames, *CELLS), ratio(-2)) for name in ("spatial", "temporal")}


def test_a_cell_covers_as_many_pixels_as_models_average_over() -> None:
    from trainer.indicators import MAP_STRIDE

    assert CELL == MAP_STRIDE


def test_a_region_is_the_box_of_its_cells_in_pixels_of_the_stored_frame() -> None:
    maps = calm(5)
    maps["temporal"][3, 2:4, 5:9] = ratio(6)
    found = rule().find(np.arange(10, 15), maps)
    assert found.frame_R.tolist() == [13]
    assert found.box_R4.tolist() == [[20, 8, 35, 15]]
    assert found.source_R.tolist() == [1]


def test_its_score_is_the_sum_of_the_evidence_of_all_networks_at_its_worst_place() -> None:
    maps = calm(1)
    maps["temporal"][0, 2:4, 5:7], maps["spatial"][0, 2:4, 5:7] = ratio(4), ratio(7)
    maps["temporal"][0, 2, 5] = ratio(5)
    found = rule().find(np.arange(1), maps)
    weights = MadeDetector().weights
    expected = weights["temporal"] * evidence(np.array(5.0)) + weights["spatial"] * evidence(np.array(7.0))
    assert found.score_R.tolist() == [pytest.approx(float(expected))]
    assert found.source_R.tolist() == [0]


def test_two_places_are_two_regions_and_places_that_touch_at_a_corner_are_one() -> None:
    maps = calm(1)
    for y, x in ((1, 1), (2, 2), (6, 9), (6, 10)):
        maps["spatial"][0, y, x] = ratio(6)
    found = rule(region_min_area=0).find(np.arange(1), maps)
    assert sorted(found.box_R4.tolist()) == [[4, 4, 11, 11], [36, 24, 43, 27]]


def test_the_same_place_in_successive_frames_is_a_region_in_each() -> None:
    maps = calm(600)  # more than are looked at in one go
    maps["spatial"][250:260, 2:4, 2:4] = ratio(6)
    found = rule().find(np.arange(600), maps)
    assert found.frame_R.tolist() == list(range(250, 260))
    assert len(np.unique(found.box_R4, axis=0)) == 1


def test_a_halo_does_not_join_a_peak_to_its_neighbourhood() -> None:
    maps = calm(1)
    maps["temporal"][0, 1:7, 1:11] = ratio(2.5)
    maps["temporal"][0, 3:5, 4:6] = ratio(12)
    assert rule().find(np.arange(1), maps).box_R4.tolist() == [[16, 12, 23, 19]]


def test_what_is_smaller_than_the_smallest_area_is_no_region() -> None:
    maps = calm(1)
    maps["spatial"][0, 1, 1:3], maps["spatial"][0, 5, 5:8] = ratio(6), ratio(6)
    three_cells = 3 * CELL**2 / (HEIGHT * WIDTH)
    assert rule(region_min_area=three_cells).find(np.arange(1), maps).box_R4.tolist() == [[20, 20, 31, 23]]


def test_calm_video_has_no_regions_and_neither_has_a_video_without_frames() -> None:
    assert len(rule().find(np.arange(3), calm(3)).frame_R) == 0
    assert rule().find(np.arange(0), calm(0)).box_R4.shape == (0, 4)


def test_level_and_threshold_are_passed_by_normal_windows_no_more_often_than_asked_for() -> None:
    detector = MadeDetector()
    spatial_W, temporal_W = (detector.normal_values("last", f"{name}_peak") for name in ("spatial", "temporal"))
    assert spatial_W is not None
    assert temporal_W is not None
    maps = calm(detector.windows)
    maps["spatial"][:, 3, 3], maps["temporal"][:, 3, 3] = spatial_W, temporal_W  # all at one place: the worst case
    asked = rule(detector, region_rate=0.6, false_alarm_rate=0.1, region_min_area=0)
    found = asked.find(np.arange(detector.windows), maps)
    assert len(np.unique(found.frame_R)) / detector.windows == pytest.approx(0.6, abs=0.01)
    assert (found.score_R >= asked.threshold).sum() / detector.windows == pytest.approx(0.1, abs=0.01)
    maps["temporal"] = np.roll(maps["temporal"], 5, axis=2)
    assert len(np.unique(asked.find(np.arange(detector.windows), maps).frame_R)) / detector.windows < 0.6


def test_a_model_that_knows_the_worst_place_of_all_its_maps_together_is_held_to_that() -> None:
    class Exact(MadeDetector):
        def normal_values(self, tap: Tap, name: str) -> NDArray[np.float64] | None:
            return np.linspace(0, 2, 1001) if name == "map_peak" else super().normal_values(tap, name)

    exact = rule(Exact(), region_rate=0.6, false_alarm_rate=0.2)
    assert (exact.level, exact.threshold) == (pytest.approx(0.8), pytest.approx(1.6))


def test_networks_that_tell_nothing_count_alike_rather_than_not_at_all() -> None:
    detector = MadeDetector()
    detector.weights |= {"spatial": 0.0, "temporal": 0.0}
    assert rule(detector).weights == {"spatial": 1.0, "temporal": 1.0}


def test_a_model_that_does_not_know_its_training_windows_has_no_rule() -> None:
    detector = MadeDetector()
    detector.windows = 0
    assert region_rule(detector, DEPLOYMENT, make_config().eval) is None


def test_there_is_no_rule_where_scores_are_min_max_of_their_own_test_video() -> None:
    assert region_rule(MadeDetector(), PAPER, make_config().eval) is None


def test_boxes_in_the_original_hold_every_pixel_of_the_stored_ones() -> None:
    record = make_record("big", 20)
    big = type(record)(**{**vars(record), "height": 3 * HEIGHT, "width": WIDTH * 5 // 2})
    regions = Regions(
        frame_R=np.array([4, 4]),
        box_R4=np.array([[0, 0, 3, 3], [4, 8, WIDTH - 1, HEIGHT - 1]]),
        score_R=np.array([1.0, 2.0]),
        source_R=np.array([0, 1]),
    )
    found = in_original(regions, big, (HEIGHT, WIDTH))
    assert found.box_D4.tolist() == [[0, 0, 9, 11], [10, 24, big.width - 1, big.height - 1]]
    same = in_original(regions, record, (HEIGHT, WIDTH))
    np.testing.assert_array_equal(same.box_D4, regions.box_R4)


def test_a_file_of_regions_is_read_back_as_it_was(tmp_path: Path) -> None:
    from scoring.track_files import read_detections

    maps = calm(3)
    maps["spatial"][1, 2:4, 2:4], maps["temporal"][2, 5:7, 6:9] = ratio(6), ratio(9)
    detections = in_original(rule().find(np.arange(3), maps), make_record("v", 3), (HEIGHT, WIDTH))
    write_detections(tmp_path, "v", detections)
    write_detections(tmp_path, "calm", in_original(Regions.none(), make_record("calm", 3), (HEIGHT, WIDTH)))
    again = read_detections(tmp_path / "regions")
    assert len(again["calm"].frame_D) == 0
    np.testing.assert_array_equal(again["v"].frame_D, detections.frame_D)
    np.testing.assert_array_equal(again["v"].box_D4, detections.box_D4)
    np.testing.assert_allclose(again["v"].score_D, detections.score_D, rtol=1e-5)


@pytest.mark.parametrize("video", ["../../etc/passwd", ".hidden", "..", "a/b", "<script>", "x" * 500, "Überwachung 1"])
def test_the_file_of_any_video_lies_in_its_folder(tmp_path: Path, video: str) -> None:
    write_detections(tmp_path, video, in_original(Regions.none(), make_record(video, 3), (HEIGHT, WIDTH)))
    assert [path.parent.name for path in tmp_path.rglob("*.csv")] == ["regions"]
    assert not file_name(video).startswith(".")


def test_a_plain_id_is_the_name_of_its_file() -> None:
    assert file_name("Test 001_x") == "Test 001_x"
