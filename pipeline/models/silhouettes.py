"""Silhouettes of moving objects of a fixed camera, over a whole video, without weights."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.config import MasksSettings
from pipeline.models.foreground import Bytes, Floats, foreground, learn_background, whole_objects
from pipeline.models.object_choice import ObjectMasks, choose_masks
from pipeline.models.tracking import Track, Tracker

Reader = Callable[[int, int], NDArray[np.generic]]
"""Elements ``start`` to ``stop`` along time."""

BACKGROUND_FRAMES = 64
READ_FRAMES = 128
"""Frames in memory at once."""


def moving_objects(
    read_frames: Reader, read_flow: Reader, frames: int, settings: MasksSettings, rng: np.random.Generator
) -> ObjectMasks:
    """Return the masks of ``frames`` frames of a fixed camera; see :func:`choose_masks`.

    Parameters
    ----------
    read_frames : (start, stop) -> (N, H, W, C) uint8
        Called for at most :data:`READ_FRAMES` frames at once.
    read_flow : (start, stop) -> (N, 2, H, W)
        Element i leads from frame i to i + 1; pixels per frame.
    rng : Generator
        Chooses the object where there are several, and how long it is kept.
    """
    tracks = find_tracks(read_frames, read_flow, frames, settings.min_area)
    shape = read_frames(0, 1).shape[1], read_frames(0, 1).shape[2]
    return choose_masks(tracks, frames, shape, settings, rng)


def find_tracks(read_frames: Reader, read_flow: Reader, frames: int, min_area: float) -> list[Track]:
    """Return every object that could be followed, in order of appearance."""
    sample = np.unique(np.linspace(0, frames - 1, min(frames, BACKGROUND_FRAMES)).astype(int))
    background = learn_background(np.concatenate([_bytes(read_frames(i, i + 1)) for i in map(int, sample)]))
    height, width = background.empty_CHW.shape[1:]
    min_pixels = max(4, round(min_area * height * width))
    tracker = Tracker(min_pixels)
    for frame_HWC, flow_2HW in _pairs(read_frames, read_flow, frames):
        tracker.step(whole_objects(foreground(frame_HWC, background), min_pixels), flow_2HW)
    return tracker.tracks


def _pairs(read_frames: Reader, read_flow: Reader, frames: int) -> Iterator[tuple[Bytes, Floats | None]]:
    """Yield each frame with the flow that leads to it."""
    for start in range(0, frames, READ_FRAMES):
        stop = min(start + READ_FRAMES, frames)
        frames_NHWC = _bytes(read_frames(start, stop))
        flow_N2HW = np.asarray(read_flow(max(start - 1, 0), stop - 1), np.float32) if stop > 1 else np.empty(0)
        flows: list[Floats | None] = list(flow_N2HW)
        yield from zip(frames_NHWC, flows if start else [None, *flows], strict=True)


def _bytes(frames_NHWC: NDArray[np.generic]) -> Bytes:
    return np.asarray(frames_NHWC, np.uint8)
