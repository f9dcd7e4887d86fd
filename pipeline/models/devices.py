"""Which device computes."""

import torch

from pipeline.config import ConfigError


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
