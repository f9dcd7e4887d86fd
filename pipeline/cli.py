"""Subcommands: what every stage's command does, those of the offline pipeline, and ``status``."""

import fnmatch
import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

import click

from pipeline.config import ConfigError
from pipeline.contract import DataError, FolderStage, Report, Shard, ShardStage, VideoRecord
from pipeline.progress import Progress
from pipeline.session import Session, open_session

if TYPE_CHECKING:
    from pipeline.artifacts.workspace import Workspace

FAILURE, USAGE, BAD_DATA, UPSTREAM, PARTLY = 1, 2, 3, 4, 5  # exit codes; 0 = done
COMPRESSED = 0.3  # no array of ours was seen to compress to less: with less disk than that a run is bound to fail

P = ParamSpec("P")
R = TypeVar("R")
Show = Callable[[Path, bool], None]
Then = Callable[["Workspace", Sequence[VideoRecord], Mapping[str, Any], Report], None]


def fail(code: int, message: str) -> NoReturn:
    """Print a message on stderr and leave with an exit code."""
    click.echo(f"stpa: {message}", err=True)
    raise click.exceptions.Exit(code)


def settings_options(function: Callable[P, R]) -> Callable[P, R]:
    """Add ``--config`` and ``--set``."""
    function = click.option("--set", "overrides", multiple=True, metavar="SECTION.NAME=VALUE", help="Override a setting.")(
        function
    )
    return click.option("--config", "config_file", type=click.Path(path_type=Path), help="Settings file (TOML).")(function)


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn what is expected to go wrong into a message and the exit code of design section 12."""
    from pipeline.artifacts.store import MissingShardError

    try:
        yield
    except ConfigError as error:
        fail(USAGE, str(error))
    except DataError as error:
        fail(BAD_DATA, str(error))
    except MissingShardError as error:
        fail(UPSTREAM, str(error))
    except (OSError, ArithmeticError) as error:
        fail(FAILURE, f"{error}\nwhat was finished is kept; the same command goes on from there")
    except KeyboardInterrupt:
        fail(FAILURE, "interrupted; what was finished is kept, and the same command goes on from there")


def begin(config_file: Path | None, overrides: Sequence[str], progress: Progress) -> Session:
    """Open the session of a command; a dataset without any usable video ends it."""
    session = open_session(config_file, overrides, click.get_current_context().obj(), progress)
    if not session.workspace.records:
        fail(BAD_DATA, "\n".join(["no video of the dataset can be used", *session.problems]))
    for remark in session.remarks:
        click.echo(f"stpa: {remark}", err=True)
    return session


@click.command()
@settings_options
@click.option("--why", is_flag=True, help="A line of its own for every cause.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def status(config_file: Path | None, overrides: tuple[str, ...], why: bool, as_json: bool) -> None:
    """Show what is made, what is missing, and why."""
    from pipeline.artifacts.plan import make_plan

    with exit_codes(), Progress() as progress:
        session = begin(config_file, overrides, progress)
        plans = [make_plan(session.workspace, name) for name in session.workspace.stages]
    if as_json:
        click.echo(json.dumps({"stages": [plan.to_dict() for plan in plans], "problems": session.problems}, indent=1))
        return
    for plan in plans:
        causes = plan.causes if why else (plan.why,)
        click.echo(f"{plan.stage:16} {plan.state:8} {plan.shards_done:6} of {plan.shards:6} shards  {causes[0]}")
        for cause in causes[1:]:
            click.echo(f"{cause:>{len(cause) + 50}}")
    for problem in session.problems:
        click.echo(f"cannot be used: {problem}")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a stage's command was told."""

    dry_run: bool
    force: bool
    videos: str
    upstream: bool


