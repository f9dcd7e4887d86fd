"""The parts of the page that stand still: headline, numbers, table, where it comes from, pseudo-anomalies."""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from pipeline.artifacts.workspace import Workspace
from pipeline.config import TrainSettings
from pipeline.contract import Array
from scoring.report.colours import flow_colours
from scoring.report.evaluation import Evaluation
from scoring.report.markup import Markup, join, picture, tag
from scoring.report.pictures import encode
from scoring.report.samples import Sample
from scoring.scores import FUSED

MEASURES: Mapping[str, str] = MappingProxyType(
    {"micro_auc": "AUC", "macro_auc": "macro AUC", "average_precision": "AP", "equal_error_rate": "EER"}
)
"""Key in metrics.json -> heading; those that an evaluation does not have are left out."""
NONE = "-"
CENTRE, DOT_WIDTH = 0.5, 84


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
    """Return the fused score's AUC under each protocol, what it is worth beside the best baseline, and what it means."""
    return join(*(_card(name, evaluation.metrics["protocols"][name]) for name in evaluation.protocols))


def _card(name: str, protocol: Mapping[str, Any]) -> Markup:
    fused, margin = protocol[FUSED], protocol["margin"]
    value = fused["micro_auc"]
    parts = [tag("h3", f"Protocol {name}")]
    if value is not None:
        parts.append(tag("p", tag("strong", f"{value:.3f}"), " AUC of the fused score", class_="figure"))
    if margin["micro_auc"] is not None:
        better = "above" if margin["micro_auc"] >= 0 else "below"
        rival = margin["over"].replace("_", " ")
        parts.append(tag("p", f"{abs(margin['micro_auc']):.3f} {better} the best trivial baseline ({rival})"))
    parts += [tag("p", line) for line in _alarms(protocol)]
    parts.append(tag("p", f"{protocol['summary']}. {protocol['frames']:,} frames scored.", class_="note"))
    return tag("section", *parts, class_="card")


def _alarms(protocol: Mapping[str, Any]) -> list[str]:
    return []


def table(evaluation: Evaluation) -> Markup:
    """Return indicators, the fused score and trivial baselines side by side under all protocols."""
    metrics, protocols = evaluation.metrics, evaluation.protocols
    first = metrics["protocols"][protocols[0]]
    measures = [key for key in MEASURES if key in first[FUSED]]
    names = [name for name, value in first.items() if isinstance(value, dict) and "per_video" in value]
    parts = list(first["fusion_weights"])
    ordered = [*parts, FUSED, *(name for name in names if name not in (*parts, FUSED))]
    indicators = [
        _row(shown_name(name, parts), [metrics["protocols"][key][name] for key in protocols], measures, fused=name == FUSED)
        for name in ordered
    ]
    baselines = [
        _row(shown_baseline(name, value), [value["protocols"][key] for key in protocols], measures, fused=False)
        for name, value in metrics["baselines"].items()
    ]
    heads = [tag("th", name, colspan=len(measures), scope="colgroup") for name in protocols]
    under = [tag("th", MEASURES[key], scope="col") for _ in protocols for key in measures]
    return tag(
        "table",
        tag("thead", tag("tr", tag("td"), *heads), tag("tr", tag("td"), *under)),
        tag("tbody", tag("tr", tag("th", "What stpa learnt", colspan=1 + len(under), scope="rowgroup")), *indicators),
        tag("tbody", tag("tr", tag("th", "Trivial baselines", colspan=1 + len(under), scope="rowgroup")), *baselines),
    )


def _row(name: str, values: Sequence[Mapping[str, Any]], measures: Sequence[str], *, fused: bool) -> Markup:
    cells = [_cell(value, key) for value in values for key in measures]
    return tag("tr", tag("th", name, scope="row"), *cells, class_="fused" if fused else "plain")


def _cell(value: Mapping[str, Any], key: str) -> Markup:
    number = value.get(key)
    if number is None:
        return tag("td", NONE)
    return tag("td", dot(number) if key == "micro_auc" else "", tag("span", f"{number:.3f}"))


