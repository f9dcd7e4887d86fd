"""Which GPUs there are, asked without initialising CUDA: a process that did so could not be given another one any more."""

import os
import re
import subprocess
from collections.abc import Sequence

VISIBLE = "CUDA_VISIBLE_DEVICES"
_SECONDS = 20  # a driver that hangs must not stop work that can do without


def visible_gpus() -> tuple[str, ...]:
    """Return what ``CUDA_VISIBLE_DEVICES`` may name, one entry per GPU or slice of one (MIG); none without a driver."""
    if (listed := os.environ.get(VISIBLE)) is not None:
        names = [name.strip() for name in listed.split(",")]
        return tuple(names[: names.index("-1")] if "-1" in names else filter(None, names))
    try:
        command = ["nvidia-smi", "-L"]
        found = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return _listed(found)


def _listed(text: str) -> tuple[str, ...]:
    """Read ``nvidia-smi -L``: a GPU that is cut into slices is followed by them and stands for nothing itself."""
    names: list[str] = []
    for name in re.findall(r"UUID: ((?:GPU|MIG)-[^)\s]+)", text):
        if name.startswith("MIG-") and names and names[-1].startswith("GPU-"):
            names.pop()
        names.append(name)
    return tuple(names)


def gpu_for(place: int, gpus: Sequence[str]) -> dict[str, str]:
    """Return what the environment of worker ``place`` needs: a GPU of its own, shared only if there are more workers."""
    return {VISIBLE: gpus[place % len(gpus)]} if gpus else {}
