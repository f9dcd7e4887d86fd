"""From rendered clips to training batches: whole pictures at several scales, and windows around actors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from pipeline.models.clip_folder import IMAGENET_MEAN, IMAGENET_STD
from pipeline.synthetic.captions import Sight, sentence
from tools.clip_model import GRID, IMAGE_SIZE, PATCH
from tools.clip_render import FRAMES, HEIGHT, WIDTH, Clip, Seen, picture

FITTING = IMAGE_SIZE / WIDTH
"""Scale at which the whole width of a rendered picture fits into the encoder's."""
SMALLEST = 12
"""Pixels of an actor, as the encoder gets them, below which nobody could tell what it is."""
FULL_FRAMES = 2
PER_FRAME = 4
MEAN_3, STD_3 = (np.array(value, np.float32) * 255 for value in (IMAGENET_MEAN, IMAGENET_STD))


@dataclass(frozen=True, kw_only=True)
class Batch:
    """``pixel_BFCHW`` normalised, ``corner_B2`` the first patch of each window in the grid, and a sentence each."""

    pixel_BFCHW: Tensor
    corner_B2: Tensor
    texts: list[str]


@dataclass(frozen=True, kw_only=True)
class View:
    """A rectangle of the picture (pixels, may reach beyond it) and the height and width it is resized to."""

    left: float
    top: float
    width: float
    height: float
    rows: int
    columns: int

    def holds(self, one: Seen) -> bool:
        """Whether at least half of an actor lies inside, large enough to be told."""
        x1, y1, x2, y2 = one.box
        across = min(x2 + 1, self.left + self.width) - max(x1, self.left)
        down = min(y2 + 1, self.top + self.height) - max(y1, self.top)
        share = max(across, 0) * max(down, 0) / ((x2 + 1 - x1) * (y2 + 1 - y1))
        scale = self.columns / self.width * self.rows / self.height
        return share >= 0.5 and one.pixels * scale * share >= SMALLEST

    def inside(self) -> tuple[slice, slice]:
        """Return the rows and columns of the result that show the picture and not what lies beyond it."""
        down, across = self.rows / self.height, self.columns / self.width
        return (
            slice(max(0, round(-self.top * down)), max(0, round((HEIGHT - self.top) * down))),
            slice(max(0, round(-self.left * across)), max(0, round((WIDTH - self.left) * across))),
        )

    def cut(self, picture_HWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the rectangle (rows, columns, 3) float32 0..255; beyond the picture it has ImageNet's mean colour."""
        x1, y1 = round(self.left), round(self.top)
        x2, y2 = max(x1 + 2, round(self.left + self.width)), max(y1 + 2, round(self.top + self.height))
        inside = picture_HWC[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)]
        held = np.empty((y2 - y1, x2 - x1, 3), np.uint8)
        held[:] = MEAN_3.round().astype(np.uint8)
        held[max(-y1, 0) : max(-y1, 0) + inside.shape[0], max(-x1, 0) : max(-x1, 0) + inside.shape[1]] = inside
        method = cv2.INTER_AREA if held.shape[1] > self.columns else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(held, (self.columns, self.rows), interpolation=method), np.float32)


def merged(frames: Iterable[Iterable[Seen]]) -> list[Sight]:
    """Return one sight of each actor over several frames: the unusual one where there is any."""
    found: dict[int, Sight] = {}
    for one in (one for frame in frames for one in frame):
        if one.actor not in found or (one.sight.unusual and not found[one.actor].unusual):
            found[one.actor] = one.sight
    return list(found.values())


