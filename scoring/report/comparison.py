"""Indicators, their fusion and trivial baselines side by side."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from scoring.report.evaluation import Evaluation
from scoring.report.markup import Markup, tag
from scoring.scores import FUSED

MEASURES: Mapping[str, str] = MappingProxyType(
    {"micro_auc": "AUC", "macro_auc": "macro AUC", "average_precision": "AP", "equal_error_rate": "EER"}
)
"""Key in metrics.json -> heading; those that an evaluation does not have are left out."""
NONE = "-"
WIDTH, MARGIN, CHANCE = 96, 4, 0.5  # of the small chart in a cell, pixels


def table(evaluation: Evaluation) -> Markup:
    """Return indicators, the fused score and trivial baselines side by side under all protocols."""
    metrics, protocols = evaluation.metrics, evaluation.protocols
    first = metrics["protocols"][protocols[0]]
    measures = [key for key in MEASURES if key in first[FUSED]]
    names = [name for name, value in first.items() if isinstance(value, dict) and "per_video" in value]
    parts = list(first["fusion_weights"])
    ordered = [*parts, FUSED, *(name for name in names if name not in (*parts, FUSED))]
    under_all = {name: [metrics["protocols"][key].get(name, {}) for key in protocols] for name in ordered}
    indicators = [_row(shown_name(name, parts), values, measures, name == FUSED) for name, values in under_all.items()]
    baselines = [
        _row(shown_baseline(name, value), [value["protocols"][key] for key in protocols], measures, False)
        for name, value in metrics["baselines"].items()
    ]
    heads = [tag("th", name, colspan=len(measures), scope="colgroup") for name in protocols]
    under = [tag("th", MEASURES[key], scope="col") for _ in protocols for key in measures]
    return tag(
        "table",
        tag("thead", tag("tr", tag("td"), *heads), tag("tr", tag("td"), *under)),
        _body("What stpa learnt", indicators, 1 + len(under)),
        _body("Trivial baselines", baselines, 1 + len(under)),
    )


def _body(title: str, rows: Sequence[Markup], columns: int) -> Markup:
    return tag("tbody", tag("tr", tag("th", title, colspan=columns, scope="rowgroup")), *rows)


def _row(name: str, values: Sequence[Mapping[str, Any]], measures: Sequence[str], fused: bool) -> Markup:
    cells = [_cell(value, key) for value in values for key in measures]
    return tag("tr", tag("th", name, scope="row"), *cells, class_="fused" if fused else "plain")


def _cell(value: Mapping[str, Any], key: str) -> Markup:
    number = value.get(key)
    if number is None:
        return tag("td", NONE)
    if key != "micro_auc":
        return tag("td", f"{number:.3f}")
    interval = value.get("intervals", {}).get(key)
    return tag("td", dot(number, interval), f"{number:.3f}", class_="charted")


def dot(value: float, interval: Sequence[float] | None = None) -> Markup:
    """Return a dot on a line from 0 to 1 with a tick at chance, and a bar for the interval: a column at a glance."""

    def place(number: float) -> str:
        return f"{MARGIN + number * (WIDTH - 2 * MARGIN):.1f}"

    bar = f'<path class="interval" d="M{place(interval[0])} 6H{place(interval[1])}"/>' if interval else ""
    return Markup(
        f'<svg class="dot" viewBox="0 0 {WIDTH} 12" width="{WIDTH}" height="12" aria-hidden="true">'
        f'<path class="axis" d="M{place(0)} 6H{place(1)}M{place(CHANCE)} 1V11"/>{bar}'
        f'<circle cx="{place(value)}" cy="6" r="4"/></svg>'
    )


def shown_name(name: str, fused: Sequence[str]) -> str:
    """Return how an indicator is called in the table."""
    text = name.replace("_", " by ")
    return text if name in (*fused, FUSED) else f"{text} (not fused)"


def shown_baseline(name: str, value: Mapping[str, Any]) -> str:
    """Return how a baseline is called in the table."""
    return name.replace("_", " ") + (" (knows the labels)" if value["oracle"] else "")
