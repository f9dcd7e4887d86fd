"""What is not a walker: a cyclist, a cart with its driver, a bag."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sin

import numpy as np

from pipeline.synthetic.canvas import Canvas, shaded
from pipeline.synthetic.person import CLOTHES, LEG, Look, draw_head, draw_torso, two_links
from pipeline.synthetic.texture import Colour

_TYRE: Colour = (34, 34, 36)
_STEEL: Colour = (150, 152, 156)


@dataclass(frozen=True, kw_only=True)
class Paint:
    """Colour and build of a thing: ``style`` chooses among the variants of its kind."""

    colour: str
    body: Colour
    style: int


def draw_paint(rng: np.random.Generator) -> Paint:
    """Draw the colour and the variant of a thing."""
    colour = str(rng.choice(["red", "blue", "green", "yellow", "white", "black", "orange"]))
    return Paint(colour=colour, body=shaded(CLOTHES[colour], float(rng.uniform(0.9, 1.15))), style=int(rng.integers(3)))


def _wheel(canvas: Canvas, x: float, radius: float, turn: float) -> None:
    canvas.disc((x, radius), radius - 0.012, _TYRE, 0.03)
    for spoke in range(3):
        angle = turn + spoke * pi / 3
        dx, dy = radius * 0.85 * cos(angle), radius * 0.85 * sin(angle)
        canvas.limb([(x - dx, radius - dy), (x + dx, radius + dy)], 0.008, _STEEL)
    canvas.disc((x, radius), 0.02, _STEEL)


def draw_cyclist(canvas: Canvas, look: Look, paint: Paint, travelled: float) -> None:
    """Draw a rider on a bicycle that has ``travelled`` so many body heights."""
    radius, wheelbase = 0.19, 0.31
    turn = -travelled / radius
    pedal = turn * 0.4
    crank, saddle, bars = (-0.03, 0.17), (-0.13, 0.53), (0.22, 0.55)
    feet = [(crank[0] + 0.085 * cos(a), crank[1] + 0.085 * sin(a) + 0.02) for a in (pedal + pi, pedal)]
    hip, shoulder = (saddle[0] + 0.01, saddle[1] + 0.05), (0.06, 0.83)
    _draw_pedalling_leg(canvas, look, hip, feet[0], 0.7)
    for x in (-wheelbase, wheelbase):
        _wheel(canvas, x, radius, turn)
    for start, end in (
        ((-wheelbase, radius), crank),
        (crank, (0.2, 0.47)),
        (crank, saddle),
        ((-wheelbase, radius), (-0.11, 0.45)),
        ((-0.11, 0.45), (0.2, 0.47)),
        ((wheelbase, radius), (0.2, 0.47)),
        ((0.2, 0.47), bars),
    ):
        canvas.limb([start, end], 0.028, paint.body)
    canvas.limb([(saddle[0] - 0.05, saddle[1]), (saddle[0] + 0.05, saddle[1])], 0.035, _TYRE)
    _draw_pedalling_leg(canvas, look, hip, feet[1], 1.0)
    draw_torso(canvas, look, hip, shoulder)
    draw_head(canvas, look, (0.1, 0.95))
    elbow = two_links(shoulder, bars, 0.17, 0.2, -1.0)
    canvas.limb([shoulder, elbow], 0.06, shaded(look.top, 0.9))
    canvas.limb([elbow, bars], 0.048, shaded(look.top if look.sleeves else look.skin, 0.9))


def _draw_pedalling_leg(
    canvas: Canvas, look: Look, hip: tuple[float, float], foot: tuple[float, float], shade: float
) -> None:
    knee = two_links(hip, foot, LEG, LEG, 1.0)
    canvas.limb([hip, knee], 0.085 * look.build, shaded(look.bottom, shade))
    canvas.limb([knee, foot], 0.06 * look.build, shaded(look.bottom, shade * 0.95))
    canvas.limb([foot, (foot[0] + 0.06, foot[1])], 0.042, shaded(look.shoes, shade))


def draw_cart(canvas: Canvas, look: Look, paint: Paint, travelled: float) -> None:
    """Draw a small electric cart with a roof and a driver; ``style`` 1 has a load bed, 2 a box behind the driver."""
    body = paint.body
    for x in (-0.36, 0.36):
        canvas.limb([(x, 0.1), (x, 0.86)], 0.025, (120, 122, 126))
    canvas.limb([(-0.12, 0.3), (-0.14, 0.52)], 0.07, (62, 54, 48))
    draw_torso(canvas, look, (-0.06, 0.36), (-0.03, 0.63))
    draw_head(canvas, look, (-0.01, 0.745))
    canvas.limb([(-0.03, 0.6), (0.12, 0.46), (0.2, 0.5)], 0.05, shaded(look.top, 0.88))
    if paint.style:
        high = 0.4 if paint.style == 1 else 0.66
        canvas.polygon([(-0.56, 0.16), (-0.56, high), (-0.2, high), (-0.2, 0.16)], shaded(body, 0.82))
        canvas.limb([(-0.55, high), (-0.21, high)], 0.02, shaded(body, 1.2))
    canvas.polygon(
        [(-0.56, 0.1), (-0.56, 0.3), (0.18, 0.3), (0.3, 0.46), (0.46, 0.42), (0.56, 0.24), (0.56, 0.1)], body
    )
    canvas.polygon([(-0.56, 0.1), (-0.56, 0.17), (0.56, 0.17), (0.56, 0.1)], shaded(body, 0.62))
    canvas.disc((0.53, 0.27), 0.025, (240, 236, 200))
    canvas.limb([(-0.44, 0.89), (0.42, 0.89)], 0.06, shaded(body, 1.1))
    canvas.limb([(-0.44, 0.865), (0.42, 0.865)], 0.015, shaded(body, 0.6))
    for x in (-0.36, 0.36):
        canvas.disc((x, 0.11), 0.11, _TYRE)
        canvas.disc((x, 0.11), 0.055, _STEEL)
        angle = -travelled / 0.11
        canvas.limb([(x, 0.11), (x + 0.05 * cos(angle), 0.11 + 0.05 * sin(angle))], 0.02, (90, 92, 96))


def draw_bag(canvas: Canvas, paint: Paint) -> None:
    """Draw a bag that stands on the ground: ``style`` 0 is a sports bag, 1 a suitcase, 2 a sack."""
    body, dark = paint.body, shaded(paint.body, 0.6)
    if paint.style == 0:
        canvas.limb([(-0.1, 0.22), (-0.06, 0.31), (0.06, 0.31), (0.1, 0.22)], 0.025, dark)
        canvas.limb([(-0.15, 0.12), (0.15, 0.12)], 0.22, body)
        canvas.limb([(-0.16, 0.17), (0.16, 0.17)], 0.018, dark)
        canvas.limb([(0.15, 0.05), (0.15, 0.19)], 0.02, dark)
    elif paint.style == 1:
        canvas.limb([(-0.05, 0.36), (-0.05, 0.42), (0.05, 0.42), (0.05, 0.36)], 0.022, (90, 90, 94))
        canvas.limb([(0.0, 0.09), (0.0, 0.3)], 0.06, body)
        canvas.polygon([(-0.13, 0.03), (-0.13, 0.36), (0.13, 0.36), (0.13, 0.03)], body)
        canvas.limb([(-0.12, 0.26), (0.12, 0.26)], 0.014, dark)
        canvas.limb([(-0.12, 0.13), (0.12, 0.13)], 0.014, dark)
        for x in (-0.1, 0.1):
            canvas.disc((x, 0.02), 0.022, _TYRE)
    else:
        canvas.disc((0.0, 0.14), 0.145, body)
        canvas.limb([(-0.08, 0.08), (0.1, 0.08)], 0.15, body)
        canvas.limb([(-0.01, 0.24), (0.02, 0.34)], 0.08, shaded(body, 0.8))
        canvas.limb([(-0.03, 0.27), (0.05, 0.27)], 0.03, dark)
