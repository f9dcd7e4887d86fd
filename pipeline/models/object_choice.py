"""Which of the objects that were followed a mask covers in each frame, and its pixels, painted when they are asked for."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.config import MasksSettings
from pipeline.models.foreground import Bools
from pipeline.models.random_masks import random_stretches
from pipeline.models.tracking import Silhouette, Track, cut_out, shifted

MOVED = 0.02
"""Of the frame's diagonal: what stays within this does not move."""
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


@dataclass(frozen=True)
class Stretch:
    """Consecutive frames ``start`` to ``stop`` that one mask covers; ``paint(frame)`` gives its pixels, (H, W) bool."""

    number: int
    start: int
    stop: int
    paint: Callable[[int], Bools]


class ObjectMasks:
    """The masks of ``frames`` frames: outlines are kept, pixels are painted for the frames that are asked for.

    A thousand frames would otherwise take a hundred times the memory. ``object_T`` (T,) int32 says which object a mask
    covers, -1 = none.
    """

    def __init__(self, frames: int, shape: tuple[int, int], stretches: Iterable[Stretch]) -> None:
        self._shape = shape
        self._stretches = sorted(stretches, key=lambda stretch: stretch.start)
        self.object_T = np.full(frames, -1, np.int32)
        for stretch in self._stretches:
            self.object_T[stretch.start : stretch.stop] = stretch.number

    def paint(self, start: int, stop: int) -> Bools:
        """Return masks (stop - start, H, W) bool."""
        mask_THW = np.zeros((stop - start, *self._shape), np.bool_)
        for stretch in self._stretches:
            for frame in range(max(start, stretch.start), min(stop, stretch.stop)):
                mask_THW[frame - start] = stretch.paint(frame)
        return mask_THW


def choose_masks(
    tracks: Sequence[Track],
    frames: int,
    shape: tuple[int, int],
    settings: MasksSettings,
    rng: np.random.Generator,
    *,
    people: bool = False,
) -> ObjectMasks:
    """Return masks that keep to one object at a time.

    An object is kept for ``settings.hold`` to twice as many frames, or to the end if that is near, and less where it cannot
    be followed so long. Where there is none for ``hold`` frames, random masks take its place; in shorter gaps there is none.

    Parameters
    ----------
    tracks
        What was followed, in order of appearance.
    rng
        Chooses the object where there are several, and how long it is kept.
    people
        Every track is known to be one object of the kind that is wanted: it may stand still, and is no group.
    """
    runs = usable_runs(tracks, shape, settings, people=people)
    found = [
        Stretch(run.number, run.start, run.stop, partial(finished, run.track, shape=shape, dilate=settings.dilate))
        for run in choose(runs, frames, settings.hold, rng)
    ]
    number = len(tracks)
    for start, stop in gaps(ObjectMasks(frames, shape, found).object_T, settings.hold):
        there = list(random_masks(stop - start, shape, settings, rng, first_frame=start, first_number=number))
        found += there
        number += len(there)
    return ObjectMasks(frames, shape, found)


def random_masks(
    frames: int,
    shape: tuple[int, int],
    settings: MasksSettings,
    rng: np.random.Generator,
    *,
    first_frame: int = 0,
    first_number: int = 0,
) -> Iterator[Stretch]:
    """Yield stretches of random masks, one after another; an eighth of a byte per pixel is kept."""
    for number, (start, stop, mask_NHW) in enumerate(random_stretches(frames, shape, settings, rng)):
        packed_N = np.packbits(mask_NHW.reshape(len(mask_NHW), -1), axis=1)
        paint = partial(_unpacked, packed_N, first=first_frame + start, shape=shape)
        yield Stretch(first_number + number, first_frame + start, first_frame + stop, paint)


def _unpacked(packed_N: NDArray[np.uint8], frame: int, *, first: int, shape: tuple[int, int]) -> Bools:
    pixels_P = np.unpackbits(packed_N[frame - first], count=shape[0] * shape[1])
    return np.asarray(pixels_P.reshape(shape), np.bool_)


def usable_runs(
    tracks: Sequence[Track], shape: tuple[int, int], settings: MasksSettings, *, people: bool = False
) -> list[_Run]:
    """Return where each object has a silhouette within the limits of area; unless they are ``people`` it has to move."""
    pixels = shape[0] * shape[1]
    low, high = settings.min_area * pixels, settings.max_area * pixels
    found: list[tuple[int, Track, int, int]] = []
    for number, track in enumerate(tracks):
        if not people and track.travelled() < MOVED * np.hypot(*shape):
            continue
        fits = np.array([low <= silhouette.area <= high for silhouette in track.silhouettes])
        edges = np.flatnonzero(np.diff(np.concatenate([[False], fits, [False]])))
        stretches = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
        found += [(number, track, start, stop) for start, stop in stretches]
    crowds = (
        [0.0] * len(found)
        if people
        else _crowds([track.silhouettes[start:stop] for _, track, start, stop in found], shape[0])
    )
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
