"""Who does what when: the walkers of the two streams, and how each kind of anomaly is played."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.synthetic.actors import Actor, Flags, Series, gait_phase
from pipeline.synthetic.person import draw_look
from pipeline.synthetic.scene import LANES, Scene, body_height
from pipeline.synthetic.things import draw_paint

WALK = 0.76
"""Mean walking speed in body heights per second: 1.3 m/s for a person of 1.72 m."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One anomaly: its kind, and the frames ``first`` to ``last`` (inclusive) in which the script plays it."""

    kind: str
    first: int
    last: int


class Stage:
    """Places actors into one video: keeps the scene, the length of the video and its random stream together."""

    def __init__(self, rng: np.random.Generator, scene: Scene, frames: int, fps: int) -> None:
        self.rng, self.scene, self.frames, self.fps = rng, scene, frames, fps
        self.aspect = scene.width / scene.height
        self.edge = 0.1

    def spot(self, lane: str) -> float:
        """Draw where on ``lane`` feet stand."""
        return float(self.rng.uniform(*LANES[lane]))

    def pace(self) -> float:
        """Draw a walking speed: 0.7 to 1.4 of the mean, most people near it."""
        return WALK * float(np.clip(self.rng.normal(1.0, 0.18), 0.7, 1.4))

    def actor(
        self,
        velocity_T: Series,
        lane: str,
        anchor: tuple[float, float],
        *,
        v: float,
        form: str = "person",
        kind: str | None = None,
        direction_T: Series | None = None,
        tilt_T: Series | None = None,
        z_T: Series | None = None,
        present_T: Flags | None = None,
        anomalous_T: Flags | None = None,
        size: float | None = None,
    ) -> Actor:
        """Make an actor of its signed velocity in body heights per second; ``anchor`` is a frame and its x there."""
        size = float(self.rng.uniform(0.9, 1.1)) if size is None else size
        nobody, everywhere = np.zeros(self.frames, bool), np.ones(self.frames, bool)
        velocity_T = _smoothed(velocity_T, 0.3 * self.fps)
        way_T = np.cumsum(velocity_T) * body_height(v) * size / self.fps
        frame = np.arange(self.frames)
        origin = float(np.interp(anchor[0], frame, way_T)) + float(velocity_T[0 if anchor[0] < 0 else -1]) * (
            body_height(v) * size / self.fps * (min(anchor[0], 0) + max(anchor[0] - self.frames + 1, 0))
        )
        swerve = 0.006 * np.sin(2 * np.pi * (frame / self.fps / self.rng.uniform(4, 9) + self.rng.random()))
        still = form == "bag"
        speed_T = np.abs(velocity_T)
        if direction_T is None:
            direction_T = np.full(self.frames, 1.0 if velocity_T.sum() >= 0 else -1.0)
        phase_T = gait_phase(self.rng, speed_T, self.fps)
        return Actor(
            form=form,
            kind=kind,
            lane=lane,
            size=size,
            look=draw_look(self.rng),
            paint=draw_paint(self.rng),
            x_T=anchor[1] + way_T - origin,
            v_T=np.full(self.frames, v) + (0 if still else swerve),
            z_T=np.zeros(self.frames) if z_T is None else z_T,
            facing_T=_smoothed(direction_T, 0.4 * self.fps),
            speed_T=speed_T,
            phase_T=phase_T if form == "person" else np.cumsum(speed_T) / self.fps,
            tilt_T=np.zeros(self.frames) if tilt_T is None else tilt_T,
            present_T=everywhere if present_T is None else present_T,
            anomalous_T=nobody if anomalous_T is None else anomalous_T,
        )

    def constant(self, value: float) -> Series:
        """Return ``value`` for every frame, (T,) float64."""
        return np.full(self.frames, value)

    def within(self, event: Event) -> Flags:
        """Return which frames lie in ``event``, (T,) bool."""
        frame = np.arange(self.frames)
        return (frame >= event.first) & (frame <= event.last)

    def walkers(self) -> list[Actor]:
        """Fill both streams: three to seven people at a time, each replaced by a new one when it has left."""
        actors: list[Actor] = []
        for _ in range(int(self.rng.integers(3, 8))):
            lane = "near" if self.rng.random() < 0.5 else "far"
            start = float(self.rng.uniform(-0.1, self.aspect + 0.1))
            frame = 0.0
            while frame < self.frames:
                walker = self._walker(lane, frame, start)
                actors.append(walker)
                frame = self._left_at(walker, frame) + self.fps * float(self.rng.uniform(0.2, 2.5))
                start = self.entry(lane)
        return actors

    def entry(self, lane: str) -> float:
        """Return the x at which the stream of ``lane`` enters the picture."""
        return -self.edge if self.scene.direction(lane) > 0 else self.aspect + self.edge

    def _walker(self, lane: str, frame: float, x: float) -> Actor:
        velocity_T = self.constant(self.scene.direction(lane) * self.pace())
        direction_T = np.sign(velocity_T)
        if self.rng.random() < 0.2:
            pause = frame + self.fps * self.rng.uniform(0.5, 5)
            velocity_T[int(pause) : int(pause + self.fps * self.rng.uniform(0.8, 2))] = 0
        return self.actor(velocity_T, lane, (frame, x), v=self.spot(lane), direction_T=direction_T)

    def _left_at(self, walker: Actor, since: float) -> float:
        gone = (walker.x_T < -self.edge) if walker.x_T[-1] < walker.x_T[0] else (walker.x_T > self.aspect + self.edge)
        gone[: int(since) + 1] = False
        return float(np.argmax(gone)) if gone.any() else float(self.frames)


