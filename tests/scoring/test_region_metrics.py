"""RBDC and TBDC: against the reference program's answers, a slow counting of the definition, and by hand."""

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contract import DataError
from scoring.region_metrics import ALPHA, Detections, Tracks, overlap, region_metrics

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "rbdc_tbdc.json"
CASES = ("fpr>1", "low fpr (<1)", "no fp", "ties")
LISTING = ("01", "03", "02")
"""How the disk of the reference run listed its files: it sorts no names, and equal scores keep that order."""

Row = tuple[float, ...]


def tracks_of(*rows: Row) -> Tracks:
    """From rows track, frame, x1, y1, x2, y2."""
    row_R6 = np.array(rows, np.float64).reshape(-1, 6)
    return Tracks(track_R=row_R6[:, 0].astype(int), frame_R=row_R6[:, 1].astype(int), box_R4=row_R6[:, 2:])


def detections_of(*rows: Row) -> Detections:
    """From rows frame, x1, y1, x2, y2, score."""
    row_D6 = np.array(rows, np.float64).reshape(-1, 6)
    return Detections(frame_D=row_D6[:, 0].astype(int), box_D4=row_D6[:, 1:5], score_D=row_D6[:, 5])


@pytest.mark.skipif(not GOLDEN.is_file(), reason="needs ../shared/golden/rbdc_tbdc.json, no part of the repository")
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("ties", "prefix"), [("keep", "reference"), ("collapse", "tie_collapsed")])
def test_it_gives_the_answers_of_the_reference_program(name: str, ties: Literal["keep", "collapse"], prefix: str) -> None:
    cases = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert tuple(case["name"] for case in cases) == CASES
    case = next(case for case in cases if case["name"] == name)
    tracks, detections = read_case(case)
    found = region_metrics(tracks, detections, case["num_frames"], ties=ties)
    assert found["rbdc"] == pytest.approx(case[f"{prefix}_rbdc"], abs=1e-9)
    assert found["tbdc"] == pytest.approx(case[f"{prefix}_tbdc"], abs=1e-9)


def read_case(case: dict[str, Any]) -> tuple[dict[str, Tracks], dict[str, Detections]]:
    tracks = {
        video: tracks_of(
            *(
                (number, int(frame), *box)
                for number, track in enumerate(case["tracks"])
                if track["video"] == video
                for frame, box in track["boxes"].items()
            )
        )
        for video in LISTING
    }
    detections = {
        video: detections_of(*((frame, *box, score) for owner, frame, box, score in case["dets"] if owner == video))
        for video in LISTING
    }
    return tracks, detections


def count_by_definition(
    tracks: dict[str, Tracks], detections: dict[str, Detections], num_frames: int, *, collapse: bool
) -> tuple[float, float]:
    """Walk through the detections one by one, with sets and loops."""
    regions = [
        (video, int(track), int(frame), box)
        for video, truth in tracks.items()
        for track, frame, box in zip(truth.track_R, truth.frame_R, truth.box_R4, strict=True)
    ]
    ranked = [
        (float(score), video, int(frame), box)
        for video, part in detections.items()
        for frame, box, score in zip(part.frame_D, part.box_D4, part.score_D, strict=True)
    ]
    ranked.sort(key=lambda row: -row[0])
    names = sorted({(video, track) for video, track, _, _ in regions})
    found: set[int] = set()
    false = 0
    points = [(0.0, 0.0, 0.0)]
    for place, (score, video, frame, box) in enumerate(ranked):
        hits = {
            number for number, region in enumerate(regions)
            if (region[0], region[2]) == (video, frame) and overlap(box[None], region[3][None])[0] >= 0.1
        }
        found |= hits
        false += not hits
        if collapse and place + 1 < len(ranked) and ranked[place + 1][0] == score:
            continue
        shares = []
        for name in names:
            own = [number for number, region in enumerate(regions) if region[:2] == name]
            shares.append(len(found & set(own)) / len(own) >= ALPHA)
        points.append((false / num_frames, len(found) / len(regions), sum(shares) / len(names)))
    kept = [point for point in points if point[0] <= 1]
    kept.append((1.0, *kept[-1][1:]))
    x, region_y, track_y = (np.array(values) for values in zip(*kept, strict=True))
    return float(np.trapezoid(region_y, x)), float(np.trapezoid(track_y, x))


boxes = st.tuples(*(st.integers(0, 6),) * 2, *(st.integers(0, 4),) * 2).map(
    lambda box: (box[0], box[1], box[0] + box[2], box[1] + box[3])
)
tracks_strategy = st.dictionaries(
    st.tuples(st.sampled_from("ab"), st.integers(0, 1), st.integers(0, 3)), boxes, min_size=1, max_size=12
)
detections_strategy = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3), boxes, st.integers(0, 3)), max_size=25)


@settings(deadline=None)
@given(tracks_strategy, detections_strategy, st.sampled_from(["keep", "collapse"]))
def test_it_equals_a_slow_count_of_the_definition(
    truth: dict[tuple[str, int, int], Row],
    reported: list[tuple[str, int, Row, int]],
    ties: Literal["keep", "collapse"],
) -> None:
    tracks = {
        video: tracks_of(*((track, frame, *box) for (owner, track, frame), box in truth.items() if owner == video))
        for video in "ab"
    }
    detections = {
        video: detections_of(*((frame, *box, score) for owner, frame, box, score in reported if owner == video))
        for video in "ba"
    }
    found = region_metrics(tracks, detections, 8, ties=ties)
    expected = count_by_definition(tracks, detections, 8, collapse=ties == "collapse")
    assert (found["rbdc"], found["tbdc"]) == pytest.approx(expected, abs=1e-12)


