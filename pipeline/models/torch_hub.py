"""Weights of torchvision's models: which file, what identifies it, how it is fetched and read.

A weights setting is ``default``, torchvision's own file by name from its hub, or a file or folder of one's own with tensors
under torchvision's names. Imports no torch where it identifies only.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config import ConfigError
from pipeline.models.digests import file_digest

if TYPE_CHECKING:
    from torch import Tensor

HUB = "https://download.pytorch.org/models/"
SUFFIXES = (".safetensors", ".pth")


@dataclass(frozen=True, kw_only=True)
class TorchWeights:
    """Where the weights of one model are looked for."""

    setting: str
    """Of the settings file, for messages: flows.weights, masks.weights."""
    value: str
    """What it says: default, a file, or a folder with model.safetensors."""
    default: str
    """torchvision's file; its name ends in the first digits of its sha256."""
    remedy: str
    """What else may be given, for messages."""

    def identity(self) -> str:
        """Return what identifies the weights: the sha256 (hex) of the file, ``missing``, or a name that contains its digits.

        torchvision's files are known by name, so that a machine that lacks the file has the same keys.
        """
        if self.value == "default":
            return self.default
        try:
            return file_digest(self._local_file())
        except (FileNotFoundError, ConfigError):
            return "missing"  # nothing is ever made under such a key: require raises before

    def require(self) -> Path:
        """Return the file; torchvision's is fetched unless ``HF_HUB_OFFLINE`` is set.

        Raises
        ------
        FileNotFoundError
            There is none; what would fetch it is named.
        ConfigError
            The file is of another kind, or not the one that its name promises.
        """
        if self.value != "default":
            return self._local_file()
        import torch

        path = Path(torch.hub.get_dir(), "checkpoints", self.default)
        if not path.is_file():
            self._fetch(path)
        digits = path.stem.rpartition("-")[2]
        if not (found := _sha256(path)).startswith(digits):
            raise ConfigError(
                f"{path}: expected a file whose sha256 begins with {digits}, found {found}; delete it, run again"
            )
        return path

    def _fetch(self, path: Path) -> None:
        import torch

        offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
        why = "HF_HUB_OFFLINE is set"
        if not offline:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                torch.hub.download_url_to_file(HUB + self.default, str(path), progress=False)
            except (OSError, RuntimeError) as error:
                offline, why = True, f"fetching it failed ({error})"
        if offline:
            raise FileNotFoundError(
                f"{self.setting}: expected torchvision's {path}, found no file, and {why}; where there is a network, run: "
                f"curl -fL --create-dirs -o {path} {HUB}{self.default}"
            )

    def _local_file(self) -> Path:
        path = Path(self.value).expanduser()
        if path.is_dir():
            path = path / "model.safetensors"
        if not path.is_file():
            raise FileNotFoundError(
                f'{self.setting}: expected weights at {path}, found no file; give {self.remedy}, or "default"'
            )
        if path.suffix not in SUFFIXES:
            raise ConfigError(f"{self.setting}: expected a file named *{' or *'.join(SUFFIXES)}, found {path}")
        return path


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file by name; no code in a pickle is run. ConfigError if it holds anything else."""
    from torch import Tensor, load

    from pipeline.models.weights import load_weights

    if path.suffix == ".safetensors":
        return load_weights(path)
    try:
        content = load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        found = str(error).partition("\n")[0]
        raise ConfigError(f"{path}: expected tensors as torchvision keeps them, found another file ({found})") from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ConfigError(f"{path}: expected tensors by name as torchvision keeps them, found something else")
    return dict(content)


def check_tensors(
    path: Path, found: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, name: str, remedy: str
) -> None:
    """Raise ConfigError unless names and shapes are those of the model called ``name``."""
    shapes = [{key: tuple(value.shape) for key, value in tensors.items()} for tensors in (expected, found)]
    wanted, given = shapes
    wrong = sorted(key for key in wanted.keys() | given.keys() if wanted.get(key) != given.get(key))
    if wrong:
        key = wrong[0]
        raise ConfigError(
            f"{path}: expected the weights of {name} under torchvision's names, found {len(wrong)} tensors that differ, "
            f"such as {key} (expected {wanted.get(key, 'none')}, found {given.get(key, 'none')}); {remedy}"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
