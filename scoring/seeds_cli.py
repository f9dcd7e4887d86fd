"""``stpa eval --seeds N``: an evaluation for each of several seeds, and the mean and spread of every metric."""

import json
from pathlib import Path
from typing import Any

import click

from pipeline.cli import stage_command
from pipeline.exits import USAGE, exit_codes, fail
from trainer.seeds_cli import seed_overrides, seeds_option

ALONE = {"ablate": "--ablate", "scores": "--scores", "baselines": "--baselines"}


def with_seed_spread(command: click.Command) -> click.Command:
    """Give the eval command ``--seeds``; without it, it does what it did."""
    run = command.callback
    assert run is not None

    def callback(seeds: int | None, **options: Any) -> None:
        if seeds is None:
            run(**options)
            return
        other = next((name for option, name in ALONE.items() if options.get(option)), None)
        if other:
            fail(USAGE, f"--seeds evaluates trainings of several seeds; it does not go with {other}")
        _evaluate_seeds(seeds, options)

    command.callback = callback
    command.params.append(seeds_option("Evaluate N seeds, from train.seed on, and print mean and spread."))
    return command


def _evaluate_seeds(seeds: int, options: dict[str, Any]) -> None:
    from scoring.seeds import format_runs, over_runs

    folders: list[Path] = []
    one = stage_command("eval", summary="", show=lambda folder, as_json: folders.append(folder))
    assert one.callback is not None
    known = {str(parameter.name) for parameter in one.params} - {"overrides"}
    chosen = {name: value for name, value in options.items() if name in known}
    for more in seed_overrides(options["config_file"], options["overrides"], seeds):
        one.callback(overrides=(*options["overrides"], *more), **chosen)
    if not folders:
        return  # --dry-run
    with exit_codes():
        runs = [json.loads((folder / "metrics.json").read_text(encoding="utf-8")) for folder in folders]
        found = over_runs([run | {"scores": str(folder)} for run, folder in zip(runs, folders, strict=True)])
    click.echo(json.dumps(found, indent=1) if options["as_json"] else format_runs(found))
