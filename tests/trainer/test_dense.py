"""Dense scoring: each frame by the reconstruction of a long window, at the place where it lies."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from squares import make_street
from torch import Tensor

from trainer.autoencoder import make_autoencoder
from trainer.bundle import Bundle
from trainer.dense import CONTEXT, SCORED, STRIDE, Phases, dense_errors
from trainer.indicators import MAP_STRIDE, TAPS, scored_frames
from trainer.normalise import normalise_frames

CPU = torch.device("cpu")


def same(clip: Tensor) -> Tensor:
    return clip.float()


class Returns:
    """A network that returns what a function makes of the clip."""

    def __init__(self, make: Callable[[Tensor], Tensor]) -> None:
        self._make = make

    def error_maps(self, clip_BCTHW: Tensor, cell: int, index_K: Sequence[int] | None = None) -> Tensor:
        assert index_K is None
        return F.avg_pool2d((self._make(clip_BCTHW) - clip_BCTHW).square().mean(1), cell)


silent = Returns(torch.zeros_like)  # the error is the square of what was shown


def numbered(frames: int) -> Tensor:
    return torch.arange(frames, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 8, 12, 1).contiguous()


@pytest.mark.parametrize("frames", [16, 130, 300])
@pytest.mark.parametrize("phases", [1, 2, 8, "centre"])
def test_each_frame_gets_its_own_error(frames: int, phases: Phases) -> None:
    errors = dense_errors(silent, numbered(frames), same, "fp32", phases=phases)
    np.testing.assert_allclose(errors.frame_mse_N.sqrt().numpy(), np.arange(frames), rtol=1e-6)
    assert errors.map_Nhw.shape == (frames, 8 // MAP_STRIDE, 12 // MAP_STRIDE)


def test_windows_are_multiples_of_eight_long_with_context_and_never_much_longer_than_they_score() -> None:
    lengths = []

    def watch(clip_BCTHW: Tensor) -> Tensor:
        lengths.append(clip_BCTHW.shape[2])
        return clip_BCTHW

    dense_errors(Returns(watch), numbered(300), same, "fp32", phases=4)
    assert all(length % 8 == 0 for length in lengths)
    assert max(lengths) <= SCORED + 2 * CONTEXT + 8
    assert len(lengths) == 4 * 3


def test_with_centre_every_frame_is_scored_at_the_phase_of_frame_8() -> None:
    def phase(clip_BCTHW: Tensor) -> Tensor:
        """Return what differs from the clip by the phase of each frame."""
        phase_T = (torch.arange(clip_BCTHW.shape[2]) % STRIDE).float()
        return clip_BCTHW + phase_T.view(1, 1, -1, 1, 1)

    assert dense_errors(Returns(phase), numbered(300), same, "fp32", phases="centre").frame_mse_N.max() == 0
    assert len(dense_errors(Returns(phase), numbered(300), same, "fp32", phases=1).frame_mse_N.unique()) == STRIDE
    mean = dense_errors(Returns(phase), numbered(300), same, "fp32", phases=8).frame_mse_N
    torch.testing.assert_close(mean, torch.full((300,), float(np.mean(np.arange(8) ** 2))))


def test_the_error_is_that_of_the_network_run_over_frames_and_context() -> None:
    network = make_autoencoder(channels=1, width=0.1, seed=3, device=CPU).eval()
    video = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (24, 32, 32, 1)).astype(np.uint8))
    padded = torch.cat([video[:1].expand(8, -1, -1, -1), video, video[-1:].expand(8, -1, -1, -1)])
    clip = normalise_frames(padded).permute(3, 0, 1, 2)[None]
    with torch.no_grad():
        expected = (network(clip) - clip)[0, 0, 8:32].square()
    found = dense_errors(network, video, normalise_frames, "fp32")
    torch.testing.assert_close(found.frame_mse_N, expected.mean((1, 2)), rtol=1e-4, atol=1e-6)


def test_pieces_of_whole_windows_give_what_the_video_at_once_gives() -> None:
    network = make_autoencoder(channels=1, width=0.1, seed=3, device=CPU).eval()
    video = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (2 * SCORED + 30, 16, 16, 1)).astype(np.uint8))
    whole = dense_errors(network, video, normalise_frames, "fp32", phases=2)
    parts = [
        dense_errors(network, video, normalise_frames, "fp32", phases=2, wanted=slice(start, start + SCORED))
        for start in range(0, len(video), SCORED)
    ]
    torch.testing.assert_close(torch.cat([part.map_Nhw for part in parts]), whole.map_Nhw)


def test_a_bundle_measures_the_same_frames_densely_and_both_taps_alike(trained: Bundle) -> None:
    street = make_street("test", frames=40, seed=5)
    video = (street.arrays["frames", "frames"], street.arrays["flows", "flow"], street.arrays["features-normal", "normal"])
    exact, dense = trained.measure(*video).taps, trained.measure(*video, phases=8).taps
    for tap in TAPS:
        np.testing.assert_array_equal(dense[tap].frame_index_N, exact[tap].frame_index_N)
        assert dense[tap].maps["spatial"].shape == exact[tap].maps["spatial"].shape
        np.testing.assert_array_equal(dense[tap].values["semantic"], exact[tap].values["semantic"])
        np.testing.assert_array_equal(dense[tap].values["objects"], exact[tap].values["objects"])
    shared = np.isin(dense["last"].frame_index_N, dense["centre"].frame_index_N)
    np.testing.assert_array_equal(dense["last"].values["temporal"][shared], dense["centre"].values["temporal"])
    ratio = dense["centre"].values["temporal_frame_mse"].mean() / exact["centre"].values["temporal_frame_mse"].mean()
    assert 0.5 < ratio < 2  # a random start of training, yet the same frames of the same video


@pytest.mark.parametrize("phases", [0, 1])
@pytest.mark.parametrize("wanted", [slice(0, 10), slice(16, 24), slice(20, 40)])
def test_only_the_frames_that_are_wanted_are_measured(trained: Bundle, phases: int, wanted: slice) -> None:
    street = make_street("test", frames=40, seed=5)
    video = (street.arrays["frames", "frames"], street.arrays["flows", "flow"], street.arrays["features-normal", "normal"])
    whole = trained.measure(*video, phases=phases).taps
    part = trained.measure(*video, phases=phases, wanted=wanted).taps
    for tap in TAPS:
        frame_N = part[tap].frame_index_N
        np.testing.assert_array_equal(frame_N, scored_frames(tap, 40, wanted))
        row_N = np.searchsorted(whole[tap].frame_index_N, frame_N)
        if phases == 0:  # a long window that begins elsewhere is at another phase
            for name, value_N in part[tap].values.items():
                np.testing.assert_allclose(value_N, whole[tap].values[name][row_N], rtol=1e-3, err_msg=name)
