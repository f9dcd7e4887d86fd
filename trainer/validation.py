"""Early stopping by the error on normal video that an autoencoder is not fitted to. No test video has a part in it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.config import TrainSettings
from trainer.autoencoder import Trunk
from trainer.batches import Signal
from trainer.clips import TrainingData
from trainer.devices import Precision, autocast

CLIPS = 128
"""Clips that are looked at after each epoch, evenly spaced over the validation videos."""


def validation_error(
    network: Trunk, signal: Signal, data: TrainingData, settings: TrainSettings, precision: Precision
) -> float:
    """Return the mean squared error over normal clips that the network is not fitted to; it is in training mode after."""
    every = -(-len(data.validation_start_V) // CLIPS)
    start_V = data.validation_start_V[::every]
    total = torch.zeros((), dtype=torch.float64, device=signal.device)
    network.eval()
    with torch.inference_mode():
        for start_B in np.split(start_V, range(settings.batch_size, len(start_V), settings.batch_size)):
            target_BCTHW = signal.target(start_B)
            with autocast(precision, signal.device):
                reconstruction_BCTHW = network(target_BCTHW)
            total += F.mse_loss(reconstruction_BCTHW.float(), target_BCTHW).double() * len(start_B)
    network.train()
    return float(total / len(start_V))


@dataclass(kw_only=True)
class EarlyStopping:
    """Remembers the weights of the epoch with the least error."""

    patience: int
    errors: list[float] = field(default_factory=list)
    """After each epoch."""
    best: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def look(self, error: float, weights: Mapping[str, Tensor]) -> None:
        """Take note of an epoch; an error that is no number is never the best."""
        if math.isfinite(error) and error < min([math.inf, *filter(math.isfinite, self.errors)]):
            self.best = {name: tensor.detach().clone() for name, tensor in weights.items()}
        self.errors.append(error)

    @property
    def worth_going_on(self) -> bool:
        """Whether one of the last ``patience`` epochs was the best so far."""
        return len(self.errors) - self.best_epoch < self.patience

    @property
    def best_epoch(self) -> int:
        """The number of epochs after which the error was least, from 1; 0 before the first."""
        return 1 + int(np.nanargmin(self.errors)) if np.isfinite(self.errors).any() else 0

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds besides the weights."""
        return {"errors": self.errors}
