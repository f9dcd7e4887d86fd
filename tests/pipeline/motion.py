"""Grey frames whose motion is known exactly."""

import cv2
import numpy as np
from numpy.typing import NDArray

TURN = np.array([[np.cos(0.035), -np.sin(0.035)], [np.sin(0.035), np.cos(0.035)]])  # two degrees, clockwise on the screen
TURNS_AND_ZOOMS = {"clockwise": TURN, "back": TURN.T, "in": 1.03 * np.eye(2), "out": np.eye(2) / 1.03}


def textured(height: int, width: int) -> NDArray[np.uint8]:
    """Return smooth noise (height, width) over the whole range of grey."""
    noise_HW = np.random.default_rng(0).uniform(0, 255, (height, width)).astype(np.float32)
    smooth_HW = cv2.GaussianBlur(noise_HW, (0, 0), 2)
    return np.asarray((smooth_HW - smooth_HW.min()) * (255 / np.ptp(smooth_HW)), np.uint8)


def moving(count: int, dx: int, dy: int, height: int = 96, width: int = 128) -> NDArray[np.uint8]:
    """Return frames (T, H, W) whose content moves ``dx`` pixels to the right and ``dy`` down from each to the next."""
    room_y, room_x = abs(dy) * count, abs(dx) * count
    image = textured(height + 2 * room_y, width + 2 * room_x)
    corners = [(room_y - dy * i, room_x - dx * i) for i in range(count)]
    return np.stack([image[top : top + height, left : left + width] for top, left in corners])


def warped(count: int, matrix_22: NDArray[np.float64], height: int = 96, width: int = 128) -> NDArray[np.uint8]:
    """Return frames (T, H, W) in which what is at p, from the middle of the picture, is at ``matrix_22 @ p`` in the next."""
    image_HW = textured(3 * height, 3 * width)
    middle_2, image_middle_2 = (np.array([w - 1, h - 1]) / 2 for h, w in ((height, width), image_HW.shape))
    frames = []
    for i in range(count):
        back_22 = np.linalg.inv(np.linalg.matrix_power(matrix_22, i))  # where in the image a place of frame i comes from
        back_23 = np.column_stack([back_22, image_middle_2 - back_22 @ middle_2])
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        frames.append(cv2.warpAffine(image_HW, back_23, (width, height), flags=flags))
    return np.stack(frames).astype(np.uint8)


def true_flow(matrix_22: NDArray[np.float64], height: int = 96, width: int = 128) -> NDArray[np.float64]:
    """Return the flow (2, H, W) between any two frames of :func:`warped`, pixels per frame."""
    place_2HW = np.stack(np.meshgrid(np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2))
    return np.einsum("ij,jhw->ihw", matrix_22 - np.eye(2), place_2HW)


def mean_error(flow_T2HW: NDArray[np.floating], true_2HW: NDArray[np.floating], rim: int = 16) -> float:
    """Return the mean distance from the true vectors, pixels, away from the rim, where content enters and leaves."""
    distance_THW = np.hypot(*(flow_T2HW - true_2HW).swapaxes(0, 1))
    return float(distance_THW[:, rim:-rim, rim:-rim].mean())


def end_point_error(flow_T2HW: NDArray[np.floating], dx: float, dy: float, rim: int = 16) -> float:
    """Return the mean distance from one true vector; see :func:`mean_error`."""
    return mean_error(flow_T2HW, np.array([dx, dy]).reshape(2, 1, 1), rim)