TRUTH = tracks_of(*((0, frame, 10, 10, 19, 19) for frame in range(10)))


def test_one_hit_before_any_false_alarm_finds_a_tenth_of_a_track_of_ten_and_so_the_track() -> None:
    found = region_metrics({"v": TRUTH}, {"v": detections_of((3, 10, 10, 19, 19, 0.9))}, 10)
    assert (found["rbdc"], found["tbdc"]) == (pytest.approx(0.1), 1.0)


def test_a_tenth_of_thirty_regions_is_three() -> None:
    truth = tracks_of(*((0, frame, 10, 10, 19, 19) for frame in range(30)))
    hits = [(frame, 10, 10, 19, 19, 1.0) for frame in range(3)]
    assert region_metrics({"v": truth}, {"v": detections_of(*hits)}, 30)["tbdc"] == 1.0
    assert region_metrics({"v": truth}, {"v": detections_of(*hits[:2])}, 30)["tbdc"] == 0.0


def test_a_false_alarm_first_costs_the_area_before_it() -> None:
    hit, miss = (3, 10, 10, 19, 19, 0.1), (3, 50, 50, 59, 59, 0.9)
    found = region_metrics({"v": TRUTH}, {"v": detections_of(miss, hit)}, 10)
    assert found["rbdc"] == pytest.approx((1 - 0.1) * 0.1)  # nothing up to 1 / 10 false alarms per frame, then one of ten
    assert found["false_detections"] == 1


def test_a_second_hit_on_a_found_region_is_neither_found_nor_false() -> None:
    hit = (3, 10, 10, 19, 19, 0.9)
    once, twice = (region_metrics({"v": TRUTH}, {"v": detections_of(*[hit] * times)}, 10) for times in (1, 2))
    assert (once["rbdc"], once["tbdc"]) == (twice["rbdc"], twice["tbdc"])
    assert twice["false_detections"] == 0


def test_boxes_include_their_last_row_and_column() -> None:
    one_pixel, touching = np.array([[5.0, 5, 5, 5]]), np.array([[5.0, 5, 6, 6]])
    assert overlap(one_pixel, touching)[0] == pytest.approx(1 / 4)
    assert overlap(one_pixel, np.array([[6.0, 6, 9, 9]]))[0] == 0


def test_a_detection_that_covers_a_tenth_hits_and_one_that_covers_less_does_not() -> None:
    for width, hits in ((10, True), (9, False)):  # of a region of 100 pixels
        found = region_metrics({"v": TRUTH}, {"v": detections_of((0, 10, 10, 9 + width, 10, 1.0))}, 10)
        assert found["false_detections"] == (0 if hits else 1)


def test_without_a_true_region_nothing_is_claimed() -> None:
    found = region_metrics({"v": tracks_of()}, {"v": detections_of((0, 1, 1, 2, 2, 0.5))}, 10, samples=0)
    assert (found["rbdc"], found["tbdc"], found["false_detections"]) == (None, None, 1)


def test_without_a_detection_nothing_is_found() -> None:
    found = region_metrics({"v": TRUTH}, {}, 10)
    assert (found["rbdc"], found["tbdc"], found["detections"]) == (0.0, 0.0, 0)


def test_detections_in_a_video_without_tracks_are_refused_with_its_name_and_both_numbers() -> None:
    with pytest.raises(DataError, match=r"video w: expected detections in the 1 videos with tracks, found 1 in one without"):
        region_metrics({"v": TRUTH}, {"w": detections_of((0, 1, 1, 2, 2, 0.5))}, 10)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_score_that_is_not_finite_is_refused(value: float) -> None:
    detections = {"v": detections_of((0, 1, 1, 2, 2, 0.5), (4, 1, 1, 2, 2, value))}
    with pytest.raises(DataError, match=r"video v: expected finite boxes and scores, found 1 of 2 .* frame 4"):
        region_metrics({"v": TRUTH}, detections, 10)


def test_a_region_beyond_the_end_of_its_video_is_refused() -> None:
    with pytest.raises(DataError, match=r"video v: expected tracks in frames 0 to 4, found frames 0 to 9"):
        region_metrics({"v": TRUTH}, {}, {"v": 5})


def test_the_interval_of_equal_videos_has_no_width_and_holds_the_value() -> None:
    tracks = dict.fromkeys("abcd", TRUTH)
    detections = {name: detections_of((3, 10, 10, 19, 19, 0.9), (3, 50, 50, 59, 59, 0.5)) for name in "abcd"}
    found = region_metrics(tracks, detections, dict.fromkeys("abcd", 10), ties="collapse", samples=50)
    assert found["intervals"]["rbdc"] == pytest.approx([found["rbdc"]] * 2)


def test_a_video_that_counts_twice_is_as_good_as_a_copy_of_it() -> None:
    from scoring.region_metrics import match

    tracks = {"a": TRUTH, "b": tracks_of((0, 0, 1, 1, 4, 4), (1, 2, 1, 1, 4, 4))}
    detections = {
        "a": detections_of((3, 10, 10, 19, 19, 0.9), (3, 50, 50, 59, 59, 0.8)),
        "b": detections_of((0, 1, 1, 4, 4, 0.7), (1, 1, 1, 4, 4, 0.95)),
    }
    weighted = match(tracks, detections, ties="collapse").areas(30, np.array([2.0, 1.0]))
    tracks, detections = tracks | {"copy": tracks["a"]}, detections | {"copy": detections["a"]}
    assert weighted == pytest.approx(match(tracks, detections, ties="collapse").areas(30))
