"""One video's score over time, as a strip of the picture."""

from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from scoring.metrics import auc
from scoring.protocols import Protocol
from scoring.scores import FUSED, ProtocolScores, Scores
from scoring.summary import VideoResult

INK, MUTED, GRID = "#1b2733", "#6b7785", "#e3e7eb"
TRUTH = "#f3b3a6"
LINES: Mapping[str, str] = MappingProxyType(
    {"spatial": "#2a7fb8", "temporal": "#e08a1e", "motion": "#b8483a", "semantic": "#4a9a55", "objects": "#a0559f"}
)


def shown_lines(scores: ProtocolScores, protocol: Protocol) -> Scores:
    """Return the line of each fused indicator: its share of the fused score, or, where min-max hides that, its own score."""
    return {name: scores.score[name] if protocol.per_video else scores.contribution[name] for name in scores.contribution}


def draw_timeline(axes: Axes, result: VideoResult, protocol: Protocol, top: float) -> None:
    """Draw the fused score, the indicators as thin lines, and the true anomalous stretches as shaded ground."""
    scores = result.protocols[protocol.name]
    frame_N, fused_N = scores.frame_index_N, scores.score[FUSED]
    if result.labels:
        for start, stop in stretches(result.labels.frame_T):
            axes.axvspan(start - 0.5, stop - 0.5, color=TRUTH, alpha=0.55, linewidth=0, zorder=0)
    for name, line_N in shown_lines(scores, protocol).items():
        axes.plot(frame_N, line_N, color=LINES.get(name, MUTED), linewidth=0.9, alpha=0.9, zorder=2)
    axes.fill_between(frame_N, fused_N, color=INK, alpha=0.07, linewidth=0, zorder=1)
    axes.plot(frame_N, fused_N, color=INK, linewidth=1.7, zorder=3)
    _style(axes, result, top)
    axes.text(1, 1.03, _caption(result, scores), transform=axes.transAxes, ha="right", va="bottom", fontsize=8, color=MUTED)


def mark_peak(axes: Axes, frame: int, value: float, number: int) -> None:
    """Put a numbered dot on the score; the same number stands beside the frame below."""
    axes.plot([frame], [value], "o", markersize=11, color="#c0392b", markeredgecolor="white", zorder=5, clip_on=False)
    text = axes.text(frame, value, str(number), ha="center", va="center_baseline", fontsize=7, color="white", zorder=6)
    text.set(weight="bold", clip_on=False)


def stretches(label_T: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return start and stop (exclusive) of every run of True."""
    edge_K = np.flatnonzero(np.diff(np.concatenate([[False], label_T, [False]]).astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in list(pairwise(edge_K))[::2]]


def _style(axes: Axes, result: VideoResult, top: float) -> None:
    axes.set_xlim(-0.5, result.record.num_frames - 0.5)
    axes.set_ylim(0, top)
    axes.set_title(shorten(result.record.id), loc="left", fontsize=9, color=INK, weight="bold", pad=3, parse_math=False)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.tick_params(labelsize=7.5, colors=MUTED, length=2, pad=2)
    axes.grid(axis="y", color=GRID, linewidth=0.7, zorder=0)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(MUTED)


def shorten(name: str, longest: int = 34) -> str:
    """Return a name that fits above a strip; of a long one both ends, which tell videos apart."""
    half = (longest - 1) // 2
    return name if len(name) <= longest else f"{name[:half]}…{name[-half:]}"


def _caption(result: VideoResult, scores: ProtocolScores) -> str:
    if result.labels is None:
        return "no labels"
    label_N = result.labels.frame_T[scores.frame_index_N]
    value = auc(label_N, scores.score[FUSED])
    if value is not None:
        return f"AUC {value:.3f}"
    return "all frames anomalous" if label_N.any() else "all frames normal"
