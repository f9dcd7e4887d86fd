"""Pictures and flow reach the networks on the scale and in the order that training and scoring share."""

import cv2
import numpy as np
import pytest
import torch

from trainer.normalise import FLOW_LIMIT, arriving_flow, normalise_flow, normalise_frames, to_channels


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
