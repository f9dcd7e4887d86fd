"""Subcommands: what every stage's command does, those of the offline pipeline, and ``status``."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from pipeline.contract import Report, VideoRecord
from pipeline.exits import BAD_DATA, FAILURE, PARTLY, SHARDS, UPSTREAM, USAGE, exit_codes, fail, shortened
from pipeline.making import Options, Run
from pipeline.progress import Progress
from pipeline.session import Session, open_session

if TYPE_CHECKING:
    from pipeline.artifacts.workspace import Workspace

__all__ = ["BAD_DATA", "FAILURE", "PARTLY", "UPSTREAM", "USAGE", "exit_codes", "fail"]  # for the other command modules

P = ParamSpec("P")
R = TypeVar("R")
Show = Callable[[Path, bool], None]
Then = Callable[["Workspace", Sequence[VideoRecord], Mapping[str, Any], Report], None]


def settings_options(function: Callable[P, R]) -> Callable[P, R]:
    """Add ``--config`` and ``--set``."""
    function = click.option("--set", "overrides", multiple=True, metavar="SECTION.NAME=VALUE", help="Override a setting.")(
        function
    )
    return click.option("--config", "config_file", type=click.Path(path_type=Path), help="Settings file (TOML).")(function)


def begin(config_file: Path | None, overrides: Sequence[str], progress: Progress) -> Session:
    """Open the session of a command; a dataset without any usable video ends it."""
    session = open_session(config_file, overrides, click.get_current_context().obj(), progress)
    if not session.workspace.records:
        fail(BAD_DATA, "\n".join(["no video of the dataset can be used", *shortened(session.problems)]))
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
    for problem in shortened(session.problems):
        click.echo(f"cannot be used: {problem}")


class ShardRange(click.ParamType[tuple[int, int]]):
    """``I/N`` with 1 <= I <= N."""

    name = "I/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Return both numbers."""
        match = re.fullmatch(r"(\d+)/(\d+)", str(value))
        number, jobs = (int(match[1]), int(match[2])) if match else (0, 0)
        if not 1 <= number <= jobs:
            self.fail(f"expected I/N with 1 <= I <= N, such as 3/8, found {value!r}", param, ctx)
        return number, jobs


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
    @click.option("--workers", type=click.IntRange(min=1), help="Local processes; of several GPUs each has one.")
    @click.option("--scheduler", metavar="ADDRESS", help="Workers of a Dask scheduler instead, such as tcp://host:8786.")
    @click.option("--shard-range", type=ShardRange(), help="Share I of N, from 1: for jobs that know nothing of each other.")
    @click.option("--upstream", is_flag=True, help="Make costly stages that are missing upstream, too.")
    @click.option("--json", "as_json", is_flag=True, hidden=show is None, help="Results as one JSON object on stdout.")
    def command(
        config_file: Path | None, overrides: tuple[str, ...], workers: int | None, as_json: bool, **options: Any
    ) -> None:
        if workers and options["scheduler"]:
            raise click.UsageError("--workers are processes of this machine, --scheduler has workers of its own: give one")
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
            fail(PARTLY, "\n".join(["partly done:", *shortened(session.problems), *shortened(run.failures, SHARDS)]))

    command.params += more
    return command


def _tell_sizes(
    workspace: "Workspace", records: Sequence[VideoRecord], wanted: Mapping[str, Any], progress: Report
) -> None:
    from pipeline.artifacts.store import MissingShardError
    from pipeline.mask_sizes import measure_masks

    try:
        click.echo(f"masks: {measure_masks(workspace, records, progress)}")
    except MissingShardError:  # of a share of the work (--shard-range) no sum can be told
        click.echo("masks: their sizes are told once all shards are there", err=True)


frames = stage_command("frames", summary="Decode and resize the videos once.")
masks = stage_command("masks", summary="Silhouettes of objects: what will be replaced; tells their sizes.", then=_tell_sizes)
features = stage_command("features-normal", "features", summary="CLIP features of frames and of spatial pseudo-anomalies.")
