"""English captions of synthetic video: one sentence about who does what, from the truth that the renderer knows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.synthetic.actors import Actor
from pipeline.synthetic.render import RenderedVideo

EMPTY = "an empty street"
STANDS_BELOW = 0.12
"""Body heights per second below which a walker is said to stand."""
LIES_ABOVE = 0.4
"""Tilt (0 upright, 1 lying) above which somebody is said to lie on the ground."""

_PLURAL = {"person": "people", "cyclist": "cyclists", "cart": "carts", "bag": "bags"}
_COUNT = ("no", "a", "two", "three", "four", "five", "six", "seven")
_ACTION = {
    "walks": ("walks", "walk"),
    "stands": ("stands", "stand"),
    "runs": ("runs", "run"),
    "against": ("walks against the stream", "walk against the stream"),
    "lies": ("lies on the ground", "lie on the ground"),
    "falls": ("falls", "fall"),
    "rides": ("rides", "ride"),
    "drives": ("drives", "drive"),
    "left": ("has been left on the ground", "have been left on the ground"),
    "flies": ("flies through the air", "fly through the air"),
}
_STILL = ("stands", "lies", "left")
_NORMAL = ("walks", "stands")


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What can be said of one actor over a few frames.

    ``action`` is a key of the table of actions, ``direction`` -1 to the left, 1 to the right, 0 where it does not show;
    ``x`` where it is, from the left, as a share of the picture's height.
    """

    noun: str
    colour: str
    action: str
    direction: int
    near: bool
    x: float

    @property
    def unusual(self) -> bool:
        """Whether this is no ordinary walker."""
        return self.action not in _NORMAL


def caption(video: RenderedVideo, start: int, stop: int) -> str:
    """Return one sentence about frames ``start`` to ``stop`` (exclusive): form, colour, action, direction and lane.

    Raises
    ------
    ValueError
        The span is empty or lies outside the video.
    """
    frames, height, width = video.frames_THWC.shape[:3]
    if not 0 <= start < stop <= frames:
        raise ValueError(f"expected a span of frames within 0..{frames}, found {start}..{stop}")
    span = np.arange(start, stop)
    seen = (_seen_frames(video, actor, span, width / height) for actor in video.actors)
    return sentence([sight(a, f) for a, f in zip(video.actors, seen, strict=True) if len(f)])


def sight(actor: Actor, frame_T: npt.NDArray[np.int_]) -> Sight:
    """Return what can be said of ``actor`` over ``frame_T``, the frames in which it is seen (at least one)."""
    action = _action(actor, frame_T)
    facing = float(actor.facing_T[frame_T].mean())
    return Sight(
        noun="person" if actor.form == "person" else actor.form,
        colour=actor.paint.colour if actor.form in ("bag", "cart") else actor.look.colour,
        action=action,
        direction=0 if actor.form == "bag" or abs(facing) < 0.25 else int(np.sign(facing)),
        near=actor.lane == "near",
        x=float(actor.x_T[frame_T].mean()),
    )


def sentence(sights: Sequence[Sight], *, colours: bool = True, places: bool = True) -> str:
    """Return one sentence: the unusual first, then what is near the camera, then what is far, each from the left.

    ``colours=False`` suits grey pictures (things of a kind are counted instead), ``places=False`` details cut out of
    a picture, where near and far cannot be told.
    """
    groups: dict[tuple[bool, bool, str, int], list[Sight]] = {}
    for one in sorted(sights, key=lambda s: (s.x, s.noun, s.colour)):
        groups.setdefault((not one.unusual, not one.near and places, one.action, one.direction), []).append(one)
    clauses = [_clause(groups[key], colours=colours, places=places) for key in sorted(groups)]
    return ", ".join(clauses) if clauses else EMPTY


def _seen_frames(
    video: RenderedVideo, actor: Actor, frame_T: npt.NDArray[np.int_], aspect: float
) -> npt.NDArray[np.int_]:
    """Return those of ``frame_T`` in which the middle of the actor is inside, or an anomaly counts as visible at all."""
    x_T = actor.x_T[frame_T]
    inside_T = actor.present_T[frame_T] & (x_T > 0) & (x_T < aspect)
    reaches_T = np.array([actor.reaches(int(frame), aspect) for frame in frame_T])
    seen_T: npt.NDArray[np.bool_] = inside_T | (actor.anomalous_T[frame_T] & video.labels_T[frame_T] & reaches_T)
    return np.asarray(frame_T[seen_T])


def _action(actor: Actor, frame_T: npt.NDArray[np.int_]) -> str:
    anomalous = bool(actor.anomalous_T[frame_T].any())
    if actor.form == "bag":
        return "flies" if float(actor.z_T[frame_T].max()) > 0.01 else "left"
    if actor.form in ("cyclist", "cart"):
        return "rides" if actor.form == "cyclist" else "drives"
    if anomalous and actor.kind == "lying":
        return "lies" if float(actor.tilt_T[frame_T].max()) > LIES_ABOVE else "falls"
    if anomalous and actor.kind == "against":
        return "against"
    if anomalous and actor.kind == "runner":
        return "runs"
    return "walks" if float(actor.speed_T[frame_T].mean()) > STANDS_BELOW else "stands"


def _clause(group: Sequence[Sight], *, colours: bool, places: bool) -> str:
    first = group[0]
    verb = _ACTION[first.action][len(group) > 1]
    way = {-1: "to the left", 1: "to the right", 0: ""}[0 if first.action in _STILL else first.direction]
    place = ("near the camera" if first.near else "far from the camera") if places else ""
    return " ".join(part for part in (_subject(group, colours=colours), verb, way, place) if part)


def _subject(group: Sequence[Sight], *, colours: bool) -> str:
    if colours:
        return _joined(_coloured(one) for one in group)
    nouns = [one.noun for one in group]
    return _joined(_counted(noun, nouns.count(noun)) for noun in dict.fromkeys(nouns))


def _coloured(one: Sight) -> str:
    if one.noun in ("bag", "cart"):
        return f"{_article(one.colour)} {one.colour} {one.noun}"
    return f"a {one.noun} in {one.colour}"


def _counted(noun: str, count: int) -> str:
    number = _COUNT[count] if count < len(_COUNT) else "many"
    return f"{number} {noun if count == 1 else _PLURAL[noun]}"


def _joined(parts: Iterable[str]) -> str:
    *others, last = parts
    return f"{', '.join(others)} and {last}" if others else last


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
