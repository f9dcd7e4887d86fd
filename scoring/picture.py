"""The picture of an evaluation: score over time per video, and below what the model saw at the peaks."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image

from pipeline.contract import Array, Inputs
from pipeline.files import write_atomically
from scoring.protocols import Protocol
from scoring.scores import FUSED
from scoring.summary import Peak, VideoResult
from scoring.timeline import INK, LINES, MUTED, TRUTH, draw_timeline, mark_peak, shorten, shown_lines

MOST_VIDEOS, MOST_PEAKS, COLUMNS = 12, 6, 2
WIDTH, DPI = 12.0, 110  # inches, dots per inch
HEAD, STRIP, CAPTION, MARGIN = 0.85, 1.12, 0.42, 0.5  # inches
IN_ONE_ROW = 6  # entries of the legend; more would reach into the title
COLOURS = 256
"""Of the palette: keeps the file small enough for a README, at a loss nobody sees beside noise in the frames."""
TOP_PERCENTILE = 99.9  # of all shown scores: one wild frame must not flatten every other line
ShownPeak = tuple[VideoResult, Peak]


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A figure that is laid out in inches from its top left corner."""

    figure: Figure
    height: float

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Add axes."""
        bottom = self.height - top - height
        return self.figure.add_axes((left / WIDTH, bottom / self.height, width / WIDTH, height / self.height))

    def text(self, left: float, top: float, text: str, size: float, colour: str = INK, **style: str) -> None:
        """Write one line; its baseline lies at ``top``. No character in it is a command."""
        place = (left / WIDTH, 1 - top / self.height)
        self.figure.text(*place, text, fontsize=size, color=colour, parse_math=False, **style)  # type: ignore[arg-type]


def draw_picture(path: Path, results: Sequence[VideoResult], inputs: Inputs, protocol: Protocol, title: str) -> None:
    """Write a PNG of at most 12 videos, evenly spaced in the order of their ids, and of the highest peaks among them."""
    shown = [results[place] for place in evenly(len(results), MOST_VIDEOS)]
    peaks = highest_peaks(shown)
    channels = list(peaks[0][1].maps)
    columns = min(COLUMNS, len(shown))
    strips_height = STRIP * -(-len(shown) // columns)
    frames = [_read_frame(inputs, *peak) for peak in peaks]
    cell_width = (WIDTH - 2 * MARGIN) / MOST_PEAKS
    cell_height = cell_width * frames[0].shape[0] / frames[0].shape[1]
    height = HEAD + strips_height + 0.75 + CAPTION + (1 + len(channels)) * cell_height + 0.4
    sheet = Sheet(figure=Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="white"), height=height)
    _draw_head(sheet, shown, len(results), protocol, title)
    _draw_strips(sheet, shown, peaks, protocol, columns)
    _draw_peaks(sheet, peaks, frames, HEAD + strips_height + 0.75, (cell_width, cell_height))
    write_atomically(path, _png(sheet.figure))


def evenly(count: int, most: int) -> list[int]:
    """Return at most ``most`` places of ``count``, evenly spaced, first and last among them."""
    return sorted({int(place) for place in np.linspace(0, count - 1, min(count, most)).round()})


def highest_peaks(shown: Sequence[VideoResult]) -> list[ShownPeak]:
    """Return the peaks to be shown, the highest first; a second one of a video only where there are few videos."""
    ranked = [(rank, -peak.score, result, peak) for result in shown for rank, peak in enumerate(result.peaks)]
    chosen = sorted(ranked, key=lambda entry: entry[:2])[:MOST_PEAKS]
    return [(result, peak) for _, _, result, peak in sorted(chosen, key=lambda entry: entry[1])]


def _read_frame(inputs: Inputs, result: VideoResult, peak: Peak) -> NDArray[np.uint8]:
    place = peak.frame_index
    frame_HWC: Array = inputs.read("frames", "frames", result.record, place, place + 1)[0]
    return np.ascontiguousarray(np.broadcast_to(frame_HWC, (*frame_HWC.shape[:2], 3)), np.uint8)


def _draw_head(sheet: Sheet, shown: Sequence[VideoResult], total: int, protocol: Protocol, title: str) -> None:
    sheet.text(MARGIN, 0.36, f"{shorten(title, 20)}: how abnormal is each frame?", 15, weight="bold")
    which = "" if len(shown) == total else f"; {len(shown)} of {total} test videos, evenly spaced in order of their names"
    unit = "0..1 within each video" if protocol.per_video else "-log10 of the chance in normal video"
    sheet.text(MARGIN, 0.6, f"protocol {protocol.name}; score: {unit}{which}", 9, MUTED)
    lines = shown[0].protocols[protocol.name].contribution
    handles: list[Line2D | Patch] = [Line2D([], [], color=INK, linewidth=1.8, label="fused score")]
    handles += [Line2D([], [], color=LINES.get(name, MUTED), linewidth=1.2, label=name) for name in lines]
    handles.append(Patch(color=TRUTH, alpha=0.55, label="truly anomalous"))
    corner = (1 - MARGIN / WIDTH, 1 - 0.12 / sheet.height)
    columns = len(handles) if len(handles) <= IN_ONE_ROW else -(-len(handles) // 2)
    sheet.figure.legend(
        handles=handles, loc="upper right", bbox_to_anchor=corner, ncols=columns, frameon=False, fontsize=8.5,
        borderpad=0, borderaxespad=0, handlelength=1.6, columnspacing=1.4,
    )


def _draw_strips(
    sheet: Sheet, shown: Sequence[VideoResult], peaks: Sequence[ShownPeak], protocol: Protocol, columns: int
) -> None:
    drawn = [result.protocols[protocol.name] for result in shown]
    values = np.concatenate([np.max([s.score[FUSED], *shown_lines(s, protocol).values()], axis=0) for s in drawn])
    top = max(float(np.percentile(values, TOP_PERCENTILE)) * 1.08, 1e-3)
    gap = 0.45
    width = (WIDTH - 2 * MARGIN - gap * (columns - 1)) / columns
    rows = -(-len(shown) // columns)
    for place, result in enumerate(shown):
        column, row = divmod(place, rows)
        axes = sheet.axes(MARGIN + column * (width + gap), HEAD + row * STRIP + 0.24, width, STRIP - 0.5)
        draw_timeline(axes, result, protocol, top)
        for number, (owner, peak) in enumerate(peaks, start=1):
            if owner is result:
                mark_peak(axes, peak.frame_index, min(peak.score, top), number)


def _draw_peaks(
    sheet: Sheet, peaks: Sequence[ShownPeak], frames: Sequence[Array], top: float, cell: tuple[float, float]
) -> None:
    sheet.text(MARGIN, top - 0.2, "The highest peaks", 12, weight="bold")
    explained = "below each frame: where errors, and the distance of objects from normal ones, exceed what training shows"
    sheet.text(MARGIN + 1.75, top - 0.2, explained, 9, MUTED)
    channels = list(peaks[0][1].maps)
    greatest = {name: max(float(peak.maps[name].max()) for _, peak in peaks) for name in channels}
    for place, ((result, peak), frame_HWC) in enumerate(zip(peaks, frames, strict=True)):
        left = MARGIN + place * cell[0]
        _caption_peak(sheet, result, peak.frame_index, place + 1, left, top)
        pictures = [frame_HWC, *(overlay(frame_HWC, peak.maps[name], greatest[name]) for name in channels)]
        for row, picture_HWC in enumerate(pictures):
            axes = sheet.axes(left, top + CAPTION + row * cell[1], cell[0] - 0.06, cell[1] - 0.06)
            axes.imshow(picture_HWC, interpolation="lanczos", aspect="auto")
            axes.set_axis_off()
            label = ("frame", *channels)[row]
            if place == 0:
                x = MARGIN - 0.1
                y = top + CAPTION + (row + 0.5) * cell[1]
                sheet.text(x, y, label, 8.5, MUTED, rotation="vertical", ha="right", va="center")


def _caption_peak(sheet: Sheet, result: VideoResult, frame: int, number: int, left: float, top: float) -> None:
    labels = result.labels
    sheet.text(left, top + 0.14, f"{number}  {shorten(result.record.id, 22)}", 8.5, weight="bold")
    if labels is None:
        verdict, colour = "no label", MUTED
    elif labels.frame_T[frame]:
        verdict, colour = "anomalous", "#c0392b"
    else:
        verdict, colour = "false alarm", "#2a7fb8"
    sheet.text(left, top + 0.31, f"frame {frame}, {verdict}", 8.5, colour)


def overlay(frame_HWC: Array, map_hw: NDArray[np.float16], greatest: float) -> NDArray[np.uint8]:
    """Return the frame in grey with the error map over it, (H, W, 3) uint8: clear up to 1, full colour at ``greatest``.

    On a log scale, as the indicators are; 1 is what training shows at a place in its busy moments.
    """
    height, width = frame_HWC.shape[:2]
    ratio_HW = cv2.resize(map_hw.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    strength_HW = np.clip(np.log(np.maximum(ratio_HW, 1.0)) / np.log(max(greatest, 1.5)), 0.0, 1.0)
    heat_HWC = cv2.applyColorMap((strength_HW * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    grey_HW1 = frame_HWC.astype(np.float32).mean(axis=2, keepdims=True) * 0.8
    alpha_HW1 = np.minimum(1.5 * strength_HW, 0.8)[..., None]
    mixed_HWC = grey_HW1 * (1 - alpha_HW1) + heat_HWC * alpha_HW1
    return np.asarray(mixed_HWC.round(), np.uint8)


def _png(figure: Figure) -> bytes:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])  # type: ignore[no-untyped-call]
    file = io.BytesIO()
    # median cut gives all colours to the frames and none to thin lines; maximum coverage keeps the rare ones
    few = picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
    few.save(file, "png", optimize=True)
    return file.getvalue()
