"""Scores of a video that goes on are those of the video as a whole, however it comes in pieces."""

from collections.abc import Iterator
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch
from live_street import CONFIG, NATIVE, street_frames, write_street

from pipeline.config import Config, EvalSettings
from pipeline.contract import Array, Inputs, Labels, Shard, Split, Video, VideoRecord
from pipeline.stages.features import FeaturesNormalStage
from pipeline.stages.flows import FlowsStage
from pipeline.stages.frames import FramesStage
from scoring.live.scorer import LiveScorer, Preparation, Scored
from scoring.live.sources import Block, StoredVideo, times
from scoring.live.watch import Watch
from scoring.measure import measure_video
from scoring.protocols import DEPLOYMENT
from scoring.regions import region_rule
from scoring.scores import FUSED, score_video
from trainer.bundle import Bundle, load_bundle
from trainer.inputs import BundleInputs, load_inputs

FRAMES = 75
TOLERANCE = 1e-4
"""Of scores: batches of another size round differently; scores of normal frames spread by about 1."""


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    return load_bundle(bundle_folder, torch.device("cpu"))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> VideoRecord:
    path = write_street(tmp_path_factory.mktemp("video") / "a.avi", FRAMES)
    return VideoRecord(
        video=Video(id="a", split="test", files=(path,)),
        num_frames=FRAMES, height=NATIVE[0], width=NATIVE[1], fps=25.0, digest="0",
    )


class StageInputs:
    """The :class:`pipeline.contract.Inputs` of one video: what the stages make of it, as they would store it."""

    def __init__(self, config: Config, record: VideoRecord, stages: tuple[type, ...] = (FramesStage, FlowsStage)) -> None:
        self._record = record
        self._arrays: dict[str, Array] = {}
        for stage_class in stages:
            stage = stage_class(config)
            shard = Shard(record=record, index=0, start=0, stop=stage.length(record))
            made = stage.worker()(shard, self)
            self._arrays |= {name: np.array(values) for name, values in made.items()}  # as if read from the store

    def videos(self, split: Split | None = None) -> list[VideoRecord]:
        return [self._record]

    def read(self, stage: str, name: str, record: VideoRecord, start: int = 0, stop: int | None = None) -> Array:
        return self._arrays[name][start:stop]

    def labels(self, record: VideoRecord) -> Labels | None:
        return None

    def folder(self, stage: str) -> Path:
        raise LookupError(stage)


def scorer(bundle: Bundle, folder: Path, piece_frames: int) -> LiveScorer:
    preparation = Preparation(load_inputs(folder), "cpu", semantic=False)
    return LiveScorer(bundle, preparation, EvalSettings(), Watch(), piece_frames)


def blocks(sizes: list[int], *, urgent: bool = False, fresh: tuple[int, ...] = (0,)) -> Iterator[Block]:
    """Yield the frames of the street in blocks of these sizes; those numbered in ``fresh`` begin anew."""
    frames, first = street_frames(FRAMES), 0
    for number, size in enumerate(sizes):
        yield Block(
            frames_THWC=np.stack(frames[first : first + size]), first=first, time_T=times(first, size, 25.0),
            fresh=number in fresh, urgent=urgent,
        )
        first += size


def score_all(scorer: LiveScorer, stream: Iterator[Block]) -> list[Scored]:
    pieces = [scored for block in stream for scored in scorer.push(block)]
    return [*pieces, *scorer.finish()]


def joined(pieces: list[Scored], name: str) -> Array:
    return np.concatenate([piece.scores[name] for piece in pieces])


@pytest.mark.parametrize("piece_frames", [1, 20, 64, 512])
def test_scores_and_regions_of_a_file_are_those_of_eval(
    bundle: Bundle, bundle_folder: Path, video: VideoRecord, piece_frames: int
) -> None:
    inputs: Inputs = StageInputs(CONFIG, video)
    measured = measure_video(bundle, inputs, video, batch_size=8)[0]["last"]
    expected = score_video(video, measured, DEPLOYMENT, bundle, "region").score
    rule = region_rule(bundle, DEPLOYMENT, EvalSettings())
    assert rule is not None
    regions = rule.find(measured.frame_index_N, measured.maps)
    live = scorer(bundle, bundle_folder, piece_frames)
    pieces = score_all(live, StoredVideo(video.video, "a").blocks(Watch(), Event()))
    np.testing.assert_array_equal(np.concatenate([piece.frame_N for piece in pieces]), np.arange(FRAMES))
    for name in (*bundle.indicators, FUSED):
        np.testing.assert_allclose(joined(pieces, name), expected[name], atol=TOLERANCE)
    assert len(regions.frame_R) > 10
    np.testing.assert_array_equal(np.concatenate([piece.region_frame_R for piece in pieces]), regions.frame_R)
    boxes_R4 = np.concatenate([piece.box_R4 for piece in pieces])
    np.testing.assert_array_equal(boxes_R4, 2 * regions.box_R4 + [0, 0, 1, 1])  # the video is twice as large
    np.testing.assert_allclose(np.concatenate([piece.region_score_R for piece in pieces]), regions.score_R, atol=TOLERANCE)


