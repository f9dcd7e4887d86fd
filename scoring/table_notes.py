"""The lines below the table of an evaluation: intervals, events, regions, rules, and what was counted."""

from collections.abc import Mapping
from typing import Any

UNDEFINED = "-"
MOST_NAMES = 8


def number(value: float | None, sign: str = "") -> str:
    """Return a number to three decimals, or that it is undefined."""
    return UNDEFINED if value is None else f"{value:{sign}.3f}"


def notes(metrics: Mapping[str, Any]) -> list[str]:
    """Return the lines, for the content of metrics.json."""
    lines = []
    for name, protocol in metrics["protocols"].items():
        indent = " " * (len(name) + 2)
        weights = ", ".join(f"{indicator} {weight:.2f}" for indicator, weight in protocol["fusion_weights"].items())
        lines.append(f"{name}: {protocol['summary']}")
        lines.append(f"{indent}{protocol['frames']} frames scored, {protocol['dropped_frames']} dropped")
        lines[-1] += f"; fusion weights from training data: {weights}" if weights else ""
        lines += [indent + text for text in (*_intervals(protocol, metrics), *_regions(protocol), *_events(protocol))]
    lines += _label_notes(metrics)
    about = [f"seed {metrics['seed']}"] if "seed" in metrics else []
    about += [", ".join(f"{name} {text}" for name, text in metrics.get("versions", {}).items())]
    return [*lines, "; ".join(filter(None, about))] if any(about) else lines


def _intervals(protocol: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[str]:
    main = metrics["main"]
    shown = [
        f"{what} {interval[0]:{sign}.3f} to {interval[1]:{sign}.3f}"
        for what, interval, sign in (
            (f"{main} AUC", protocol[main]["intervals"].get("micro_auc"), ""),
            (f"over {protocol['margin']['over']}", protocol["margin"]["interval"], "+"),
        )
        if interval
    ]
    samples = metrics["bootstrap"]["samples"]
    return [f"95 % interval ({samples} draws of videos): " + ", ".join(shown)] if shown else []


def _regions(protocol: Mapping[str, Any]) -> list[str]:
    found = protocol["regions"]
    if found is None:
        return []
    values = ", ".join(f"{name.upper()} {number(found[name])}" for name in ("rbdc", "tbdc"))
    return [f"regions: {values}; {found['regions']} true regions in {found['tracks']} {found['source']}"]


def _events(protocol: Mapping[str, Any]) -> list[str]:
    found = protocol["events"]
    if found is None:
        return []
    line = f"at threshold {found['threshold']:.3g}: {found['detected_events']} of {found['events']} events detected"
    if found["delay_frames"]:
        seconds = f" ({found['delay_seconds']['median']:.2f} s)" if found["delay_seconds"] else ""
        line += f", after {found['delay_frames']['median']:.0f} frames{seconds} (median)"
    per_hour = found["false_alarms_per_hour"]
    rate = f", {per_hour:.1f} per hour of normal video" if per_hour is not None else ""
    share = found["false_frame_share"]
    under = f"; {share:.1%} of normal frames under alarm" if share is not None else ""
    return [line, f"{found['false_alarms']} false alarms{rate}{under}"]


def _label_notes(metrics: Mapping[str, Any]) -> list[str]:
    if not metrics["labelled_videos"]:
        return [f"The test videos have no labels: scores are written, nothing can be compared ({UNDEFINED})."]
    lines = [
        f"AUC over all frames together (micro); macro = mean over videos; AP = average precision; EER = equal error rate; "
        f"{UNDEFINED} = undefined.",
        f"macro: {metrics['macro_padding']}.",
    ]
    if metrics["baselines"]:
        lines.append("* knows the test labels (best constant per video); no bar to be beaten.")
    unlabelled = metrics["videos"] - metrics["labelled_videos"]
    if unlabelled:
        lines.append(f"{unlabelled} test videos have no labels: they are scored and not part of any number above.")
    first = next(iter(metrics["protocols"].values()))[metrics["main"]]["per_video"]
    one_class = [video for video, value in first.items() if value["auc"] is None]
    if one_class:
        shown = ", ".join(one_class[:MOST_NAMES]) + (", ..." if len(one_class) > MOST_NAMES else "")
        lines.append(f"No AUC of its own has a video of one class, {len(one_class)} of {len(first)}: {shown}.")
    return lines