def dot(value: float) -> Markup:
    """Return a dot on a line from 0 to 1 with a tick at chance, so that a column can be compared at a glance."""
    x, chance = round(4 + value * (DOT_WIDTH - 8), 1), 4 + CENTRE * (DOT_WIDTH - 8)
    return Markup(
        f'<svg class="dot" viewBox="0 0 {DOT_WIDTH} 12" width="{DOT_WIDTH}" height="12" aria-hidden="true">'
        f'<path d="M4 6H{DOT_WIDTH - 4}M{chance} 2V10"/><circle cx="{x}" cy="6" r="4"/></svg>'
    )


def shown_name(name: str, fused: Sequence[str]) -> str:
    """Return how an indicator is called in the table."""
    text = name.replace("_", " by ")
    return text if name in (*fused, FUSED) else f"{text} (not fused)"


def shown_baseline(name: str, value: Mapping[str, Any]) -> str:
    """Return how a baseline is called in the table."""
    return name.replace("_", " ") + (" (knows the labels)" if value["oracle"] else "")


def provenance(workspace: Workspace, evaluation: Evaluation) -> Markup:
    """Return which artifacts, versions and settings the numbers belong to."""
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
    keys = [(name, workspace.artifact(name).folder.name) for name in workspace.stages]
    settings = {name: stage.settings() for name, stage in workspace.stages.items()}
    return join(
        tag("dl", *(join(tag("dt", name), tag("dd", text)) for name, text in facts)),
        tag("details", tag("summary", "Keys of all artifacts"), tag("pre", "\n".join(text for _, text in keys))),
        tag("details", tag("summary", "Settings that determine them"), tag("pre", json.dumps(settings, indent=1))),
    )


def _some(texts: Sequence[str]) -> str:
    return ", ".join(texts[:3]) + (f" and {len(texts) - 3} more" if len(texts) > 3 else "")


def _weights(name: str, protocol: Mapping[str, Any]) -> str:
    return f"{name}: " + ", ".join(f"{key} {value:.2f}" for key, value in protocol["fusion_weights"].items())


def pseudo_anomalies(samples: Sequence[Sample] | str, settings: TrainSettings, full: float) -> Markup:
    """Return what the autoencoders were shown instead of normal clips, and had to turn back."""
    if isinstance(samples, str):
        return tag("p", samples, class_="note")
    said = (
        f"In training a frame clip was replaced by its spatial pseudo-anomaly ({settings.spatial_pa}) with probability "
        f"{settings.p_s:g}, a flow clip by its temporal one ({settings.temporal_pa}) with probability {settings.p_t:g}; the "
        "target stayed the normal clip. One frame of a clip of 16 each, drawn as training draws them."
    )
    return join(tag("p", said), *(_sample(sample, full) for sample in samples))


def _sample(sample: Sample, full: float) -> Markup:
    shown: list[tuple[str, Array]] = [
        ("normal frame", sample.normal_HWC),
        ("object that is cut out", _tinted(sample.normal_HWC, sample.mask_HW)),
    ]
    if sample.spatial_HWC is not None:
        shown.append(("spatial pseudo-anomaly", sample.spatial_HWC))
    shown.append(("normal flow", flow_colours(sample.flow_2HW, full)))
    if sample.temporal_2HW is not None:
        shown.append(("temporal pseudo-anomaly", flow_colours(sample.temporal_2HW, full)))
    title = f"{sample.video}, frame {sample.frame}"
    height, width = sample.mask_HW.shape
    figures = [
        tag("figure", picture(encode(image), f"{name}: {title}", width, height), tag("figcaption", name))
        for name, image in shown
    ]
    return tag("section", tag("h3", title), tag("div", *figures, class_="row"), class_="sample")


def _tinted(frame_HWC: Array, mask_HW: Array) -> Array:
    """Return the frame, pale and grey but for the object, which is seen in its own colours."""
    grey_HW1 = frame_HWC.astype(np.float32).mean(2, keepdims=True)
    faded_HWC = np.broadcast_to(grey_HW1 * 0.35 + 160, (*mask_HW.shape, 3))
    return np.where(mask_HW[..., None], np.broadcast_to(frame_HWC, faded_HWC.shape), faded_HWC).astype(np.uint8)
