"""Several runs of one method, of other seeds: mean and spread of every metric."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.contract import DataError
from scoring.table import COLUMNS, aligned, shown_name

SPREAD = "standard deviation (n - 1)"


def mean_and_spread(values: Sequence[float | None]) -> dict[str, Any]:
    """Return mean, standard deviation (n - 1), least and greatest value; None where a run has no value, or only one has."""
    defined = [value for value in values if value is not None]
    if not defined or len(defined) < len(values):
        return {"mean": None, "std": None, "min": None, "max": None, "values": list(values)}
    std = float(np.std(defined, ddof=1)) if len(defined) > 1 else None
    return {
        "mean": float(np.mean(defined)), "std": std, "min": min(defined), "max": max(defined), "values": list(values)
    }


def over_runs(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return protocol -> score -> metric -> mean and spread, of contents of metrics.json.

    Raises
    ------
    DataError
        The runs are not of the same videos, labels, protocols and scores; what differs is named with both numbers.
    """
    for run in runs[1:]:
        _check_alike(runs[0], run)
    protocols: dict[str, Any] = {}
    for protocol, content in runs[0]["protocols"].items():
        names = [name for name, value in content.items() if isinstance(value, dict) and "per_video" in value]
        protocols[protocol] = {
            name: {metric: mean_and_spread([_of(run, protocol, name)[metric] for run in runs]) for metric in COLUMNS}
            for name in names
        }
    return {
        "runs": [{key: run.get(key) for key in ("scores", "seed", "model", "artifact")} for run in runs],
        "spread": SPREAD,
        "main": runs[0]["main"],
        "pooling": runs[0].get("pooling", ""),
        "protocols": protocols,
    }


def _of(run: Mapping[str, Any], protocol: str, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = run["protocols"][protocol][name]
    return found


def _check_alike(first: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    for what in ("videos", "frames", "labelled_frames", "anomalous_frames"):
        if first[what] != other[what]:
            _refuse(first, other, what.replace("_", " "), first[what], other[what])
    if set(first["protocols"]) != set(other["protocols"]):
        _refuse(first, other, "protocols", ", ".join(first["protocols"]), ", ".join(other["protocols"]))
    for protocol, content in first["protocols"].items():
        here, there = (_videos(run, protocol) for run in (first, other))
        if here.keys() != there.keys():
            video = sorted(here.keys() ^ there.keys())[0]
            _refuse(first, other, f"videos ({video} is in one of them only)", len(here), len(there))
        names = [name for name in content if name not in other["protocols"][protocol]]
        if names:
            _refuse(first, other, f"scores under {protocol}", f"{names[0]} among {len(content)}", "none of that name")


def _videos(run: Mapping[str, Any], protocol: str) -> Mapping[str, Any]:
    return _of(run, protocol, run["main"])["per_video"]  # type: ignore[no-any-return]


def _refuse(first: Mapping[str, Any], other: Mapping[str, Any], what: str, expected: object, found: object) -> None:
    raise DataError(
        f"{other['scores']}: expected the same {what} as in {first['scores']} ({expected}), found {found}; "
        "mean and spread are of runs that differ in their seed alone"
    )


def format_runs(found: Mapping[str, Any]) -> str:
    """Return mean and spread as a table, a block per protocol and a row per score."""
    blocks = [
        [
            (protocol, *COLUMNS.values()),
            *(
                (shown_name(name, found["pooling"], scores), *(_plus_minus(values[metric]) for metric in COLUMNS))
                for name, values in scores.items()
            ),
        ]
        for protocol, scores in found["protocols"].items()
    ]
    seeds = ", ".join(str(run["seed"]) for run in found["runs"] if run["seed"] is not None)
    note = f"mean ± {SPREAD} of {len(found['runs'])} runs" + (f", seeds {seeds}" if seeds else "")
    return "\n".join([*aligned(blocks), "", note])


def _plus_minus(value: Mapping[str, Any]) -> str:
    if value["mean"] is None:
        return "-"
    return f"{value['mean']:.3f}" + (f" ± {value['std']:.3f}" if value["std"] is not None else "")
