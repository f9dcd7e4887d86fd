"""How numbers of regions and of alarms come into metrics.json, on results made by hand."""

from dataclasses import replace

import numpy as np
import pytest
from made_detector import make_record

from pipeline.contract import Labels
from scoring.baselines import BASELINES
from scoring.protocols import DEPLOYMENT, PAPER, Protocol
from scoring.region_metrics import Detections, Tracks
from scoring.scores import ProtocolScores
from scoring.summary import Peak, VideoResult, regions_of, summarise

FRAMES = 30
BOX = [10.0, 10.0, 19.0, 19.0]


def result(name: str = "v", *, fps: float = 25.0, frames: tuple[int, ...] = (2, 12, 20)) -> VideoResult:
    """Return a video with a true region in each of the frames 2, 12 and 20, and a detection of that box in ``frames``."""
    anomalous = np.array([2, 12, 20])
    found = Detections(
        frame_D=np.array(frames, np.int64), box_D4=np.array([BOX] * len(frames)), score_D=np.arange(len(frames), 0.0, -1.0)
    )
    truth = Tracks(track_R=np.zeros(3, np.int64), frame_R=anomalous, box_R4=np.array([BOX] * 3))
    label_T = np.isin(np.arange(FRAMES), anomalous)
    return VideoResult(
        record=replace(make_record(name, FRAMES), fps=fps),
        labels=Labels(frame_T=label_T, source="made up"),
        protocols={protocol.name: scores(protocol, label_T) for protocol in (PAPER, DEPLOYMENT)},
        trivial={name: np.linspace(0, 1, FRAMES) for name, baseline in BASELINES.items() if not baseline.oracle},
        peaks=(Peak(frame_index=0, score=0.0, maps={}),),
        tracks=truth,
        detections={"paper": found, "deployment": found},
    )


def scores(protocol: Protocol, label_T: np.ndarray) -> ProtocolScores:
    kept_N = protocol.kept(FRAMES)
    fused_N = label_T[kept_N] * 2.0 + np.linspace(0, 0.5, len(kept_N))
    return ProtocolScores(frame_index_N=kept_N, raw={}, z={}, contribution={}, score={"fused": fused_N})


def test_regions_in_frames_that_a_protocol_drops_do_not_count() -> None:
    every = regions_of([result()], DEPLOYMENT, samples=0)
    kept = regions_of([result()], PAPER, samples=0)
    assert every is not None
    assert kept is not None
    assert (every["regions"], every["detections"], every["frames"]) == (3, 3, FRAMES)
    assert (kept["regions"], kept["detections"], kept["frames"]) == (2, 2, FRAMES - 15)
    assert (every["rbdc"], every["tbdc"], kept["rbdc"]) == (1.0, 1.0, 1.0)


def test_false_detections_are_counted_per_scored_frame() -> None:
    found = regions_of([result(frames=(5, 12))], DEPLOYMENT, samples=0)  # frame 5 first, and nothing is there
    assert found is not None
    assert found["rbdc"] == pytest.approx((1 - 1 / FRAMES) / 3)


def test_regions_are_not_reported_where_a_labelled_video_has_none_to_compare_with() -> None:
    whole = result("a")
    assert regions_of([whole, replace(result("b"), tracks=None)], DEPLOYMENT, samples=0) is None
    assert regions_of([whole, replace(result("b"), detections={})], DEPLOYMENT, samples=0) is None
    unlabelled = replace(result("b"), labels=None, tracks=None)
    assert regions_of([whole, unlabelled], DEPLOYMENT, samples=0) == regions_of([whole], DEPLOYMENT, samples=0)
    assert regions_of([unlabelled], DEPLOYMENT, samples=0) is None


def test_a_threshold_gives_events_under_its_protocol_alone() -> None:
    weights = {"paper": {"fused": 1.0}, "deployment": {"fused": 1.0}}
    found = summarise([result()], [PAPER, DEPLOYMENT], weights, thresholds={"deployment": 1.5}, samples=20)["protocols"]
    assert (found["paper"]["threshold"], found["paper"]["events"]) == (None, None)
    events = found["deployment"]["events"]
    assert (events["threshold"], events["events"], events["detected_events"], events["false_alarms"]) == (1.5, 3, 3, 0)
    assert events["false_alarms_per_hour"] == 0
    assert found["deployment"]["regions"]["source"] == "tracks derived from pixel masks"


def test_the_frame_rate_of_the_settings_serves_videos_that_do_not_say() -> None:
    weights = {"deployment": {"fused": 1.0}}
    for rate, hours in ((None, None), (10.0, 27 / 10 / 3600)):
        found = summarise([result(fps=0.0)], [DEPLOYMENT], weights, thresholds={"deployment": 1.5}, samples=0, fps=rate)
        assert found["protocols"]["deployment"]["events"]["normal_hours"] == (hours and pytest.approx(hours))
    known = summarise([result(fps=30.0)], [DEPLOYMENT], weights, thresholds={"deployment": 1.5}, samples=0, fps=10.0)
    assert known["protocols"]["deployment"]["events"]["normal_hours"] == pytest.approx(27 / 30 / 3600)


def test_intervals_are_left_out_where_no_samples_are_asked_for() -> None:
    found = summarise([result()], [DEPLOYMENT], {"deployment": {}}, samples=0)
    assert set(found["protocols"]["deployment"]["fused"]["intervals"].values()) == {None}
    assert found["protocols"]["deployment"]["margin"]["interval"] is None
    assert found["bootstrap"]["samples"] == 0
