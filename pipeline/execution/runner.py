"""The one runner of a plan: in this process or in local processes. It never knows what a stage computes.

How a shard is made, by whoever makes it:
1. the arrays of its video exist (metadata only, created before any shard is handed out);
2. the worker computes the shard from receipted inputs;
3. each array's shard is written whole, to a side name first;
4. the receipt is written. A process that dies before this point leaves nothing that counts.
"""

import importlib.metadata
import multiprocessing
import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any

from pipeline.artifacts.aside import aside_of, remove_scratch
from pipeline.artifacts.folders import commit_folder, new_folder
from pipeline.artifacts.plan import Plan, make_plan
from pipeline.artifacts.receipts import folder_receipt_name, make_receipt, receipt_name
from pipeline.artifacts.workspace import Workspace
from pipeline.config import Config
from pipeline.contract import FolderStage, Report, ResumableStage, Shard, ShardStage, ShardWorker, Stage, VideoRecord
from pipeline.execution import ranks
from pipeline.execution.inputs import LabelReader, StoredInputs

FAILED = 1  # exit status of a worker that was interrupted
MOST_LOST_POOLS = 3  # a shard that kills its process again and again must end the run, not repeat for ever


@dataclass(kw_only=True)
class Outcome:
    """What a run of one stage did."""

    stage: str
    made: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    """Shard -> reason."""


def provenance() -> dict[str, Any]:
    """Return what a receipt records of the place where it was made; no part of any key."""
    packages = ("numpy", "opencv-contrib-python-headless", "torch", "diffusers", "transformers", "zarr")
    versions = {}
    for package in packages:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {"python": platform.python_version(), "machine": platform.machine(), "packages": versions}


def run_shards(workspace: Workspace, plan: Plan, shards: Sequence[Shard], report: Report) -> Outcome:
    """Make these shards of a stage and receipt each one; a shard that fails does not stop the others.

    Raises
    ------
    OSError
        Nothing more can be written (disk full, read-only): going on would only fail shard after shard.
    """
    stage = workspace.stages[plan.stage]
    if not isinstance(stage, ShardStage):
        raise TypeError(f"{plan.stage}: expected a stage that writes arrays, found {type(stage).__name__}")
    artifact = workspace.artifact(plan.stage)
    artifact.begin(workspace.declared(plan.stage))
    for record in dict.fromkeys(shard.record for shard in shards):
        artifact.prepare(record, stage.arrays(record))
    outcome = Outcome(stage=plan.stage)
    groups = [list(group) for _, group in groupby(shards, key=lambda shard: shard.record)]
    workers = min(workspace.config.run.workers, len(groups))
    results = _run_here(workspace, stage, groups) if workers <= 1 else _run_processes(workspace, stage, groups, workers)
    for shard, failure in results:
        outcome.made += failure is None
        if failure is not None:
            outcome.failures[f"{shard.record.split}/{shard.record.id} shard {shard.index + 1}"] = failure
        report(plan.stage, outcome.made + len(outcome.failures), len(shards))
    return outcome


def run_folder(workspace: Workspace, plan: Plan, labels: LabelReader | None, report: Report) -> Outcome:
    """Run a whole-split stage in a side folder, which becomes the artifact once the stage returns."""
    stage = workspace.stages[plan.stage]
    if not isinstance(stage, FolderStage):
        raise TypeError(f"{plan.stage}: expected a stage over whole splits, found {type(stage).__name__}")
    artifact = workspace.artifact(plan.stage)
    artifact.begin(workspace.declared(plan.stage))
    digest = workspace.input_digest(stage)
    aside = aside_of(workspace.config, f"{plan.stage}-{artifact.key}", digest)
    start = time.perf_counter()
    with new_folder(artifact) as side:
        inputs = StoredInputs(workspace, labels)
        if isinstance(stage, ResumableStage):
            stage.resume(inputs, side, report, aside)
        else:
            stage.run(inputs, side, report)
        if ranks.rank():  # the first process writes what all of them made
            return Outcome(stage=plan.stage)
        receipt = {
            "stage": plan.stage,
            "digest": digest,
            "inputs": workspace.inputs_of(stage),
            "seconds": round(time.perf_counter() - start, 3),
            "provenance": provenance(),
        }
        commit_folder(artifact, digest, side, receipt)
    remove_scratch(aside.scratch)
    return Outcome(stage=plan.stage, made=1)


