"""From measured values to the scores of one video."""

from typing import Any

import numpy as np
import pytest
from made_detector import MadeDetector, MadeInputs, make_record
from numpy.typing import NDArray

from pipeline.contract import DataError, VideoRecord
from scoring.fusion import evidence
from scoring.measure import Measured, measure_video
from scoring.protocols import DEPLOYMENT, PAPER, Protocol, TapName
from scoring.scores import (
    MissingScoreError,
    Pooling,
    ProtocolScores,
    evidence_scale,
    fusion_weights,
    score_names,
    score_video,
)
from trainer.indicators import Measurement

RECORD = make_record("walk", 60)
INPUTS = MadeInputs({"walk": 60}, {"walk": range(30, 40)})


def measured_by(detector: MadeDetector, protocol: Protocol) -> Measured:
    return measure_video(detector, INPUTS, RECORD, batch_size=8)[0][protocol.tap]


def scored(protocol: Protocol, pooling: Pooling = "region", detector: MadeDetector | None = None) -> ProtocolScores:
    detector = detector or MadeDetector()
    return score_video(RECORD, measured_by(detector, protocol), protocol, detector, pooling)


def test_frame_pooling_under_paper_is_the_published_psnr_score() -> None:
    mse_N = measured_by(MadeDetector(), PAPER).values["spatial_frame_mse"]
    psnr_N = 10 * np.log10(1 / mse_N)
    published_N = 1 - (psnr_N - psnr_N.min()) / (psnr_N.max() - psnr_N.min())
    np.testing.assert_allclose(scored(PAPER, "frame").score["spatial"], published_N, atol=1e-12)
    np.testing.assert_allclose(scored(PAPER, "region").score["spatial_frame"], published_N, atol=1e-12)


def test_deployment_scores_are_z_scores_against_training_video() -> None:
    detector = MadeDetector()
    values = measured_by(detector, DEPLOYMENT).values
    scores = scored(DEPLOYMENT)
    np.testing.assert_array_equal(scores.score["temporal"], detector.calibrate("last", "temporal", values["temporal"]))
    np.testing.assert_array_equal(scores.raw["temporal_region"], values["temporal"])


@pytest.mark.parametrize("pooling", ["region", "frame"])
def test_the_chosen_pooling_is_fused_and_both_are_reported(pooling: Pooling) -> None:
    other = {"region": "frame", "frame": "region"}[pooling]
    scores = scored(DEPLOYMENT, pooling)
    assert set(scores.score) == {"spatial", "temporal", "semantic", f"spatial_{other}", f"temporal_{other}", "fused"}
    weights = fusion_weights(MadeDetector(), DEPLOYMENT, pooling)
    names = {"spatial": f"spatial_{pooling}", "temporal": f"temporal_{pooling}", "semantic": "semantic"}
    expected_N = sum(weights[name] * evidence(scores.z[raw]) for name, raw in names.items())
    np.testing.assert_allclose(scores.score["fused"], expected_N)
    np.testing.assert_allclose(sum(scores.contribution.values()), expected_N)


def unknown_training() -> MadeDetector:
    detector = MadeDetector()
    detector.windows = 0
    return detector


def test_fusion_weights_are_those_the_detector_learnt_for_the_chosen_pooling() -> None:
    detector = unknown_training()
    assert fusion_weights(detector, PAPER, "frame") == {"spatial": 0.5, "temporal": 0.4, "semantic": 0.2}
    assert fusion_weights(detector, PAPER, "region") == {"spatial": 1.0, "temporal": 0.8, "semantic": 0.2}


def test_indicators_count_alike_where_training_data_prefer_none() -> None:
    detector = unknown_training()
    detector.weights = dict.fromkeys(detector.weights, 0.0)
    assert fusion_weights(detector, PAPER, "region") == {"spatial": 1.0, "temporal": 1.0, "semantic": 1.0}


@pytest.mark.parametrize("spread", [0.5, 1.0, 3.0])
def test_scaled_evidence_of_one_in_a_hundred_normal_windows_is_two_however_far_they_spread(spread: float) -> None:
    class Spread(MadeDetector):
        def normal_values(self, tap: TapName, name: str) -> NDArray[np.float64] | None:
            return np.asarray(10 ** (0.2 * spread * np.random.default_rng(0).normal(size=5000) - 1.5))

    detector = Spread()
    scale = evidence_scale(detector, "last", "temporal")
    new_W = 0.2 * spread * np.random.default_rng(1).normal(size=100_000) / 0.2
    assert (scale * evidence(new_W) >= 2).mean() == pytest.approx(0.01, rel=0.25)
    weights = fusion_weights(detector, DEPLOYMENT, "region")
    assert weights["temporal"] == pytest.approx(0.8 * scale)


