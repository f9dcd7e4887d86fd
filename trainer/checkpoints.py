"""Checkpoints of one autoencoder's training: enough to go on from to the same weights, bit for bit.

    <scratch>/<network>/<step>.safetensors    weights, optimiser, losses so far, and the best weights if some are kept
                        <step>.json           what the training knows besides, and the checksum of the other file

1. The tensors are written to a side name, flushed and renamed, then the state: without it a checkpoint does not exist.
2. All but the two newest are removed.
3. Whoever goes on takes the newest of which both files are whole; one that is not is named and left alone.
"""

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from pipeline.artifacts.keys import digest_bytes
from pipeline.artifacts.seals import seal_problem, sealed
from pipeline.config import TrainSettings
from pipeline.files import json_bytes, write_atomically

FORMAT = 1
KEPT = 2
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A training after some of its steps."""

    step: int
    """Steps taken."""
    tensors: Mapping[str, Tensor] = field(repr=False)
    state: Mapping[str, Any] = field(default_factory=dict)
    """Plain JSON."""


class Keeper:
    """Writes checkpoints of one network into a folder, when it is time; one without folder keeps nothing."""

    def __init__(self, folder: Path | None, settings: TrainSettings) -> None:
        self._folder = folder
        self._seconds = 60 * settings.checkpoint_minutes
        self._steps = settings.checkpoint_steps
        self._last = time.monotonic()

    def due(self, step: int) -> bool:
        """Say whether a checkpoint is to be written after so many steps."""
        if self._folder is None:
            return False
        by_steps = self._steps is not None and step % self._steps == 0
        return by_steps or time.monotonic() - self._last >= self._seconds

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint whole, then remove the oldest; raises OSError if it cannot be written."""
        if self._folder is None:
            return
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
        data = save({name: tensor.clone() for name, tensor in tensors.items()})
        name = f"{checkpoint.step:09d}"
        write_atomically(self._folder / f"{name}.safetensors", data)
        content = {"format": FORMAT, "step": checkpoint.step, "checksum": digest_bytes(data), "state": checkpoint.state}
        write_atomically(self._folder / f"{name}.json", json_bytes(sealed(content)))
        for old in self._steps_there()[:-KEPT]:
            for suffix in (".json", ".safetensors"):
                (self._folder / f"{old:09d}{suffix}").unlink(missing_ok=True)
        self._last = time.monotonic()

    def load(self) -> Checkpoint | None:
        """Return the newest checkpoint that is whole; one that is not is named in a warning. None = begin anew."""
        for step in reversed(self._steps_there()):
            try:
                return self._read(step)
            except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
                log.warning("checkpoint %s/%09d is damaged (%s); going on from an earlier one", self._folder, step, error)
        return None

    def newest(self) -> int:
        """Return the step of the newest checkpoint, whole or not; 0 where there is none."""
        return max(self._steps_there(), default=0)

    def _steps_there(self) -> list[int]:
        if self._folder is None or not self._folder.is_dir():
            return []
        return sorted(int(path.stem) for path in self._folder.glob("*.json") if path.stem.isdigit())

    def _read(self, step: int) -> Checkpoint:
        assert self._folder is not None
        text = (self._folder / f"{step:09d}.json").read_bytes()
        if problem := seal_problem(text):
            raise ValueError(f"expected a state as it was written, found {problem}")
        content = json.loads(text)
        if content["format"] != FORMAT or content["step"] != step:
            raise ValueError(f"expected format {FORMAT} of step {step}, found {content['format']} of {content['step']}")
        data = (self._folder / f"{step:09d}.safetensors").read_bytes()
        if digest_bytes(data) != content["checksum"]:
            raise ValueError("its tensors fail their checksum")
        return Checkpoint(step=step, tensors=load(data), state=content["state"])
