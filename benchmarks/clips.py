"""Random clips of 16 frames: from the store, preloaded, by np.memmap, and from the JPEG files that repositories keep.

    python -m benchmarks.clips [--native 480 856] [--size 256 256] [--colour grey] [--videos 4] [--frames 160] [--clips 400]

Renders videos as folders of JPEG files (quality 90) of the native size, makes them into a store by the frames stage, and
reads the same random clips by each way in turn, ten at a time, so that whatever else the machine does meets all ways alike.
All is in the page cache: what is measured is decoding and copying, not the disk. One thread.

* store: ``Inputs.read``, as every stage and a streamed training read; receipts and checksums are checked
* preloaded: a clip of the training data as ``stpa train`` holds them in memory, copied
* memmap: a clip of one raw file by ``np.memmap``, copied
* native JPEG: ``cv2.imread`` of 16 files and ``cv2.resize`` to the size of the model, as training loops do without a store
* small JPEG: the same of files that were resized beforehand
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.machine import machine
from pipeline.artifacts.plan import make_plan
from pipeline.config import CLIP_FRAMES, Config, SyntheticSettings, TrainSettings
from pipeline.contract import Inputs, VideoRecord
from pipeline.execution.inputs import StoredInputs
from pipeline.execution.runner import run_shards
from pipeline.session import open_session
from pipeline.stages.frames import FramesStage
from pipeline.synthetic import render_video
from trainer.sequences import read_in_pieces

AT_ONCE = 10
MEMMAP, NATIVE, SMALL = "np.memmap", "16 native JPEG files", "16 small JPEG files"
Way = Callable[[VideoRecord, int], NDArray[np.uint8]]


def write_pictures(folder: Path, arguments: argparse.Namespace) -> None:
    """Render a street into folders of JPEG files."""
    height, width = arguments.native
    settings = SyntheticSettings(train_videos=arguments.videos, frames=arguments.frames, height=height, width=width)
    for video in range(arguments.videos):
        target = folder / "train" / f"{video:02d}"
        target.mkdir(parents=True)
        for i, frame_HWC in enumerate(render_video(settings, "train", video).frames_THWC):
            code = cv2.COLOR_RGB2GRAY if arguments.colour == "grey" else cv2.COLOR_RGB2BGR
            write_jpeg(target / f"{i:04d}.jpg", cv2.cvtColor(frame_HWC, code))


def write_jpeg(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write at quality 90."""
    cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 90])


def make_store(folder: Path, arguments: argparse.Namespace) -> tuple[Inputs, Config]:
    """Make the frames stage of these videos."""
    height, width = arguments.size
    overrides = [f"dataset.root='{folder}/data'", f"run.cache='{folder}/cache'", f"frames.colour={arguments.colour}"]
    overrides += [f"frames.height={height}", f"frames.width={width}"]
    workspace = open_session(None, overrides, [FramesStage]).workspace
    plan = make_plan(workspace, "frames")
    run_shards(workspace, plan, plan.missing, lambda what, done, total: None)
    return StoredInputs(workspace), workspace.config


def open_ways(folder: Path, inputs: Inputs, arguments: argparse.Namespace) -> dict[str, Way]:
    """Return the ways to read a clip, given its video and first frame: each returns (16, H, W, C) uint8."""
    settings = TrainSettings(colour=arguments.colour)
    preloaded, maps, native, small = {}, {}, {}, {}
    for record in inputs.videos("train"):
        preloaded[record] = torch.cat(
            [piece for _, piece in read_in_pieces(inputs, record, "frames_NHWC", settings)]
        ).numpy()
        path = folder / f"{record.id}.raw"
        preloaded[record].tofile(path)
        maps[record] = np.memmap(path, np.uint8, mode="r", shape=preloaded[record].shape)
        native[record] = [str(path) for path in record.video.files]
        small[record] = [str(folder / f"{record.id}-{i:04d}.jpg") for i in range(record.num_frames)]
        for name, frame_HWC in zip(small[record], preloaded[record], strict=True):
            write_jpeg(Path(name), frame_HWC[..., ::-1])
    flag = cv2.IMREAD_GRAYSCALE if arguments.colour == "grey" else cv2.IMREAD_COLOR_RGB

    def decode(paths: list[str]) -> NDArray[np.uint8]:
        frames = [np.asarray(cv2.imread(path, flag)) for path in paths]
        if frames[0].shape[:2] != tuple(arguments.size):
            frames = [np.asarray(cv2.resize(frame, tuple(arguments.size)[::-1])) for frame in frames]
        return np.stack(frames)

    return {
        "store": lambda record, start: inputs.read("frames", "frames", record, start, start + CLIP_FRAMES),
        "preloaded": lambda record, start: np.array(preloaded[record][start : start + CLIP_FRAMES]),
        MEMMAP: lambda record, start: np.array(maps[record][start : start + CLIP_FRAMES]),
        NATIVE: lambda record, start: decode(native[record][start : start + CLIP_FRAMES]),
        SMALL: lambda record, start: decode(small[record][start : start + CLIP_FRAMES]),
    }


def measure(ways: dict[str, Way], records: list[VideoRecord], clips: int) -> dict[str, list[float]]:
    """Return, per way, clips per second of each round."""
    rng = np.random.default_rng(0)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(-(-clips // AT_ONCE)):
        chosen = [records[i] for i in rng.integers(0, len(records), AT_ONCE)]
        wanted = [(record, int(rng.integers(0, record.num_frames - CLIP_FRAMES + 1))) for record in chosen]
        for name, way in ways.items():
            start = time.perf_counter()
            for record, first in wanted:
                way(record, first)
            rates[name].append(AT_ONCE / (time.perf_counter() - start))
    return rates


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(256, 256), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--native", type=int, nargs=2, default=(480, 856), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--colour", choices=("grey", "rgb"), default="grey")
    parser.add_argument("--videos", type=int, default=4)
    parser.add_argument("--frames", type=int, default=160, help="of each video")
    parser.add_argument("--clips", type=int, default=400)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_pictures(folder / "data", arguments)
        inputs, _ = make_store(folder, arguments)
        ways = open_ways(folder, inputs, arguments)
        records = list(inputs.videos("train"))
        for name in ("preloaded", MEMMAP):
            np.testing.assert_array_equal(ways["store"](records[0], 3), ways[name](records[0], 3))
        rates = measure(ways, records, arguments.clips)
    middle = {name: statistics.median(values) for name, values in rates.items()}
    (height, width), (high, wide) = arguments.size, arguments.native
    print(f"{machine()}\n")
    print(f"{arguments.colour}, {height} x {width}; native {high} x {wide}; medians of {len(rates['store'])} rounds\n")
    print("| random clips of 16 frames | per second | times native JPEG | times small JPEG | times np.memmap |")
    print("|---|---|---|---|---|")
    for name, rate in middle.items():
        print(f"| {name} | {rate:.0f} |", *(f"{rate / middle[other]:.2f} |" for other in (NATIVE, SMALL, MEMMAP)))


if __name__ == "__main__":
    main()
