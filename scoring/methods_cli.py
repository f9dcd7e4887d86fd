"""``stpa eval --baselines``: methods to compare with, trained and evaluated one after another, as one table."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from pipeline.cli import begin
from pipeline.config import load_config
from pipeline.exits import PARTLY, USAGE, exit_codes, fail
from pipeline.making import Options, Run
from pipeline.progress import Progress

OPTION = click.Option(
    ["--baselines"], is_flag=False, flag_value="all", metavar="[NAMES]",
    help="Train and evaluate methods to compare with, and show them as one table: all of them, or a list with commas. "
    "What is there already is not made again.",
)
LEFT_OUT = {"scores": "--scores", "ablate": "--ablate", "force": "--force", "shard_range": "--shard-range"}


def with_baselines(command: click.Command) -> click.Command:
    """Give the eval command ``--baselines``; without that it does what it did."""
    run = command.callback
    assert run is not None

    def callback(baselines: str | None, **options: Any) -> None:
        if baselines is None:
            run(**options)
            return
        given = [option for name, option in LEFT_OUT.items() if options.get(name)]
        if given:
            fail(USAGE, f"{given[0]} does not go with --baselines, which makes what is missing of several evaluations")
        _compare(baselines, options)

    command.callback = callback
    command.params.append(OPTION)
    return command


def _compare(names: str, options: Mapping[str, Any]) -> None:
    from scoring.methods import METHODS, choose_methods, format_methods, indicators_of, row_of

    known = {name: options[name] for name in Options.__dataclass_fields__ if name in options}
    extra = [f"run.workers={options['workers']}"] if options.get("workers") else []
    rows: list[dict[str, Any]] = []
    problems: Sequence[str] = ()
    dataset = ""
    with exit_codes(), Progress() as progress:
        has = indicators_of(load_config(options["config_file"], options["overrides"]).train)
        for name in choose_methods(names):
            if METHODS[name].without not in ("", *has):
                click.echo(f"{name}: left out, as the model has no such indicator", err=True)
                continue
            click.echo(f"{name}: {METHODS[name].summary}", err=True)
            overrides = (*options["overrides"], *extra, *METHODS[name].overrides(has))
            session = begin(options["config_file"], overrides, progress)
            run = Run(session, Options(**known), progress)
            run.make_with_upstream("train")
            if options["dry_run"]:  # nothing was trained that an evaluation could be planned with
                continue
            run.make_with_upstream("eval")
            if run.failures:
                fail(PARTLY, "partly done:\n" + "\n".join(run.failures))
            problems, dataset = session.problems, session.workspace.config.dataset.name
            metrics = json.loads((run.folder("eval") / "metrics.json").read_text(encoding="utf-8"))
            rows.append(row_of(name, has, metrics))
    if rows and options["as_json"]:
        click.echo(json.dumps({"dataset": dataset, "rows": rows}, indent=1))
    elif rows:
        click.echo(format_methods(dataset, rows))
    if problems:
        fail(PARTLY, "partly done:\n" + "\n".join(problems))
