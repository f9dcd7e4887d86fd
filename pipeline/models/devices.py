"""Which device computes, and what becomes of memory on the CPU."""

import ctypes
import sys

import torch

from pipeline.config import ConfigError

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h


def pick_device(name: str) -> torch.device:
    """Return the device of a ``device`` setting; auto = CUDA where there is one.

    Raises
    ------
    ConfigError
        The name is none that torch knows, or CUDA was asked for and there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device {name!r}: expected auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device {name!r}: torch {torch.__version__} finds no CUDA device here; use auto or cpu")
    return device


def describe_device(device: torch.device) -> str:
    """Return a device for provenance: cpu, or cuda with the name of the GPU."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def keep_freed_memory() -> bool:
    """Let this process keep the memory that tensors leave, until it ends; returns whether it does (with glibc only).

    A network on the CPU frees and asks for gigabytes. By default the system takes every large piece back and hands out
    cleared pages the next time, which costs a good part of the time of a training step or a batch of pictures.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, -1))
