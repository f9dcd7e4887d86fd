"""Which process of several this is, where ``torchrun`` started the command: only the first one writes artifacts."""

import os


def rank() -> int:
    """Return the number of this process, 0 for the only or first one."""
    return int(os.environ["RANK"]) if count() > 1 else 0


def count() -> int:
    """Return how many processes run this command together."""
    together = all(name in os.environ for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"))
    return int(os.environ["WORLD_SIZE"]) if together else 1


def on_this_machine() -> int:
    """Return the number of this process among those of its machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))
