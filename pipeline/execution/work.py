"""Making one shard, by whichever process does it.

1. It is claimed, where the file system has locks, and left to another process that has it in work.
2. Its receipt is looked for: another run may have made it since the plan was.
3. The worker computes it from receipted inputs.
4. Each array's shard is written whole, to a side name first.
5. The receipt is written. A process that dies before this point leaves nothing that counts.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2

from pipeline.artifacts.claims import claimed
from pipeline.artifacts.receipts import make_receipt, receipt_name
from pipeline.artifacts.store import Artifact
from pipeline.artifacts.workspace import Workspace
from pipeline.config import Config
from pipeline.contract import Array, Labels, Shard, ShardStage, Split, Stage, VideoRecord
from pipeline.execution.errors import ExecutionError
from pipeline.execution.inputs import StoredInputs
from pipeline.execution.provenance import provenance


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything that a process needs to know to make shards of one stage, but for the shards; small, and no model."""

    config: Config
    stages: tuple[type[Stage], ...]
    stage: str
    key: str
    """What the workers must come to as well: they have the same code and weights then."""
    version: str
    """Of this package."""
    folder: Path
    """Working directory that relative paths in the settings refer to."""
    run: str
    """Names the run in its receipts."""

    def workspace(self) -> Workspace:
        """Return the artifacts, without any video: a shard brings its own."""
        return Workspace(self.config, self.stages, ())


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of one shard."""

    failure: str | None = None
    """Why it could not be made."""
    again: bool = False
    """It may be made at the next attempt: the reason was not in the data."""
    elsewhere: bool = False
    """Another run had made it meanwhile."""
    taken: bool = False
    """Another process has it in work: what becomes of it is to be seen later."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Seconds of reading, computing and writing."""


class ShardInputs(StoredInputs):
    """Inputs of a shard: arrays of its own video, or a change of one video would change the shards of others unnoticed."""

    seconds = 0.0
    """Spent in reading so far."""

    def read(self, stage: str, name: str, record: VideoRecord, start: int = 0, stop: int | None = None) -> Array:
        """Return elements ``start`` to ``stop`` along time of one upstream array; see :class:`StoredInputs`."""
        began = time.perf_counter()
        try:
            return super().read(stage, name, record, start, stop)
        finally:
            self.seconds += time.perf_counter() - began

    def videos(self, split: Split | None = None) -> Sequence[VideoRecord]:
        """Refuse: see the class."""
        raise TypeError("a shard depends on its own video only; a stage over all videos is a FolderStage")

    def labels(self, record: VideoRecord) -> Labels | None:
        """Refuse: see the class."""
        raise TypeError("a shard depends on its own video only; a stage that needs labels is a FolderStage")

    def folder(self, stage: str) -> Path:
        """Refuse: see the class."""
        raise TypeError("a shard depends on its own video only; a stage that reads a whole split is a FolderStage")


class Maker:
    """Makes shards of one stage; building it loads the models, so that a process has one.

    Raises
    ------
    ConfigError, OSError, ExecutionError
        What the stage's worker needs is not there, or its models cannot be loaded.
    """

    def __init__(self, job: Job) -> None:
        self.workspace = job.workspace()
        stage = self.workspace.stages[job.stage]
        assert isinstance(stage, ShardStage)
        self.run = job.run  # changes when another run finds the models loaded
        self._stage = stage
        self._inputs = ShardInputs(self.workspace)
        try:
            self._worker = stage.worker()
        except RuntimeError as error:  # a device without memory for the models, for one
            raise ExecutionError(f"{job.stage}: the models cannot be loaded: {error}") from error
        self._recorded = provenance(stage)

    def __call__(self, shard: Shard) -> Answer:
        """Make one shard and receipt it.

        Raises
        ------
        OSError
            It cannot be written: the disk is full or read-only, and the next one would fail as well.
        """
        artifact = self.workspace.artifact(self._stage.name)
        name = receipt_of(self.workspace, self._stage, shard)
        with claimed(artifact, name) as free:
            if artifact.has_receipt(name):
                return Answer(elsewhere=made_by(artifact.read_receipt(name)) != self.run)
            return self._make(artifact, name, shard) if free else Answer(taken=True)

    def _make(self, artifact: Artifact, name: str, shard: Shard) -> Answer:
        began, self._inputs.seconds = time.perf_counter(), 0.0
        try:
            arrays = self._worker(shard, self._inputs)
        except (ValueError, LookupError, cv2.error) as error:  # bad data stay bad
            return Answer(failure=str(error) or type(error).__name__)
        except (OSError, RuntimeError, MemoryError) as error:  # a device without memory left, a server that did not answer
            return Answer(failure=str(error) or type(error).__name__, again=True)
        computed = time.perf_counter()
        files = artifact.write(shard, arrays, self._stage.arrays(shard.record))
        written = time.perf_counter()
        read = self._inputs.seconds
        parts = {"read": read, "compute": computed - began - read, "write": written - computed}
        told: dict[str, Any] = {**self._recorded, **self._stage.provenance(), "run": self.run}
        receipt = make_receipt(shard, seconds=written - began, files=files, provenance=told, parts=parts)
        artifact.write_receipt(name, asdict(receipt))
        return Answer(parts=parts)


def receipt_of(workspace: Workspace, stage: ShardStage, shard: Shard) -> str:
    """Return the name of a shard's receipt."""
    total = -(-stage.length(shard.record) // workspace.config.run.shard_frames)
    return receipt_name(shard.record, shard.index, total)


def made_by(receipt: Mapping[str, Any] | None) -> str:
    """Return which run wrote a receipt; empty where it does not say."""
    told = (receipt or {}).get("provenance")
    return str(told.get("run", "")) if isinstance(told, dict) else ""
