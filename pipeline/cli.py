"""Subcommands of the offline pipeline: one per stage, and ``status``."""

import fnmatch
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, ParamSpec, TypeVar

import click

from pipeline.artifacts.plan import make_plan
from pipeline.artifacts.workspace import Workspace
from pipeline.config import ConfigError, load_config
from pipeline.contract import DataError, ShardStage, Stage, VideoRecord
from pipeline.stages.flows import FlowsStage
from pipeline.stages.frames import FramesStage

STAGES: tuple[type[Stage], ...] = (FramesStage, FlowsStage)

FAILURE, USAGE, BAD_DATA, UPSTREAM, PARTLY = 1, 2, 3, 4, 5  # exit codes; 0 = done

P = ParamSpec("P")
R = TypeVar("R")


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


def open_workspace(config_file: Path | None, overrides: tuple[str, ...]) -> tuple[Workspace, list[str]]:
    """Return the workspace of these settings, and what is wrong with videos that cannot be used."""
    from pipeline.datasets.inventory import take_inventory
    from pipeline.datasets.registry import open_dataset

    try:
        config = load_config(config_file, overrides)
        dataset = open_dataset(config.dataset)
        inventory = take_inventory(dataset, config.run.cache / config.dataset.name / "inventory.json")
    except ConfigError as error:
        fail(USAGE, str(error))
    except DataError as error:
        fail(BAD_DATA, str(error))
    except OSError as error:
        fail(FAILURE, str(error))
    problems = [str(problem) for problem in inventory.problems]
    if not inventory.records:
        fail(BAD_DATA, "\n".join(["no video of the dataset can be used", *problems]))
    return Workspace(config, STAGES, inventory.records, label_digest=inventory.label_digest), problems


@click.command()
@settings_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def status(config_file: Path | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show what is made, what is missing, and why."""
    workspace, _ = open_workspace(config_file, overrides)
    rows = [make_plan(workspace, name).to_dict() for name in workspace.stages]
    if as_json:
        click.echo(json.dumps({"stages": rows}, indent=1))
        return
    for row in rows:
        click.echo(f"{row['stage']:16} {row['state']:8} {row['shards_done']:5} of {row['shards']:5} shards  {row['why']}")


def stage_command(name: str, summary: str) -> click.Command:
    """Return the subcommand of a stage."""

    @click.command(name, help=summary)
    @settings_options
    @click.option("--dry-run", is_flag=True, help="Say what would be made.")
    @click.option("--force", is_flag=True, help="Make again what is there.")
    @click.option("--videos", default="*", metavar="GLOB", help="Only videos whose id matches.")
    @click.option("--workers", type=click.IntRange(min=1), help="Local processes.")
    @click.option("--upstream", is_flag=True, help="Make costly stages that are missing upstream, too.")
    def command(
        config_file: Path | None, overrides: tuple[str, ...], workers: int | None, **options: Any
    ) -> None:
        extra = (f"run.workers={workers}",) if workers else ()
        workspace, problems = open_workspace(config_file, (*overrides, *extra))
        try:
            failures = _run(workspace, name, **options)
        except ConfigError as error:
            fail(USAGE, str(error))
        except OSError as error:
            fail(FAILURE, f"{error}; finished shards are kept: free space or mend the cache's folder, then run again")
        if failures or problems:
            fail(PARTLY, "partly done:\n" + "\n".join([*problems, *failures]))

    return command


def _run(
    workspace: Workspace, name: str, *, dry_run: bool, force: bool, videos: str, upstream: bool
) -> list[str]:
    from pipeline.execution.runner import forget

    workspace.stages[name].check()
    chosen = [record for record in workspace.records_of(name) if fnmatch.fnmatchcase(record.id, videos)]
    if not chosen:
        fail(USAGE, f"--videos {videos!r} matches none of {len(workspace.records_of(name))} videos")
    failures = _make_upstream(workspace, name, upstream=upstream, dry_run=dry_run)
    if force and not dry_run:
        forget(workspace, name, chosen)
    return failures + _make(workspace, name, chosen, dry_run=dry_run)


def _make_upstream(workspace: Workspace, name: str, *, upstream: bool, dry_run: bool) -> list[str]:
    failures = []
    for needed in workspace.upstream_of(name):
        plan = make_plan(workspace, needed)
        if plan.complete:
            continue
        if workspace.stages[needed].costly and not upstream:
            found = f"{name} needs {needed}, which is {plan.state} ({plan.why})"
            fail(UPSTREAM, f"{found}; run: stpa {needed}, or add --upstream")
        failures += _make(workspace, needed, list(workspace.records_of(needed)), dry_run=dry_run)
    return failures


def _make(workspace: Workspace, name: str, records: list[VideoRecord], *, dry_run: bool) -> list[str]:
    from pipeline.execution.runner import run_shards

    plan = make_plan(workspace, name)
    shards = [shard for shard in plan.missing if shard.record in set(records)]
    if not shards:
        click.echo(f"{name}: nothing to do, {plan.shards_done} of {plan.shards} shards are there", err=True)
        return []
    if dry_run:
        size = _bytes(workspace, name, shards)
        click.echo(f"{name}: would make {len(shards)} of {plan.shards} shards ({size:,} bytes before compression)")
        return []
    start = time.perf_counter()
    outcome = run_shards(workspace, plan, shards, _report)
    click.echo(f"{name}: made {outcome.made} shards in {time.perf_counter() - start:.1f} s", err=True)
    return [f"{shard}: {reason}" for shard, reason in outcome.failures.items()]


def _bytes(workspace: Workspace, name: str, shards: list[Any]) -> int:
    import numpy as np

    stage = workspace.stages[name]
    assert isinstance(stage, ShardStage)
    return sum(
        int(np.prod((shard.stop - shard.start, *spec.shape[1:]), dtype=np.int64)) * np.dtype(spec.dtype).itemsize
        for shard in shards
        for spec in stage.arrays(shard.record)
    )


def _report(what: str, done: float, total: float) -> None:
    click.echo(f"\r{what}: {done:.0f} of {total:.0f} shards", err=True, nl=done == total)


frames = stage_command("frames", "Decode and resize the videos once.")
flows = stage_command("flows", "Optical flow between consecutive frames.")
