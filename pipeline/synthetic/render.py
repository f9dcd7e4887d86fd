"""From a script to pictures: frames, exact masks, labels and tracks of one video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.config import SyntheticSettings
from pipeline.synthetic.actors import Actor
from pipeline.synthetic.ground import to_bytes
from pipeline.synthetic.light import Light, Sensor
from pipeline.synthetic.scene import Occluder, Scene, cast_shadow, make_scene
from pipeline.synthetic.script import Event, Stage, draw_events, play
from pipeline.synthetic.settings import (
    kinds_of_test_videos,
    min_visible_pixels,
    split_code,
    video_count,
    video_rng,
)
from pipeline.synthetic.texture import ByteArray, FloatArray

OwnerArray = npt.NDArray[np.int16]
Box = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class RenderedVideo:
    """One video with its truth.

    Parameters
    ----------
    frames_THWC : (T, H, W, 3) uint8
        RGB.
    labels_T : (T,) bool
        True where a frame is anomalous: at least ``min_visible_pixels`` of an anomalous actor can be seen.
    mask_THW : (T, H, W) bool
        Pixels of anomalous actors that are not hidden by anything; their shadows are not in it. It is empty exactly
        where ``labels_T`` is False.
    tracks : tuple of (track, frame, x1, y1, x2, y2)
        Boxes around the visible pixels of each anomalous actor, 0-based, both corners inside.
    events : tuple of Event
        Kind, first and last anomalous frame as rendered (not as scripted); at most one per actor.
    actors : tuple of Actor
        Everyone who takes part.
    """

    frames_THWC: ByteArray
    labels_T: npt.NDArray[np.bool_]
    mask_THW: npt.NDArray[np.bool_]
    tracks: tuple[tuple[int, int, int, int, int, int], ...]
    events: tuple[Event, ...]
    actors: tuple[Actor, ...]


def render_video(settings: SyntheticSettings, split: str, index: int) -> RenderedVideo:
    """Render video ``index`` (from 0) of ``split``; the same arguments give the same bytes.

    Raises
    ------
    ValueError
        If the split is unknown.
    IndexError
        If the settings have no such video.
    """
    count = video_count(settings, split)
    if not 0 <= index < count:
        raise IndexError(f"Split {split!r} has videos 0..{count - 1}, got {index}.")
    rng = video_rng(settings.seed, split, index)
    scene = make_scene(settings.seed, settings.height, settings.width)
    stage = Stage(rng, scene, settings.frames, settings.fps)
    actors = stage.walkers()
    kind = kinds_of_test_videos(settings)[index] if split_code(split) else None
    if kind is not None:
        for event in draw_events(rng, kind, settings.frames, settings.fps):
            actors += play(stage, event)
    return _film(rng, scene, actors, settings)


def _film(
    rng: np.random.Generator, scene: Scene, actors: Sequence[Actor], settings: SyntheticSettings
) -> RenderedVideo:
    shape = (settings.frames, settings.height, settings.width)
    frames_THWC, mask_THW = np.empty((*shape, 3), np.uint8), np.zeros(shape, bool)
    light = Light(rng, settings.frames, settings.fps, settings.height, settings.width)
    sensor = Sensor(rng, settings.height, settings.width)
    tracks: list[tuple[int, int, int, int, int, int]] = []
    for frame in range(settings.frames):
        picture, owner_HW = compose(scene, actors, frame, light.field(frame))
        frames_THWC[frame] = to_bytes(sensor.expose(picture))
        for number, actor in enumerate(actors):
            if actor.anomalous_T[frame] and (box := _add_to_mask(mask_THW[frame], owner_HW == number)):
                tracks.append((number, frame, *box))
    numbers = {old: new for new, old in enumerate(sorted({track[0] for track in tracks}))}
    return RenderedVideo(
        frames_THWC=frames_THWC,
        labels_T=np.asarray(mask_THW.any(axis=(1, 2)), np.bool_),
        mask_THW=mask_THW,
        tracks=tuple((numbers[number], *rest) for number, *rest in tracks),  # type: ignore[misc]
        events=_seen_events(actors, tracks),
        actors=tuple(actors),
    )


def _add_to_mask(mask_HW: npt.NDArray[np.bool_], visible_HW: npt.NDArray[np.bool_]) -> Box | None:
    """Add an actor's pixels to the mask and return their box, unless too few of them can be seen to count."""
    if np.count_nonzero(visible_HW) < min_visible_pixels(*visible_HW.shape):
        return None
    mask_HW |= visible_HW
    left, top, width, height = cv2.boundingRect(visible_HW.astype(np.uint8))
    return left, top, left + width - 1, top + height - 1


def _seen_events(actors: Sequence[Actor], tracks: Sequence[tuple[int, ...]]) -> tuple[Event, ...]:
    events = []
    for number in sorted({track[0] for track in tracks}):
        frames = [track[1] for track in tracks if track[0] == number]
        events.append(Event(kind=str(actors[number].kind), first=min(frames), last=max(frames)))
    return tuple(events)


def compose(
    scene: Scene, actors: Sequence[Actor], frame: int, light_HWC: FloatArray
) -> tuple[FloatArray, OwnerArray]:
    """Put the actors into the scene, far ones first.

    Returns
    -------
    picture_HWC : float32, 0..255
        Without noise.
    owner_HW : int16
        The number of the actor that each pixel shows most of, -1 where none.
    """
    picture = scene.background_HWC.copy()
    owner = np.full(picture.shape[:2], -1, np.int16)
    aspect = scene.width / scene.height
    sprites = [
        (number, actor, *actor.draw(frame, scene.height, scene.sun.side))
        for number, actor in enumerate(actors)
        if actor.reaches(frame, aspect)
    ]
    brightness = float(light_HWC.mean())
    for _, actor, sprite, left, top in sprites:
        lifted = 1 / (1 + 8 * float(actor.z_T[frame]))
        strength = lifted * (1 - 0.5 * float(actor.tilt_T[frame])) * min(1.2, brightness**2)
        cast_shadow(picture, sprite[..., 3], (left, top), float(actor.v_T[frame]), scene.sun, strength)
    layers = [(float(actor.v_T[frame]), number, sprite, left, top) for number, actor, sprite, left, top in sprites]
    layers += [_as_layer(occluder) for occluder in scene.occluders]
    for _, number, sprite, left, top in sorted(layers, key=lambda layer: (layer[0], layer[1])):
        _blend(picture, owner, number, sprite, left, top)
    picture *= light_HWC
    return picture, owner


def _as_layer(occluder: Occluder) -> tuple[float, int, FloatArray, int, int]:
    return occluder.v, -1, occluder.sprite_HW4, occluder.left, occluder.top


def _blend(
    picture_HWC: FloatArray, owner_HW: OwnerArray, number: int, sprite_HW4: FloatArray, left: int, top: int
) -> None:
    height, width = owner_HW.shape
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = min(left + sprite_HW4.shape[1], width), min(top + sprite_HW4.shape[0], height)
    if x1 >= x2 or y1 >= y2:
        return
    part = sprite_HW4[y1 - top : y2 - top, x1 - left : x2 - left]
    cover = part[..., 3:]
    target = picture_HWC[y1:y2, x1:x2]
    target *= 1 - cover
    target += part[..., :3]
    owner_HW[y1:y2, x1:x2][cover[..., 0] >= 0.5] = number