def test_paper_takes_the_min_max_of_the_fused_score_last() -> None:
    scores = scored(PAPER)
    sum_N = sum(scores.contribution.values())
    np.testing.assert_allclose(scores.score["fused"], (sum_N - np.min(sum_N)) / np.ptp(sum_N))
    assert scores.score["fused"].max() == 1
    assert scores.score["fused"].min() == 0


def test_the_anomalous_stretch_scores_highest() -> None:
    fused_N = scored(DEPLOYMENT).score["fused"]
    assert fused_N[30:40].min() > fused_N[:30].max()


def test_a_detector_without_semantics_reports_none() -> None:
    names = score_names(("spatial", "temporal"), "region")
    assert list(names) == ["spatial", "temporal", "spatial_frame", "temporal_frame"]
    scores = scored(PAPER, detector=MadeDetector(("spatial", "temporal")))
    assert "semantic" not in scores.score


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_score_that_is_not_finite_is_an_error_that_names_video_and_frame(value: float) -> None:
    detector = MadeDetector()
    detector.broken["semantic"] = value
    with pytest.raises(MissingScoreError, match=r"test video walk, protocol deployment.*semantic.*first at frame 59"):
        scored(DEPLOYMENT, detector=detector)


def test_a_frame_that_was_not_measured_is_an_error_that_names_it() -> None:
    detector = MadeDetector()
    measured = measured_by(detector, PAPER)
    holed = Measured(
        frame_index_N=np.delete(measured.frame_index_N, 3),
        values={name: np.delete(value_N, 3) for name, value_N in measured.values.items()},
        maps=measured.maps,
    )
    with pytest.raises(MissingScoreError, match=r"expected 45 scores, found 44; frame 11 is the first without"):
        score_video(RECORD, holed, PAPER, detector, "region")


def test_a_frame_that_was_measured_twice_is_an_error() -> None:
    detector = MadeDetector()
    measured = measured_by(detector, DEPLOYMENT)
    doubled = Measured(
        frame_index_N=np.append(measured.frame_index_N, 59),
        values={name: np.append(value_N, 1.0) for name, value_N in measured.values.items()},
        maps=measured.maps,
    )
    with pytest.raises(MissingScoreError, match="some frames have more than one"):
        score_video(RECORD, doubled, DEPLOYMENT, detector, "region")


@pytest.mark.parametrize("piece_frames", [1, 16, 23, 59])
def test_a_video_measured_in_pieces_has_the_scores_of_the_whole(piece_frames: int) -> None:
    detector = MadeDetector()
    whole, motion_PM = measure_video(detector, INPUTS, RECORD, batch_size=8)
    cut, cut_motion_PM = measure_video(detector, INPUTS, RECORD, batch_size=8, piece_frames=piece_frames)
    np.testing.assert_array_equal(cut_motion_PM, motion_PM)
    for tap, expected in whole.items():
        np.testing.assert_array_equal(cut[tap].frame_index_N, expected.frame_index_N)
        for name, value_N in expected.values.items():
            np.testing.assert_allclose(cut[tap].values[name], value_N, rtol=1e-12)
        np.testing.assert_array_equal(cut[tap].maps["spatial"], expected.maps["spatial"])


def test_maps_are_kept_of_the_taps_that_were_asked_for() -> None:
    taps, _ = measure_video(MadeDetector(), INPUTS, RECORD, batch_size=8, piece_frames=20, mapped=("last",))
    assert set(taps["last"].maps) == {"spatial", "temporal"}
    assert taps["centre"].maps == {}
    np.testing.assert_array_equal(taps["centre"].values["spatial"], measured_by(MadeDetector(), PAPER).values["spatial"])


def test_arrays_that_do_not_fit_the_model_are_refused_with_the_name_of_the_video() -> None:
    class Picky(MadeDetector):
        def measure(self, *_: Any, **__: Any) -> Measurement:
            raise DataError("expected frames of 64 x 64 pixels")

    with pytest.raises(DataError, match="test video walk: expected frames of 64 x 64"):
        measured_by(Picky(), PAPER)


def test_a_clip_of_16_frames_is_long_enough() -> None:
    record: VideoRecord = make_record("clip", 16)
    inputs = MadeInputs({"clip": 16}, {"clip": range(0)})
    taps, motion_PM = measure_video(MadeDetector(), inputs, record, batch_size=8)
    assert taps["centre"].frame_index_N.tolist() == [8]
    assert taps["last"].frame_index_N.tolist() == list(range(16))
    assert len(motion_PM) == 15
