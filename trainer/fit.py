"""The training loop of one autoencoder: whatever it is shown, it must return the normal clip."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pipeline.config import TrainSettings
from pipeline.contract import Report
from trainer.autoencoder import Autoencoder, make_autoencoder
from trainer.clips import ClipOrder, TrainingData
from trainer.devices import autocast, usable_precision
from trainer.indicators import gather_clips
from trainer.pseudo_anomalies import PseudoAnomaly
from trainer.seeds import Seed

WARM_UP_STEPS = 50
FINAL_RATE = 0.02  # of the cosine schedule, as a share of the learning rate
REPORT_STEPS = 10  # the loss is fetched this often: every fetch makes the processor wait for the accelerator


class TrainingDiverged(ArithmeticError):
    """The loss is no number any more."""


@dataclass(frozen=True, kw_only=True)
class Signal:
    """What one autoencoder learns to reconstruct, and what it is shown instead with some probability."""

    name: str
    sequence_NHWC: Tensor = field(repr=False)
    normalise: Callable[[Tensor], Tensor]
    pseudo_anomaly: PseudoAnomaly
    probability: float
    loss_sign: float = 1.0
    """Weight of a pseudo-anomaly's error in the loss: 1 = the normal clip is to be returned; -1 = the pseudo-anomaly itself
    is the target, and is to be missed, as in STEAL-Net."""

    def target(self, start_B: NDArray[np.int64]) -> Tensor:
        """Return the normal clips, (B, C, 16, H, W) float32."""
        start = torch.from_numpy(start_B).to(self.sequence_NHWC.device)
        return self.normalise(gather_clips(self.sequence_NHWC, start))

    def pseudo(self, data: TrainingData, start: int, random: np.random.Generator) -> Tensor | None:
        """Return the pseudo-anomaly of one clip, (C, 16, H, W) float32; None = nothing in it can be changed."""
        clip_THWC = self.pseudo_anomaly(data, start, random)
        return None if clip_THWC is None else self.normalise(clip_THWC).permute(3, 0, 1, 2)

    def batch(self, data: TrainingData, start_B: NDArray[np.int64], random: np.random.Generator) -> "Batch":
        """Return the clips of one step, some of them replaced at the input by their pseudo-anomaly."""
        target_BCTHW = self.target(start_B)
        shown_BCTHW = target_BCTHW
        sign_B = np.ones(len(start_B), np.float32)
        for row, start in enumerate(start_B):
            if random.random() >= self.probability:
                continue
            pseudo_CTHW = self.pseudo(data, int(start), random)
            if pseudo_CTHW is not None:
                if shown_BCTHW is target_BCTHW and self.loss_sign > 0:  # what is not to be returned is its own target
                    shown_BCTHW = target_BCTHW.clone()
                shown_BCTHW[row] = pseudo_CTHW
                sign_B[row] = self.loss_sign
        return Batch(shown_BCTHW=shown_BCTHW, target_BCTHW=target_BCTHW, sign_B=torch.from_numpy(sign_B))


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What the network is shown and what it must return, (B, C, 16, H, W) float32 each, and what each error weighs."""

    shown_BCTHW: Tensor
    target_BCTHW: Tensor
    sign_B: Tensor
    """float32, on the CPU: 1 for normal clips."""

    def loss(self, reconstruction_BCTHW: Tensor) -> Tensor:
        """Return the mean over clips of the mean squared error times its weight."""
        if bool((self.sign_B == 1).all()):
            return F.mse_loss(reconstruction_BCTHW, self.target_BCTHW)
        error_B = F.mse_loss(reconstruction_BCTHW, self.target_BCTHW, reduction="none").flatten(1).mean(1)
        return (error_B * self.sign_B.to(error_B.device)).mean()


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A trained autoencoder and how it came about."""

    network: Autoencoder = field(repr=False)
    losses: list[float]
    """Mean loss of each epoch begun."""
    steps: int


def fit_autoencoder(
    signal: Signal, data: TrainingData, settings: TrainSettings, *, device: torch.device, report: Report
) -> Fit:
    """Train one autoencoder for a fixed number of epochs; the same seed gives the same weights on the same machine.

    Raises
    ------
    TrainingDiverged
        The loss became NaN or infinite.
    """
    seed = Seed(settings.seed, (signal.name,))
    network = make_autoencoder(
        channels=signal.sequence_NHWC.shape[-1],
        width=settings.width,
        place=settings.place,
        skips=settings.skips,
        seed=seed.number("weights"),
        device=device,
    )
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    precision = usable_precision(settings.precision, device)
    order = ClipOrder(data.start_C, settings.batch_size, seed)
    steps = num_steps(settings, len(data.start_C))
    loss_S = torch.zeros(steps, device=device)  # one block: a small one per step would pin what lies around it
    network.train()
    for step in range(steps):
        rate = learning_rate(settings, step, steps)
        for group in optimiser.param_groups:
            group["lr"] = rate
        batch = signal.batch(data, order(step), seed.generator("pseudo-anomalies", step))
        with autocast(precision, device):
            reconstruction = network(batch.shown_BCTHW)
        loss = batch.loss(reconstruction.float())
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        loss_S[step] = loss.detach()
        if (step + 1) % REPORT_STEPS == 0 or step + 1 == steps:
            _check_finite(loss_S[max(0, step + 1 - REPORT_STEPS) : step + 1], signal.name, step, settings)
            report(f"{signal.name} autoencoder", (step + 1) * settings.batch_size, steps * settings.batch_size)
    return Fit(
        network=network.eval(),
        losses=_per_epoch(loss_S, settings.batch_size, len(data.start_C)),
        steps=steps,
    )


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


def _check_finite(loss_S: Tensor, name: str, step: int, settings: TrainSettings) -> None:
    loss = float(loss_S.mean())
    if not math.isfinite(loss):
        raise TrainingDiverged(
            f"the {name} autoencoder's loss became {loss} by step {step + 1} at a learning rate of "
            f"{settings.learning_rate:g} in {settings.precision}; lower train.learning_rate or set train.precision = fp32"
        )


def _per_epoch(step_loss_S: Tensor, batch_size: int, clips: int) -> list[float]:
    loss_S = step_loss_S.double().cpu().numpy()
    epoch_S = np.arange(len(loss_S)) * batch_size // clips
    return [float(loss_S[epoch_S == epoch].mean()) for epoch in np.unique(epoch_S)]
