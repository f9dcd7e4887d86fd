"""RAFT as its authors (princeton-vl) publish it -> torchvision's names."""

import re
from pathlib import Path
from typing import Any

from pipeline.contract import DataError
from pipeline.files import write_json
from pipeline.models.importing.checkpoint import Checkpoint
from pipeline.models.importing.fitting import by_new_names, require_fit
from pipeline.models.importing.unpickle import StoredTensor
from pipeline.models.weights import save_weights

RENAMED = (
    (r"^module\.", ""),
    (r"^fnet\.", "feature_encoder."),
    (r"^cnet\.", "context_encoder."),
    (r"^(\w+_encoder)\.conv1\.", r"\1.convnormrelu.0."),
    (r"^(\w+_encoder)\.norm1\.", r"\1.convnormrelu.1."),
    (r"^(\w+_encoder)\.conv2\.", r"\1.conv."),
    (r"(\.layer\d\.\d)\.conv(\d)\.", r"\1.convnormrelu\2.0."),
    (r"(\.layer\d\.\d)\.norm(\d)\.", r"\1.convnormrelu\2.1."),
    (r"^update_block\.encoder\.convc(\d)\.", r"update_block.motion_encoder.convcorr\1.0."),
    (r"^update_block\.encoder\.convf(\d)\.", r"update_block.motion_encoder.convflow\1.0."),
    (r"^update_block\.encoder\.conv\.", "update_block.motion_encoder.conv.0."),
    (r"^update_block\.gru\.conv([zrq])(\d)\.", r"update_block.recurrent_block.convgru\2.conv\1."),
    (r"^update_block\.gru\.conv([zrq])\.", r"update_block.recurrent_block.convgru1.conv\1."),
    (r"^update_block\.mask\.0\.", "mask_predictor.convrelu.0."),
    (r"^update_block\.mask\.2\.", "mask_predictor.conv."),
)
"""Patterns of the authors' names and what becomes of them, one after the other."""
ALIAS = re.compile(r"\.layer\d\.0\.norm([34])\.")
"""The norm of a shortcut, which the authors store under a second name: the third norm of the large model, the fourth of the
small one, whose third is a norm of its own."""


def torchvision_name(name: str) -> str:
    """Return what torchvision calls a tensor that RAFT's authors call ``name``; an unknown name comes back as it is."""
    for pattern, replacement in RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def import_raft(checkpoint: Checkpoint, folder: Path) -> dict[str, Any]:
    """Write model.safetensors, which ``torchvision.models.optical_flow`` loads strictly, and config.json.

    Returns what was found: which of the two models, and its number of parameters.

    Raises
    ------
    DataError
        The checkpoint is not of one of the two models.
    """
    import torch
    from torchvision.models.optical_flow import raft_large, raft_small

    stored = checkpoint.state_dict()
    large = any(torchvision_name(name).startswith("mask_predictor.") for name in stored)
    size, build = ("large", raft_large) if large else ("small", raft_small)
    kept = _without_aliases(checkpoint, stored, "3" if large else "4")
    found = by_new_names(checkpoint.path, ((torchvision_name(name), value) for name, value in kept.items()))
    with torch.device("meta"):
        model = build(weights=None)
    require_fit(checkpoint.path, {name: value.shape for name, value in found.items()}, model, f"RAFT {size}")
    tensors = {name: checkpoint.tensor(value) for name, value in found.items()}
    save_weights(tensors, folder / "model.safetensors", torch.float32)
    config = {"model": f"raft_{size}", "estimator": f"raft-{size}"}
    write_json(folder / "config.json", config)
    return {**config, "parameters": sum(parameter.numel() for parameter in model.parameters())}


def _without_aliases(checkpoint: Checkpoint, stored: dict[str, StoredTensor], norm: str) -> dict[str, StoredTensor]:
    """Leave out second names, having made sure that they are nothing else."""
    import torch

    kept = dict(stored)
    for name in stored:
        match = ALIAS.search(name)
        twin = name.replace(f".norm{norm}.", ".downsample.1.")
        if match and match[1] == norm and twin in stored:
            if not torch.equal(checkpoint.tensor(stored[name]), checkpoint.tensor(stored[twin])):
                raise DataError(f"{checkpoint.path}: expected {name} to be {twin} under a second name, found other numbers")
            del kept[name]
    return kept
