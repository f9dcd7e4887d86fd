"""The machine's name, for the head of a table."""

import os
import platform
from pathlib import Path


def machine() -> str:
    """Return processor, cores and versions in one line."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0))
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    return f"{names[0] if names else platform.machine()}, {cores} cores, {system}"
