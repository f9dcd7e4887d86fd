"""Methods to compare with, each a few settings away from the ones given: one training each, everything before it shared.

Those of the literature keep what the settings say of network, resolution and schedule: they tell what an idea is worth here,
and not what its authors reach with 60 epochs at 256 x 256 and the best epoch chosen on the test set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from pipeline.config import ConfigError, TrainSettings

TWO = ("spatial", "temporal")
METRICS = ("micro_auc", "macro_auc", "average_precision", "equal_error_rate")


@dataclass(frozen=True, kw_only=True)
class Method:
    """One row of the table: how it differs from the settings that were given, and in which words."""

    summary: str
    train: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the training; none = it uses the very training of the settings."""
    indicators: tuple[str, ...] | None = None
    """Which are fused; none = all that the settings' model has."""
    without: str = ""
    """Which of these is left out; empty = none."""

    def overrides(self, has: Sequence[str]) -> list[str]:
        """Return them as ``--set`` takes them, for settings whose model has these indicators."""
        settings = [f"train.{name}={value}" for name, value in self.train.items()]
        fused = [name for name in has if name != self.without] if self.without else self.indicators
        if fused is not None:
            listed = ", ".join(f'"{name}"' for name in fused)
            settings.append(f"eval.indicators=[{listed}]")
        return settings


def indicators_of(settings: TrainSettings) -> tuple[str, ...]:
    """Return the indicators that a model trained with these settings has."""
    parts = {
        "motion": settings.motion_epochs > 0,
        "semantic": settings.discriminator_epochs > 0,
        "objects": settings.objects,
    }
    return (*TWO, *(name for name, there in parts.items() if there))


def _both(kind: str, probability: float) -> dict[str, Any]:
    chances = {"p_s": probability, "p_t": probability}
    return {"spatial_pa": kind, "temporal_pa": kind, **chances, "motion_epochs": 0}


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "as-set": Method(summary="the settings as they are"),
        "without-discriminator": Method(summary="the same model without the discriminator", without="semantic"),
        "without-objects": Method(summary="the same model without objects", without="objects"),
        "without-motion": Method(summary="the same model without the motion network", without="motion"),
        "two-networks": Method(summary="the same model, its two autoencoders alone", indicators=TWO),
        "spatial": Method(summary="the same model, its spatial autoencoder alone", indicators=("spatial",)),
        "temporal": Method(summary="the same model, its temporal autoencoder alone", indicators=("temporal",)),
        "paper": Method(
            summary="inpainting with 0.4, mixup with 0.5, and the discriminator",
            train={"spatial_pa": "inpainting", "p_s": 0.4, "temporal_pa": "mixup", "p_t": 0.5, "motion_epochs": 0},
            indicators=(*TWO, "semantic"),
        ),
        "autoencoder": Method(
            summary="plain autoencoders: no pseudo-anomaly in training",
            train={"p_s": 0.0, "p_t": 0.0, "motion_epochs": 0},
            indicators=TWO,
        ),
        "steal": Method(
            summary="STEAL-Net: skipped frames with 0.01, which are to be returned badly",
            train=_both("steal", 0.01),
            indicators=TWO,
        ),
        "lntra-skip": Method(
            summary="LNTRA: skipped frames with 0.2, to be returned as normal", train=_both("skip", 0.2), indicators=TWO
        ),
        "lntra-patch": Method(
            summary="LNTRA: foreign patches with 0.2, to be returned as normal", train=_both("patch", 0.2), indicators=TWO
        ),
    }
)


def choose_methods(names: str) -> list[str]:
    """Return the methods that a list with commas names, ``all`` for every one; ConfigError for an unknown one."""
    chosen = list(METHODS) if names == "all" else [name.strip() for name in names.split(",") if name.strip()]
    for name in chosen:
        if name not in METHODS:
            raise ConfigError(f"--baselines: expected all, or some of {', '.join(METHODS)}, found {name!r}")
    return chosen


def row_of(name: str, has: Sequence[str], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the table shows of the evaluation of one method, plain JSON; ``has`` as for its overrides."""
    method = METHODS[name]
    return {
        "method": name,
        "summary": method.summary,
        "settings": method.overrides(has),
        "artifact": metrics["artifact"],
        "model": metrics["model"],
        "seed": metrics["seed"],
        "protocols": {
            protocol: {
                score: {metric: value[metric] for metric in METRICS}
                for score, value in content.items()
                if isinstance(value, dict) and "per_video" in value
            }
            | {"fusion_weights": content["fusion_weights"]}
            for protocol, content in metrics["protocols"].items()
        },
    }


def format_methods(dataset: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as a table: per protocol the AUC of each score, and how far the fused one is from the first row's."""
    from scoring.table import aligned
    from scoring.table_notes import number

    blocks = []
    for protocol in rows[0]["protocols"]:
        names = list(dict.fromkeys(name for row in rows for name in row["protocols"][protocol] if name != "fusion_weights"))
        names = ["fused", *(name for name in names if name != "fused")]
        block = [(protocol, "fused", f"vs {rows[0]['method']}", *(name.replace("_", " by ") for name in names[1:]))]
        first = rows[0]["protocols"][protocol]["fused"]["micro_auc"]
        for row in rows:
            scores = row["protocols"][protocol]
            auc = {name: scores[name]["micro_auc"] if name in scores else None for name in names}
            known = first is not None and auc["fused"] is not None
            difference = number(auc["fused"] - first if known else None, sign="+")
            block.append((row["method"], number(auc["fused"]), difference, *(number(auc[name]) for name in names[1:])))
        blocks.append(block)
    notes = [f"{row['method']}: {row['summary']} ({row['model']}, {row['artifact']}, seed {row['seed']})" for row in rows]
    return "\n".join([f"{dataset}: micro-AUC of methods under the same settings", "", *aligned(blocks), "", *notes])
