"""Peak memory of every stage, for short videos and for videos ten times as long: flat is at most 10 % more.

    python -m benchmarks.memory [--stages frames flows ...] [--frames 1100] [--heavy-frames 160] [--times 10] [--size 64 96]

Makes two datasets of a training and a test video each, those of the second ten times as long, and runs ``stpa STAGE`` on
either in a process of its own, one worker. The peak is the highest resident memory of that process (VmHWM). What a stage
needs upstream is made before and not measured.

Small frames, so that it takes minutes. 1100 frames are more than any stage says to hold at once (masks: blocks of 1024). For
inpaint (one step of the LDM) and features videos are shorter (``--heavy-frames``); train and eval have long ones, inpainted
by OpenCV, with features of noise from a file. Train reads its clips from the cache (``train.data = stream``): in memory, the
default where it fits, it holds all videos.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import machine
from pipeline.config import SyntheticSettings
from pipeline.synthetic import render_video

STAGES = ("frames", "flows", "masks", "inpaint", "features", "train", "eval")
HEAVY = ("inpaint", "features")
FLAT = 1.10
RENDERED = 96  # frames; longer videos show them forwards and backwards
CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
import stpa
try:
    stpa.main(sys.argv[2:])
finally:
    print(*(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def write_videos(folder: Path, frames: int, size: tuple[int, int]) -> None:
    """Render a street and write it as a training and a test video; and features of noise."""
    settings = SyntheticSettings(train_videos=1, test_videos=1, frames=RENDERED, height=size[0], width=size[1])
    with h5py.File(folder / "noise.h5", "w") as file:
        for split in ("train", "test"):
            path = folder / "data" / split / "0.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, render_video(settings, split, 0).frames_THWC, frames)
            feature_TD = np.random.default_rng(0).normal(size=(frames, 8)).astype(np.float16)
            file[f"features-normal/{split}-0/normal"] = feature_TD
            file[f"features/{split}-0/spatial_pa"] = feature_TD


def _write(path: Path, frames_THWC: NDArray[Any], count: int) -> None:
    order = [*range(RENDERED), *range(RENDERED - 2, 0, -1)]
    height, width = frames_THWC.shape[1:3]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (width, height))
    for i in range(count):
        writer.write(cv2.cvtColor(frames_THWC[order[i % len(order)]], cv2.COLOR_RGB2BGR))
    writer.release()


def settings(folder: Path, size: tuple[int, int], *, quick: bool) -> list[str]:
    """Return overrides: small networks and few steps, as memory does not depend on how often something is done."""
    height, width = size
    values = [f"frames.height={height}", f"frames.width={width}", "run.workers=1", "train.data=stream", "train.epochs=0.02"]
    values += [f"dataset.root='{folder}/data'", f"run.cache='{folder}/cache'", "train.width=0.25", "train.reduce=2"]
    values += ["inpaint.model=opencv-telea", f"features.file='{folder}/noise.h5'"] if quick else ["inpaint.steps=1"]
    return [word for value in values for word in ("--set", value)]


def run(folder: Path, stage: str, overrides: list[str]) -> float:
    """Run a stage's command in a process of its own, with what it needs upstream; return its peak in MiB."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHILD, str(Path(__file__).parents[1]), stage, *overrides]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"stpa {stage}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return int(done.stdout.split()[-1]) / 1024


class Project:
    """Videos of one length, and what was measured of the stages."""

    def __init__(self, folder: Path, frames: int, size: tuple[int, int], *, quick: bool) -> None:
        folder.mkdir()
        self._folder, self._settings = folder, settings(folder, size, quick=quick)
        self._peaks: dict[str, float] = {}
        write_videos(folder, frames, size)

    def peak(self, stage: str) -> float:
        """Return the peak of a stage in MiB; every stage before it is made first, each by its own command."""
        for before in STAGES[: STAGES.index(stage) + 1]:
            if before not in self._peaks:
                self._peaks[before] = run(self._folder, before, self._settings)
        return self._peaks[stage]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    parser.add_argument("--frames", type=int, default=1100)
    parser.add_argument("--heavy-frames", type=int, default=160)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--size", type=int, nargs=2, default=(64, 96), metavar=("HEIGHT", "WIDTH"))
    arguments = parser.parse_args()
    size = tuple(arguments.size)
    print(f"{machine()}\n\n{size[0]} x {size[1]}\n")
    print(f"| stage | frames per video | peak, MiB | peak, {arguments.times} times as long, MiB | more | flat |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        lengths = {True: arguments.frames, False: arguments.heavy_frames}
        pairs: dict[bool, tuple[Project, Project]] = {}
        for stage in arguments.stages:
            quick = stage not in HEAVY
            if quick not in pairs:
                both = [(lengths[quick] * times, Path(place, f"{quick}-{times}")) for times in (1, arguments.times)]
                short, long = (Project(folder, frames, size, quick=quick) for frames, folder in both)
                pairs[quick] = short, long
            before, after = (project.peak(stage) for project in pairs[quick])
            more = f"{100 * (after / before - 1):+.0f} %"
            flat = "yes" if after <= FLAT * before else "**no**"
            print(f"| {stage} | {lengths[quick]} | {before:.0f} | {after:.0f} | {more} | {flat} |", flush=True)


if __name__ == "__main__":
    main()
