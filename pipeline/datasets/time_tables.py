"""Tables of stretches of time: ``video,start,end``, in frames or in seconds.

::

    video,start,end              numbers are frames as recorded, from 0; 12.5s and 0:01:12.5 are seconds
    gate/morning,120,180         from frame 120 to 179: the end is not included
    gate/morning,1:02:00,        an empty end is that of the recording (of left-out stretches only)

With the header ``video,start_seconds,end_seconds`` plain numbers are seconds. Cells may be separated by semicolons or tabs.
Columns behind these three must have names, and are not read; but if one of labels (``label``, ``class``, ``anomaly`` ...)
says that nothing happened, the line is refused.
"""

import csv
import difflib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.contract import DataError, Moment
from pipeline.datasets.remote import fetch

_HEADERS: dict[tuple[str, ...], str] = {
    ("video", "start", "end"): "frames",
    ("video", "start_seconds", "end_seconds"): "seconds",
}
_LABELS = frozenset(
    {"label", "labels", "class", "anomaly", "anomalous", "abnormal", "is_anomaly", "is_anomalous", "is_abnormal"}
)
_NO_ANOMALY = frozenset({"0", "normal", "false", "no"})
_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d{1,2}(?:\.\d*)?)", re.ASCII)
_SECONDS = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*s", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d*)?|\.\d+", re.ASCII)


class Stretch(NamedTuple):
    """A stretch of a recording."""

    start: Moment
    end: Moment | None
    """Not included; None: that of the recording."""
    where: str
    """File and line that say so, for messages."""


def read_table(
    path: Path, known: Mapping[str, str], *, what: str = "a video", open_end: bool = False
) -> dict[str, list[Stretch]]:
    """Return the stretches of each video.

    ``known`` maps what a video may be called in the table to its name in the result; ``what`` they are is said where another
    one is found. With ``open_end`` the last cell may be empty.

    Raises
    ------
    DataError
        The header or a line is of another form, or names a video that is not in ``known``; file and line are named.
    """
    found: dict[str, list[Stretch]] = {}
    try:
        with fetch(path).open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            separator = next((letter for letter in first if letter in ",;\t"), ",")  # the one behind "video"
            columns = _columns(next(csv.reader([first], delimiter=separator), []), path)
            lines = csv.reader(file, delimiter=separator)
            for cells in filter(any, lines):
                where = f"{path}, line {lines.line_num + 1}"
                name, stretch = _parse_row(_cells(cells, columns, where), where, _HEADERS[columns[:3]], open_end=open_end)
                found.setdefault(_known(name, known, where, what), []).append(stretch)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: expected a CSV file in UTF-8, found: {error}") from error
    return found


def _columns(header: Sequence[str], path: Path) -> tuple[str, ...]:
    """Return the names of the columns, in lower case."""
    columns = tuple(name.strip().lower() for name in header)
    if columns[:3] not in _HEADERS:
        raise DataError(
            f"{path}: expected the header video,start,end (frames) or video,start_seconds,end_seconds, found "
            f"{','.join(header).strip()!r}"
        )
    return columns


def _cells(row: Sequence[str], columns: Sequence[str], where: str) -> list[str]:
    """Return the first three cells of a row; those in further columns of labels may say all but that nothing happened."""
    cells = [cell.strip() for cell in row]
    unnamed = [cell for i, cell in enumerate(cells) if i >= len(columns) or not columns[i]]
    if len(cells) < 3 or any(unnamed):
        raise DataError(f"{where}: expected video,start,end with two times, found {','.join(row)!r}")
    for column, cell in zip(columns[3:], cells[3:], strict=False):
        if column in _LABELS and cell.lower() in _NO_ANOMALY:
            raise DataError(f"{where}: expected nothing but stretches that count, found {column} {cell!r}; remove the line")
    return cells[:3]


def _parse_row(cells: Sequence[str], where: str, unit: str, *, open_end: bool) -> tuple[str, Stretch]:
    name, start_cell, end_cell = cells
    seconds = unit == "seconds"
    start = parse_moment(start_cell, where, seconds=seconds)
    end = None if open_end and not end_cell else parse_moment(end_cell, where, seconds=seconds)
    if end is not None and end.unit != start.unit:
        raise DataError(f"{where}: expected start and end both in frames or in seconds, found {start_cell} and {end_cell}")
    if end is not None and not start.value < end.value:
        raise DataError(f"{where}: expected 0 <= start < end (end is exclusive), found {start_cell} and {end_cell}")
    return name, Stretch(start, end, where)


def parse_moment(cell: str, where: str, *, seconds: bool = False) -> Moment:
    """Return what a cell says: frames, or seconds as ``12.5s``, ``1:12.5`` or ``0:01:12.5``.

    Raises
    ------
    DataError
        It is of another form, or a number of frames is not whole.
    """
    if clock := _CLOCK.fullmatch(cell):
        hours, minutes, rest = clock.groups(default="0")
        return Moment(value=3600 * int(hours) + 60 * int(minutes) + float(rest), unit="seconds")
    if match := _SECONDS.fullmatch(cell):
        return Moment(value=float(match[1]), unit="seconds")
    if not _NUMBER.fullmatch(cell) or not math.isfinite(value := float(cell)):
        raise DataError(
            f"{where}: expected video,start,end with whole numbers of frames, or seconds such as 12.5s or 0:01:12.5, "
            f"found {cell!r}"
        )
    if seconds:
        return Moment(value=value, unit="seconds")
    if not cell.isdecimal():
        raise DataError(f"{where}: expected a whole number of frames, found {cell}; write {cell}s if seconds are meant")
    return Moment(value=value)


def _known(name: str, known: Mapping[str, str], where: str, what: str) -> str:
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "give its path below train/ or test/, with or without the suffix"
        raise DataError(f"{where}: expected {what}, found {name!r}; {hint}")
    return known[name]