def _smoothed(series_T: Series, window: float) -> Series:
    """Average over ``window`` frames: nobody starts, stops or turns in no time."""
    size = 2 * round(window / 2) + 1
    if size < 3:
        return series_T
    padded = np.pad(series_T, size // 2, mode="edge")
    return np.convolve(padded, np.ones(size) / size, mode="valid")


def draw_events(rng: np.random.Generator, kind: str, frames: int, fps: int) -> list[Event]:
    """Draw when the anomalies of a video happen: one for each ten seconds, 30 to 55 % of that time, anywhere in it."""
    parts = max(1, round(frames / (10 * fps)))
    events = []
    for part in range(parts):
        low, high = round(part * frames / parts), round((part + 1) * frames / parts)
        length = (high - low) * rng.uniform(0.32, 0.55)
        # Some start before the part does or end after it, so that every moment of a video is as likely as any other.
        first = low + rng.uniform(-0.12, 1.12) * (high - low - length)
        events.append(Event(kind=kind, first=max(low, round(first)), last=min(high, round(first + length)) - 1))
    return events


def play(stage: Stage, event: Event) -> list[Actor]:
    """Return the actors of ``event``, helpers that behave normally among them."""
    plays: dict[str, Callable[[Stage, Event], list[Actor]]] = {
        "cyclist": _play_passing,
        "cart": _play_passing,
        "runner": _play_runner,
        "against": _play_against,
        "bag": _play_bag,
        "lying": _play_lying,
    }
    return plays[event.kind](stage, event)


def _any_lane(stage: Stage, near: float = 0.5) -> str:
    return "near" if stage.rng.random() < near else "far"


def _play_passing(stage: Stage, event: Event) -> list[Actor]:
    """Someone rides or drives along with the stream, a good deal or only a little faster than people walk."""
    lane = _any_lane(stage, 0.5 if event.kind == "cyclist" else 0.3)
    pace = WALK * float(stage.rng.uniform(*((1.6, 2.2) if event.kind == "cyclist" else (1.3, 1.6))))
    size = float(stage.rng.uniform(0.95, 1.08)) if event.kind == "cyclist" else float(stage.rng.uniform(0.85, 0.95))
    v = stage.spot(lane)
    direction = stage.scene.direction(lane)
    margin = 0.7 * body_height(v) * size
    way = stage.aspect + 2 * margin
    spare = way / (pace * body_height(v) * size) * stage.fps - (event.last - event.first)
    # A passage that takes longer than the event is cut by the start or the end of the video, whichever is nearer.
    early = spare if event.first < stage.frames - 1 - event.last else 0.0
    start = event.first - early if spare > 0 else float(event.first)
    if spare > 0:
        start = (-early if early else stage.frames - 1.0 - (event.last - event.first)) if _whole(stage) else start
    enter = -margin if direction > 0 else stage.aspect + margin
    actor = stage.actor(
        stage.constant(direction * pace),
        lane,
        (start, enter),
        v=v,
        form=event.kind,
        kind=event.kind,
        size=size,
        anomalous_T=stage.constant(1).astype(bool),
    )
    return [actor]


def _whole(stage: Stage) -> bool:
    return stage.frames <= 15 * stage.fps


def _play_runner(stage: Stage, event: Event) -> list[Actor]:
    """Play a walker who breaks into a run and leaves the picture running."""
    lane = _any_lane(stage)
    pace = WALK * float(stage.rng.uniform(2.1, 2.7))
    direction = stage.scene.direction(lane)
    return [_changes_pace(stage, event, lane, direction * pace, direction)]


def _play_against(stage: Stage, event: Event) -> list[Actor]:
    """Play a walker who turns round and leaves against the stream, on the lane where nobody else goes that way."""
    lane = _any_lane(stage, 0.65)
    direction = -stage.scene.direction(lane)
    return [_changes_pace(stage, event, lane, direction * stage.pace() * 1.1, direction)]


def _changes_pace(stage: Stage, event: Event, lane: str, velocity: float, direction: int) -> Actor:
    """Walk with the stream until the event, then go at ``velocity`` so as to leave the picture at its end."""
    v, size = stage.spot(lane), float(stage.rng.uniform(0.95, 1.08))
    way = abs(velocity) * body_height(v) * size * (event.last - event.first) / stage.fps
    way = min(way, (0.95 if direction == stage.scene.direction(lane) else 0.85) * stage.aspect)
    leave = stage.aspect + 0.06 if direction > 0 else -0.06
    since = np.arange(stage.frames) >= event.first
    velocity_T = np.where(since, velocity, stage.scene.direction(lane) * stage.pace())
    direction_T = np.where(since, direction, stage.scene.direction(lane)).astype(np.float64)
    return stage.actor(
        velocity_T,
        lane,
        (event.first, leave - direction * way),
        v=v,
        kind=event.kind,
        direction_T=direction_T,
        size=size,
        anomalous_T=since,
    )


def _play_lying(stage: Stage, event: Event) -> list[Actor]:
    """Play a walker who falls, lies for a while, gets up and walks on."""
    lane = _any_lane(stage, 0.6)
    frame = np.arange(stage.frames)
    fall, rise = 0.5 * stage.fps, 0.9 * stage.fps
    down = np.clip((frame - event.first) / fall, 0, 1) if event.first > 0 else np.ones(stage.frames)
    up = np.clip((event.last - frame) / rise, 0, 1) if event.last < stage.frames - 1 else np.ones(stage.frames)
    lies_T = stage.within(event)
    direction = stage.scene.direction(lane)
    x = float(stage.rng.uniform(0.2, 0.8)) * stage.aspect
    walker = stage.actor(
        np.where(lies_T, 0.0, direction * stage.pace()),
        lane,
        (event.first, x),
        v=stage.spot(lane),
        kind="lying",
        direction_T=stage.constant(direction),
        tilt_T=np.where(lies_T, np.minimum(down**1.6, up), 0.0),
        anomalous_T=lies_T,
    )
    return [walker]


def _play_bag(stage: Stage, event: Event) -> list[Actor]:
    """Play a passer-by who sets a bag down or throws it; a later one takes it away."""
    lane = _any_lane(stage, 0.8)
    v, x = stage.spot(lane), float(stage.rng.uniform(0.2, 0.8)) * stage.aspect
    direction = stage.scene.direction(lane)
    frame = np.arange(stage.frames)
    flight = (0.7 + 0.3 * stage.rng.random()) * stage.fps
    thrown = event.first > 0 and stage.rng.random() < 0.5
    left = np.clip(1 - (frame - event.first) / flight, 0, 1) if thrown else np.zeros(stage.frames)
    size = float(stage.rng.uniform(1.0, 1.3))
    height_T = 4 * 0.85 * body_height(v) * left * (1.13 - left)
    speed = direction * stage.rng.uniform(0.8, 1.6) if thrown else 0.0
    bag = stage.actor(
        np.where((left > 0) & stage.within(event), speed, 0.0),
        lane,
        (event.first + flight if thrown else event.first, x),
        v=v,
        form="bag",
        kind="bag",
        z_T=height_T,
        size=size,
        direction_T=stage.constant(1.0),
        present_T=stage.within(event),
        anomalous_T=stage.within(event),
    )
    helpers = []
    if event.first > 0:
        start = float(bag.x_T[event.first])
        helpers.append(_passer(stage, lane, (event.first, start), v))
    if event.last < stage.frames - 1:
        helpers.append(_passer(stage, lane, (event.last, x), v))
    return [bag, *helpers]


def _passer(stage: Stage, lane: str, anchor: tuple[float, float], v: float) -> Actor:
    velocity = stage.scene.direction(lane) * stage.pace()
    return stage.actor(stage.constant(velocity), lane, anchor, v=v + 0.004)
