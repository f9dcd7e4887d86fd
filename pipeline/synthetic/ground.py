"""The still picture of the street: backdrop, two pavements, and the strip between them."""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.synthetic.texture import (
    ByteArray,
    Colour,
    FloatArray,
    as_float,
    foliage,
    smooth_noise,
    tile_tones,
    tinted,
)

HORIZON = -0.13
"""Where the ground would meet the sky, as a share of the picture's height (above the picture: the camera looks down)."""
BACKDROP = 0.35
"""Where the backdrop ends and the ground begins."""
STRIP = (0.605, 0.69)
"""The strip between the far and the near pavement; lamp posts, trees and benches stand on it."""

_WALLS: tuple[Colour, ...] = ((150, 96, 78), (176, 158, 130), (140, 138, 134), (186, 172, 152), (120, 92, 84))
_PAVINGS: tuple[Colour, ...] = ((152, 150, 146), (166, 156, 142), (136, 138, 142), (158, 142, 128))
_SUPER = 2


def draw_background(rng: np.random.Generator, height: int, width: int) -> FloatArray:
    """Return background_HWC, float32 0..255: the empty street, without what stands on it."""
    rows, columns = height * _SUPER, width * _SUPER
    picture = _paving(rng, rows, columns)
    _lay_strip(rng, picture)
    edge = round(BACKDROP * rows)
    backdrop = _hedge if rng.random() < 0.35 else _facade
    picture[:edge] = backdrop(rng, edge, columns, rows)
    # Where wall and ground meet it is darker, as in any street.
    foot = slice(edge, edge + round(0.03 * rows))
    picture[foot] *= np.linspace(0.68, 1, foot.stop - foot.start, dtype=np.float32)[:, None, None]
    picture *= (1 + 0.05 * smooth_noise(rng, rows, columns, 0.5 * rows, 2))[..., None]
    small = as_float(cv2.resize(np.clip(picture, 4, 250), (width, height), interpolation=cv2.INTER_AREA))
    return as_float(small)


def _paving(rng: np.random.Generator, rows: int, columns: int) -> FloatArray:
    """Draw tiles in perspective: their size shrinks towards the horizon."""
    v = (np.arange(rows, dtype=np.float32) / rows)[:, None]
    u = (np.arange(columns, dtype=np.float32)[None, :] - columns / 2) / rows
    depth = 1.0 / np.maximum(v - HORIZON, 0.05)
    tiles = float(rng.uniform(5.0, 8.0))
    across = as_float(u * depth * tiles + 40)
    along = as_float(np.broadcast_to(depth * tiles * 1.9, across.shape))
    tone = tile_tones(rng, across, along, joint=0.05, offset=float(rng.choice([0.0, 0.5])), spread=0.035)
    stains = 1 + 0.06 * smooth_noise(rng, rows, columns, rows / 6) + 0.035 * smooth_noise(rng, rows, columns, 4, 2)
    return tinted(as_float(tone * stains), _PAVINGS[int(rng.integers(len(_PAVINGS)))])


