"""What ``benchmarks/engine.py`` measures. Apart from it, as a worker process imports the program that started it."""

import argparse
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from click.testing import CliRunner
from numpy.typing import NDArray

import stpa
from benchmarks import plan_status
from pipeline.artifacts.plan import make_plan
from pipeline.artifacts.workspace import Workspace
from pipeline.config import SyntheticSettings, load_config
from pipeline.contract import Stage
from pipeline.datasets.folder import FolderDataset
from pipeline.datasets.inventory import take_inventory
from pipeline.execution.inputs import StoredInputs
from pipeline.execution.runner import forget, run_shards
from pipeline.session import open_session
from pipeline.stages.flows import FlowsStage
from pipeline.stages.frames import FramesStage
from pipeline.synthetic import render_video

STAGES: list[type[Stage]] = [FramesStage, FlowsStage]
RENDERED = 96  # frames; longer videos show them forwards and backwards


def write_videos(folder: Path, videos: int, frames: int, size: tuple[int, int]) -> None:
    """Render a street once and write folders of links to its frames, each beginning elsewhere."""
    settings = SyntheticSettings(train_videos=1, frames=RENDERED, height=size[0], width=size[1])
    (folder / "pictures").mkdir(parents=True)
    for i, frame_HWC in enumerate(render_video(settings, "train", 0).frames_THWC):
        cv2.imwrite(str(folder / "pictures" / f"{i:03d}.png"), cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2BGR))
    order = [*range(RENDERED), *range(RENDERED - 2, 0, -1)]
    for video in range(videos):
        target = folder / "data" / "train" / f"{video:02d}"
        target.mkdir(parents=True)
        for i in range(frames):
            os.link(folder / "pictures" / f"{order[(i + 7 * video) % len(order)]:03d}.png", target / f"{i:05d}.png")


def open_workspace(folder: Path, size: tuple[int, int], workers: int) -> Workspace:
    """Return the workspace of these videos."""
    overrides = [f"dataset.root='{folder}/data'", f"run.cache='{folder}/cache'", f"run.workers={workers}"]
    overrides += [f"frames.height={size[0]}", f"frames.width={size[1]}"]
    return open_session(None, overrides, STAGES).workspace


def processor_seconds() -> float:
    """Return what this process and those that it started and that have ended have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def run_loop(grey_THW: NDArray[np.uint8]) -> tuple[float, float]:
    """Return pairs per second of the bare loop, with the parameters of the stage, and processor seconds per pair."""
    start, used = time.perf_counter(), processor_seconds()
    for one_HW, other_HW in pairwise(grey_THW):
        cv2.calcOpticalFlowFarneback(one_HW, other_HW, None, 0.5, 3, 15, 3, 5, 1.2, 0)  # type: ignore[call-overload]
    pairs = len(grey_THW) - 1
    return pairs / (time.perf_counter() - start), (processor_seconds() - used) / pairs


def run_loops(grey_THW: NDArray[np.uint8], processes: int) -> float:
    """Return pairs per second of so many loops at once, each in a process of its own."""
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), cv2.setNumThreads, (1,)) as pool:
        list(pool.map(run_loop, [grey_THW[:3]] * processes))  # all are there now
        return sum(rate for rate, _ in pool.map(run_loop, [grey_THW] * processes))


def run_stage(workspace: Workspace) -> tuple[float, float, float]:
    """Make all flow anew; return pairs per second, in all and from first to last shard, and processor seconds per pair."""
    forget(workspace, "flows", workspace.records)
    plan = make_plan(workspace, "flows")
    pairs = [shard.stop - shard.start for shard in plan.missing]
    seen: list[tuple[float, float]] = []
    start, used = time.perf_counter(), processor_seconds()
    run_shards(workspace, plan, plan.missing, lambda what, done, total: seen.append((time.perf_counter(), done)))
    whole = sum(pairs) / (time.perf_counter() - start)
    (first, before), (last, done) = seen[0], seen[-1]
    processor = (processor_seconds() - used) / sum(pairs)
    return whole, (done - before) / len(pairs) * sum(pairs) / (last - first), processor


def print_overhead(arguments: argparse.Namespace) -> None:
    """Measure loop and stage in turns and print a table."""
    cv2.setNumThreads(1)
    size = tuple(arguments.size)
    loop: list[tuple[float, float]] = []
    together: list[float] = []
    rates: dict[int, list[tuple[float, float, float]]] = {workers: [] for workers in (1, arguments.workers)}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_videos(folder, arguments.videos, arguments.frames, size)
        workspace = open_workspace(folder, size, arguments.workers)
        plan = make_plan(workspace, "frames")
        run_shards(workspace, plan, plan.missing, lambda what, done, total: None)
        frames_THWC = StoredInputs(workspace).read("frames", "frames", workspace.records[0], 0, min(arguments.frames, 129))
        grey_THW = np.stack([cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2GRAY) for frame_HWC in frames_THWC])
        for _ in range(arguments.rounds):
            together.append(run_loops(grey_THW, arguments.workers))
            for workers, found in rates.items():
                loop.append(run_loop(grey_THW))
                found.append(run_stage(open_workspace(folder, size, workers)))
    bare, least = (statistics.median(values) for values in zip(*loop, strict=True))
    pairs = arguments.videos * (arguments.frames - 1)
    print(f"{size[0]} x {size[1]}, {pairs} pairs, medians of {arguments.rounds} rounds\n")
    print("| way | pairs/s | of workers x loop | pairs/s without start-up | of workers x loop | times one worker"
          " | processor ms per pair | loop's share |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    print(f"| loop over frames in memory | {bare:.1f} | 1 | | | | {1000 * least:.2f} | 1 |")
    many = statistics.median(together)
    print(f"| {arguments.workers} loops at once | {many:.1f} | {many / bare / arguments.workers:.2f} | | | | | |")
    medians = {
        workers: [statistics.median(values) for values in zip(*found, strict=True)] for workers, found in rates.items()
    }
    for workers, (whole, steady, used) in medians.items():
        print(f"| flows, {workers} worker(s) | {whole:.1f} | {whole / bare / workers:.2f} | {steady:.1f} "
              f"| {steady / bare / workers:.2f} | {steady / medians[1][1]:.2f} | {1000 * used:.2f} "
              f"| {least / used:.2f} |")  # fmt: skip


def print_nothing_to_do(videos: int, frames: int) -> None:
    """Time ``stpa flows`` where everything is there, once all it imports has been imported."""
    per_video = frames // videos
    stages = [stpa.load(place) for place in stpa.STAGES]
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "data"
        plan_status.write_videos(root, videos, per_video, image_folders=False)
        options = ["flows", "--set", f"dataset.root='{root}'", "--set", f"run.cache='{place}/cache'"]
        cache_file = Path(place) / "cache" / "dataset" / "inventory.json"
        cache_file.parent.mkdir(parents=True)
        plan_status.note_contents(list(FolderDataset(root).videos()), cache_file, per_video)
        config = load_config(None, options[2::2])
        inventory = take_inventory(FolderDataset(root), cache_file)
        plan_status.write_receipts(Workspace(config, stages, inventory.records, label_digest=inventory.label_digest))
        seconds = []
        for _ in range(4):
            start = time.perf_counter()
            result = CliRunner().invoke(stpa.main, options, catch_exceptions=False)
            seconds.append(time.perf_counter() - start)
            assert "nothing to do" in result.output, result.output
    print(f"\n`stpa flows` with nothing to do over {per_video * videos:,} frames in {videos} videos: "
          f"{statistics.median(seconds[1:]):.2f} s (median of 3, after start-up)")  # fmt: skip
