"""Captioned clips for the small ViFi-CLIP: a few frames of many synthetic streets, with all that can be said of them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.synthetic.captions import Sight, sight
from pipeline.synthetic.ground import to_bytes
from pipeline.synthetic.light import Light, Sensor
from pipeline.synthetic.render import compose
from pipeline.synthetic.scene import make_scene
from pipeline.synthetic.script import Event, Stage, play
from pipeline.synthetic.settings import KINDS, min_visible_pixels

HEIGHT, WIDTH, FPS, LENGTH = 168, 224, 25, 100
FRAMES = 3
"""Pictures kept of each clip, 8 to 14 video frames apart."""
ANOMALOUS = 0.75
"""Share of the clips that hold an anomaly; rarer ones would hardly be learnt from so few clips."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One actor in one frame: its box (x1, y1, x2, y2 in pixels, corners inside) and how many of its pixels show."""

    actor: int
    sight: Sight
    box: tuple[int, int, int, int]
    pixels: int


@dataclass(frozen=True, kw_only=True)
class Clip:
    """``jpegs`` of FRAMES pictures (HEIGHT, WIDTH, 3) and what each shows; ``kind`` is that of the anomaly, if any."""

    seed: int
    kind: str | None
    jpegs: tuple[bytes, ...]
    seen: tuple[tuple[Seen, ...], ...]


def render_clip(seed: int, number: int) -> Clip:
    """Render clip ``number`` of the street ``seed``; the same arguments give the same bytes."""
    rng = np.random.default_rng([seed, 77, number])
    scene = make_scene(seed, HEIGHT, WIDTH)
    stage = Stage(rng, scene, LENGTH, FPS)
    actors = stage.walkers()
    kind = str(rng.choice(KINDS)) if rng.random() < ANOMALOUS else None
    if kind is not None:
        actors += play(stage, Event(kind=kind, first=20, last=80))
    if rng.random() < 0.3:  # emptier streets too
        actors = [actor for actor in actors if actor.kind is not None or rng.random() < 0.4]
    light, sensor = Light(rng, LENGTH, FPS, HEIGHT, WIDTH), Sensor(rng, HEIGHT, WIDTH)
    jpegs, seen = [], []
    for frame in int(rng.integers(28, 60)) + np.arange(FRAMES) * int(rng.integers(8, 15)):
        picture, owner = compose(scene, actors, int(frame), light.field(int(frame)))
        jpegs.append(_jpeg(to_bytes(sensor.expose(picture)), int(rng.integers(70, 96))))
        seen.append(
            tuple(
                Seen(actor=n, sight=sight(actor, np.array([frame])), box=box, pixels=pixels)
                for n, actor in enumerate(actors)
                if (pixels := int(np.count_nonzero(owner == n))) >= min_visible_pixels(HEIGHT, WIDTH)
                and (box := _box(owner == n))
            )
        )
    return Clip(seed=seed, kind=kind, jpegs=tuple(jpegs), seen=tuple(seen))


def _box(visible_HW: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    left, top, width, height = cv2.boundingRect(visible_HW.astype(np.uint8))
    return left, top, left + width - 1, top + height - 1


def _jpeg(picture_HWC: NDArray[np.uint8], quality: int) -> bytes:
    done, data = cv2.imencode(".jpg", picture_HWC[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise RuntimeError("OpenCV could not write a JPEG")
    return data.tobytes()


def picture(clip: Clip, frame: int) -> NDArray[np.uint8]:
    """Return picture_HWC (HEIGHT, WIDTH, 3) uint8 RGB of one frame of a clip."""
    decoded = cv2.imdecode(np.frombuffer(clip.jpegs[frame], np.uint8), cv2.IMREAD_COLOR_RGB)
    return np.asarray(decoded, np.uint8)


def render_block(seeds: range, clips_per_seed: int, path: Path) -> None:
    """Write the clips of ``seeds`` to ``path``: pictures in one array, the rest as JSON. What exists is kept."""
    if path.exists():
        return
    clips = [render_clip(seed, number) for seed in seeds for number in range(clips_per_seed)]
    blobs = [jpeg for clip in clips for jpeg in clip.jpegs]
    about = [
        {"seed": c.seed, "kind": c.kind, "seen": [[asdict(one) for one in frame] for frame in c.seen]} for c in clips
    ]
    part = path.with_suffix(".part.npz")
    np.savez(
        part,
        jpeg=np.frombuffer(b"".join(blobs), np.uint8),
        length=np.array([len(blob) for blob in blobs]),
        about=np.array(json.dumps(about)),
    )
    part.rename(path)


def load_block(path: Path) -> list[Clip]:
    """Read what :func:`render_block` wrote."""
    with np.load(path) as stored:
        jpeg, length, about = stored["jpeg"].tobytes(), stored["length"], json.loads(str(stored["about"]))
    ends = np.cumsum(length)
    blobs = [jpeg[end - size : end] for end, size in zip(ends, length, strict=True)]
    return [
        Clip(
            seed=one["seed"],
            kind=one["kind"],
            jpegs=tuple(blobs[i * FRAMES : (i + 1) * FRAMES]),
            seen=tuple(tuple(_seen(s) for s in frame) for frame in one["seen"]),
        )
        for i, one in enumerate(about)
    ]


def _seen(stored: dict[str, object]) -> Seen:
    plain = {**stored, "sight": Sight(**stored["sight"]), "box": tuple(stored["box"])}  # type: ignore[arg-type]
    return Seen(**plain)  # type: ignore[arg-type]