def forget(workspace: Workspace, name: str, records: Iterable[VideoRecord]) -> None:
    """Delete the receipts of these videos, so that their shards are made again (``--force``)."""
    artifact, stage = workspace.artifact(name), workspace.stages[name]
    if isinstance(stage, FolderStage):
        artifact.remove_receipt(folder_receipt_name(workspace.input_digest(stage)))
    elif isinstance(stage, ShardStage):
        for record in records:
            pieces = artifact.shards(record, stage.length(record))
            for piece in pieces:
                artifact.remove_receipt(receipt_name(record, piece.index, len(pieces)))


Result = tuple[Shard, str | None]


def _run_here(workspace: Workspace, stage: ShardStage, groups: list[list[Shard]]) -> Iterator[Result]:
    make = _maker(workspace, stage)
    for group in groups:
        for shard in group:
            yield shard, make(shard)


def _maker(workspace: Workspace, stage: ShardStage) -> Callable[[Shard], str | None]:
    worker, inputs, recorded = stage.worker(), StoredInputs(workspace), provenance()
    return lambda shard: _make_shard(workspace, stage, worker, inputs, recorded, shard)


def _make_shard(
    workspace: Workspace,
    stage: ShardStage,
    worker: ShardWorker,
    inputs: StoredInputs,
    recorded: dict[str, Any],
    shard: Shard,
) -> str | None:
    """Make one shard; return None, or the reason why it could not be made."""
    artifact = workspace.artifact(stage.name)
    start = time.perf_counter()
    try:
        arrays = worker(shard, inputs)
    except (ValueError, LookupError, OSError, RuntimeError) as error:  # bad data, or a device without memory left
        return str(error) or type(error).__name__
    seconds = time.perf_counter() - start
    files = artifact.write(shard, arrays, stage.arrays(shard.record))
    total = len(artifact.shards(shard.record, stage.length(shard.record)))
    told = {**recorded, **stage.provenance()}
    receipt = make_receipt(shard, seconds=seconds, files=files, provenance=told)
    artifact.write_receipt(receipt_name(shard.record, shard.index, total), asdict(receipt))
    return None


_make: Callable[[Shard], str | None]  # of this worker process, built once by _start_worker


def _start_worker(config: Config, stages: list[type[Stage]], records: tuple[VideoRecord, ...], name: str) -> None:
    global _make
    signal.signal(signal.SIGINT, lambda *_: os._exit(FAILED))  # the parent tells the user; a traceback each would hide it
    threading.Thread(target=_die_with_parent, daemon=True).start()
    threads = max(1, (os.cpu_count() or 1) // config.run.workers)
    _limit_threads(threads)
    workspace = Workspace(config, stages, records)
    stage = workspace.stages[name]
    assert isinstance(stage, ShardStage)
    _make = _maker(workspace, stage)


def _die_with_parent() -> None:
    """End this worker once the process that hands out the work is gone, however it ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(FAILED)


def _limit_threads(threads: int) -> None:
    """Share the cores out: libraries that each take all of them slow one another down."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import cv2

    cv2.setNumThreads(threads)


def _make_group(group: list[Shard]) -> list[Result]:
    return [(shard, _make(shard)) for shard in group]


def _run_processes(
    workspace: Workspace, stage: ShardStage, groups: list[list[Shard]], workers: int
) -> Iterator[Result]:
    """Hand out the shards of one video together: its file is then decoded once, from front to back."""
    lost = 0
    while groups:
        try:
            with _pool(workspace, stage.name, workers) as pool, _no_waiting_after_errors():
                futures: dict[Future[list[Result]], list[Shard]] = {pool.submit(_make_group, g): g for g in groups}
                for future in as_completed(futures):
                    yield from future.result()
                    groups.remove(futures.pop(future))
        except BrokenProcessPool:
            lost += 1
            if lost == MOST_LOST_POOLS:
                why = f"its process died {lost} times (killed, or out of memory?); try fewer run.workers"
                yield from ((shard, why) for group in groups for shard in group)
                return
            missing = set(make_plan(workspace, stage.name).missing)
            yield from ((shard, None) for group in groups for shard in group if shard not in missing)
            groups = [left for group in groups if (left := [shard for shard in group if shard in missing])]


@contextmanager
def _no_waiting_after_errors() -> Iterator[None]:
    """After an interruption, or when the disk is full, nobody waits for what other processes are still making."""
    try:
        yield
    except BaseException:
        for child in multiprocessing.active_children():
            child.terminate()
        raise


def _pool(workspace: Workspace, name: str, workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(workspace.config, [type(stage) for stage in workspace.stages.values()], workspace.records, name),
    )
