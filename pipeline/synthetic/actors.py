"""One actor of a video: where it is in every frame, how it moves, and how it is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.synthetic.canvas import Canvas
from pipeline.synthetic.person import Look, Pose, cadence, draw_person
from pipeline.synthetic.scene import body_height
from pipeline.synthetic.texture import FloatArray
from pipeline.synthetic.things import Paint, draw_bag, draw_cart, draw_cyclist

Series = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_REACH = {"person": (0.62, 1.12, 0.1), "cyclist": (0.7, 1.15, 0.08), "cart": (0.75, 1.05, 0.08), "bag": (0.3, 0.5, 0.2)}
_REACH_LYING = (1.2, 1.12, 0.3)


@dataclass(frozen=True, kw_only=True)
class Actor:
    """One actor; lengths are shares of the picture's height, speeds are body heights per second.

    Parameters
    ----------
    form : str
        How it is drawn: ``person``, ``cyclist``, ``cart`` or ``bag``.
    kind : str or None
        The anomaly that it is while ``anomalous_T`` holds, None for a normal walker.
    x_T, v_T, z_T : (T,) float64
        Where it stands: from the left, from the top, and how high above the ground.
    facing_T, speed_T, tilt_T : (T,) float64
        -1..1; at least 0; 0 upright to 1 lying.
    present_T, anomalous_T : (T,) bool
        Whether it exists, and whether it is an anomaly, in each frame.
    """

    form: str
    kind: str | None
    lane: str
    size: float
    look: Look
    paint: Paint
    x_T: Series
    v_T: Series
    z_T: Series
    facing_T: Series
    speed_T: Series
    phase_T: Series
    tilt_T: Series
    present_T: Flags
    anomalous_T: Flags

    def reaches(self, frame: int, aspect: float) -> bool:
        """Whether any of it can be in the picture at ``frame``; ``aspect`` is width over height."""
        margin = 1.3 * body_height(float(self.v_T[frame])) * self.size
        return bool(self.present_T[frame]) and -margin < float(self.x_T[frame]) < aspect + margin

    def draw(self, frame: int, height: int, sun: float) -> tuple[FloatArray, int, int]:
        """Return sprite_HW4 (premultiplied RGB 0..255, coverage 0..1) and the column and row of its corner."""
        v, tilt = float(self.v_T[frame]), float(self.tilt_T[frame])
        unit = body_height(v) * self.size * height
        canvas = Canvas(
            x=float(self.x_T[frame]) * height,
            # Who lies on the ground fills some depth of it: the body is drawn a little lower than its axis.
            y=v * height - float(self.z_T[frame]) * height - 0.05 * tilt * unit,
            unit=unit,
            facing=float(self.facing_T[frame]),
            tilt=tilt,
            reach=_REACH_LYING if tilt > 0 else _REACH[self.form],
        )
        self._paint_on(canvas, frame)
        return canvas.finish(sun), canvas.left, canvas.top

    def _paint_on(self, canvas: Canvas, frame: int) -> None:
        phase = float(self.phase_T[frame])
        if self.form == "cyclist":
            draw_cyclist(canvas, self.look, self.paint, phase)
        elif self.form == "cart":
            draw_cart(canvas, self.look, self.paint, phase)
        elif self.form == "bag":
            draw_bag(canvas, self.paint)
        else:
            draw_person(
                canvas,
                self.look,
                Pose(phase=phase, speed=float(self.speed_T[frame]), tilt=float(self.tilt_T[frame])),
            )


def gait_phase(rng: np.random.Generator, speed_T: Series, fps: int) -> Series:
    """Return phase_T in radians: strides come as often as the speed asks, and cease when it is zero."""
    strides = np.array([cadence(float(speed)) for speed in speed_T])
    return np.asarray(rng.uniform(0, 2 * np.pi) + np.cumsum(2 * np.pi * strides / fps), np.float64)
