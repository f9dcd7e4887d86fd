"""What is on disk is whole, whenever writing ends."""

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from scoring.live.scorer import Scored
from scoring.live.writers import CsvWriter, JsonLinesWriter, WholeLines


def made(first: int, frames: int) -> Scored:
    """Return scores of frames, the last of which has a region."""
    return Scored(
        frame_N=np.arange(first, first + frames),
        time_N=np.full(frames, np.nan),
        scores={"spatial": np.linspace(-1, 1, frames) / 3, "fused": np.linspace(0, 1, frames) / 3},
        alarm_N=None,
        region_frame_R=np.array([first + frames - 1]),
        box_R4=np.array([[1.0, 2.0, 30.0, 40.0]]),
        region_score_R=np.array([2 / 3]),
        region_alarm_R=np.array([True]),
        source_R=["spatial"],
        maps={},
    )


@contextmanager
def small_disk() -> Iterator[None]:
    """Let no file grow beyond 1000 bytes, as a disk does that is full: the write that passes this is cut.

    No fixture: pytest writes to its own output, which may be a file, before a fixture ends.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_does_not_fit_leaves_the_lines_before_it(tmp_path: Path) -> None:
    lines = WholeLines(tmp_path / "a.csv")
    with small_disk():
        lines.write(b"x" * 399 + b"\n")
        lines.write(b"y" * 399 + b"\n")
        with pytest.raises(OSError, match="File too large"):
            lines.write(b"z" * 399 + b"\n")
        lines.close()
    assert (tmp_path / "a.csv").read_bytes() == b"x" * 399 + b"\n" + b"y" * 399 + b"\n"


def test_a_full_disk_leaves_whole_rows(tmp_path: Path) -> None:
    writer = CsvWriter(tmp_path, "a", ["spatial", "fused"])
    with small_disk():
        with suppress(OSError):
            for first in range(0, 1000, 20):
                writer.write(made(first, 20))
        writer.close()
    rows = (tmp_path / "a.csv").read_text().splitlines(keepends=True)
    assert rows[0] == "frame,time,spatial,fused,alarm\n"
    assert len(rows) % 20 == 1
    assert 20 < len(rows) < 100  # some pieces fitted, not all
    assert {(row.count(","), row[-1]) for row in rows} == {(4, "\n")}


def test_rows_are_on_disk_before_the_file_is_closed(tmp_path: Path) -> None:
    writers = [CsvWriter(tmp_path, "a", ["spatial", "fused"]), JsonLinesWriter(WholeLines(tmp_path / "a.jsonl"), "a")]
    for writer in writers:
        writer.write(made(5, 2))
    assert (tmp_path / "a.csv").read_text().splitlines()[1:] == ["5,,-0.333333,0,", "6,,0.333333,0.333333,"]
    assert (tmp_path / "regions" / "a.csv").read_text() == "6,1,2,30,40,0.666667\n"
    first, second = (json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines())
    assert (first["frame"], first["time"], first["alarm"], first["regions"]) == (5, None, None, [])
    assert second["scores"] == {"spatial": 0.333333, "fused": 0.333333}
    assert second["regions"] == [{"box": [1, 2, 30, 40], "score": 0.666667, "source": "spatial", "alarm": True}]
    for writer in writers:
        writer.close()
