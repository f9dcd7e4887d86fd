"""Colours of flow are those of the program that published flow pictures are made with."""

import math

import numpy as np
import pytest

from pipeline.models.flow_colours import colour_wheel, flow_colours


def baker(x: float, y: float) -> list[int]:
    """Return the colour of one vector of length 0..1, computed line by line as colorcode.cpp of the authors does."""
    wheel = []
    for i in range(15):
        wheel.append((255, 255 * i // 15, 0))
    for i in range(6):
        wheel.append((255 - 255 * i // 6, 255, 0))
    for i in range(4):
        wheel.append((0, 255, 255 * i // 4))
    for i in range(11):
        wheel.append((0, 255 - 255 * i // 11, 255))
    for i in range(13):
        wheel.append((255 * i // 13, 0, 255))
    for i in range(6):
        wheel.append((255, 0, 255 - 255 * i // 6))
    radius, angle = math.hypot(x, y), math.atan2(-y, -x) / math.pi
    place = (angle + 1) / 2 * (len(wheel) - 1)
    first = int(place)
    second = (first + 1) % len(wheel)
    share = place - first
    colour = []
    for low, high in zip(wheel[first], wheel[second], strict=True):
        value = (1 - share) * low / 255 + share * high / 255
        colour.append(int(255 * (1 - radius * (1 - value))))
    return colour


def test_colours_agree_with_the_published_program() -> None:
    xy_2N = np.random.default_rng(0).uniform(-0.7, 0.7, (2, 500))
    found_NC = flow_colours(xy_2N[:, None] * 3, 3.0)[0]
    expected_NC = np.array([baker(x, y) for x, y in xy_2N.T])
    assert np.abs(found_NC.astype(int) - expected_NC).max() <= 1  # one of them computes in float32


def test_hues_tell_direction_and_a_field_at_rest_is_white() -> None:
    expected = {(0, 0): (255, 255, 255), (1, 0): (255, 0, 0), (-1, 0): (0, 208, 255), (9, 0): (255, 0, 0)}
    for (x, y), colour in expected.items():
        field_2HW = np.array([[[x]], [[y]]], np.float16)
        assert flow_colours(field_2HW, 1.0)[0, 0].tolist() == pytest.approx(colour, abs=1)
    down, up = flow_colours(np.array([[[0.0, 0.0]], [[1.0, -1.0]]]), 1.0)[0]
    assert (down[0], down[2]) == (255, 0)
    assert down[1] > 200
    assert (up[1], up[2]) == (0, 255)


def test_the_wheel_has_no_jump() -> None:
    wheel = colour_wheel().astype(int)
    assert wheel.shape == (55, 3)
    assert np.abs(np.diff(wheel, axis=0, append=wheel[:1])).max() <= 64
