"""What a run will take, told from what earlier ones took: time, bytes, room on the disk."""

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.artifacts.receipts import video_name
from pipeline.artifacts.store import Artifact
from pipeline.artifacts.workspace import Workspace
from pipeline.contract import ArraySpec, FolderStage, Shard, ShardStage
from pipeline.execution.executors import Result

COMPRESSED = 0.3  # no packed array of ours was seen to take less: with less disk than that a run is bound to fail
SAMPLE = 200  # receipts that are read for an estimate
RECEIPT_BYTES = 4096


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """How long the work of one worker is, and how that is known."""

    seconds: float
    source: str


def estimate(workspace: Workspace, name: str, shards: Sequence[Shard]) -> Estimate | None:
    """Return how long one worker would take; None where nothing of the stage was ever made.

    From the receipts of the artifact itself, or else of the one of the same stage to which most lately something was added.
    """
    whole = isinstance(workspace.stages[name], FolderStage)
    length = 1 if whole else sum(shard.stop - shard.start for shard in shards)
    for artifact, source in _artifacts(workspace, name):
        measured = list(_measured(artifact, sorted(artifact.receipts())))
        if elements := sum(elements for _, elements in measured):
            seconds = sum(seconds for seconds, _ in measured) / elements * length
            return Estimate(seconds=seconds, source=f"as {len(measured)} receipts of {source} say")
    return None


def _artifacts(workspace: Workspace, name: str) -> Iterator[tuple[Artifact, str]]:
    yield workspace.artifact(name), "this artifact"
    for place in workspace.others(name):
        key = place.name.rpartition("-")[2]
        yield Artifact(place, stage=name, key=key, shard_frames=1), f"{place.name}, made with other settings,"


def _measured(artifact: Artifact, names: Sequence[str]) -> Iterator[tuple[float, int]]:
    """Return seconds and elements of a sample of receipts; a whole-split stage counts as one element."""
    step = max(1, len(names) // SAMPLE)
    for name in names[::step][:SAMPLE]:
        receipt = artifact.read_receipt(name) or {}
        seconds, start, stop = receipt.get("seconds"), receipt.get("start", 0), receipt.get("stop", 1)
        if isinstance(seconds, float | int) and isinstance(start, int) and isinstance(stop, int) and stop > start:
            yield float(seconds), stop - start


def size_of(stage: ShardStage, shards: Iterable[Shard]) -> int:
    """Return the bytes of these shards before compression."""
    return sum(_bytes_of(shard, spec) for shard in shards for spec in stage.arrays(shard.record))


def _bytes_of(shard: Shard, spec: ArraySpec) -> int:
    return int(np.prod((shard.stop - shard.start, *spec.shape[1:]), dtype=np.int64)) * np.dtype(spec.dtype).itemsize


def require_room(workspace: Workspace, stage: ShardStage, shards: Iterable[Shard]) -> None:
    """Refuse a run that is bound to fill the disk.

    Raises
    ------
    OSError
        There is less room than these shards need at least.
    """
    free = workspace.place.free()
    if free is None or free >= size_of(stage, shards):
        return
    least = _least(workspace.artifact(stage.name), stage, shards)
    if free < least:
        raise _full(workspace, f"room for {least:,} bytes at least", free)


def _least(artifact: Artifact, stage: ShardStage, shards: Iterable[Shard]) -> int:
    """Return the bytes by which the disk will be fuller at least; files that are replaced, one by one, are on it already."""
    total = 0.0
    for shard in shards:
        for file, spec in artifact.shard_files(shard, stage.arrays(shard.record)).items():
            if not artifact.place.is_file(file):
                begun = artifact.place.is_file(f"data/{video_name(shard.record)}/{spec.name}/zarr.json")
                total += _bytes_of(shard, spec) * (COMPRESSED if spec.packed or begun else 1)  # begun: packed, perhaps
    return int(total)


def watch_room(
    workspace: Workspace, stage: ShardStage, shards: Sequence[Shard], workers: int, results: Iterable[Result]
) -> Iterator[Result]:
    """Pass results on, and stop before the shards in work could fill the disk.

    Raises
    ------
    OSError
        There is less room than ``workers`` of the largest shards need at most.
    """
    largest = max((size_of(stage, [shard]) for shard in shards), default=0) + RECEIPT_BYTES
    for done, result in enumerate(results, start=1):
        yield result
        need = min(workers, len(shards) - done) * largest
        free = workspace.place.free()
        if free is not None and free < need:
            raise _full(workspace, f"room for the shards in work, up to {need:,} bytes", free)


def _full(workspace: Workspace, expected: str, free: int) -> OSError:
    message = f"{os.strerror(errno.ENOSPC)}, or nearly so: expected {expected}, found {free:,} bytes free; make room"
    return OSError(errno.ENOSPC, message, str(workspace.place))
