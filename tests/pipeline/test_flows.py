"""Flow points where things move, in pixels of the stored resolution."""

import cv2
import numpy as np
import pytest

from pipeline.config import ConfigError
from pipeline.models.flow import ESTIMATORS, open_flow_estimator, resize_flow


def textured(height: int = 96, width: int = 128) -> np.ndarray:
    noise = np.random.default_rng(0).uniform(0, 255, (height + 32, width + 32)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)  # type: ignore[call-overload]


@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_a_translation_is_found_with_its_direction(name: str) -> None:
    image = textured()
    # Content moves 2 px to the right and 1 px down from frame to frame.
    frames_THW = np.stack([image[16 - i : 112 - i, 16 - 2 * i : 144 - 2 * i] for i in range(4)])
    flow_T2HW = open_flow_estimator(name)(frames_THW)
    assert flow_T2HW.shape == (3, 2, 96, 128)
    error = np.hypot(flow_T2HW[:, 0] - 2, flow_T2HW[:, 1] - 1)[:, 16:-16, 16:-16]
    assert error.mean() < 0.2


def test_vectors_are_rescaled_with_the_picture() -> None:
    flow_T2HW = np.empty((2, 2, 96, 128), np.float32)
    flow_T2HW[:, 0], flow_T2HW[:, 1] = 4, -3
    small = resize_flow(flow_T2HW, 48, 32)
    assert small.shape == (2, 2, 48, 32)
    np.testing.assert_allclose(small[:, 0], 1, atol=1e-5)
    np.testing.assert_allclose(small[:, 1], -1.5, atol=1e-5)


def test_an_unknown_estimator_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="farneback, dis"):
        open_flow_estimator("raft2")
