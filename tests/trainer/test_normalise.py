"""Pictures and flow reach the networks on the scale and in the order that training and scoring share."""

import cv2
import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from trainer.normalise import (
    FLOW_LIMIT,
    PIECE,
    arriving_flow,
    blur,
    normalise_flow,
    normalise_frames,
    reduce_pictures,
    smooth_flow,
    to_channels,
)


def test_frames_are_mapped_as_the_published_autoencoders_do() -> None:
    values = torch.tensor([0, 51, 255], dtype=torch.uint8)
    torch.testing.assert_close(normalise_frames(values), torch.tensor([-1.0, 51 / 127.5 - 1, 1.0]))


def test_flow_is_divided_by_its_scale_and_clipped() -> None:
    flow = torch.tensor([0.0, 3.0, -6.0, 100.0, -100.0], dtype=torch.float16)
    scaled = normalise_flow(flow, 6.0)
    assert scaled.dtype == torch.float32
    assert scaled.tolist() == [0.0, 0.5, -1.0, FLOW_LIMIT, -FLOW_LIMIT]


def test_grey_agrees_with_opencv_to_one_level() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (70, 8, 9, 3), dtype=np.uint8)
    grey = to_channels(torch.from_numpy(rgb), "grey")
    assert grey.shape == (70, 8, 9, 1)
    expected = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in rgb])
    assert np.abs(grey[..., 0].numpy().astype(int) - expected).max() <= 1


def test_stored_grey_stays_as_it_is_and_cannot_become_rgb() -> None:
    grey = torch.arange(24, dtype=torch.uint8).view(2, 3, 4, 1)
    assert torch.equal(to_channels(grey, "grey"), grey)
    with pytest.raises(ValueError, match=r"needs 3 stored channels, found 1; set frames\.colour = rgb"):
        to_channels(grey, "rgb")


def test_a_frame_is_given_the_motion_that_arrived_in_it() -> None:
    flow_T2HW = np.random.default_rng(0).random((5, 2, 3, 4)).astype(np.float16)
    arriving = arriving_flow(flow_T2HW)
    assert arriving.shape == (6, 3, 4, 2)
    for frame in range(1, 6):
        np.testing.assert_array_equal(arriving[frame, ..., 0], flow_T2HW[frame - 1, 0])
        np.testing.assert_array_equal(arriving[frame, ..., 1], flow_T2HW[frame - 1, 1])
    np.testing.assert_array_equal(arriving[0], arriving[1])


def test_reduced_pictures_are_means_over_squares_and_keep_their_type() -> None:
    values = torch.arange(2 * 4 * 6 * 1).reshape(2, 4, 6, 1)
    expected = values.reshape(2, 2, 2, 3, 2, 1).float().mean((2, 4))
    assert torch.equal(reduce_pictures(values.to(torch.float16), 2), expected.to(torch.float16))
    assert torch.equal(reduce_pictures(values.to(torch.uint8), 2), expected.round().to(torch.uint8))
    assert reduce_pictures(values, 1) is values
    mask = torch.zeros(1, 2, 4, 1, dtype=torch.bool)
    mask[0, :, 0], mask[0, 0, 2] = True, True  # half of the left square, a quarter of the right one
    assert reduce_pictures(mask, 2).flatten().tolist() == [True, False]


def test_blur_keeps_a_constant_also_at_the_rim_and_spreads_a_point_evenly() -> None:
    torch.testing.assert_close(blur(torch.full((1, 6, 9), 0.7), 2.0), torch.full((1, 6, 9), 0.7))
    point = torch.zeros(1, 21, 21)
    point[0, 10, 10] = 1
    spread = blur(point, 1.5)[0]
    torch.testing.assert_close(spread, spread.flip(0))
    torch.testing.assert_close(spread, spread.T)
    assert spread.sum() == pytest.approx(1)
    assert blur(point, 0.0) is point


def test_smooth_flow_is_opencvs_gaussian_of_a_share_of_the_height_and_keeps_its_type() -> None:
    flow = torch.from_numpy(np.random.default_rng(0).normal(0, 2, (PIECE + 3, 20, 30, 2)).astype(np.float16))
    found = smooth_flow(flow, 0.1)
    assert found.shape == flow.shape
    assert found.dtype == torch.float16
    for frame in (0, PIECE + 2):
        expected = cv2.GaussianBlur(flow[frame].numpy().astype(np.float32), (13, 13), 2.0, borderType=cv2.BORDER_REPLICATE)
        np.testing.assert_allclose(found[frame].numpy(), expected, atol=2e-3)
    assert smooth_flow(flow, 0.0) is flow


def test_flow_is_smoothed_where_it_lies() -> None:
    with FakeTensorMode():  # knows devices that are not there, and refuses to mix them
        flow = torch.empty((3, 20, 30, 2), dtype=torch.float16, device="cuda")
        assert smooth_flow(flow, 0.1).device.type == "cuda"
