"""``stpa eval --ablate``: what each part of the score is worth, as one table."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from pipeline.cli import USAGE, Show, exit_codes, fail

META = "stpa.eval.ablate"
OPTION = click.Option(
    ["--ablate"], is_flag=True,
    help="Show what each part of the score is worth, from the stored scores: each indicator alone, all but one, other "
    "weights and pooling.",
)


def with_ablation(command: click.Command) -> click.Command:
    """Give the eval command ``--ablate``; how it is shown: :func:`or_ablation`."""
    run = command.callback
    assert run is not None

    def callback(ablate: bool, **options: Any) -> None:
        if ablate and options.get("scores"):
            fail(USAGE, "--ablate needs what an evaluation stores of every indicator; leave --scores out")
        if ablate and options.get("dry_run"):
            fail(USAGE, "--ablate shows results, and --dry-run makes none; leave one of them out")
        click.get_current_context().meta[META] = ablate
        run(**options)

    command.callback = callback
    command.params.append(OPTION)
    return command


def or_ablation(show: Show) -> Show:
    """Return what shows an evaluation's folder: its ablation if that was asked for, else what ``show`` does."""

    def chosen(folder: Path, as_json: bool) -> None:
        context = click.get_current_context(silent=True)
        if context is None or not context.meta.get(META):
            show(folder, as_json)
            return
        from scoring.ablation import ablate

        with exit_codes():
            found = ablate(folder)
        click.echo(json.dumps(found, indent=1) if as_json else format_ablation(found))

    return chosen


def format_ablation(found: Mapping[str, Any]) -> str:
    """Return the content of :func:`scoring.ablation.ablate` as a table."""
    from scoring.table import aligned

    protocols = found["protocols"]
    head = ("", *(text for name in protocols for text in (f"{name} AUC", "vs fused", "AP")))
    blocks: dict[str, list[tuple[str, ...]]] = {"": [head]}
    for parts in zip(*(part["rows"] for part in protocols.values()), strict=True):
        row = (_name(parts[0]), *(text for part in parts for text in _cells(part)))
        blocks.setdefault(parts[0]["kind"], []).append(row)
    blocks["baselines"] = [_baseline_row(name, baseline, found) for name, baseline in found["baselines"].items()]
    lines = [f"{found['dataset']}: what each part of the fused score is worth ({found['artifact']})", ""]
    return "\n".join([*lines, *aligned(list(blocks.values())), "", *_notes(found)])


def _name(row: Mapping[str, Any]) -> str:
    return str(row["name"]).replace("_", " by ") + (" *" if row["oracle"] else "")


def _cells(row: Mapping[str, Any]) -> list[str]:
    from scoring.table_notes import number

    return [number(row["micro_auc"]), number(row["difference"], sign="+"), number(row["average_precision"])]


def _baseline_row(name: str, baseline: Mapping[str, Any], found: Mapping[str, Any]) -> tuple[str, ...]:
    texts: list[str] = []
    for protocol, part in found["protocols"].items():
        value, fused = baseline["protocols"][protocol], part["rows"][0]["micro_auc"]
        known = fused is not None and value["micro_auc"] is not None
        texts += _cells({**value, "difference": value["micro_auc"] - fused if known else None})
    return (name.replace("_", " ") + (" *" if baseline["oracle"] else ""), *texts)


def _notes(found: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    for name, part in found["protocols"].items():
        for row in (row for row in part["rows"] if row["kind"] in ("fused", "oracle")):
            weights = ", ".join(f"{indicator} {weight:.2f}" for indicator, weight in row["weights"].items())
            lines.append(f"{name}, {_name(row)}: {weights}")
    lines.append("* knows the test labels: what tuning on them can reach; no result, and no bar to be beaten.")
    if not found["labelled_frames"]:
        lines.append("The test videos have no labels: nothing can be compared (-).")
    return [*lines, f"'alone' and 'without' are fused by {found['pooling']} unless they say otherwise."]