def stage_command(
    *names: str, summary: str, show: Show | None = None, more: Sequence[click.Option] = (), then: Then | None = None
) -> click.Command:
    """Return the subcommand that makes these stages, called like the last one.

    ``show``, given the folder of a complete whole-split stage and whether JSON is asked for, prints its results. ``then``,
    given the values of the options ``more``, does something with the chosen videos once the stage is complete for them.
    """

    @click.command(names[-1], help=summary)
    @settings_options
    @click.option("--dry-run", is_flag=True, help="Say what would be made.")
    @click.option("--force", is_flag=True, help="Make again what is there.")
    @click.option("--videos", default="*", metavar="GLOB", help="Only videos whose id matches.")
    @click.option("--workers", type=click.IntRange(min=1), help="Local processes.")
    @click.option("--upstream", is_flag=True, help="Make costly stages that are missing upstream, too.")
    @click.option("--json", "as_json", is_flag=True, hidden=show is None, help="Results as one JSON object on stdout.")
    def command(
        config_file: Path | None, overrides: tuple[str, ...], workers: int | None, as_json: bool, **options: Any
    ) -> None:
        extra = (f"run.workers={workers}",) if workers else ()
        wanted = {str(option.name): options.pop(str(option.name)) for option in more}
        with exit_codes(), Progress() as progress:
            session = begin(config_file, (*overrides, *extra), progress)
            run = Run(session, Options(**options), progress)
            for name in names:
                run.make_with_upstream(name)
            if then is not None and not options["dry_run"] and not run.failures:
                then(session.workspace, run.choose(names[-1]), wanted, progress)
        if show is not None and not options["dry_run"] and not run.failures:
            with exit_codes():
                show(run.folder(names[-1]), as_json)
        if run.failures or session.problems:
            fail(PARTLY, "partly done:\n" + "\n".join([*session.problems, *run.failures]))

    command.params += more
    return command


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

        chosen = self.choose(name)
        needed = self._missing_upstream(name, set(chosen))
        self._check_upstream(needed, name)
        for stage in (*needed, name):
            self._workspace.stages[stage].check()
        if isinstance(self._workspace.stages[name], FolderStage):
            self._check_labels()
        for stage, records in needed.items():
            self._make(stage, records)
        if self.failures and isinstance(self._workspace.stages[name], FolderStage):
            fail(UPSTREAM, f"{name} needs every video of {', '.join(needed)}:\n" + "\n".join(self.failures))
        if self._options.force and not self._options.dry_run:
            forget(self._workspace, name, chosen)
        self._make(name, set(chosen))

    def _check_labels(self) -> None:
        """Refuse labels that do not fit before a model is trained, not after."""
        from pipeline.datasets.inventory import label_problems

        problems = label_problems(self._session.dataset, self._session.workspace.records)
        if problems:
            fail(BAD_DATA, "\n".join(map(str, problems)))

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

    def _make(self, name: str, records: Collection[VideoRecord]) -> None:
        from pipeline.artifacts.plan import make_plan
        from pipeline.artifacts.use import in_use
        from pipeline.execution.runner import run_folder, run_shards

        plan = make_plan(self._workspace, name)
        shards = [shard for shard in plan.missing if shard.record in records]
        if not shards and not plan.folder_missing:
            click.echo(f"{name}: nothing to do, {plan.shards_done} of {plan.shards} shards are there", err=True)
            return
        size = self._bytes(name, shards)
        if self._options.dry_run:
            what = f"{len(shards)} of {plan.shards} shards ({size:,} bytes before compression)" if shards else "it"
            click.echo(f"{name}: would make {what}: {plan.why}")
            return
        self._check_disk(size)
        start = time.perf_counter()
        with in_use(self._workspace.artifact(used).place for used in (name, *self._workspace.stages[name].upstream)):
            if plan.folder_missing:
                outcome = run_folder(self._workspace, plan, self._session.labels, self._progress)
            else:
                outcome = run_shards(self._workspace, plan, shards, self._progress)
        made = "done" if plan.folder_missing else f"made {outcome.made} shards"
        click.echo(f"{name}: {made} in {time.perf_counter() - start:.1f} s", err=True)
        self.failures += [f"{name}: {shard}: {reason}" for shard, reason in outcome.failures.items()]

    def _bytes(self, name: str, shards: Sequence[Shard]) -> int:
        import numpy as np

        stage = self._workspace.stages[name]
        if not isinstance(stage, ShardStage):
            return 0
        return sum(
            int(np.prod((shard.stop - shard.start, *spec.shape[1:]), dtype=np.int64)) * np.dtype(spec.dtype).itemsize
            for shard in shards
            for spec in stage.arrays(shard.record)
        )

    def _check_disk(self, size: int) -> None:
        place = self._workspace.place
        free = place.free()
        if free is not None and free < COMPRESSED * size:
            fail(FAILURE, f"{place}: expected room for about {size:,} bytes before compression, found {free:,} bytes free")


frames = stage_command("frames", summary="Decode and resize the videos once.")
masks = stage_command("masks", summary="Silhouettes of moving objects: what will be replaced.")
features = stage_command("features-normal", "features", summary="CLIP features of frames and of spatial pseudo-anomalies.")
