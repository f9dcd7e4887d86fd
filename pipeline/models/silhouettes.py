"""Silhouettes of one moving object at a time, over a whole video: which object, and which pixels."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.config import MasksSettings
from pipeline.models.foreground import Bools, Bytes, Floats, foreground, learn_background, whole_objects
from pipeline.models.random_masks import random_objects
from pipeline.models.tracking import Silhouette, Track, Tracker, cut_out, shifted

Reader = Callable[[int, int], NDArray[np.generic]]
"""Elements ``start`` to ``stop`` along time."""

BACKGROUND_FRAMES = 64
READ_FRAMES = 128
"""Frames in memory at once."""
_MOVED = 0.02  # of the frame's diagonal: what stays within this does not move
_WIDE = 0.7  # width over height from which on a silhouette looks like several people side by side
_BULKY = 1.8  # the same for its area, compared with the smaller ones of those whose feet are as far down the frame


@dataclass(frozen=True)
class _Run:
    """Consecutive frames ``start`` to ``stop`` in which an object can be used."""

    number: int
    track: Track
    start: int
    stop: int
    crowd: float
    """How much it looks like several people: 0 = like one."""


def moving_objects(
    read_frames: Reader, read_flow: Reader, frames: int, settings: MasksSettings, rng: np.random.Generator
) -> tuple[Bools, NDArray[np.int32]]:
    """Return mask (T, H, W) bool and object (T,) int32 (-1 = none) for ``frames`` frames of a fixed camera.

    Parameters
    ----------
    read_frames : (start, stop) -> (N, H, W, C) uint8
        Called for at most :data:`READ_FRAMES` frames at once.
    read_flow : (start, stop) -> (N, 2, H, W)
        Element i leads from frame i to i + 1; pixels per frame.
    rng : Generator
        Chooses the object where there are several, and how long it is kept.

    An object is kept for ``settings.hold`` to twice as many frames, or to the end of the video if that is near, and less
    where it cannot be followed so long. Where nothing moves for ``hold`` frames, random masks take its
    place; in shorter gaps there is none.
    """
    tracks = find_tracks(read_frames, read_flow, frames, settings.min_area)
    shape = read_frames(0, 1).shape[1], read_frames(0, 1).shape[2]
    mask_THW, object_T = np.zeros((frames, *shape), np.bool_), np.full(frames, -1, np.int32)
    for run in choose(usable_runs(tracks, shape, settings), frames, settings.hold, rng):
        for frame in range(run.start, run.stop):
            mask_THW[frame] = finished(run.track, frame, shape, settings.dilate)
            object_T[frame] = run.number
    number = len(tracks)
    for start, stop in list(gaps(object_T, settings.hold)):
        mask_THW[start:stop], numbers_T = random_objects(stop - start, shape, settings, rng)
        object_T[start:stop] = number + numbers_T
        number += int(numbers_T.max()) + 1
    return mask_THW, object_T


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


def usable_runs(tracks: list[Track], shape: tuple[int, int], settings: MasksSettings) -> list[_Run]:
    """Return where each object that moves has a silhouette within the limits of area."""
    pixels = shape[0] * shape[1]
    low, high = settings.min_area * pixels, settings.max_area * pixels
    found: list[tuple[int, Track, int, int]] = []
    for number, track in enumerate(tracks):
        if track.travelled() < _MOVED * np.hypot(*shape):
            continue
        fits = np.array([low <= silhouette.area <= high for silhouette in track.silhouettes])
        edges = np.flatnonzero(np.diff(np.concatenate([[False], fits, [False]])))
        stretches = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
        found += [(number, track, start, stop) for start, stop in stretches]
    crowds = _crowds([track.silhouettes[start:stop] for _, track, start, stop in found], shape[0])
    return [
        _Run(number, track, track.first + start, track.first + stop, crowd)
        for (number, track, start, stop), crowd in zip(found, crowds, strict=True)
    ]


def _crowds(runs: list[list[Silhouette]], height: int) -> list[float]:
    """Return for each run how much wider than a person, or larger than others at its place, its silhouettes are."""
    if not runs:
        return []
    foot_N = np.array([np.median([one.top + one.pixels_HW.shape[0] for one in run]) for run in runs])
    area_N = np.array([np.median([one.area for one in run]) for run in runs])
    wide_N = np.array([np.median([one.pixels_HW.shape[1] / one.pixels_HW.shape[0] for one in run]) for run in runs])
    frames_N = np.array([len(run) for run in runs])  # fragments last a few frames and must not pass for small people
    beside_NN = np.abs(foot_N - foot_N[:, None]) <= 0.08 * height
    usual_N = np.array([np.percentile(np.repeat(area_N, beside_N * frames_N), 33) for beside_N in beside_NN])
    crowd_N = np.maximum(np.maximum(wide_N / _WIDE, area_N / usual_N / _BULKY) - 1, 0)
    return [float(crowd) for crowd in crowd_N]


def choose(runs: list[_Run], frames: int, hold: int, rng: np.random.Generator) -> Iterator[_Run]:
    """Yield stretches of runs that follow one another, so that all objects get their turn.

    Among those that can be followed for ``hold`` frames, the one that was shown least is next; what looks like one
    person comes before what looks like several; chance decides between the rest.
    """
    shown: dict[int, int] = {}
    frame = 0
    while frame < frames:
        there = [run for run in runs if run.start <= frame < run.stop]
        if not there:
            frame = min((run.start for run in runs if run.start > frame), default=frames)
            continue
        needed = min(hold, frames - frame)
        lasting = [run for run in there if run.stop - frame >= needed]
        if lasting:
            cost = [shown.get(run.number, 0) + 12 * hold * run.crowd + rng.uniform(0, hold) for run in lasting]
            run = lasting[int(np.argmin(cost))]
            stop = min(run.stop, frame + int(rng.integers(hold, 2 * hold + 1)))
            stop = run.stop if frames - stop < hold else stop
        else:
            run = max(there, key=lambda run: (run.stop, -run.number))
            stop = min([run.stop, *(run.start for run in runs if run.start > frame and run.stop - run.start >= hold)])
        yield _Run(run.number, run.track, frame, stop, run.crowd)
        shown[run.number] = shown.get(run.number, 0) + stop - frame
        frame = stop


def finished(track: Track, frame: int, shape: tuple[int, int], dilate: int) -> Bools:
    """Return the silhouette of one frame, (H, W) bool: steady over time, closed between the limbs, and grown."""
    index = frame - track.first
    here = track.centres[index]
    votes_HW = np.zeros(shape, np.uint8)
    for other in (index - 1, index, index + 1):
        near = min(max(other, 0), len(track.centres) - 1)
        x, y = np.subtract(here, track.centres[near])
        votes_HW += shifted(track.silhouettes[near].paint(shape), float(x), float(y))
    steady_HW = votes_HW >= 2
    if not steady_HW.any():
        steady_HW = track.silhouettes[index].paint(shape)
    return _grown(_closed(cut_out(steady_HW), shape), dilate)


def _closed(silhouette: Silhouette, shape: tuple[int, int]) -> Bools:
    """Close gaps up to a third of the silhouette's width, as between legs, and fill holes."""
    size = max(3, round(max(silhouette.pixels_HW.shape[1], silhouette.pixels_HW.shape[0] / 2) / 3))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * (size // 2) + 1,) * 2)
    padded_HW = np.pad(silhouette.pixels_HW.astype(np.uint8), size)
    closed_HW = cv2.morphologyEx(padded_HW, cv2.MORPH_CLOSE, kernel)
    contours, _ = cv2.findContours(closed_HW, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(closed_HW, contours, -1, 1, cv2.FILLED)
    pixels_HW = closed_HW[size:-size, size:-size].astype(np.bool_)
    return Silhouette(silhouette.top, silhouette.left, pixels_HW).paint(shape)


def _grown(mask_HW: Bools, pixels: int) -> Bools:
    if pixels == 0:
        return mask_HW
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1,) * 2)
    return cv2.dilate(mask_HW.astype(np.uint8), kernel).astype(np.bool_)


def gaps(object_T: NDArray[np.int32], hold: int) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of stretches without an object that last at least ``hold`` frames, or the whole video."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], object_T < 0, [False]])))
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if stop - start >= min(hold, len(object_T)):
            yield start, stop
