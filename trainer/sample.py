"""Errors of a trained network on training windows, normal and pseudo-anomalous: what calibration starts from."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.config import TrainSettings
from pipeline.contract import Report
from trainer.calibration import Sample
from trainer.clips import TrainingData
from trainer.devices import usable_precision
from trainer.fit import Signal
from trainer.indicators import TAPS, Judge, window_errors
from trainer.seeds import Seed

PSEUDO_WINDOWS = 256  # enough to know an AUC to 0.03


def measure_sample(
    network: Judge, signal: Signal, data: TrainingData, settings: TrainSettings, report: Report
) -> Sample:
    """Measure windows that are drawn without repetition by the seed, each as it is and once more as pseudo-anomaly."""
    seed = Seed(settings.seed, ("calibration",))
    start_W = sampled_windows(data, settings)
    precision = usable_precision(settings.precision, signal.device)

    def pseudo_clip(start: int) -> Tensor | None:
        return signal.pseudo(data, start, seed.generator(signal.name, start))

    def pseudo_batch(start_B: NDArray[np.int64]) -> Tensor:
        return torch.stack([clip for start in start_B if (clip := pseudo_clip(int(start))) is not None])

    def in_batches(what: str, start_W: NDArray[np.int64], make: Callable[[NDArray[np.int64]], Tensor]) -> Iterator[Tensor]:
        for done in range(0, len(start_W), settings.batch_size):
            yield make(start_W[done : done + settings.batch_size])
            report(f"calibration, {signal.name}, {what}", min(done + settings.batch_size, len(start_W)), len(start_W))

    normal = window_errors(network, in_batches("normal", start_W, signal.target), precision, settings.reduce)
    # pseudo-anomalies are made twice, which costs less than to keep them
    changed_WT = np.stack(
        [signal.changed_frames(data, int(start), seed.generator(signal.name, int(start))) for start in start_W]
    )
    row_P = np.flatnonzero(changed_WT.any(1))
    row_P = row_P[:: -(-len(row_P) // PSEUDO_WINDOWS)] if len(row_P) else row_P
    if not len(row_P):
        none = {tap: normal[tap].take(row_P) for tap in TAPS}
        return Sample(normal=normal, pseudo=none, twin_P=dict.fromkeys(TAPS, row_P))
    pseudo = window_errors(network, in_batches("pseudo-anomalous", start_W[row_P], pseudo_batch), precision, settings.reduce)
    kept = {tap: np.flatnonzero(changed_WT[row_P, index]) for tap, index in TAPS.items()}
    return Sample(
        normal=normal,
        pseudo={tap: pseudo[tap].take(kept[tap]) for tap in TAPS},
        twin_P={tap: row_P[kept[tap]] for tap in TAPS},
    )


def sampled_windows(data: TrainingData, settings: TrainSettings) -> NDArray[np.int64]:
    """Return the first frames of the windows that calibration looks at, (W,) ascending; the same for every network."""
    count = min(settings.calibration_windows, len(data.start_C))
    random = Seed(settings.seed, ("calibration",)).generator("windows")
    return np.sort(random.choice(data.start_C, count, replace=False))
