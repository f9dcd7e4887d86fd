"""Making stages one after another, as a command was told to."""

import fnmatch
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.contract import FolderStage, Shard, ShardStage, VideoRecord
from pipeline.execution import ranks
from pipeline.exits import BAD_DATA, SHARDS, UPSTREAM, USAGE, fail, shortened
from pipeline.progress import Progress, duration
from pipeline.session import Session

if TYPE_CHECKING:
    from pipeline.artifacts.plan import Plan
    from pipeline.execution.executors import Executor
    from pipeline.execution.runner import Outcome


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a stage's command was told."""

    dry_run: bool
    force: bool
    videos: str
    upstream: bool
    scheduler: str | None = None
    """Address of a Dask scheduler whose workers make the shards."""
    shard_range: tuple[int, int] | None = None
    """Share i, from 1, of n."""


class Run:
    """Makes stages one after another and remembers what failed."""

    def __init__(self, session: Session, options: Options, progress: Progress) -> None:
        self._session = session
        self._workspace = session.workspace
        self._options = options
        self._progress = progress
        self.failures: list[str] = []

    def folder(self, name: str) -> Path:
        """Return what a whole-split stage left behind."""
        from pipeline.execution.inputs import StoredInputs

        return StoredInputs(self._workspace).folder(name)

    def make_with_upstream(self, name: str) -> None:
        """Make a stage; what is missing upstream is made too where that is cheap or was asked for."""
        from pipeline.execution.runner import forget

        chosen, share = self.choose(name), self._share(name)
        if share is not None:
            chosen = [record for record in chosen if any(shard.record == record for shard in share)]
        needed = self._missing_upstream(name, set(chosen))
        self._check_upstream(needed, name)
        if needed and ranks.count() > 1:
            fail(UPSTREAM, f"{name}: under torchrun nothing is made upstream; run stpa {next(iter(needed))} without first")
        for stage in (*needed, name):
            self._workspace.stages[stage].check()
        if self._options.scheduler and self._options.force and not self._options.dry_run:
            self._executor().workers()  # nothing is forgotten for a scheduler that is not there
        if isinstance(self._workspace.stages[name], FolderStage):
            self._check_labels()
        for stage, records in needed.items():
            self._make(stage, records)
        if self.failures and isinstance(self._workspace.stages[name], FolderStage):
            why = f"{name} needs every video of {', '.join(needed)}:"
            fail(UPSTREAM, "\n".join([why, *shortened(self.failures, SHARDS)]))
        if self._options.force and not self._options.dry_run:
            forget(self._workspace, name, chosen, only=share)
        self._make(name, set(chosen), share, again=self._options.force)

    def _check_labels(self) -> None:
        """Refuse labels that do not fit before a model is trained, not after."""
        from pipeline.datasets.inventory import label_problems

        problems = label_problems(self._session.dataset, self._session.workspace.records)
        if problems:
            fail(BAD_DATA, "\n".join(shortened(list(map(str, problems)))))

    def choose(self, name: str) -> list[VideoRecord]:
        """Return the videos that were asked for; a whole-split stage needs them all."""
        pattern, records = self._options.videos, self._workspace.records_of(name)
        if pattern != "*" and isinstance(self._workspace.stages[name], FolderStage):
            fail(USAGE, f"--videos: {name} works on whole splits; leave it out")
        chosen = [record for record in records if fnmatch.fnmatchcase(record.id, pattern)]
        if not chosen:
            splits = " or ".join(self._workspace.stages[name].splits)
            fail(USAGE, f"--videos {pattern!r} matches none of the {len(records)} videos that {name} covers ({splits})")
        return chosen

    def _share(self, name: str) -> set[Shard] | None:
        """Return the shards that are this job's, made or not; None where it is the only one."""
        from pipeline.execution.split import share_of

        if self._options.shard_range is None:
            return None
        stage = self._workspace.stages[name]
        if not isinstance(stage, ShardStage):
            fail(USAGE, f"--shard-range: {name} works on whole splits; leave it out, once all shares of the others are made")
        shards = self._shards(name, set(self.choose(name)))
        least = stage.together // self._workspace.config.run.shard_frames
        return set(share_of(shards, *self._options.shard_range, in_order=stage.in_order, least=least))

    def _check_upstream(self, needed: Iterable[str], name: str) -> None:
        """End the command if a costly stage is missing upstream, unless ``--upstream`` was given."""
        from pipeline.artifacts.plan import make_plan

        costly = [stage for stage in needed if self._workspace.stages[stage].costly]
        if not costly or self._options.upstream:
            return
        plans = [make_plan(self._workspace, stage) for stage in costly]
        states = "\n".join(f"  {plan.stage}: {plan.state} ({plan.why})" for plan in plans)
        commands = dict.fromkeys(f"stpa {self._workspace.stages[stage].made_by}" for stage in costly)
        fail(UPSTREAM, f"{name} needs what is not complete:\n{states}\nrun {', '.join(commands)}, or add --upstream")

    def _missing_upstream(self, name: str, records: set[VideoRecord]) -> dict[str, set[VideoRecord]]:
        """Return which stages these videos need made first, and for which videos, in an order that can be run.

        What a complete stage was made of is not asked for: it may be gone.
        """
        from pipeline.artifacts.plan import make_plan

        found: dict[str, set[VideoRecord]] = {}
        for upstream in self._workspace.stages[name].upstream:
            plan = make_plan(self._workspace, upstream)
            needed = {shard.record for shard in plan.missing} & records
            if plan.folder_missing:
                needed = set(self._workspace.records_of(upstream))
            if needed:
                found[upstream] = found.get(upstream, set()) | needed
                for stage, more in self._missing_upstream(upstream, needed).items():
                    found[stage] = found.get(stage, set()) | more
        return {stage: found[stage] for stage in self._workspace.stages if stage in found}

    def _make(
        self, name: str, records: Collection[VideoRecord], share: Collection[Shard] | None = None, again: bool = False
    ) -> None:
        from pipeline.artifacts.plan import make_plan

        plan = make_plan(self._workspace, name)
        shards = [shard for shard in plan.missing if shard.record in records and (share is None or shard in share)]
        if again and self._options.dry_run:  # nothing was forgotten
            shards = [shard for shard in self._shards(name, records) if share is None or shard in share]
        if not shards and not plan.folder_missing and not (again and self._options.dry_run):
            mine = "" if share is None else f" of a share of {len(share)}"
            click.echo(f"{name}: nothing to do{mine}, {plan.shards_done} of {plan.shards} shards are there", err=True)
        elif self._options.dry_run:
            why = "--force makes again what is there" if plan.complete else plan.why
            click.echo(f"{name}: would make {self._foresee(plan, shards)}: {why}")
        else:
            self._run(plan, shards)

    def _shards(self, name: str, records: Collection[VideoRecord]) -> list[Shard]:
        """Return all shards of these videos, made or not; none of a whole-split stage."""
        stage, artifact = self._workspace.stages[name], self._workspace.artifact(name)
        if not isinstance(stage, ShardStage):
            return []
        covered = [record for record in self._workspace.records_of(name) if record in records]
        return [shard for record in covered for shard in artifact.shards(record, stage.length(record))]

    def _foresee(self, plan: "Plan", shards: Sequence[Shard]) -> str:
        """Say how much work there is, and how long it will take."""
        from pipeline.execution.foresight import estimate, size_of

        stage, workers, what = self._workspace.stages[plan.stage], 1, "it"
        if isinstance(stage, ShardStage):
            workers = self._executor().workers()
            what = f"{len(shards)} of {plan.shards} shards ({size_of(stage, shards):,} bytes before compression)"
        expected = estimate(self._workspace, plan.stage, shards)
        if expected is None:
            return f"{what}, in unknown time (none was made yet)"
        workers = max(1, min(workers, len(shards)))
        by = f" by {workers} workers" if workers > 1 else ""
        return f"{what}, in about {duration(expected.seconds / workers)}{by} ({expected.source})"

    def _run(self, plan: "Plan", shards: Sequence[Shard]) -> None:
        from pipeline.artifacts.use import in_use, used_now
        from pipeline.execution.foresight import require_room
        from pipeline.execution.runner import run_folder, run_shards

        stage = self._workspace.stages[plan.stage]
        places = [self._workspace.artifact(used).place for used in (plan.stage, *stage.upstream)]
        others = used_now(places[0])
        start = time.perf_counter()
        with in_use(places):
            if isinstance(stage, ShardStage):
                require_room(self._workspace, stage, shards)
                outcome = run_shards(
                    self._workspace, plan, shards, self._progress, executor=self._executor(), others=others
                )
            else:
                if self._options.scheduler:
                    click.echo(f"{plan.stage}: works on whole splits; made in this process, not by the scheduler", err=True)
                outcome = run_folder(self._workspace, plan, self._session.labels, self._progress)
        self._tell(outcome, plan, time.perf_counter() - start)

    def _tell(self, outcome: "Outcome", plan: "Plan", seconds: float) -> None:
        made = "done" if plan.folder_missing else f"made {outcome.made} shards"
        elsewhere = f"; {outcome.elsewhere} were made by other runs meanwhile" if outcome.elsewhere else ""
        slowest = f" ({outcome.slowest})" if outcome.slowest else ""
        click.echo(f"{plan.stage}: {made} in {seconds:.1f} s{slowest}{elsewhere}", err=True)
        self.failures += [f"{plan.stage}: {shard}: {reason}" for shard, reason in outcome.failures.items()]

    def _executor(self) -> "Executor":
        """Return who makes shards."""
        from pipeline.execution.executors import default_executor

        if self._options.scheduler is None:
            return default_executor(self._workspace)
        from pipeline.execution.on_dask import DaskWorkers

        return DaskWorkers(self._options.scheduler)
