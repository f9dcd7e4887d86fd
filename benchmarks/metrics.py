"""How long all metrics take of a result of the size of ShanghaiTech's: 107 videos, 40,791 frames, 100,000 regions.

    python benchmarks/metrics.py [--videos 107] [--frames 40791] [--regions 100000] [--samples 1000]

Scores, labels and regions are random; two protocols with seven scores each and the trivial baselines, as an evaluation has.
What is timed is everything between the scores of frames and the content of metrics.json.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Labels, Video, VideoRecord
from scoring.baselines import MOTION, trivial_scores
from scoring.protocols import PROTOCOLS, Protocol
from scoring.region_metrics import Detections, Tracks
from scoring.score_table import events_of, frame_metrics
from scoring.scores import FUSED, ProtocolScores
from scoring.summary import Peak, VideoResult, regions_of, score_table, summarise

NAMES = ("spatial", "temporal", "semantic", "objects", "spatial_frame", "temporal_frame", FUSED)
HEIGHT, WIDTH = 480, 856
ANOMALOUS = 0.42  # of all frames, as in ShanghaiTech
OBJECTS = 2  # true regions in an anomalous frame


def make_result(number: int, frames: int, regions: int, random: np.random.Generator) -> VideoResult:
    """Return one video: about every second one with an anomalous stretch, all with random scores and regions."""
    label_T = np.zeros(frames, np.bool_)
    if number % 2:
        label_T[: int(2 * ANOMALOUS * frames)] = True
    video = Video(id=f"{number:02d}_0001", split="test", files=(Path("none.avi"),))
    record = VideoRecord(video=video, num_frames=frames, height=HEIGHT, width=WIDTH, fps=24.0, digest="0")
    detections = make_detections(frames, regions, random)
    return VideoResult(
        record=record,
        labels=Labels(frame_T=label_T, source="random"),
        protocols={name: make_scores(protocol, label_T, random) for name, protocol in PROTOCOLS.items()},
        trivial=trivial_scores(record.id, random.random((frames - 1, len(MOTION)))),
        peaks=(Peak(frame_index=0, score=0.0, maps={}),),
        tracks=make_tracks(label_T, random),
        detections=dict.fromkeys(PROTOCOLS, detections),
    )


def make_scores(protocol: Protocol, label_T: NDArray[np.bool_], random: np.random.Generator) -> ProtocolScores:
    """Return random scores, somewhat higher where a frame is anomalous."""
    kept_N = protocol.kept(len(label_T))
    scores = {name: random.normal(label_T[kept_N].astype(float), 1.0) for name in NAMES}
    return ProtocolScores(frame_index_N=kept_N, raw={}, z={}, contribution={}, score=scores)


def make_tracks(label_T: NDArray[np.bool_], random: np.random.Generator) -> Tracks:
    """Return two objects that stay as long as the video is anomalous."""
    frame_R = np.tile(np.flatnonzero(label_T), OBJECTS)
    track_R = np.repeat(np.arange(OBJECTS), label_T.sum())
    return Tracks(track_R=track_R, frame_R=frame_R, box_R4=make_boxes(len(frame_R), random))


def make_detections(frames: int, regions: int, random: np.random.Generator) -> Detections:
    """Return regions anywhere, without ties."""
    frame_D = np.sort(random.integers(0, frames, regions))
    return Detections(frame_D=frame_D, box_D4=make_boxes(regions, random), score_D=random.random(regions))


def make_boxes(count: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Return boxes of about the size of a person."""
    corner_N2 = random.integers(0, (WIDTH - 120, HEIGHT - 200), (count, 2))
    return np.hstack([corner_N2, corner_N2 + random.integers((40, 100), (120, 200), (count, 2))]).astype(float)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("videos", 107), ("frames", 40_791), ("regions", 100_000), ("samples", 1000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    random = np.random.default_rng(0)
    totals = (arguments.frames, arguments.regions)
    shares = [np.diff(np.linspace(0, total, arguments.videos + 1).astype(int)) for total in totals]
    counts = zip(*shares, strict=True)
    results = [make_result(number, frames, regions, random) for number, (frames, regions) in enumerate(counts)]
    print("{} videos, {:,} frames, {:,} regions, {:,} samples".format(len(results), *totals, arguments.samples))
    table = score_table(results, PROTOCOLS["deployment"])
    timed("metrics of frames, one protocol", lambda: frame_metrics(table, FUSED, samples=arguments.samples))
    timed("events, one protocol", lambda: events_of(table, FUSED, 2.0))
    timed("RBDC and TBDC, one protocol", lambda: regions_of(results, PROTOCOLS["deployment"], samples=arguments.samples))
    weights = {name: dict.fromkeys(NAMES[:4], 1.0) for name in PROTOCOLS}
    thresholds = {"deployment": 2.0}
    protocols = list(PROTOCOLS.values())
    timed("everything", lambda: summarise(results, protocols, weights, thresholds=thresholds, samples=arguments.samples))
    print(f"{os.cpu_count()} cores")


def timed(what: str, function: object) -> None:
    """Call a function and print how long it took."""
    assert callable(function)
    start, start_processor = time.perf_counter(), time.process_time()
    function()
    seconds, processor = time.perf_counter() - start, time.process_time() - start_processor
    print(f"{what:34} {seconds:6.2f} s ({processor:.2f} s of processor time)", flush=True)


if __name__ == "__main__":
    main()
