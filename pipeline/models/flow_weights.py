"""RAFT's weights: which file, what identifies it, and how it is fetched. Imports no torch where it identifies only."""

import hashlib
import os
from pathlib import Path

from pipeline.config import ConfigError, FlowsSettings

HUB = "https://download.pytorch.org/models/"
DEFAULT = {"raft-small": "raft_small_C_T_V2-01064c6d.pth", "raft-large": "raft_large_C_T_SKHT_V2-ff5fadd5.pth"}
"""What torchvision calls DEFAULT. A name ends in the first digits of the sha256 of the file."""
SUFFIXES = (".safetensors", ".pth")


def weights_identity(settings: FlowsSettings) -> str:
    """Return what identifies the weights: the sha256 (hex) of the file, ``missing``, or a name that contains its digits.

    torchvision's files are known by name, so that the key of flow made by them is that of a machine that lacks the file.
    """
    if settings.weights == "default":
        return DEFAULT[settings.estimator]
    try:
        return _sha256(_local_file(settings.weights))
    except (FileNotFoundError, ConfigError):
        return "missing"  # flow under such a key is never made: require_weights raises before


def require_weights(settings: FlowsSettings) -> Path:
    """Return the file of the weights; torchvision's are fetched unless ``HF_HUB_OFFLINE`` is set.

    Raises
    ------
    FileNotFoundError
        There is none; what would fetch it is named.
    ConfigError
        The file is of another kind, or not the one that its name promises.
    """
    if settings.weights != "default":
        return _local_file(settings.weights)
    import torch

    name = DEFAULT[settings.estimator]
    path = Path(torch.hub.get_dir(), "checkpoints", name)
    if not path.is_file():
        _fetch(name, path)
    digits = path.stem.rpartition("-")[2]
    if not (found := _sha256(path)).startswith(digits):
        raise ConfigError(f"{path}: expected a file whose sha256 begins with {digits}, found {found}; delete it, run again")
    return path


def _fetch(name: str, path: Path) -> None:
    import torch

    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    why = "HF_HUB_OFFLINE is set"
    if not offline:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(HUB + name, str(path), progress=False)
        except (OSError, RuntimeError) as error:
            offline, why = True, f"fetching it failed ({error})"
    if offline:
        raise FileNotFoundError(
            f"flows.weights: expected torchvision's {path}, found no file, and {why}; where there is a network, run: "
            f"curl -fL --create-dirs -o {path} {HUB}{name}"
        )


def _local_file(weights: str) -> Path:
    path = Path(weights).expanduser()
    if path.is_dir():
        path = path / "model.safetensors"
    if not path.is_file():
        raise FileNotFoundError(
            f"flows.weights: expected weights at {path}, found no file; give a file, a folder that `stpa import-weights "
            'raft` wrote, or "default"'
        )
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"flows.weights: expected a file named *{' or *'.join(SUFFIXES)}, found {path}")
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
