"""How many steps a training takes, and at which learning rate."""

import math

from pipeline.config import TrainSettings

WARM_UP_STEPS = 50
FINAL_RATE = 0.02  # of the cosine schedule, as a share of the learning rate


def num_steps(settings: TrainSettings, clips: int) -> int:
    """Return the number of optimiser steps; epochs may be a fraction."""
    return max(1, round(settings.epochs * clips / settings.batch_size))


def learning_rate(settings: TrainSettings, step: int, steps: int) -> float:
    """Return the learning rate of one step under the schedule of the settings."""
    if settings.schedule == "constant":
        return settings.learning_rate
    warm_up = min(WARM_UP_STEPS, max(1, steps // 10))
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    return settings.learning_rate * min(1.0, (step + 1) / warm_up) * max(FINAL_RATE, cosine)
