"""Where the numbers come from: rules of the protocols, artifacts, versions, settings."""

import json
from collections.abc import Sequence
from typing import Any

from pipeline.artifacts.workspace import Workspace
from scoring.report.evaluation import Evaluation
from scoring.report.markup import Markup, join, tag

NONE = "-"
MOST_NAMES = 3


def provenance(workspace: Workspace, evaluation: Evaluation) -> Markup:
    """Return which rules, artifacts, versions and settings the numbers belong to."""
    metrics = evaluation.metrics
    facts = [
        ("Evaluation", metrics.get("artifact", NONE)),
        ("Model", metrics.get("model", NONE)),
        ("Seed of the training", str(metrics.get("seed", NONE))),
        ("Scored on", str(metrics.get("device", NONE))),
        ("Versions", ", ".join(f"{name} {text}" for name, text in metrics["versions"].items())),
        ("Labels", _some(metrics["labels"]) if metrics["labels"] else "none"),
        ("Fusion weights", "; ".join(_weights(name, metrics["protocols"][name]) for name in evaluation.protocols)),
    ]
    keys = [workspace.artifact(name).name for name in workspace.stages]
    settings = {name: stage.settings() for name, stage in workspace.stages.items()}
    return join(
        _rules(evaluation),
        tag("dl", *(join(tag("dt", name), tag("dd", text)) for name, text in facts)),
        tag("details", tag("summary", "Keys of all artifacts"), tag("pre", "\n".join(keys))),
        tag("details", tag("summary", "Settings that determine them"), tag("pre", json.dumps(settings, indent=1))),
    )


def _rules(evaluation: Evaluation) -> Markup:
    """Return the rules of all protocols side by side."""
    rules = {name: evaluation.metrics["protocols"][name].get("rules", {}) for name in evaluation.protocols}
    names = dict.fromkeys(rule for found in rules.values() for rule in found)
    if not names:
        return Markup("")
    head = tag("tr", tag("td"), *(tag("th", name, scope="col") for name in rules))
    cells = {rule: [tag("td", _said(found.get(rule))) for found in rules.values()] for rule in names}
    rows = [tag("tr", tag("th", rule.replace("_", " "), scope="row"), *found) for rule, found in cells.items()]
    grid = tag("table", tag("thead", head), tag("tbody", *rows), class_="rules")
    return tag("div", grid, class_="scrolls", tabindex=0, role="region", aria_label="Rules of the protocols")


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return NONE if value is None else str(value)


def _some(texts: Sequence[str]) -> str:
    more = len(texts) - MOST_NAMES
    return ", ".join(texts[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _weights(name: str, protocol: dict[str, Any]) -> str:
    return f"{name}: " + ", ".join(f"{key} {value:.2f}" for key, value in protocol["fusion_weights"].items())
