"""People: what they wear, how their limbs move, how they are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from math import asin, cos, hypot, pi, sin, sqrt

import numpy as np

from pipeline.synthetic.canvas import Canvas, Point, shaded
from pipeline.synthetic.texture import Colour

SKINS: tuple[Colour, ...] = ((238, 200, 172), (214, 168, 134), (168, 118, 86), (112, 76, 56), (228, 184, 150))
HAIRS: tuple[Colour, ...] = ((34, 26, 22), (70, 46, 30), (120, 84, 50), (176, 146, 96), (150, 150, 152), (96, 40, 24))
CLOTHES: dict[str, Colour] = {
    "red": (176, 48, 44),
    "blue": (52, 84, 160),
    "green": (62, 120, 74),
    "yellow": (214, 180, 70),
    "white": (222, 220, 212),
    "black": (40, 40, 46),
    "grey": (126, 128, 132),
    "brown": (122, 86, 58),
    "purple": (112, 66, 132),
    "orange": (214, 116, 48),
}
TROUSERS: tuple[Colour, ...] = ((44, 52, 84), (38, 38, 42), (92, 92, 96), (120, 104, 82), (70, 60, 52), (60, 84, 120))
LEG, HIP, SHOULDER = 0.25, 0.50, 0.80


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one person looks like; colours are RGB 0..255, lengths in body heights."""

    colour: str
    top: Colour
    bottom: Colour
    skin: Colour
    hair: Colour
    shoes: Colour
    build: float
    sleeves: bool
    coat: float
    skirt: bool
    long_hair: bool
    hat: bool
    pack: Colour | None


@dataclass(frozen=True, kw_only=True)
class Pose:
    """How a person is held in one frame: angle of the gait in radians, speed in body heights per second."""

    phase: float = 0.0
    speed: float = 0.0
    tilt: float = 0.0


def draw_look(rng: np.random.Generator) -> Look:
    """Draw the clothes and the build of a person."""
    colour = str(rng.choice(list(CLOTHES)))
    tint = rng.normal(1, 0.08, 3)
    red, green, blue = (float(np.clip(c * t, 0, 255)) for c, t in zip(CLOTHES[colour], tint, strict=True))
    carried = list(CLOTHES.values())[int(rng.integers(len(CLOTHES)))]
    return Look(
        colour=colour,
        top=(red, green, blue),
        bottom=shaded(TROUSERS[int(rng.integers(len(TROUSERS)))], float(rng.uniform(0.85, 1.2))),
        skin=SKINS[int(rng.integers(len(SKINS)))],
        hair=HAIRS[int(rng.integers(len(HAIRS)))],
        shoes=shaded((70, 58, 50), float(rng.uniform(0.4, 2.6))),
        build=float(rng.uniform(0.85, 1.2)),
        sleeves=bool(rng.random() < 0.65),
        coat=float(rng.choice([0.0, 0.0, 0.1, 0.2])),
        skirt=bool(rng.random() < 0.2),
        long_hair=bool(rng.random() < 0.4),
        hat=bool(rng.random() < 0.15),
        pack=shaded(carried, 0.8) if rng.random() < 0.25 else None,
    )


def cadence(speed: float) -> float:
    """Return strides per second at ``speed`` (body heights per second): longer and quicker steps when faster."""
    return 0.95 * sqrt(max(speed, 0.0) / 0.76)


def running(speed: float) -> float:
    """Return 0 for walking, 1 for running, and the blend between."""
    return min(1.0, max(0.0, (speed - 1.2) / 0.35))


