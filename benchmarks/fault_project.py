"""The small project that ``benchmarks/faults.py`` disturbs, and what lies in it: arrays, receipts, what was begun."""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

SETTINGS = """
[dataset]
name = "faults"

[frames]
height = 64
width = 96

[run]
shard_frames = 16
"""
VIDEOS, FRAMES = 4, 96


def write_videos(folder: Path) -> None:
    """Write pictures of bright squares that move over noise; two videos per split."""
    for number in range(VIDEOS):
        target = folder / ("train" if number % 2 else "test") / f"{number}"
        target.mkdir(parents=True)
        background = np.random.default_rng(number).integers(0, 99, (96, 128, 3)).astype(np.uint8)
        for i in range(FRAMES):
            picture = background.copy()
            picture[20 + 10 * number :][:24, i : i + 16] = 220
            cv2.imwrite(str(target / f"{i:03d}.png"), picture)


@contextlib.contextmanager
def fresh(folder: Path, project: Path) -> Iterator[None]:
    """Give a round a project with videos and an empty cache, and take it away afterwards."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        Path(place, "data").symlink_to(folder / "data")
        Path(place, "s.toml").write_text(SETTINGS)
        project.symlink_to(place)
        yield
        project.unlink()


def begun(log: Path) -> list[tuple[str, str, int]]:
    """Return stage, video and number of every shard that was begun, in order."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [(stage, video, int(index)) for stage, video, index in (line.split("\t") for line in lines)]


def receipts(project: Path) -> set[tuple[str, str, int]]:
    """Return stage, video and number of every shard that has its receipt."""
    found = set()
    for path in project.glob("cache/faults/*/receipts/*.json"):
        video, _, number = path.name.removesuffix(".json").rpartition(".")
        found.add((path.parts[-3].rpartition("-")[0], video, int(number.partition("-")[0])))
    return found


def arrays(project: Path) -> dict[str, bytes]:
    """Return every file below data/ but what interrupted writes left."""
    paths = [path for path in project.glob("cache/faults/*/data/**/*") if path.is_file() and ".partial-" not in path.name]
    return {path.relative_to(project).as_posix(): path.read_bytes() for path in paths}


def untrue(project: Path, expected: dict[str, bytes]) -> int:
    """Return how many files are vouched for by a receipt and are not as expected."""
    count = 0
    for path in project.glob("cache/faults/*/receipts/*.json"):
        artifact = path.parents[1]
        files = [artifact / file for file in json.loads(path.read_text())["files"]]
        names = [file.relative_to(project).as_posix() for file in files]
        count += sum(
            not file.is_file() or file.read_bytes() != expected[name] for file, name in zip(files, names, strict=True)
        )
    return count
