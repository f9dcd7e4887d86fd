"""How fast `stpa frames` decodes, against the bare OpenCV loop in as many processes.

    python benchmarks/decoding.py [--frames 3072] [--processes 1 2] [--kinds mp4 avi jpg] [--size 360 640] [--packed]

Each process gets one video of --frames frames, rendered here. The bare loops are what anyone would write: `capture.read()`
(or `cv2.imread`) alone, and with `cv2.resize` to the model's 256 x 256 pixels and BGR to RGB behind it; they keep nothing. A
third one also writes what it made, 128 frames at a time and flushed to disk: what storing costs whoever does it.
The stage decodes, resizes, checksums, writes, flushes to disk and receipts; with --packed it compresses as well. Bare loops
are timed inside their processes, the stage from its first receipt to its last: neither counts how long a process takes to
start. The four take turns; told are medians of their rates, and of what the stage reaches of the loops of the same turn.
Compare on a quiet machine: OpenCV's threads make bare loops of one process use several cores, and the stage has two threads.
"""

import argparse
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
SIDE = 256
SHARD_FRAMES = 128  # the default of run.shard_frames
CODECS = {"mp4": "mp4v", "avi": "MJPG"}
PROGRAM = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from stpa import main; main()"


def make_video(place: Path, kind: str, frames: int, size: tuple[int, int], seed: int) -> Path:
    """Render a textured ground with things that move over it, as a file or as a folder of JPEG images."""
    rng = np.random.default_rng(seed)
    height, width = size
    ground = cv2.GaussianBlur(rng.integers(0, 256, (height, width, 3)).astype(np.uint8), (0, 0), 2)
    thing = rng.integers(0, 256, (height // 5, width // 16, 3)).astype(np.uint8)
    path = place / f"{seed}.{kind}" if kind in CODECS else place / str(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind in CODECS:
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*CODECS[kind]), 25, (width, height))
    else:
        path.mkdir()
    for frame in range(frames):
        picture = ground.copy()
        for number in range(4):
            x, y = (frame * (number + 1) * 2) % (width - thing.shape[1]), number * (height // 5)
            picture[y : y + thing.shape[0], x : x + thing.shape[1]] = thing
        if kind in CODECS:
            writer.write(picture)
        else:
            (path / f"{frame:05d}.jpg").write_bytes(cv2.imencode(".jpg", picture)[1].tobytes())
    if kind in CODECS:
        writer.release()
    return path


LOOPS = ("read", "and resize", "and write")


def bare(path: str, loop: str, out: str, begin: float) -> tuple[float, float, int]:
    """Decode a video once all processes are there; (start, end, frames)."""
    time.sleep(max(0.0, begin - time.time()))
    started = time.time()
    made: list[NDArray[np.uint8]] = []
    for frames, picture in enumerate(_pictures(path), start=1):
        if loop == "read":
            continue
        made.append(np.asarray(cv2.cvtColor(resize(picture), cv2.COLOR_BGR2RGB), np.uint8))
        if loop == "and resize":
            made.clear()
        elif len(made) == SHARD_FRAMES:
            _write(Path(f"{out}-{frames}"), made)
            made.clear()
    return started, time.time(), frames


def resize(picture: "cv2.typing.MatLike") -> "cv2.typing.MatLike":
    """Bring a picture to the size of the model."""
    return cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def _pictures(path: str) -> Iterator["cv2.typing.MatLike"]:
    if Path(path).is_dir():
        for file in sorted(Path(path).iterdir()):
            picture = cv2.imread(str(file))
            assert picture is not None
            yield picture
        return
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG)
    while True:
        ok, picture = capture.read()
        if not ok:
            return
        yield picture


def _write(path: Path, frames: Sequence[NDArray[np.uint8]]) -> None:
    with path.open("wb", buffering=0) as file:
        os.writev(file.fileno(), [frame.data for frame in frames])
        os.fsync(file.fileno())


def bare_rate(paths: Sequence[Path], loop: str) -> float:
    """Return frames per second of one bare loop per path, all at once."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(dir=paths[0].parents[1]) as out, context.Pool(len(paths)) as pool:
        begin = time.time() + 3  # by then every process has imported OpenCV
        runs = pool.starmap(bare, [(str(path), loop, f"{out}/{path.stem}", begin) for path in paths])
    return sum(run[2] for run in runs) / (max(run[1] for run in runs) - min(run[0] for run in runs))


def stage_rate(root: Path, processes: int, packed: bool) -> float:
    """Return frames per second of `stpa frames` over a folder of recordings, which it has taken stock of before."""
    shutil.rmtree(root / "cache" / "b", ignore_errors=True)
    settings = [f"dataset.root={root}", "dataset.name=b", f"run.cache={root / 'cache'}", f"run.workers={processes}"]
    settings.append(f"run.compress={str(packed).lower()}")
    words = [word for setting in settings for word in ("--set", setting)]
    for command in ("status", "frames"):
        subprocess.run([sys.executable, "-c", PROGRAM, command, *words], check=True, capture_output=True)
    written = sorted(path.stat().st_mtime for path in root.glob("cache/b/frames-*/receipts/*.json"))
    assert len(written) > 2 * processes, "expected several shards per process; raise --frames"
    return (len(written) - processes) * SHARD_FRAMES / (written[-1] - written[processes - 1])


def row(kind: str, processes: int, given: argparse.Namespace) -> str:
    """Measure one line of the table."""
    turns = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        paths = [make_video(root / "train", kind, given.frames, tuple(given.size), seed) for seed in range(processes)]
        for _ in range(given.repeats):
            loops = [bare_rate(paths, loop) for loop in LOOPS]
            turns.append((*loops, stage_rate(root, processes, given.packed)))
    rates = "".join(f"{statistics.median(rate):12.0f}" for rate in zip(*turns, strict=True))
    shares = "".join(f"{statistics.median(turn[-1] / turn[i] for turn in turns):14.2f}" for i in range(len(LOOPS)))
    return f"{kind:8}{processes:10}{rates}{shares}"


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=24 * SHARD_FRAMES, help="per process, whole shards")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--kinds", nargs="+", choices=["mp4", "avi", "jpg"], default=["mp4", "avi", "jpg"])
    parser.add_argument("--size", type=int, nargs=2, default=[360, 640], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--packed", action="store_true", help="with run.compress")
    given = parser.parse_args()
    columns = "".join(f"{name:>12}" for name in (*LOOPS, "stpa frames"))
    print(f"{'source':8}{'processes':>10}{columns}" + "".join(f"{'of ' + name.removeprefix('and '):>14}" for name in LOOPS))
    for kind in given.kinds:
        for processes in given.processes:
            print(row(kind, processes, given), flush=True)


if __name__ == "__main__":
    main()
