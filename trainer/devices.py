"""Which device computes, and in which precision."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

Precision = Literal["bf16", "fp32"]


def pick_device(name: str) -> torch.device:
    """Return the device of a ``device`` setting; auto = CUDA where there is one.

    Raises
    ------
    ValueError
        The name is none that torch knows, or CUDA was asked for and there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device {name!r}: expected auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {name!r}: torch {torch.__version__} finds no CUDA device here; use auto or cpu")
    return device


def usable_precision(wanted: Precision, device: torch.device) -> Precision:
    """Return bf16 only where the hardware has it: emulated bf16 is many times slower than fp32."""
    if wanted == "fp32":
        return "fp32"
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if device.type == "cpu" and native else "fp32"


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return the context in which a network runs; weights and optimiser stay fp32."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
