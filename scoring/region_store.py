"""Regions on disk: a table beside the scores, and a file per video in the format of the reference program.

regions/<video>.csv             frame,x1,y1,x2,y2,score in pixels of the original video, no head
scores.zarr/regions/video       (R,) int32, place in the list of ids
                    frame       (R,) int32, 0-based
                    x1 y1 x2 y2 (R,) int32, pixels of the stored frames, 0-based, the last row and column included
                    score       (R,) float64, in the unit of the fused score
                    source      (R,) int8, place in the attribute ``sources``: which network shows most of it
    attributes: protocol, level, threshold, min_area, weights, sources, stored (height, width), original (of each video)
"""

from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from pipeline.artifacts.files import safe_name
from pipeline.contract import Array, VideoRecord
from scoring.measure import Measured
from scoring.protocols import Protocol
from scoring.region_metrics import Detections
from scoring.regions import RegionRule, Regions, in_original, stored_size
from scoring.store import NAME, read_table, write_table

FOLDER = "regions"
TABLE = "regions"
EDGES = ("x1", "y1", "x2", "y2")


class RegionWriter:
    """Finds the regions of one video after another, so that only boxes of a whole dataset are in memory."""

    def __init__(self, out: Path, rule: RegionRule, protocol: Protocol) -> None:
        self.protocol = protocol
        self.rule = rule
        self._out = out
        self._found: list[tuple[VideoRecord, list[Regions]]] = []
        self._size = (0, 0)

    def add(self, record: VideoRecord, measured: Measured) -> None:
        """Find the regions of a video, or of a piece of it that follows the one before."""
        if not self._found or self._found[-1][0] != record:
            self._found.append((record, []))
        self._found[-1][1].append(self.rule.find(measured.frame_index_N, measured.maps))
        self._size = stored_size(measured.maps)

    def end(self, record: VideoRecord) -> Detections:
        """Write the file of the video that was added last and return its regions in pixels of the video itself."""
        last, parts = self._found[-1]
        assert last == record
        detections = in_original(Regions.join(parts), record, self._size)
        write_detections(self._out, record.id, detections)
        return detections

    def finish(self) -> None:
        """Write the table of all regions into ``scores.zarr``, which holds the scores of the same videos."""
        group = zarr.open_group(self._out / NAME, mode="r+").create_group(TABLE)
        group.attrs.update(
            {
                "protocol": self.protocol.name,
                **self.rule.to_dict(),
                "sources": list(self.rule.weights),
                "stored": list(self._size),
                "original": [[record.height, record.width] for record, _ in self._found],
            }
        )
        counts = [sum(len(part.frame_R) for part in parts) for _, parts in self._found]
        joined = Regions.join(part for _, parts in self._found for part in parts)
        columns: dict[str, Array] = {
            "video": np.repeat(np.arange(len(self._found)), counts),
            "frame": joined.frame_R,
            **dict(zip(EDGES, joined.box_R4.T, strict=True)),
        }
        columns = {name: column_R.astype(np.int32) for name, column_R in columns.items()}
        columns |= {"score": joined.score_R, "source": joined.source_R.astype(np.int8)}
        write_table(group, columns, ("region",))


def read_regions(folder: Path) -> tuple[dict[str, dict[str, NDArray[Any]]], dict[str, Any]] | None:
    """Return video id -> column -> (R,) values of an evaluation, and the attributes; None where it has no regions."""
    store = zarr.open_group(folder / NAME, mode="r")
    if TABLE not in store:
        return None
    group = store[TABLE]
    assert isinstance(group, zarr.Group)
    columns = read_table(group)
    videos: Any = store.attrs["videos"]  # JSON: zarr cannot know that it is a list of ids
    regions = {
        video: {name: column_R[columns["video"] == place] for name, column_R in columns.items()}
        for place, video in enumerate(videos)
    }
    return regions, dict(group.attrs)


def write_detections(out: Path, video: str, detections: Detections) -> None:
    """Write one video's regions as ``regions/<video>.csv``: frame,x1,y1,x2,y2,score, no head, as the reference reads them.

    An id that is no file name is quoted as in a URL; a very long one is cut.
    """
    folder = out / FOLDER
    folder.mkdir(exist_ok=True)
    rows = zip(detections.frame_D, detections.box_D4, detections.score_D, strict=True)
    lines = [f"{frame},{','.join(f'{edge:.0f}' for edge in box_4)},{score:.6g}\n" for frame, box_4, score in rows]
    (folder / f"{file_name(video)}.csv").write_text("".join(lines), encoding="ascii")


def file_name(video: str) -> str:
    """Return the name of a video's file, without its suffix; never one that is hidden or leads out of its folder."""
    name = safe_name("", video).removeprefix("-")
    return f"%2E{name[1:]}" if name.startswith(".") else name
