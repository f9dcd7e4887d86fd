"""Contact sheets: frames from all over a dataset, and beside each what a stage made of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.workspace import Workspace
from pipeline.contract import ShardStage, VideoRecord
from pipeline.execution.inputs import StoredInputs
from pipeline.models.flow_colours import flow_colours

Picture = NDArray[np.uint8]
GAP, LINE = 8, 20  # pixels between pictures, and for a line of text
READABLE = 200  # pixels of height to which small pictures are enlarged
LEAST = 0.05  # pixels per frame: noise of a video at rest is not shown as if it were motion


@dataclass(frozen=True, kw_only=True)
class Row:
    """What belongs to one frame: pictures (H, W, 3) uint8 RGB of one size, under a line of text."""

    caption: str
    pictures: Sequence[Picture]


def preview_flows(workspace: Workspace, records: Sequence[VideoRecord], count: int) -> str:
    """Draw frame, flow in colours and its magnitude, for ``count`` frames spread over the videos; return the file.

    Raises
    ------
    MissingShardError
        Flow or frames of a video are not complete.
    """
    inputs = StoredInputs(workspace)
    places = spread(workspace, "flows", records, count)
    flows = [inputs.read("flows", "flow", record, i, i + 1)[0].astype(np.float32) for record, i in places]
    full = full_scale(flows)
    rows = []
    for (record, i), flow_2HW in zip(places, flows, strict=True):
        frame_HWC = as_rgb(inputs.read("frames", "frames", record, i, i + 1)[0])
        pictures = [frame_HWC, flow_colours(flow_2HW, full), magnitude_heat(flow_2HW, full)]
        mean = np.hypot(*flow_2HW).mean()
        rows.append(Row(caption=f"{record.split}: {record.id}, frame {i} to {i + 1}: mean {mean:.2f} px", pictures=pictures))
    titles = ("frame", f"flow, full colour from {full:.1f} px/frame", "magnitude")
    return save_sheet(workspace, "flows", sheet(titles, rows))


def spread(workspace: Workspace, name: str, records: Sequence[VideoRecord], count: int) -> list[tuple[VideoRecord, int]]:
    """Return ``count`` elements of a stage, or all if there are fewer, at even distances over these videos."""
    stage = workspace.stages[name]
    if not isinstance(stage, ShardStage):
        raise TypeError(f"{name}: expected a stage that writes arrays, found {type(stage).__name__}")
    ends = np.cumsum([stage.length(record) for record in records])
    count = min(count, int(ends[-1]))
    found = []
    for place in ((2 * np.arange(count) + 1) * ends[-1] // (2 * count)).tolist():
        number = int(np.searchsorted(ends, place, side="right"))
        found.append((records[number], place - (int(ends[number - 1]) if number else 0)))
    return found


def full_scale(flows: Sequence[NDArray[np.floating]]) -> float:
    """Return the speed, pixels per frame, that full colour stands for: one in a hundred pixels is faster."""
    return max(LEAST, float(np.percentile([np.hypot(*flow_2HW) for flow_2HW in flows], 99)))


def as_rgb(image_HWC: Picture) -> Picture:
    """Return a grey (H, W, 1) or RGB picture with three channels."""
    return np.repeat(image_HWC, 3 // image_HWC.shape[-1], axis=-1)


def magnitude_heat(flow_2HW: NDArray[np.floating], full: float) -> Picture:
    """Return the length of the vectors as heat, (H, W, 3) uint8 RGB: black stands still, pale yellow is ``full`` or more."""
    share_HW = np.clip(np.hypot(*flow_2HW.astype(np.float32)) / full, 0, 1)
    return np.asarray(cv2.applyColorMap((255 * share_HW).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1], np.uint8)


def sheet(titles: Sequence[str], rows: Sequence[Row]) -> Picture:
    """Return one picture (H, W, 3) uint8 RGB: titles above the columns, a caption above each row."""
    height, width = rows[0].pictures[0].shape[:2]
    factor = max(1, round(READABLE / height))
    height, width = factor * height, factor * width
    across = GAP + len(titles) * (width + GAP)
    page_HWC = np.full((LINE + GAP + len(rows) * (LINE + height + GAP), across, 3), 255, np.uint8)
    for column, title in enumerate(titles):
        _write(page_HWC, title, GAP + column * (width + GAP), GAP)
    for number, row in enumerate(rows):
        top = LINE + GAP + number * (LINE + height + GAP)
        _write(page_HWC, row.caption, GAP, top)
        for column, picture_HWC in enumerate(row.pictures):
            left = GAP + column * (width + GAP)
            large_HWC = cv2.resize(picture_HWC, (width, height), interpolation=cv2.INTER_NEAREST)
            page_HWC[top + LINE : top + LINE + height, left : left + width] = large_HWC
    return page_HWC


def save_sheet(workspace: Workspace, name: str, page_HWC: Picture) -> str:
    """Write a sheet as PNG beside the artifact that it shows; return the file."""
    file = f"{name}-{workspace.key(name)}.png"
    workspace.place.write(file, cv2.imencode(".png", page_HWC[..., ::-1])[1].tobytes())
    return str(workspace.place / file)


def _write(page_HWC: Picture, text: str, left: int, top: int) -> None:
    cv2.putText(page_HWC, text, (left, top + LINE - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
