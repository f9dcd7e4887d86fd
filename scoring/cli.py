"""The scorer's subcommand, and how its results are printed."""

import json
from pathlib import Path

import click

from pipeline.cli import stage_command
from scoring.ablation_cli import or_ablation, with_ablation
from scoring.methods_cli import with_baselines
from scoring.rescore_cli import with_scores
from scoring.seeds_cli import with_seed_spread


def show(folder: Path, as_json: bool) -> None:
    """Print the results in an evaluation's folder on stdout: the table, or the one object of metrics.json.

    Raises
    ------
    FileNotFoundError
        The folder holds no evaluation.
    """
    from pipeline.artifacts.folders import kept_at

    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    if as_json:
        click.echo(json.dumps(metrics, indent=1))
        return
    click.echo((folder / "table.txt").read_text(encoding="utf-8").rstrip())
    click.echo(f"picture: {kept_at(folder)}/picture.png")


SUMMARY = "Score the test split; compare the scores with its labels and with trivial baselines."
evaluate = with_seed_spread(
    with_baselines(with_ablation(with_scores(stage_command("eval", summary=SUMMARY, show=or_ablation(show)))))
)
