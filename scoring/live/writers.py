"""Scores on disk while they are made: tables in CSV or Parquet, and JSON lines. What was written is whole, line by line.

OUT/<video>.csv           frame,time,<indicators>,fused,alarm
OUT/regions/<video>.csv   frame,x1,y1,x2,y2,score, without a head: as `stpa regions` and the reference program read them
OUT/<video>.jsonl         one object per frame with everything, regions among it

As Parquet, the tables are <video>.parquet and regions/<video>.parquet; they can be read once the run has ended.
"""

import json
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import ConfigError
from scoring.live.scorer import Scored

REGIONS = "regions"
ROWS_PER_GROUP = 4096
"""Of Parquet: each group of rows has a head of its own, so that pieces of a second would be mostly heads."""


class Writer(ABC):
    """Takes scores as they come."""

    @abstractmethod
    def write(self, scored: Scored) -> None:
        """Write the scores of some frames; OSError if the disk is full."""

    @abstractmethod
    def close(self) -> None:
        """Finish the files."""


class CsvWriter(Writer):
    """Two files of lines; each piece is handed to the system at once, so that an end at any time leaves whole lines."""

    def __init__(self, out: Path, name: str, scores: Sequence[str]) -> None:
        self._scores = WholeLines(out / f"{name}.csv")
        self._regions = WholeLines(out / REGIONS / f"{name}.csv")
        self._scores.write(f"frame,time,{','.join(scores)},alarm\n".encode())

    def write(self, scored: Scored) -> None:
        """See :meth:`Writer.write`."""
        rows = zip(*scored.scores.values(), strict=True)
        lines = [
            f"{scored.frame_N[i]},{_seconds(scored.time_N[i])},{','.join(f'{value:.6g}' for value in row)},"
            f"{'' if scored.alarm_N is None else int(scored.alarm_N[i])}\n"
            for i, row in enumerate(rows)
        ]
        self._scores.write("".join(lines).encode())
        boxes = zip(scored.region_frame_R, scored.box_R4, scored.region_score_R, strict=True)
        lines = [f"{frame},{','.join(f'{edge:.0f}' for edge in box_4)},{score:.6g}\n" for frame, box_4, score in boxes]
        self._regions.write("".join(lines).encode())

    def close(self) -> None:
        """See :meth:`Writer.close`."""
        self._scores.close()
        self._regions.close()


class JsonLinesWriter(Writer):
    """One JSON object per frame and line."""

    def __init__(self, lines: "WholeLines | StandardOutput", video: str) -> None:
        self._lines, self._video = lines, {"video": video}

    def write(self, scored: Scored) -> None:
        """See :meth:`Writer.write`."""
        lines = [json.dumps(self._video | row, allow_nan=False) + "\n" for row in frame_rows(scored)]
        self._lines.write("".join(lines).encode())

    def close(self) -> None:
        """See :meth:`Writer.close`."""
        self._lines.close()


def frame_rows(scored: Scored) -> list[dict[str, Any]]:
    """Return one object per frame, plain JSON; what is unknown is null."""
    rows: list[dict[str, Any]] = [
        {
            "frame": int(frame),
            "time": None if math.isnan(seconds) else round(float(seconds), 3),
            "scores": {name: _short(score_N[i]) for name, score_N in scored.scores.items()},
            "alarm": None if scored.alarm_N is None else bool(scored.alarm_N[i]),
            "regions": [],
        }
        for i, (frame, seconds) in enumerate(zip(scored.frame_N, scored.time_N, strict=True))
    ]
    for place, frame in enumerate(scored.region_frame_R):
        row = rows[int(np.searchsorted(scored.frame_N, frame))]
        row["regions"].append(
            {
                "box": [int(edge) for edge in scored.box_R4[place]],
                "score": _short(scored.region_score_R[place]),
                "source": scored.source_R[place],
                "alarm": bool(scored.region_alarm_R[place]),
            }
        )
    return rows


class ParquetWriter(Writer):
    """Two tables, written in groups of rows."""

    def __init__(self, out: Path, name: str, scores: Sequence[str]) -> None:
        import pyarrow as pa

        doubles = [(score, pa.float64()) for score in scores]
        edges = [(edge, pa.int32()) for edge in ("x1", "y1", "x2", "y2")]
        self._scores = _Table(
            out / f"{name}.parquet", [("frame", pa.int64()), ("time", pa.float64()), *doubles, ("alarm", pa.bool_())]
        )
        self._regions = _Table(
            out / REGIONS / f"{name}.parquet",
            [("frame", pa.int64()), *edges, ("score", pa.float64()), ("source", pa.string()), ("alarm", pa.bool_())],
        )

    def write(self, scored: Scored) -> None:
        """See :meth:`Writer.write`."""
        time = [None if math.isnan(seconds) else float(seconds) for seconds in scored.time_N]
        alarm = [None] * len(scored.frame_N) if scored.alarm_N is None else scored.alarm_N.tolist()
        scores = [score_N.tolist() for score_N in scored.scores.values()]
        self._scores.add([scored.frame_N.tolist(), time, *scores, alarm])
        edges = [edge_R.astype(int).tolist() for edge_R in scored.box_R4.T]
        judged = [scored.region_score_R.tolist(), scored.source_R, scored.region_alarm_R.tolist()]
        self._regions.add([scored.region_frame_R.tolist(), *edges, *judged])

    def close(self) -> None:
        """See :meth:`Writer.close`."""
        self._scores.close()
        self._regions.close()


class _Table:
    """A Parquet file and the rows that wait for their group to be full."""

    def __init__(self, path: Path, columns: list[tuple[str, Any]]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path.parent.mkdir(parents=True, exist_ok=True)
        self._schema = pa.schema(columns)
        self._writer = pq.ParquetWriter(path, self._schema)
        self._waiting: list[list[Any]] = [[] for _ in columns]

    def add(self, columns: list[list[Any]]) -> None:
        for waiting, column in zip(self._waiting, columns, strict=True):
            waiting.extend(column)
        if len(self._waiting[0]) >= ROWS_PER_GROUP:
            self._write()

    def _write(self) -> None:
        import pyarrow as pa

        arrays = [pa.array(waiting, field.type) for waiting, field in zip(self._waiting, self._schema, strict=True)]
        self._writer.write_table(pa.table(arrays, schema=self._schema))
        self._waiting = [[] for _ in self._waiting]

    def close(self) -> None:
        if self._waiting[0]:
            self._write()
        self._writer.close()


class WholeLines:
    """A file of which each write reaches the system at once, and either whole or not at all."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb", buffering=0)

    def write(self, data: bytes) -> None:
        """Append; if the disk is full, the file is as it was and OSError is raised."""
        start, left = self._file.tell(), memoryview(data)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError:
            with suppress(OSError):
                self._file.truncate(start)
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class StandardOutput:
    """Lines for a program that reads them as they come."""

    def write(self, data: bytes) -> None:
        """Hand lines over at once."""
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def close(self) -> None:
        """Leave it open: other videos may follow."""


def table_writer(kind: str) -> type[CsvWriter] | type[ParquetWriter]:
    """Return the writer of a table format, csv or parquet.

    Raises
    ------
    ConfigError
        Parquet needs pyarrow, which is not installed.
    """
    if kind == "csv":
        return CsvWriter
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise ConfigError("--format parquet needs pyarrow: pip install 'stpa[parquet]', or leave it at csv") from None
    return ParquetWriter


def _seconds(seconds: float) -> str:
    return "" if math.isnan(seconds) else f"{seconds:.3f}"


def _short(value: float) -> float:
    """Return six significant digits: more are noise between machines."""
    return float(f"{value:.6g}")
