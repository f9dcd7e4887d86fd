"""Flow points where things move, in pixels of the stored resolution."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from flow_run import FRAMES, stored, write_coloured
from motion import TURNS_AND_ZOOMS, end_point_error, mean_error, moving, true_flow, warped
from numpy.typing import NDArray

from pipeline.config import ConfigError, FlowsSettings, FramesSettings, load_config
from pipeline.contract import VideoRecord
from pipeline.datasets.reader import to_grey
from pipeline.models.flow import CLASSICAL, check_flow_estimator, open_flow_estimator, resize_flow
from pipeline.stages.flows import FlowsStage
from pipeline.stages.prepare import PAIRS_AT_ONCE, open_flow, to_half
from pipeline.stages.source import SourceFrames


@pytest.mark.parametrize(("dx", "dy"), [(2, -1), (-1, 2)])
@pytest.mark.parametrize("name", list(CLASSICAL))
def test_a_translation_is_found_within_a_twentieth_of_a_pixel(name: str, dx: int, dy: int) -> None:
    flow_T2HW = CLASSICAL[name]()(moving(4, dx, dy)[..., None])
    assert flow_T2HW.shape == (3, 2, 96, 128)
    assert flow_T2HW.dtype == np.float32
    assert end_point_error(flow_T2HW, dx, dy) < 0.05


@pytest.mark.parametrize("matrix_22", TURNS_AND_ZOOMS.values(), ids=TURNS_AND_ZOOMS)
@pytest.mark.parametrize(("name", "bound"), [("farneback", 0.1), ("dis", 0.07), ("dis-fine", 0.07), ("tvl1", 0.07)])
def test_a_rotation_and_a_zoom_are_found_within_a_tenth_of_a_pixel(
    name: str, bound: float, matrix_22: NDArray[np.float64]
) -> None:
    true_2HW = true_flow(matrix_22)
    assert np.hypot(*true_2HW).mean() > 1.2
    assert mean_error(CLASSICAL[name]()(warped(3, matrix_22)[..., None]), true_2HW) < bound


@pytest.mark.parametrize("name", list(CLASSICAL))
def test_flow_of_coloured_frames_is_that_of_their_luminance(name: str) -> None:
    rgb_THWC = np.stack([moving(2, 1, 0, 48, 64), moving(2, 1, 1, 48, 64), moving(2, 0, 1, 48, 64)], axis=-1)
    grey_THW1 = to_grey(rgb_THWC)[..., None]
    np.testing.assert_array_equal(CLASSICAL[name]()(rgb_THWC), CLASSICAL[name]()(grey_THW1))


@pytest.mark.parametrize("name", list(CLASSICAL))
def test_flow_that_is_made_a_few_pairs_at_a_time_is_that_of_all_at_once(name: str) -> None:
    frames_THWC = np.concatenate([moving(6, 2, -1, 48, 64), moving(5, -1, 1, 48, 64)])[..., None]
    settings, size = FlowsSettings(estimator=name), FramesSettings(height=32, width=32)
    together = to_half(resize_flow(CLASSICAL[name]()(frames_THWC), 32, 32))
    assert len(together) % PAIRS_AT_ONCE
    np.testing.assert_array_equal(open_flow(settings, size)(frames_THWC), together)


def test_vectors_are_rescaled_with_the_picture() -> None:
    flow_T2HW = np.empty((2, 2, 96, 128), np.float32)
    flow_T2HW[:, 0], flow_T2HW[:, 1] = 4, -3
    small = resize_flow(flow_T2HW, 48, 32)
    assert small.shape == (2, 2, 48, 32)
    np.testing.assert_allclose(small[:, 0], 1, atol=1e-5)
    np.testing.assert_allclose(small[:, 1], -1.5, atol=1e-5)


def test_an_unknown_estimator_is_refused_with_the_known_ones() -> None:
    for refuse in (open_flow_estimator, check_flow_estimator):
        with pytest.raises(ConfigError, match="dis, dis-fine, tvl1, raft-small, raft-large, files, found 'raft2'"):
            refuse(FlowsSettings(estimator="raft2"))


@pytest.mark.parametrize("name", list(CLASSICAL))
def test_what_only_raft_reads_is_in_no_key_of_other_flow(name: str) -> None:
    settings = ["flows.weights=elsewhere", "flows.updates=3", "flows.precision=fp32", "flows.batch_size=2"]
    stage = FlowsStage(load_config(None, [f"flows.estimator={name}", *settings]))
    assert stage.settings() == {"estimator": name, "source": "frames"}
    stage.check()


def test_tvl1_of_an_opencv_without_contributed_modules_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cv2, "optflow")
    with pytest.raises(ConfigError, match="install opencv-contrib-python-headless"):
        check_flow_estimator(FlowsSettings(estimator="tvl1"))


@pytest.mark.parametrize("estimator", ["farneback", "dis", "dis-fine"])
def test_flow_of_a_large_video_is_made_in_blocks_and_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, estimator: str
) -> None:
    write_coloured(tmp_path / "data")
    options = ("flows.source=video", f"flows.estimator={estimator}", "frames.height=32")
    _, whole = stored(tmp_path, "rgb", *options)
    read: list[int] = []
    real = SourceFrames.read

    def counted(self: SourceFrames, record: VideoRecord, start: int, stop: int, *convert: Any) -> NDArray[np.uint8]:
        if not convert:  # not for the frames stage
            read.append(stop - start)
        return real(self, record, start, stop, *convert)

    monkeypatch.setattr(SourceFrames, "read", counted)
    monkeypatch.setattr("pipeline.stages.flows.BLOCK_BYTES", 3 * 64 * 96 * 11)
    _, in_blocks = stored(tmp_path, "rgb", *options, "run.workers=1")
    assert max(read) == 4  # three pairs
    np.testing.assert_array_equal(in_blocks, whole)


@pytest.mark.parametrize("source", ["frames", "video"])
def test_grey_frames_keep_a_channel_and_their_flow_is_that_of_the_grey_video(tmp_path: Path, source: str) -> None:
    write_coloured(tmp_path / "data")
    coloured_THWC, coloured_flow = stored(tmp_path, "rgb", f"flows.source={source}")
    frames_THWC, flow_T2HW = stored(tmp_path, "rgb", f"flows.source={source}", "frames.colour=grey")
    grey_THWC, grey_flow = stored(tmp_path, "grey", f"flows.source={source}", "frames.colour=grey")
    assert coloured_THWC.shape == (FRAMES, 64, 96, 3)
    assert frames_THWC.shape == (FRAMES, 64, 96, 1)
    np.testing.assert_array_equal(frames_THWC, grey_THWC)
    assert flow_T2HW.shape == (FRAMES - 1, 2, 64, 96)
    np.testing.assert_array_equal(flow_T2HW, grey_flow)
    np.testing.assert_array_equal(flow_T2HW, coloured_flow)
    assert end_point_error(flow_T2HW.astype(np.float32), 2, -1) < 0.05


@pytest.mark.parametrize("source", ["frames", "video"])
def test_flow_at_a_smaller_size_is_in_pixels_of_that_size(tmp_path: Path, source: str) -> None:
    write_coloured(tmp_path / "data")
    _, flow_T2HW = stored(tmp_path, "grey", f"flows.source={source}", "frames.height=32", "frames.width=64")
    assert flow_T2HW.shape == (FRAMES - 1, 2, 32, 64)
    assert end_point_error(flow_T2HW.astype(np.float32), 2 * 64 / 96, -1 * 32 / 64, rim=10) < 0.05


def test_flow_is_rounded_to_halves_as_numpy_does_bit_for_bit() -> None:
    bits_N = np.arange(0, 2**32, 65_521, dtype=np.uint64).astype(np.uint32)  # floats of all magnitudes and signs
    every_N = bits_N.view(np.float32)[: 2 * 128 * 256]
    halves_N = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)
    finite_N = np.sort(halves_N[np.isfinite(halves_N)])
    between_N = (finite_N[:-1] + finite_N[1:]) / 2  # ties, which go to even
    rng = np.random.default_rng(0)
    for values_N in (every_N, halves_N, between_N, rng.normal(0, 5, 2**16).astype(np.float32)):
        flow_T2HW = values_N[: len(values_N) // 256 * 256].reshape(-1, 2, 8, 16)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            expected_T2HW = flow_T2HW.astype(np.float16)
        found_T2HW = to_half(np.ascontiguousarray(flow_T2HW))
        assert found_T2HW.dtype == np.float16
        number = np.isfinite(expected_T2HW)
        np.testing.assert_array_equal(found_T2HW[number].view(np.uint16), expected_T2HW[number].view(np.uint16))
        np.testing.assert_array_equal(np.isnan(found_T2HW), np.isnan(expected_T2HW))
        np.testing.assert_array_equal(np.isposinf(found_T2HW), np.isposinf(expected_T2HW))