@pytest.mark.parametrize("source", ["frames", "video"])
@pytest.mark.parametrize("colour", ["rgb", "grey"])
def test_what_the_models_see_is_what_the_stages_store(video: VideoRecord, source: str, colour: str) -> None:
    config = Config.model_validate(
        {"frames": {"height": 48, "width": 64, "colour": colour}, "flows": {"source": source, "estimator": "dis"}}
    )
    stored = StageInputs(config, video, (FramesStage, FlowsStage, FeaturesNormalStage))
    preparation = Preparation(BundleInputs.from_config(config), "cpu", semantic=True)
    (block,) = _one_block(video)
    frames_THWC = preparation.frames(block.frames_THWC)
    np.testing.assert_array_equal(frames_THWC, stored.read("frames", "frames", video))
    flow_T2HW = preparation.flow(block.frames_THWC, frames_THWC)
    np.testing.assert_array_equal(flow_T2HW, stored.read("flows", "flow", video))
    feature_TD = preparation.features(frames_THWC)
    assert feature_TD is not None
    np.testing.assert_array_equal(feature_TD, stored.read("features-normal", "normal", video))


def _one_block(video: VideoRecord) -> list[Block]:
    found = list(StoredVideo(video.video, "a").blocks(Watch(), Event()))
    frames_THWC = np.concatenate([block.frames_THWC for block in found])
    return [Block(frames_THWC=frames_THWC, first=0, time_T=np.concatenate([block.time_T for block in found]))]


def test_an_urgent_block_is_scored_at_once_as_soon_as_there_is_a_clip(bundle: Bundle, bundle_folder: Path) -> None:
    live = scorer(bundle, bundle_folder, 64)
    counts = [[len(scored.frame_N) for scored in live.push(block)] for block in blocks([10, 10, 1, 30], urgent=True)]
    assert counts == [[], [20], [1], [30]]
    assert list(live.finish()) == []


def test_frames_after_a_gap_are_scored_as_those_of_a_new_video(bundle: Bundle, bundle_folder: Path) -> None:
    live = scorer(bundle, bundle_folder, 512)
    before, after = score_all(live, blocks([30, 40], fresh=(0, 1)))
    assert (list(before.frame_N), list(after.frame_N)) == (list(range(30)), list(range(30, 70)))
    alone = scorer(bundle, bundle_folder, 512)
    frames_THWC = np.stack(street_frames(FRAMES)[30:70])
    (expected,) = score_all(alone, iter([Block(frames_THWC=frames_THWC, first=0, time_T=times(0, 40, 25.0), fresh=True)]))
    np.testing.assert_allclose(after.scores[FUSED], expected.scores[FUSED], atol=TOLERANCE)
    (whole,) = score_all(scorer(bundle, bundle_folder, 512), blocks([70]))
    assert np.abs(whole.scores[FUSED][30:33] - after.scores[FUSED][:3]).max() > TOLERANCE


def test_fewer_frames_than_a_clip_between_two_gaps_are_counted(bundle: Bundle, bundle_folder: Path) -> None:
    live = scorer(bundle, bundle_folder, 512)
    pieces = score_all(live, blocks([20, 5, 20], fresh=(0, 1, 2)))
    assert [list(piece.frame_N) for piece in pieces] == [list(range(20)), list(range(25, 45))]
    assert live.too_short == 5


def test_memory_holds_no_more_than_the_context_after_a_piece(bundle: Bundle, bundle_folder: Path) -> None:
    live = scorer(bundle, bundle_folder, 16)
    for block in blocks([16, 16, 16, 16]):
        assert len(list(live.push(block))) == 1
        assert live._stretch is not None
        assert len(live._stretch.frames_THWC) == 16
        assert live._stretch.frames_THWC.base is None  # a view would keep all frames alive
