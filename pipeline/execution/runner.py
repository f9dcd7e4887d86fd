"""The one runner of a plan. It never knows what a stage computes, nor who makes the shards.

1. The arrays of the videos are created (metadata only), before any shard is handed out.
2. Shards are cut into pieces, and an executor makes them: see executors.py and, for a single shard, work.py.
3. What failed for another reason than its data is tried again, after everything else; at the third time it is reported.
   What another run has in work is waited for, and made if that run is gone without having made it.
"""

import random
import time
import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.artifacts.aside import aside_of, remove_scratch
from pipeline.artifacts.folders import commit_folder, new_folder
from pipeline.artifacts.plan import Plan
from pipeline.artifacts.receipts import folder_receipt_name
from pipeline.artifacts.workspace import Workspace
from pipeline.contract import FolderStage, Report, ResumableStage, Shard, ShardStage, VideoRecord
from pipeline.execution import ranks
from pipeline.execution.executors import Executor, MakeAll, Piece, Result, default_executor
from pipeline.execution.foresight import watch_room
from pipeline.execution.inputs import LabelReader, StoredInputs
from pipeline.execution.provenance import package_versions, provenance
from pipeline.execution.split import cut_pieces
from pipeline.execution.work import Answer, Job, receipt_of

ATTEMPTS = 3
PAUSE = 0.5  # seconds, before it is looked again whether another run has finished a shard


@dataclass(kw_only=True)
class Outcome:
    """What a run of one stage did."""

    stage: str
    made: int = 0
    elsewhere: int = 0
    """Shards that another run had made meanwhile."""
    failures: dict[str, str] = field(default_factory=dict)
    """Shard -> reason."""
    parts: Counter[str] = field(default_factory=Counter)
    """Seconds that all workers together spent on reading, computing, writing."""

    @property
    def slowest(self) -> str:
        """The part that took most of the time, and its share."""
        name, seconds = max(self.parts.items(), key=lambda part: part[1], default=("", 0.0))
        return f"{100 * seconds / self.parts.total():.0f} % {name}" if seconds else ""


def run_shards(
    workspace: Workspace,
    plan: Plan,
    shards: Sequence[Shard],
    report: Report,
    *,
    executor: Executor | None = None,
    others: bool = False,
) -> Outcome:
    """Make these shards of a stage and receipt each one; a shard that fails does not stop the others.

    Parameters
    ----------
    workspace, plan, shards
        What is to be made.
    report
        Told how many of the shards are settled, and what takes most of the time.
    executor
        Who makes them; the default is what ``run.workers`` asks for.
    others
        Whether another run works on the same stage now; then this one begins somewhere else, so that they meet late.

    Raises
    ------
    OSError
        Nothing more can be written (disk full, read-only): going on would only fail shard after shard.
    ConfigError, ExecutionError
        The stage's models cannot be loaded, or nobody is there to make anything.
    """
    stage = workspace.stages[plan.stage]
    if not isinstance(stage, ShardStage):
        raise TypeError(f"{plan.stage}: expected a stage that writes arrays, found {type(stage).__name__}")
    outcome = Outcome(stage=plan.stage)
    if not shards:
        return outcome
    executor = executor or default_executor(workspace)
    workers = executor.workers()
    artifact = workspace.artifact(plan.stage)
    artifact.begin(workspace.declared(plan.stage))
    for record in dict.fromkeys(shard.record for shard in shards):
        artifact.prepare(record, stage.arrays(record))
    least = stage.together // workspace.config.run.shard_frames
    pieces = cut_pieces(shards, in_order=stage.in_order, workers=workers, least=least)
    if others:
        first = random.randrange(len(pieces))  # nothing that is made depends on it
        pieces = pieces[first:] + pieces[:first]
    with executor.open(_job(workspace, plan.stage)) as make:
        results = watch_room(workspace, stage, shards, workers, _with_patience(make, pieces))
        for shard, answer in results:
            _count(outcome, shard, answer)
            note = f"\t{outcome.slowest}" if outcome.parts else ""
            report(plan.stage + note, outcome.made + outcome.elsewhere + len(outcome.failures), len(shards))
    return outcome


def _job(workspace: Workspace, name: str) -> Job:
    return Job(
        config=workspace.config,
        stages=tuple(type(stage) for stage in workspace.stages.values()),
        stage=name,
        key=workspace.key(name),
        version=package_versions().get("stpa", ""),
        folder=Path.cwd(),
        run=uuid.uuid4().hex[:12],
    )


def _with_patience(make: MakeAll, pieces: Sequence[Piece]) -> Iterator[Result]:
    """Try again what may be made at the next attempt, and look again for what others have in work.

    Each such shard by itself, once all others are settled.
    """
    attempts: Counter[Shard] = Counter()
    while pieces:
        later: list[Piece] = []
        pause = 0.0
        for shard, answer in make(pieces):
            attempts[shard] += answer.again
            if answer.taken or (answer.again and attempts[shard] < ATTEMPTS):
                later.append([shard])
                pause = PAUSE if answer.taken else pause
            elif answer.again:
                yield shard, replace(answer, failure=f"{answer.failure} ({ATTEMPTS} attempts)")
            else:
                yield shard, answer
        time.sleep(pause)
        pieces = later


def _count(outcome: Outcome, shard: Shard, answer: Answer) -> None:
    if answer.failure is not None:
        outcome.failures[f"{shard.record.split}/{shard.record.id} shard {shard.index + 1}"] = answer.failure
    elif answer.elsewhere:
        outcome.elsewhere += 1
    else:
        outcome.made += 1
    outcome.parts.update(answer.parts)


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
            "provenance": {**provenance(stage), **stage.provenance()},
        }
        commit_folder(artifact, digest, side, receipt)
    remove_scratch(aside.scratch)
    return Outcome(stage=plan.stage, made=1)


def forget(
    workspace: Workspace, name: str, records: Iterable[VideoRecord], *, only: Collection[Shard] | None = None
) -> None:
    """Delete the receipts of these videos, or of some of their shards, so that they are made again (``--force``)."""
    artifact, stage = workspace.artifact(name), workspace.stages[name]
    if isinstance(stage, FolderStage):
        artifact.remove_receipt(folder_receipt_name(workspace.input_digest(stage)))
    elif isinstance(stage, ShardStage):
        for record in records:
            for shard in artifact.shards(record, stage.length(record)):
                if only is None or shard in only:
                    artifact.remove_receipt(receipt_of(workspace, stage, shard))
