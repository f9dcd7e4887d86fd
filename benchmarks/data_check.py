"""How long ``stpa data check`` takes on a tree of the size of ShanghaiTech, start-up included.

    python benchmarks/data_check.py [--videos 437] [--frames 315000] [--workers 1 2 4]

Frames are hard links to 64 small JPEG files (32 x 48 pixels), in an order that differs from video to video: what is measured
is the work per file (listing, numbering, opening it, reading its header and its end) with everything in memory, not a disk.
Of larger frames no more is read, but for the three per video that are decoded.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

TRAIN_SHARE = 330 / 437
VARIANTS = 64
ROOT = Path(__file__).parents[1]


def make_tree(root: Path, videos: int, frames: int) -> None:
    """Write ``{training,testing}/frames`` with labels, in the layout ``frames``."""
    seeds = root / "variants"
    seeds.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(VARIANTS):
        noise = rng.integers(0, 256, (32, 48, 3)).astype(np.uint8)
        (seeds / f"{number}.jpg").write_bytes(cv2.imencode(".jpg", noise)[1].tobytes())
    lengths = np.full(videos, frames // videos)
    lengths[: frames % videos] += 1
    tests = 0
    for video, length in enumerate(lengths.tolist()):
        train = video < TRAIN_SHARE * videos
        folder = root / "campus" / ("training" if train else "testing") / "frames" / f"{video:03d}"
        folder.mkdir(parents=True)
        for frame, variant in enumerate(rng.integers(0, VARIANTS, length).tolist()):
            os.link(seeds / f"{variant}.jpg", folder / f"{frame:04d}.jpg")
        tests += 0 if train else length
    np.save(root / "campus" / "frame_labels_campus.npy", rng.integers(0, 2, tests))


def measure(root: Path, *arguments: str) -> float:
    """Run the command and return its seconds; it must find nothing wrong."""
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from stpa import main; main()"
    settings = ("--set", "dataset.kind=frames", "--set", f"dataset.root={root / 'campus'}")
    start = time.perf_counter()
    result = subprocess.run([sys.executable, "-c", program, "data", "check", *settings, *arguments], check=False)
    assert result.returncode == 0, result.returncode
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=437)
    parser.add_argument("--frames", type=int, default=315_000)
    parser.add_argument("--workers", type=int, nargs="*", default=[], help="threads to try; one per core if not given")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        start = time.perf_counter()
        make_tree(root, arguments.videos, arguments.frames)
        made = time.perf_counter() - start
        print(f"{arguments.videos} videos, {arguments.frames:,} files made in {made:.0f} s", flush=True)
        for workers in arguments.workers or [0]:
            chosen = ("--workers", str(workers)) if workers else ()
            seconds = [measure(root, *chosen) for _ in range(2)]
            print(f"stpa data check {' '.join(chosen)}: {seconds[0]:.1f} s, again {seconds[1]:.1f} s", flush=True)


if __name__ == "__main__":
    main()