def _lay_strip(rng: np.random.Generator, picture_HWC: FloatArray) -> None:
    """Lay the strip between the pavements: grass, or asphalt between two kerbs."""
    rows, columns = picture_HWC.shape[:2]
    top, bottom = (round(v * rows) for v in STRIP)
    if rng.random() < 0.6:
        strip = foliage(rng, bottom - top, columns, (96, 122, 70), rows / 90)
    else:
        grain = as_float(1 + 0.1 * smooth_noise(rng, bottom - top, columns, rows / 60, 3))
        strip = tinted(grain, (92, 92, 96))
    picture_HWC[top:bottom] = strip
    kerb = max(2, round(0.011 * rows))
    for row, tone in ((top - kerb, 186.0), (bottom, 192.0)):
        worn = 1 + 0.06 * smooth_noise(rng, kerb, columns, rows / 20, 3)
        picture_HWC[row : row + kerb] = tinted(as_float(worn), (tone, tone - 2, tone - 8))
        picture_HWC[row + kerb : row + kerb + max(1, kerb // 2)] *= 0.62


def _hedge(rng: np.random.Generator, edge: int, columns: int, rows: int) -> FloatArray:
    """Draw a park behind the street: distant trees, a hedge, grass before it."""
    trees = foliage(rng, edge, columns, (74, 96, 66), rows / 24)
    hedge = foliage(rng, edge, columns, (62, 92, 50), rows / 70)
    lawn = foliage(rng, edge, columns, (112, 136, 80), rows / 110)
    line = edge * (0.42 + 0.06 * smooth_noise(rng, 1, columns, columns / 5, 3)[0])
    row = np.arange(edge, dtype=np.float32)[:, None]
    picture = np.where((row > line)[..., None], hedge, trees)
    shade = 1 - 0.35 * np.clip((row - line) / (edge * 0.4), 0, 1)
    picture = picture * np.where(row > line, shade, 1.0)[..., None]
    picture[round(0.84 * edge) :] = lawn[round(0.84 * edge) :]
    return as_float(picture)


def _facade(rng: np.random.Generator, edge: int, columns: int, rows: int) -> FloatArray:
    """Draw the ground floor of a house: bricks or plaster, windows, doors, a plinth."""
    row, column = np.mgrid[0:edge, 0:columns].astype(np.float32)
    brick = rows / 34
    tone = np.ones((edge, columns), np.float32)
    if rng.random() < 0.6:
        tone = tile_tones(rng, column / (2.4 * brick), row / brick, joint=0.09, offset=0.5, spread=0.06)
    tone = as_float(tone * (1 + 0.07 * smooth_noise(rng, edge, columns, rows / 5)))
    picture = tinted(tone, _WALLS[int(rng.integers(len(_WALLS)))])
    step = rows * float(rng.uniform(0.26, 0.4))
    door = int(rng.integers(4))
    for number, left in enumerate(np.arange(step * 0.2, columns - step * 0.3, step)):
        if number % 4 == door:
            _opening(rng, picture, (left, 0.16 * edge, step * 0.42, 0.84 * edge), door=True)
        else:
            _opening(rng, picture, (left, 0.12 * edge, step * 0.62, 0.5 * edge), door=False)
    plinth = slice(round(0.88 * edge), edge)
    picture[plinth] *= 0.78
    picture[plinth.start : plinth.start + 2] *= 1.3
    return picture


def _opening(
    rng: np.random.Generator, picture_HWC: FloatArray, box: tuple[float, float, float, float], *, door: bool
) -> None:
    """Draw a window or a door into ``box`` (left, top, width, height in pixels)."""
    left, top, wide, high = (round(n) for n in box)
    right, bottom = min(left + wide, picture_HWC.shape[1]), min(top + high, picture_HWC.shape[0])
    frame = max(2, round(wide * 0.07))
    tone = float(rng.uniform(0.8, 1.15))
    cv2.rectangle(picture_HWC, (left, top), (right, bottom), (190 * tone, 186 * tone, 176 * tone), -1)
    inner = picture_HWC[top + frame : bottom - (0 if door else frame), left + frame : right - frame]
    if not inner.size:
        return
    panes = np.linspace(1.25, 0.7, inner.shape[0], dtype=np.float32)[:, None]
    glare = 1 + 0.25 * smooth_noise(rng, inner.shape[0], inner.shape[1], wide, 2)
    base: Colour = (92, 62, 46) if door else (66, 78, 92)
    inner[:] = tinted(as_float(panes * glare), base)
    middle = left + wide // 2
    if not door:
        cv2.line(picture_HWC, (middle, top), (middle, bottom), (180 * tone, 176 * tone, 168 * tone), max(1, frame // 2))
        cv2.rectangle(picture_HWC, (left - 3, bottom), (right + 3, bottom + frame), (168, 164, 156), -1)


def to_bytes(picture_HWC: FloatArray) -> ByteArray:
    """Return ``picture_HWC`` rounded and clipped to uint8."""
    return np.asarray(np.clip(picture_HWC + 0.5, 0, 255), np.uint8)
