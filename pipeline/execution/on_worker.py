"""What a Dask worker does: see on_dask.py. The models of one job stay in the process until another job comes."""

import os
import socket
import threading
from contextlib import AbstractContextManager, chdir, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from pipeline.contract import Shard
from pipeline.execution.processes import limit_threads, sendable
from pipeline.execution.provenance import package_versions
from pipeline.execution.work import Answer, Job, Maker

_one_at_a_time = threading.Lock()  # models and open files are used by one thread; a worker's threads are the models' own
_kept: tuple[Job, Maker] | None = None


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a worker sends back."""

    worker: str
    answers: tuple[Answer, ...] = ()
    problem: str = ""
    """Why the worker does not fit."""


def inspect(job: Job) -> str:
    """Return why this process cannot make shards of the job; empty if it can, or is busy and will look at its first piece.

    It is called where the worker answers the scheduler: it must not wait for a shard to be finished.
    """
    if not _one_at_a_time.acquire(blocking=False):
        return ""
    try:
        with _folder_of(job):
            return _misfit(job)
    finally:
        _one_at_a_time.release()


def _misfit(job: Job) -> str:
    here = f"on {socket.gethostname()}"
    version = package_versions().get("stpa", "")
    if version != job.version:
        return f"expected stpa {job.version}, found {version or 'none installed'} {here}; install the same"
    workspace = job.workspace()
    artifact = workspace.artifact(job.stage)
    try:
        key = workspace.key(job.stage)
        workspace.stages[job.stage].check()
    except (OSError, ValueError) as error:
        return f"{here}: {error}"
    if key != job.key:
        return f"expected {job.stage} under key {job.key}, found {key} {here}: other code or weights; make them the same"
    if artifact.manifest() is None:
        return f"expected the cache of this run, found no {artifact.place} {here}; mount it there, or share another"
    return ""


def make_piece(job: Job, piece: list[Shard]) -> Reply:
    """Make the shards of a piece one after another.

    Raises
    ------
    ConfigError, OSError, ExecutionError
        The models cannot be loaded, or nothing can be written.
    """
    from distributed import get_worker

    worker: Any = get_worker()
    with _one_at_a_time, _folder_of(job):
        if problem := "" if _has(job) else _misfit(job):
            return Reply(worker=worker.address, problem=problem)
        try:
            maker = _maker(job, worker.state.nthreads)
            return Reply(worker=worker.address, answers=tuple(map(maker, piece)))
        except Exception as error:
            raise sendable(error) from None


def _has(job: Job) -> bool:
    return _kept is not None and _kept[0] == replace(job, run="")


def _maker(job: Job, threads: int) -> Maker:
    global _kept
    if not _has(job):
        _kept = None  # its memory is needed
        limit_threads(threads)
        _kept = replace(job, run=""), Maker(job)
    assert _kept is not None
    _kept[1].run = job.run
    return _kept[1]


def _folder_of(job: Job) -> AbstractContextManager[None]:
    """Let relative paths mean what they mean where the job comes from, if there is such a folder here."""
    return chdir(job.folder) if os.path.isdir(job.folder) else nullcontext()  # noqa: PTH112 - job.folder may be of elsewhere
