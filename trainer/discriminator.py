"""Normal against spatial pseudo-anomaly, told apart by the features of single frames."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.contract import Array, DataError

HIDDEN = 64
BATCH = 256
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 1e-2  # features of neighbouring frames are nearly equal, so there are far fewer samples than rows
FOLDS = 4
SMALLEST_STD = 1e-6


class Discriminator(nn.Module):
    """A small perceptron on standardised features; its logit is above 0 where a spatial pseudo-anomaly is likelier."""

    mean_D: Tensor
    std_D: Tensor

    def __init__(self, *, features: int) -> None:
        super().__init__()
        self.register_buffer("mean_D", torch.zeros(features))
        self.register_buffer("std_D", torch.ones(features))
        self.layers = nn.Sequential(nn.Linear(features, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, 1))

    def forward(self, feature_ND: Tensor) -> Tensor:
        """Return logits (N,) of features (N, D) float32."""
        logit_N1: Tensor = self.layers((feature_ND - self.mean_D) / self.std_D)
        return logit_N1[:, 0]

    def logits(self, feature_ND: Array) -> NDArray[np.float64]:
        """Return logits (N,) float64 of features (N, D) of any floating type."""
        with torch.inference_mode():
            return np.asarray(self(torch.as_tensor(feature_ND).float()).double().numpy())


@dataclass(frozen=True, kw_only=True)
class DiscriminatorData:
    """Features (N, D) float32 and the group (video) that each row comes from, for both classes."""

    normal_ND: Tensor
    normal_group_N: NDArray[np.int64]
    pseudo_ND: Tensor
    pseudo_group_N: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class DiscriminatorFit:
    """The discriminator of all videos, and what others of its kind said of videos that they had not seen."""

    network: Discriminator
    losses: list[float]
    """Mean binary cross-entropy of each epoch."""
    held_out_normal_N: NDArray[np.float64]
    """Logits of the normal frames: one learnt on the same video would be too sure of them to calibrate by."""
    held_out_pseudo_P: NDArray[np.float64]
    """Logits of the pseudo-anomalies, alike."""

    @property
    def held_out_accuracy(self) -> float:
        """Mean over both classes, at logit 0."""
        return float(((self.held_out_normal_N < 0).mean() + (self.held_out_pseudo_P > 0).mean()) / 2)


def fit_discriminator(data: DiscriminatorData, *, epochs: int, seed: int) -> DiscriminatorFit:
    """Fit on all videos, and once per fold on the others for calibration (at most 4 folds).

    Raises
    ------
    DataError
        No training frame has a mask, or a feature is not finite.
    """
    if len(data.pseudo_ND) == 0:
        raise DataError(
            "no training frame has a mask, so there is nothing to tell normal from; set masks.source = random"
        )
    if not (data.normal_ND.isfinite().all() and data.pseudo_ND.isfinite().all()):
        raise DataError("features hold values that are not finite; make the features stage again with --force")
    normal_fold_N, pseudo_fold_N = _folds(data)
    held_out_N, held_out_P = np.zeros(len(data.normal_ND)), np.zeros(len(data.pseudo_ND))
    for fold in np.unique(normal_fold_N):
        unseen_N, unseen_P = normal_fold_N == fold, pseudo_fold_N == fold
        # where all masks lie in this fold, it is better calibrated with them than not at all
        pseudo_ND = data.pseudo_ND if unseen_P.all() else data.pseudo_ND[torch.from_numpy(~unseen_P)]
        network, _ = _fit(data.normal_ND[torch.from_numpy(~unseen_N)], pseudo_ND, epochs=epochs, seed=seed)
        held_out_N[unseen_N] = network.logits(data.normal_ND.numpy()[unseen_N])
        held_out_P[unseen_P] = network.logits(data.pseudo_ND.numpy()[unseen_P])
    network, losses = _fit(data.normal_ND, data.pseudo_ND, epochs=epochs, seed=seed)
    return DiscriminatorFit(
        network=network, losses=losses, held_out_normal_N=held_out_N, held_out_pseudo_P=held_out_P
    )


def _folds(data: DiscriminatorData) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    groups = np.unique(data.normal_group_N)
    fold_of = {group: index % FOLDS for index, group in enumerate(groups)}
    if len(groups) == 1:
        # one video only: its quarters stand in for videos. Rows are in temporal order.
        return (
            np.arange(len(data.normal_ND)) * FOLDS // len(data.normal_ND),
            np.arange(len(data.pseudo_ND)) * FOLDS // len(data.pseudo_ND),
        )
    return (
        np.array([fold_of[group] for group in data.normal_group_N]),
        np.array([fold_of[group] for group in data.pseudo_group_N], dtype=np.int64),
    )


def _fit(normal_ND: Tensor, pseudo_ND: Tensor, *, epochs: int, seed: int) -> tuple[Discriminator, list[float]]:
    feature_ND = torch.cat([normal_ND, pseudo_ND])
    label_N = torch.cat([torch.zeros(len(normal_ND)), torch.ones(len(pseudo_ND))])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Discriminator(features=feature_ND.shape[1])
    network.mean_D.copy_(normal_ND.mean(0))
    network.std_D.copy_(normal_ND.std(0, correction=0).clamp_min(SMALLEST_STD))
    # both classes weigh the same, however many frames have a mask
    positive = torch.tensor(len(normal_ND) / len(pseudo_ND))
    optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    order = torch.Generator().manual_seed(seed)
    losses = []
    for _ in range(epochs):
        total = 0.0
        for rows in torch.split(torch.randperm(len(label_N), generator=order), BATCH):
            loss = F.binary_cross_entropy_with_logits(network(feature_ND[rows]), label_N[rows], pos_weight=positive)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            total += float(loss.detach()) * len(rows)
        losses.append(total / len(label_N))
    return network.eval(), losses
