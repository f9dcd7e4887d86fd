"""Which frames a protocol scores, and how it makes videos comparable."""

from dataclasses import replace

import numpy as np
import pytest

from scoring.protocols import DEPLOYMENT, PAPER, PROTOCOLS, SCORED_FRAME, min_max

PED2 = (180, 180, 150, 180, 150, 180, 180, 180, 120, 150, 180, 180)


def test_paper_drops_exactly_the_first_8_and_the_last_7_frames() -> None:
    assert PAPER.kept(30).tolist() == list(range(8, 23))


def test_paper_keeps_one_frame_of_a_clip_and_that_is_frame_8() -> None:
    assert PAPER.kept(16).tolist() == [8]


def test_paper_keeps_as_many_frames_of_ped2_as_the_published_curves_have() -> None:
    assert sum(len(PAPER.kept(frames)) for frames in PED2) == 1830


def test_deployment_scores_every_frame_from_the_past_alone() -> None:
    assert DEPLOYMENT.kept(20).tolist() == list(range(20))
    assert DEPLOYMENT.tap == "last"


def test_paper_brings_each_video_to_0_and_1_and_deployment_changes_nothing() -> None:
    score_N = np.array([3.0, 5.0, 4.0])
    np.testing.assert_array_equal(PAPER.normalise(score_N), [0.0, 1.0, 0.5])
    np.testing.assert_array_equal(DEPLOYMENT.normalise(score_N), score_N)


def test_a_video_with_one_value_throughout_becomes_zero_rather_than_nan() -> None:
    np.testing.assert_array_equal(min_max(np.full(4, 7.5)), np.zeros(4))


def test_protocols_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        PAPER.dropped_first = 0  # type: ignore[misc]
    assert list(PROTOCOLS) == ["paper", "deployment"]


def test_only_a_protocol_that_waits_for_no_later_frame_is_causal() -> None:
    assert DEPLOYMENT.causal
    assert not PAPER.causal
    assert not replace(DEPLOYMENT, per_video=True).causal


def test_its_rules_say_by_what_numbers_were_made() -> None:
    rules = PAPER.rules(["b.npy", "a.npy", "b.npy"])
    assert (rules["window"], rules["stride"], rules["scored_frame"], rules["smoothing"]) == (16, 1, 8, "none")
    assert rules["label_set"] == "a.npy to b.npy (2 sources)"
    assert DEPLOYMENT.rules(["gt.mat"]) | {"label_set": "gt.mat"} == DEPLOYMENT.rules(["gt.mat"])
    assert DEPLOYMENT.rules([])["label_set"] is None
    differ = {name for name in rules if rules[name] != DEPLOYMENT.rules(["b.npy", "a.npy"])[name]}
    assert differ == {"scored_frame", "edges", "normalisation", "causal"}


def test_the_frame_that_is_scored_is_the_one_that_models_measure_at_this_tap() -> None:
    from trainer.indicators import TAPS

    assert dict(SCORED_FRAME) == TAPS