def window_batch(rng: Generator, clips: Sequence[Clip], size: int, patches: int) -> Batch:
    """Draw ``size`` windows of ``patches`` x ``patches`` patches from single frames, most of them around an actor.

    PER_FRAME of them come from the same frame, so that what they stand on does not tell them apart.
    """
    pixels, texts = [], []
    for clip in (clips[int(i)] for i in rng.integers(len(clips), size=size // PER_FRAME)):
        frame = int(rng.integers(FRAMES))
        whole_HWC = picture(clip, frame)
        for _ in range(PER_FRAME):
            view, look = _window(rng, clip.seen[frame], patches), _Look(rng)
            sights = [_alone(one.sight) for one in clip.seen[frame] if view.holds(one)]
            pixels.append(look.develop(view, whole_HWC)[None])
            texts.append(look.tell(sights, places=False))
    corners = torch.from_numpy(rng.integers(0, GRID - patches + 1, (len(texts), 2)))
    return Batch(pixel_BFCHW=torch.from_numpy(np.stack(pixels)), corner_B2=corners, texts=texts)


def full_batch(rng: Generator, clips: Sequence[Clip], size: int) -> Batch:
    """Draw ``size`` clips of FULL_FRAMES frames each: letterboxed, a little smaller, or with the sides cut off."""
    pixels, texts = [], []
    for clip in (clips[int(i)] for i in rng.integers(len(clips), size=size)):
        frames = sorted(int(i) for i in rng.choice(FRAMES, FULL_FRAMES, replace=False))
        view, look = _whole(rng), _Look(rng)
        sights = merged((one for one in clip.seen[frame] if view.holds(one)) for frame in frames)
        pixels.append(np.stack([look.develop(view, picture(clip, frame)) for frame in frames]))
        texts.append(look.tell(sights, places=True))
    return Batch(
        pixel_BFCHW=torch.from_numpy(np.stack(pixels)), corner_B2=torch.zeros(size, 2, dtype=torch.long), texts=texts
    )


def _window(rng: Generator, seen: Sequence[Seen], patches: int) -> View:
    """Small windows hold one actor at the sizes that it has in whole frames, large ones hold its surroundings too."""
    size = patches * PATCH
    scale = FITTING * float(np.exp(rng.normal(0, 0.25)))
    x, y = rng.uniform(0, WIDTH), rng.uniform(0.25, 1) * HEIGHT
    if seen and rng.random() < 0.85:
        weight = np.array([3.0 if one.sight.unusual else 1.0 for one in seen])
        x1, y1, x2, y2 = seen[int(rng.choice(len(seen), p=weight / weight.sum()))].box
        long_side = max(x2 - x1, y2 - y1) + 1
        if patches <= 3 or rng.random() < 0.3:
            scale = float(np.clip(size * rng.uniform(0.35, 0.95) / long_side, 0.4, 1.8))
        slack = 0.5 * max(size / scale - 0.7 * long_side, 4)
        x, y = (x1 + x2) / 2 + slack * rng.uniform(-1, 1), (y1 + y2) / 2 + slack * rng.uniform(-1, 1)
    width, height = size / scale, size / scale * rng.uniform(0.92, 1.08)
    return View(left=x - width / 2, top=y - height / 2, width=width, height=height, rows=size, columns=size)


def _alone(one: Sight) -> Sight:
    """Return what a detail shows: which way the stream goes cannot be told from it."""
    return replace(one, action="walks") if one.action == "against" else one


def _whole(rng: Generator) -> View:
    choice = rng.random()
    if choice < 0.2:  # a square part of the picture, as a centre crop takes it
        side = HEIGHT * rng.uniform(0.75, 1)
        left, top = rng.uniform(0, WIDTH - side), rng.uniform(0, HEIGHT - side)
        return View(left=left, top=top, width=side, height=side, rows=IMAGE_SIZE, columns=IMAGE_SIZE)
    width = WIDTH * (rng.uniform(0.97, 1.03) if choice < 0.75 else rng.uniform(1, 1.5))
    height = width * rng.uniform(0.88, 1.08)
    left, top = (WIDTH - width) * rng.random(), (HEIGHT - height) / 2
    if choice >= 0.75:
        top = (HEIGHT - height) * rng.random()
    return View(left=left, top=top, width=width, height=height, rows=IMAGE_SIZE, columns=IMAGE_SIZE)


class _Look:
    """One way to change how a clip looks, and the words that go with it."""

    def __init__(self, rng: Generator) -> None:
        self.rng = rng
        self.mirrored, self.grey = bool(rng.random() < 0.5), bool(rng.random() < 0.25)
        self.gain, self.contrast = float(rng.uniform(0.75, 1.25)), float(rng.uniform(0.7, 1.3))
        self.tint_3 = rng.uniform(0.95, 1.05, 3).astype(np.float32)
        self.noise = float(rng.uniform(0, 4)) if rng.random() < 0.5 else 0.0
        self.blur = float(rng.uniform(0.3, 0.8)) if rng.random() < 0.4 else 0.0

    def develop(self, view: View, picture_HWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return what ``view`` shows as pixels (3, rows, columns), normalised, with zeros beyond the picture."""
        changed = view.cut(picture_HWC)
        if self.blur:
            changed = np.asarray(cv2.GaussianBlur(changed, (0, 0), self.blur), np.float32)
        if self.grey:
            changed = np.repeat(changed @ np.array([[0.299], [0.587], [0.114]], np.float32), 3, 2)
        else:
            changed = changed * self.tint_3
        middle = float(changed.mean())
        changed = (changed - middle) * self.contrast + middle * self.gain
        if self.noise:
            changed = changed + self.rng.standard_normal(changed.shape, np.float32) * self.noise
        normal_HWC = np.zeros_like(changed)
        normal_HWC[view.inside()] = ((np.clip(changed, 0, 255) - MEAN_3) / STD_3)[view.inside()]
        if self.mirrored:
            normal_HWC = normal_HWC[:, ::-1]
        return np.ascontiguousarray(normal_HWC.transpose(2, 0, 1), np.float32)

    def tell(self, sights: Sequence[Sight], *, places: bool) -> str:
        """Return the sentence: left and right change places in a mirror, grey pictures have no colours."""
        if self.mirrored:
            sights = [replace(one, direction=-one.direction, x=-one.x) for one in sights]
        return sentence(sights, colours=not self.grey, places=places)
