"""The head of the page: what was looked at, and what came out under each protocol."""

from collections.abc import Mapping
from typing import Any

from scoring.report.evaluation import Evaluation
from scoring.report.markup import Markup, Text, join, tag
from scoring.scores import FUSED


def headline(evaluation: Evaluation) -> Markup:
    """Return what was looked at, in one sentence."""
    metrics = evaluation.metrics
    seen = f"{metrics['videos']} test videos, {metrics['frames']:,} frames"
    if metrics["anomalous_frames"] is None:
        return tag("p", f"{seen}; no labels, so that nothing can be called right or wrong.", class_="lead")
    share = metrics["anomalous_frames"] / metrics["labelled_frames"]
    counted = "" if metrics["labelled_videos"] == metrics["videos"] else f" in {metrics['labelled_videos']} labelled videos"
    return tag("p", f"{seen}; {metrics['anomalous_frames']:,} frames{counted} truly anomalous ({share:.0%}).", class_="lead")


def cards(evaluation: Evaluation) -> Markup:
    """Return per protocol the fused score's AUC, what it is worth beside the best baseline, and what alarms would do."""
    return join(*(_card(name, evaluation) for name in evaluation.protocols))


def _card(name: str, evaluation: Evaluation) -> Markup:
    protocol = evaluation.metrics["protocols"][name]
    value = protocol[FUSED]["micro_auc"]
    parts: list[Markup] = [tag("h3", f"Protocol {name}")]
    if value is not None:
        said = f" AUC of the fused score{_interval(protocol)}"
        parts.append(tag("p", tag("strong", f"{value:.3f}"), said, class_="figure"))
    parts += [tag("p", *line) for line in (_margin(protocol), _events(protocol), _regions(protocol)) if line]
    parts.append(tag("p", f"{protocol['summary']}. {protocol['frames']:,} frames scored.", class_="note"))
    return tag("section", *parts, class_="card")


def _interval(protocol: Mapping[str, Any]) -> str:
    found = protocol[FUSED].get("intervals", {}).get("micro_auc")
    return f" (95 % interval {found[0]:.2f} to {found[1]:.2f})" if found else ""


def _margin(protocol: Mapping[str, Any]) -> list[Text]:
    margin = protocol["margin"]
    if margin["micro_auc"] is None:
        return []
    better = "above" if margin["micro_auc"] >= 0 else "below"
    return [f"{abs(margin['micro_auc']):.3f} {better} the best trivial baseline ({margin['over'].replace('_', ' ')})."]


def _events(protocol: Mapping[str, Any]) -> list[Text]:
    found = protocol.get("events")
    if found is None:
        return []
    delay = f", after {found['delay_frames']['median']:.0f} frames (median)" if found["delay_frames"] else ""
    per_hour = found["false_alarms_per_hour"]
    rate = f", {per_hour:,.0f} per hour of normal video" if per_hour is not None else ""
    return [
        "At the calibrated threshold ",
        tag("b", f"{found['detected_events']} of {found['events']} events"),
        f" are found{delay}; ",
        tag("b", f"{found['false_alarms']} false alarms"),
        f"{rate}.",
    ]


def _regions(protocol: Mapping[str, Any]) -> list[Text]:
    found = protocol.get("regions")
    if found is None:
        return []
    values = [f"{name.upper()} {found[name]:.3f}" for name in ("rbdc", "tbdc") if found[name] is not None]
    return [f"Regions: {', '.join(values)}."] if values else []
