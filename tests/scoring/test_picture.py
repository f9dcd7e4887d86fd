"""The picture, as far as a program can look at it."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from made_detector import MadeDetector, MadeInputs, make_config, make_record, silent
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from PIL import Image

from scoring.evaluate import score_test_split
from scoring.maps import MapWriter
from scoring.picture import draw_picture, evenly, highest_peaks, overlay
from scoring.protocols import DEPLOYMENT
from scoring.summary import VideoResult
from scoring.timeline import TRUTH, shorten, stretches


def score(inputs: MadeInputs, folder: Path) -> list[VideoResult]:
    writer = MapWriter(Path(tempfile.mkdtemp(dir=folder)), "deployment")
    return score_test_split(MadeDetector(), inputs, make_config(), [DEPLOYMENT], silent, writer)


def draw(path: Path, inputs: MadeInputs) -> NDArray[np.uint8]:
    results = score(inputs, path.parent)
    draw_picture(path, results, inputs, DEPLOYMENT, "made up")
    return np.asarray(Image.open(path).convert("RGB"))


def shaded(picture_HWC: NDArray[np.uint8]) -> int:
    """Count pixels of the colour of true anomalous stretches, blended over white."""
    colour = 255 * (1 - 0.55 * (1 - np.array(to_rgb(TRUTH))))
    return int((np.abs(picture_HWC - colour).max(axis=2) < 6).sum())


def test_the_picture_shades_true_stretches_and_shades_nothing_without_labels(tmp_path: Path) -> None:
    videos = {"a": 60, "b": 60}
    some = draw(tmp_path / "some.png", MadeInputs(videos, {"a": range(20, 30), "b": range(0)}))
    none = draw(tmp_path / "none.png", MadeInputs(videos, dict.fromkeys(videos)))
    legend = shaded(none)
    assert shaded(some) > legend + 400  # what of the stretch lies above the curve


def test_the_picture_is_not_blank_and_small_enough_for_a_readme(tmp_path: Path) -> None:
    videos = {f"{name:02d}": 100 for name in range(11)}
    picture_HWC = draw(tmp_path / "picture.png", MadeInputs(videos, {name: range(50, 70) for name in videos}))
    assert picture_HWC.shape[1] == 1320
    assert (picture_HWC.max(axis=2) < 90).mean() > 0.01  # ink
    assert (picture_HWC.min(axis=2) > 250).mean() > 0.3  # paper
    assert (tmp_path / "picture.png").stat().st_size < 500_000


def test_more_videos_than_fit_leave_the_picture_as_large_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scoring.picture.MOST_VIDEOS", 3)
    many = {f"{name:03d}": 17 for name in range(100)}
    few = dict.fromkeys(list(many)[:3], 17)
    shapes = [draw(tmp_path / "x.png", MadeInputs(videos, dict.fromkeys(videos))).shape for videos in (many, few)]
    assert shapes[0] == shapes[1]


def test_odd_names_of_videos_are_no_commands_to_the_typesetter(tmp_path: Path) -> None:
    odd = dict.fromkeys(["a $x_2$ b", "$\\nonsense{$", "x" * 300], 20)
    assert draw(tmp_path / "odd.png", MadeInputs(odd, dict.fromkeys(odd))).std() > 0


def test_videos_are_chosen_evenly_and_every_one_where_there_are_few() -> None:
    assert evenly(5, 12) == [0, 1, 2, 3, 4]
    chosen = evenly(100, 12)
    assert (len(chosen), chosen[0], chosen[-1]) == (12, 0, 99)
    assert set(np.diff(chosen)) == {9}


def test_every_video_shows_its_highest_peak_and_few_videos_show_further_ones(tmp_path: Path) -> None:
    for count in (2, 6, 9):
        videos = {f"video {place}": 100 + place for place in range(count)}
        inputs = MadeInputs(videos, dict.fromkeys(videos, range(50, 60)))
        results = score(inputs, tmp_path)
        peaks = highest_peaks(results)
        scores = [peak.score for _, peak in peaks]
        assert len(peaks) == 6
        assert scores == sorted(scores, reverse=True)
        assert len({result.record.id for result, _ in peaks}) == min(count, 6)
        assert scores[0] == max(result.protocols["deployment"].score["fused"].max() for result in results)
        for result in results:
            frames = sorted(peak.frame_index for peak in result.peaks)
            assert min(np.diff(frames)) >= 16


def test_overlay_leaves_places_of_ordinary_error_grey_and_colours_the_others() -> None:
    frame_HWC = np.full((32, 48, 3), 120, np.uint8)
    map_hw = np.full((8, 12), 0.9, np.float16)
    map_hw[2:6, 2:6] = 30
    picture_HWC = overlay(frame_HWC, map_hw, 30)
    assert np.ptp(picture_HWC[28:, 40:], axis=2).max() == 0
    assert np.ptp(picture_HWC[12:20, 12:20], axis=2).min() > 20


def test_stretches_are_the_runs_of_anomalous_frames() -> None:
    assert stretches(np.array([1, 1, 0, 0, 1, 0, 1], np.bool_)) == [(0, 2), (4, 5), (6, 7)]
    assert stretches(np.zeros(4, np.bool_)) == []


def test_a_long_name_keeps_both_ends() -> None:
    name = "camera-north-entrance-2026-11-24-part-07"
    short = shorten(name, 20)
    assert len(short) <= 20
    assert short.startswith("camera")
    assert short.endswith("part-07")
    assert shorten(make_record("plain", 20).id) == "plain"