def two_links(start: Point, end: Point, first: float, second: float, bend: float) -> Point:
    """Return the joint between two links from ``start`` to ``end``; ``bend`` (1 or -1) chooses its side."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    distance = min(max(hypot(dx, dy), 1e-6), first + second - 1e-6)
    along = (first**2 - second**2 + distance**2) / (2 * distance)
    across = sqrt(max(first**2 - along**2, 0.0)) * bend
    ux, uy = dx / distance, dy / distance
    return start[0] + along * ux - across * uy, start[1] + along * uy + across * ux


def _leg(angle: float, swing: float, run: float) -> tuple[Point, Point, Point]:
    """Return knee, ankle and toe below a hip at the origin."""
    thigh = swing * sin(angle) + 0.06 + 0.18 * run
    lift = max(0.0, cos(angle + 0.4)) ** 1.4
    shin = thigh - 0.08 - (1.0 + 0.75 * run) * lift * min(1.0, swing / 0.35)
    knee = (LEG * sin(thigh), -LEG * cos(thigh))
    ankle = (knee[0] + (LEG - 0.02) * sin(shin), knee[1] - (LEG - 0.02) * cos(shin))
    return knee, ankle, (ankle[0] + 0.075 * cos(shin * 0.5), ankle[1] - 0.012 + 0.05 * sin(shin * 0.7))


def _arm(angle: float, swing: float, run: float) -> tuple[Point, Point]:
    """Return elbow and hand below a shoulder at the origin."""
    upper = -1.05 * swing * sin(angle)
    lower = upper + 0.25 + 1.3 * run
    elbow = (0.16 * sin(upper), -0.16 * cos(upper))
    return elbow, (elbow[0] + 0.15 * sin(lower), elbow[1] - 0.15 * cos(lower))


def _moved(origin: Point, *points: Point) -> list[Point]:
    return [origin, *((origin[0] + x, origin[1] + y) for x, y in points)]


def draw_person(canvas: Canvas, look: Look, pose: Pose) -> None:
    """Draw a person who walks, runs, stands, falls or lies."""
    run = running(pose.speed)
    strides = cadence(pose.speed)
    swing = asin(min(0.75, pose.speed / (8 * LEG * strides))) if strides > 0.05 else 0.04
    legs = [_leg(pose.phase + turn, swing, run) for turn in (pi, 0.0)]
    # The lower foot stands on the ground: the body rises and falls as it does in walking.
    hip = (0.0, 0.03 - min(ankle[1] for _, ankle, _ in legs) + 0.03 * run * abs(sin(pose.phase)))
    lean = 0.02 + 0.05 * run
    shoulder = (hip[0] + lean, hip[1] + SHOULDER - HIP)
    slack = 0.9 * pose.tilt
    arms = [_arm(pose.phase + turn + slack, max(swing, slack), run) for turn in (pi, 0.0)]
    _draw_arm(canvas, look, shoulder, arms[0], 0.72)
    for leg, shade in zip(legs, (0.74, 1.0), strict=True):
        _draw_leg(canvas, look, hip, leg, shade)
    draw_torso(canvas, look, hip, shoulder)
    draw_head(canvas, look, (shoulder[0] + 0.015 + 0.02 * run, shoulder[1] + 0.115))
    _draw_arm(canvas, look, shoulder, arms[1], 0.92)


def _draw_leg(canvas: Canvas, look: Look, hip: Point, leg: tuple[Point, Point, Point], shade: float) -> None:
    top, knee, ankle, toe = _moved(hip, *leg)
    cloth = shaded(look.bottom, shade)
    shin = shaded(look.skin, shade * 0.95) if look.skirt else cloth
    canvas.limb([top, knee], 0.088 * look.build, cloth)
    canvas.limb([knee, ankle], 0.062 * look.build, shin)
    canvas.limb([ankle, toe], 0.042, shaded(look.shoes, shade))


def _draw_arm(canvas: Canvas, look: Look, shoulder: Point, arm: tuple[Point, Point], shade: float) -> None:
    start, elbow, hand = _moved(shoulder, *arm)
    canvas.limb([start, elbow], 0.062 * look.build, shaded(look.top, shade))
    canvas.limb([elbow, hand], 0.05 * look.build, shaded(look.top if look.sleeves else look.skin, shade))
    canvas.disc(hand, 0.024, shaded(look.skin, shade))


def draw_torso(canvas: Canvas, look: Look, hip: Point, shoulder: Point) -> None:
    """Draw the upper body between ``hip`` and ``shoulder``, with the coat, skirt and backpack of ``look``."""
    wide = look.build
    if look.pack is not None:
        back = (shoulder[0] - 0.11, shoulder[1] - 0.05)
        canvas.limb([back, (back[0] - 0.01, back[1] - 0.13)], 0.11, look.pack)
    if look.skirt:
        low = hip[1] - 0.18
        canvas.polygon(
            [(hip[0] - 0.07, hip[1] + 0.04), (hip[0] + 0.07, hip[1] + 0.04), (hip[0] + 0.12, low), (-0.12, low)],
            look.bottom,
        )
    ribs = (shoulder[0] - 0.005, shoulder[1] - 0.045)
    canvas.limb([hip, (hip[0], hip[1] - look.coat)], 0.15 * wide, shaded(look.top, 0.84))
    canvas.limb([hip, ribs], 0.16 * wide, shaded(look.top, 0.95))
    canvas.limb([ribs, (ribs[0], ribs[1] - 0.06)], 0.185 * wide, look.top)


def draw_head(canvas: Canvas, look: Look, centre: Point) -> None:
    """Draw neck, face, hair and hat around the ``centre`` of the head."""
    x, y = centre
    canvas.limb([(x - 0.015, y - 0.09), (x, y)], 0.05, shaded(look.skin, 0.85))
    if look.long_hair:
        canvas.limb([(x - 0.03, y + 0.01), (x - 0.05, y - 0.1)], 0.07, shaded(look.hair, 0.9))
    canvas.disc((x - 0.014, y + 0.016), 0.066, look.hair)
    canvas.limb([(x + 0.016, y + 0.008), (x + 0.014, y - 0.03)], 0.085, look.skin)
    canvas.limb([(x - 0.03, y + 0.052), (x + 0.028, y + 0.056)], 0.036, look.hair)
    if look.hat:
        canvas.limb([(x - 0.055, y + 0.045), (x + 0.085, y + 0.04)], 0.026, shaded(look.top, 0.6))
        canvas.limb([(x - 0.03, y + 0.066), (x + 0.03, y + 0.066)], 0.06, shaded(look.top, 0.65))
