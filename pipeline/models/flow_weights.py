"""RAFT's weights: which file, and what identifies it. Imports no torch where it identifies only."""

from pathlib import Path

from pipeline.config import FlowsSettings
from pipeline.models.torch_hub import TorchWeights

DEFAULT = {"raft-small": "raft_small_C_T_V2-01064c6d.pth", "raft-large": "raft_large_C_T_SKHT_V2-ff5fadd5.pth"}
"""What torchvision calls DEFAULT. A name ends in the first digits of the sha256 of the file."""


def weights_identity(settings: FlowsSettings) -> str:
    """Return what identifies the weights; see :meth:`pipeline.models.torch_hub.TorchWeights.identity`."""
    return _weights(settings).identity()


def require_weights(settings: FlowsSettings) -> Path:
    """Return the file of the weights; see :meth:`pipeline.models.torch_hub.TorchWeights.require` for what is raised."""
    return _weights(settings).require()


def _weights(settings: FlowsSettings) -> TorchWeights:
    return TorchWeights(
        setting="flows.weights",
        value=settings.weights,
        default=DEFAULT[settings.estimator],
        remedy="a file, a folder that `stpa import-weights raft` wrote",
    )
