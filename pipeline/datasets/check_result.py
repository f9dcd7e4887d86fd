"""What a check of a dataset found."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from pipeline.contract import Split
from pipeline.datasets.published import Totals


@dataclass(kw_only=True)
class SplitTable:
    """One row of the table."""

    split: Split
    videos: int = 0
    frames: int = 0
    exact: bool = True
    """False where a container's claim is part of ``frames``."""
    sizes: Counter[str] = field(default_factory=Counter)
    """Videos by 'height x width'."""
    rates: Counter[str] = field(default_factory=Counter)
    """Videos by frames per second; '' where the files do not say."""
    labelled: int = 0
    """Frames with a label."""
    anomalous: int = 0
    sources: list[str] = field(default_factory=list)
    """Where the labels come from."""
    published: Totals | None = None


@dataclass(kw_only=True)
class Checked:
    """The outcome. It is bad if there is any problem; warnings are worth reading."""

    title: str
    """The published dataset that it was compared with; empty where there is none."""
    splits: list[SplitTable] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome as plain JSON."""
        return {
            "ok": not self.problems,
            "published": self.title or None,
            "splits": [_row(table) for table in self.splits],
            "problems": self.problems,
            "warnings": self.warnings,
        }


def _row(table: SplitTable) -> dict[str, Any]:
    totals = table.published
    return {
        "split": table.split,
        "videos": table.videos,
        "frames": table.frames,
        "frames_are_counted": table.exact,
        "sizes": dict(table.sizes),
        "frames_per_second": dict(table.rates),
        "labelled_frames": table.labelled,
        "anomalous_frames": table.anomalous if table.labelled else None,
        "anomalous_share": table.anomalous / table.labelled if table.labelled else None,
        "label_sources": table.sources,
        "published": totals and {"videos": totals.videos, "frames": totals.frames, "anomalous": dict(totals.anomalous)},
    }
