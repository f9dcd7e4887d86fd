"""Errors end up at the frame and the place they belong to."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.config import CLIP_FRAMES
from trainer.indicators import (
    MAP_STRIDE,
    TAPS,
    RegionPooling,
    Tap,
    rows_of_tap,
    scored_frames,
    video_windows,
    window_errors,
)


class Silent:
    """Returns zeros, so that the error is the square of what it was shown."""

    def error_maps(self, clip_BCTHW: Tensor, cell: int, index_K: Sequence[int] | None = None) -> Tensor:
        assert index_K is not None
        return torch.nn.functional.avg_pool2d(clip_BCTHW[:, :, list(index_K)].square().mean(1), cell)


def numbered(frames: int) -> Tensor:
    """Return a video whose every pixel holds the frame's number."""
    return torch.arange(frames, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 8, 12, 1).contiguous()


def test_windows_end_at_every_frame_and_the_first_ones_repeat_the_first_frame() -> None:
    windows = torch.cat(list(video_windows(numbered(20), 7)))
    assert windows.shape == (20, 1, CLIP_FRAMES, 8, 12)
    for end, clip_CTHW in enumerate(windows):
        assert clip_CTHW[0, :, 0, 0].tolist() == [max(0, end - 15 + i) for i in range(CLIP_FRAMES)]


def test_the_centre_drops_the_first_8_and_the_last_7_frames_and_last_drops_none() -> None:
    assert scored_frames("centre", 40).tolist() == list(range(8, 33))
    assert scored_frames("last", 40).tolist() == list(range(40))


@pytest.mark.parametrize("tap", ["centre", "last"])
@pytest.mark.parametrize("frames", [16, 17, 40])
def test_each_row_measures_the_frame_it_is_said_to_measure(tap: Tap, frames: int) -> None:
    errors = window_errors(Silent(), video_windows(numbered(frames), 5), "fp32")[tap]
    rows = rows_of_tap(tap, frames)
    np.testing.assert_array_equal(errors.frame_mse_N[rows].sqrt().numpy(), scored_frames(tap, frames))
    assert errors.map_Nhw.shape == (frames, 8 // MAP_STRIDE, 12 // MAP_STRIDE)


def test_a_map_cell_is_the_mean_of_its_pixels_over_all_channels() -> None:
    clip: Any = np.random.default_rng(0).random((1, 2, CLIP_FRAMES, 8, 12)).astype(np.float32)
    errors = window_errors(Silent(), [torch.from_numpy(clip)], "fp32")["centre"]
    np.testing.assert_allclose(errors.map_Nhw[0, 1, 2], (clip[0, :, TAPS["centre"], 4:8, 8:12] ** 2).mean(), rtol=1e-5)


def test_pooling_takes_the_worst_place_relative_to_what_is_usual_there() -> None:
    place_hw = torch.ones(6, 8)
    place_hw[:, 4:] = 10.0  # errors are usual on the right
    map_Nhw = torch.zeros(2, 6, 8)
    map_Nhw[0, 2, 1] = 5.0
    map_Nhw[1, 2, 6] = 5.0
    pooling = RegionPooling(sigma=0.0, place_hw=place_hw, quantile=1.0)
    np.testing.assert_allclose(pooling.pool(pooling.ratio(map_Nhw)), [5.0, 0.5])
