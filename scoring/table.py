"""The results of an evaluation as plain text."""

from collections.abc import Mapping, Sequence
from typing import Any

from scoring.baselines import BASELINES
from scoring.scores import FUSED

UNDEFINED = "-"
Row = tuple[str, ...]


def format_table(metrics: Mapping[str, Any]) -> str:
    """Return the content of metrics.json as a table: indicators, margins, baselines, then what was counted."""
    protocols = list(metrics["protocols"])
    head: Row = ("", *(text for name in protocols for text in (f"{name} AUC", "AP")))
    blocks = [[head], _indicator_rows(metrics, protocols), _baseline_rows(metrics, protocols)]
    return "\n".join([_title(metrics), "", *_aligned(blocks), "", *_notes(metrics)])


def _title(metrics: Mapping[str, Any]) -> str:
    anomalous = metrics["anomalous_frames"]
    share = f"{anomalous} of {metrics['labelled_frames']} anomalous" if anomalous is not None else "no labels"
    return f"{metrics['dataset']}: {metrics['videos']} test videos, {metrics['frames']} frames, {share}"


def _indicator_rows(metrics: Mapping[str, Any], protocols: Sequence[str]) -> list[Row]:
    first = metrics["protocols"][protocols[0]]
    names = [name for name, value in first.items() if isinstance(value, dict) and "per_video" in value]
    row_of = {
        name: (_shown_name(name, metrics["pooling"]), *_cells([metrics["protocols"][key][name] for key in protocols]))
        for name in names
    }
    margins = [metrics["protocols"][key]["margin"]["micro_auc"] for key in protocols]
    margin_row = ("  over best baseline", *(text for value in margins for text in (_number(value, sign="+"), "")))
    parts = list(first["fusion_weights"])
    others = [name for name in names if name not in (*parts, FUSED)]
    return [*(row_of[name] for name in parts), row_of[FUSED], margin_row, *(row_of[name] for name in others)]


def _shown_name(name: str, pooling: str) -> str:
    indicator, _, other = name.partition("_")
    if indicator in ("spatial", "temporal"):
        return f"{indicator}, by {other}, not fused" if other else f"{indicator}, by {pooling}"
    return name


def _baseline_rows(metrics: Mapping[str, Any], protocols: Sequence[str]) -> list[Row]:
    return [
        (_mark(name), *_cells([metrics["baselines"][name]["protocols"][key] for key in protocols])) for name in BASELINES
    ]


def _mark(name: str) -> str:
    return name.replace("_", " ") + (" *" if BASELINES[name].oracle else "")


def _cells(values: Sequence[Mapping[str, Any]]) -> list[str]:
    return [_number(value[key]) for value in values for key in ("micro_auc", "average_precision")]


def _number(value: float | None, sign: str = "") -> str:
    return UNDEFINED if value is None else f"{value:{sign}.3f}"


def _aligned(blocks: Sequence[Sequence[Row]]) -> list[str]:
    rows = [row for block in blocks for row in block]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    lines: list[str] = []
    for block in blocks:
        if lines:
            lines.append(rule)
        for name, *cells in block:
            padded = [name.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))]
            lines.append("  ".join(padded).rstrip())
    return lines


def _notes(metrics: Mapping[str, Any]) -> list[str]:
    notes = []
    for name, protocol in metrics["protocols"].items():
        weights = ", ".join(f"{indicator} {weight:.2f}" for indicator, weight in protocol["fusion_weights"].items())
        notes.append(f"{name}: {protocol['summary']}")
        notes.append(f"{' ' * len(name)}  {protocol['frames']} frames scored, {protocol['dropped_frames']} dropped; ")
        notes[-1] += f"fusion weights from training data: {weights}"
    notes += _label_notes(metrics)
    notes.append(f"seed {metrics['seed']}; " + ", ".join(f"{name} {text}" for name, text in metrics["versions"].items()))
    return notes


def _label_notes(metrics: Mapping[str, Any]) -> list[str]:
    if not metrics["labelled_videos"]:
        return [f"The test videos have no labels: scores are written, nothing can be compared ({UNDEFINED})."]
    notes = [f"AUC over all frames together (micro), AP = average precision; {UNDEFINED} = undefined."]
    notes.append("* knows the test labels (best constant per video); no bar to be beaten.")
    unlabelled = metrics["videos"] - metrics["labelled_videos"]
    if unlabelled:
        notes.append(f"{unlabelled} test videos have no labels: they are scored and not part of any number above.")
    first = next(iter(metrics["protocols"].values()))[FUSED]["per_video"]
    one_class = [video for video, value in first.items() if value["auc"] is None]
    if one_class:
        shown = ", ".join(one_class[:8]) + (", ..." if len(one_class) > 8 else "")
        notes.append(f"No AUC of its own has a video of one class, {len(one_class)} of {len(first)}: {shown}.")
    return notes
