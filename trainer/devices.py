"""Which device computes, in which precision, and what becomes of memory on the CPU."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from pipeline.config import ConfigError
from pipeline.execution import ranks
from pipeline.models.devices import keep_freed_memory, pick_device

__all__ = ["Precision", "autocast", "keep_freed_memory", "pick_device", "pick_devices", "usable_precision"]

Precision = Literal["bf16", "fp32"]


def pick_devices(wanted: str) -> tuple[torch.device, ...]:
    """Return the one or two devices of ``train.device``; of several processes each has one of its own.

    Raises
    ------
    ConfigError
        A name is none that torch knows, there are more than two, or two for one of several processes.
    """
    names = [name.strip() for name in wanted.split(",")]
    if len(names) > 2:
        raise ConfigError(f"device {wanted!r}: expected one device, or two with a comma between, found {len(names)}")
    if ranks.count() > 1:
        if len(names) > 1:
            raise ConfigError(f"device {wanted!r}: expected one device under torchrun, where each process has one, found 2")
        if names[0] in ("auto", "cuda") and torch.cuda.is_available():
            names = [f"cuda:{ranks.on_this_machine()}"]
    return tuple(pick_device(name) for name in names)


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
