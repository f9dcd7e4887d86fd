"""The results of an evaluation as plain text."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, get_args

from scoring.baselines import BASELINES
from scoring.scores import Pooling
from scoring.table_notes import notes, number

Row = tuple[str, ...]
COLUMNS: Mapping[str, str] = MappingProxyType(
    {"micro_auc": "AUC", "macro_auc": "macro", "average_precision": "AP", "equal_error_rate": "EER"}
)
"""Metric -> heading of its column, of each protocol."""
POOLINGS = get_args(Pooling)


def format_table(metrics: Mapping[str, Any]) -> str:
    """Return the content of metrics.json as a table: indicators, margins, baselines, then what was counted."""
    protocols = list(metrics["protocols"])
    first, *others = COLUMNS.values()
    head: Row = ("", *(text for name in protocols for text in (f"{name} {first}", *others)))
    blocks = [[head], _indicator_rows(metrics, protocols), _baseline_rows(metrics, protocols)]
    return "\n".join([_title(metrics), "", *aligned(blocks), "", *notes(metrics)])


def _title(metrics: Mapping[str, Any]) -> str:
    anomalous = metrics["anomalous_frames"]
    share = f"{anomalous} of {metrics['labelled_frames']} anomalous" if anomalous is not None else "no labels"
    name = metrics.get("dataset") or metrics["scores"]
    return f"{name}: {metrics['videos']} test videos, {metrics['frames']} frames, {share}"


def _indicator_rows(metrics: Mapping[str, Any], protocols: Sequence[str]) -> list[Row]:
    first = metrics["protocols"][protocols[0]]
    names = [name for name, value in first.items() if isinstance(value, dict) and "per_video" in value]
    pooling = metrics.get("pooling", "")
    row_of = {
        name: (shown_name(name, pooling, names), *cells([metrics["protocols"][key][name] for key in protocols]))
        for name in names
    }
    margins = [metrics["protocols"][key]["margin"]["micro_auc"] for key in protocols]
    gap = ("",) * (len(COLUMNS) - 1)
    margin_row = ("  over best baseline", *(text for value in margins for text in (number(value, sign="+"), *gap)))
    main = metrics["main"]
    parts = [name for name in first["fusion_weights"] if name in row_of]
    others = [name for name in names if name not in (*parts, main)]
    return [*(row_of[name] for name in parts), row_of[main], margin_row, *(row_of[name] for name in others)]


def shown_name(name: str, pooling: str, names: Collection[str]) -> str:
    """Return what stands at the start of the row of one of ``names``: plain ones stand for the chosen pooling."""
    indicator, _, other = name.rpartition("_")
    if indicator in names and other in POOLINGS:
        return f"{indicator}, by {other}, not fused"
    return f"{name}, by {pooling}" if any(f"{name}_{other}" in names for other in POOLINGS) else name


def _baseline_rows(metrics: Mapping[str, Any], protocols: Sequence[str]) -> list[Row]:
    return [
        (_mark(name), *cells([baseline["protocols"][key] for key in protocols]))
        for name, baseline in metrics["baselines"].items()
    ]


def _mark(name: str) -> str:
    return name.replace("_", " ") + (" *" if BASELINES[name].oracle else "")


def cells(values: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the metrics of one row, of each protocol in turn."""
    return [number(value.get(key)) for value in values for key in COLUMNS]


def aligned(blocks: Sequence[Sequence[Row]]) -> list[str]:
    """Return rows as lines of aligned columns, the first one to the left; a rule between blocks."""
    rows = [row for block in blocks for row in block]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    lines: list[str] = []
    for block in blocks:
        if lines:
            lines.append(rule)
        for name, *texts in block:
            padded = [name.ljust(widths[0]), *(text.rjust(width) for text, width in zip(texts, widths[1:], strict=True))]
            lines.append("  ".join(padded).rstrip())
    return lines
