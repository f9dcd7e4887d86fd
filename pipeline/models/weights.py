"""Where model weights live, what identifies them, and how they are read: safetensors only, stored in half precision."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.models.digests import file_digest

if TYPE_CHECKING:  # what identifies weights is asked for by `stpa status`, which must not wait for torch
    import torch

EMBEDDED = Path(__file__).parent / "embedded"
PROVENANCE = "provenance.json"
"""Says where weights came from and which versions wrote them."""
_IDENTIFYING = (".json", ".safetensors")  # cards and pictures may change without a change of any output


def model_folder(model: str, embedded_name: str, needs: Sequence[str] = ()) -> Path:
    """Return the folder of a model: ``embedded`` means the weights shipped with the package.

    Parameters
    ----------
    model
        ``"embedded"`` or the path of a folder.
    embedded_name
        Name of the folder below ``pipeline/models/embedded``.
    needs
        Files that the folder must hold, relative to it.

    Raises
    ------
    FileNotFoundError
        The folder, or one of the files in ``needs``, is missing.
    """
    embedded = model == "embedded"
    folder = EMBEDDED / embedded_name if embedded else Path(model).expanduser()
    remedy = (
        "install the package again, or make the weights with the script that the card beside them names"
        if embedded
        else f'give an existing folder, or "embedded" for the {embedded_name} weights shipped with the package'
    )
    if not folder.is_dir():
        raise FileNotFoundError(f"model {model!r}: expected a folder at {folder}, found none; {remedy}")
    missing = [name for name in needs if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"model {model!r}: expected {', '.join(missing)} in {folder}, found none; {remedy}")
    return folder


def content_identity(folder: Path, suffixes: tuple[str, ...] = _IDENTIFYING) -> str:
    """Return the sha256 (hex) of all settings and weights below a folder: part of the key of what it makes.

    Names relative to ``folder`` count, its own path, dates, cards, pictures and provenance do not. ``suffixes`` are those of
    the files that count.
    """
    files = sorted(
        path for path in folder.rglob("*") if path.is_file() and path.suffix in suffixes and path.name != PROVENANCE
    )
    if not files:
        raise FileNotFoundError(f"{folder}: expected settings (.json) and weights (.safetensors), found neither")
    total = hashlib.sha256()
    for path in files:
        total.update(f"{path.relative_to(folder).as_posix()}\0{file_digest(path)}\n".encode())
    return total.hexdigest()


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read one safetensors file; half precision tensors come back as float32, integers as they are.

    Raises
    ------
    FileNotFoundError, ValueError
        There is no such file, or it is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected model weights, found no file; copy or make them first")
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: expected a safetensors file, found {error}; copy or make it again") from error
    return {name: _widen(tensor) for name, tensor in tensors.items()}


def save_weights(tensors: dict[str, torch.Tensor], path: Path, dtype: torch.dtype | None = None) -> None:
    """Write tensors to one safetensors file, floating point ones as ``dtype`` (half precision by default)."""
    import torch
    from safetensors.torch import save_file

    dtype = dtype or torch.float16
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = {k: (v.to(dtype) if v.is_floating_point() else v).cpu().contiguous() for k, v in tensors.items()}
    save_file(stored, path, metadata={"format": "pt"})


def _widen(tensor: torch.Tensor) -> torch.Tensor:
    import torch

    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
