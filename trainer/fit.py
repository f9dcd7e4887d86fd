"""The training loop of one network: whatever it is shown, an autoencoder must return the normal clip."""

import time

import torch

from pipeline.config import TrainSettings
from pipeline.contract import Report
from trainer.batches import Signal, StepBatches, loaded
from trainer.clips import TrainingData
from trainer.course import Around, Course, Fit, TrainingDiverged

__all__ = ["Around", "Fit", "Signal", "TrainingDiverged", "fit_network"]


def fit_network(
    signal: Signal,
    data: TrainingData,
    settings: TrainSettings,
    *,
    device: torch.device,
    report: Report,
    around: Around | None = None,
) -> Fit:
    """Train one network for a fixed number of epochs; the same seed gives the same weights on the same machine.

    It goes on from the last checkpoint, to the same weights as if it had never been stopped.

    Raises
    ------
    TrainingDiverged
        The loss became NaN or infinite.
    KeyboardInterrupt
        It was told to stop, and has kept what it did.
    """
    course = Course(signal, data, settings, device, report, around or Around())
    first = course.resume()
    with loaded(StepBatches(signal, data, settings), range(first, course.steps), settings) as batches:
        for step in range(first, course.steps):
            if course.ended:
                break
            before = time.perf_counter()
            batch = next(batches)
            course.waited += time.perf_counter() - before
            course.take(step, batch)
            course.look_around(step)
    return course.fit()
