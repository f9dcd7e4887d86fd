"""Pairs of frames per second of RAFT: as `stpa flows` runs it, against the obvious loop over torchvision's model.

    python -m benchmarks.flow [--model raft-small] [--size 128 160] [--frames 17] [--batch 1 8] [--precision fp32 mixed bf16]
                              [--device auto] [--repeat 3] [--memory]

The obvious loop is one pair at a time, in single precision, with the library's defaults, every update brought up to full
size as `RAFT.forward` does. Weights are random (seed 0): the arithmetic does not depend on them. Both see the same uint8
frames and leave flow in main memory. "with files" is the whole stage, which reads stored frames and writes shards as well,
at the largest batch; its overhead is what it spends outside of networks and updates. mixed differs from fp32 on a GPU
only. Each way is run once unmeasured, then all take turns; the least time counts. Processor time, of all threads, is beside
it: on a machine that does other work too it is the steadier of the two. --memory runs the stage over videos of --frames and
of ten times as many frames instead, each in a process of its own, and prints the peaks.
"""

import argparse
import multiprocessing
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torchvision.models.optical_flow import RAFT

from benchmarks.machine import machine
from benchmarks.stored_stage import (
    Frames,
    StoredStage,
    clip_or_more,
    least_seconds,
    moving_noise,
    peak_megabytes,
    print_overhead,
    write_video,
)
from pipeline.config import CLIP_FRAMES, FlowsSettings
from pipeline.models.devices import pick_device
from pipeline.models.flow_raft import MODELS, RaftFlow, open_raft
from pipeline.stages.flows import FlowsStage
from pipeline.stages.frames import FramesStage

Flow = NDArray[np.floating]


def obvious_loop(model: RAFT, frames_THWC: Frames, updates: int) -> Flow:
    """Return the flow (T-1, 2, H, W) as a few lines over the library make it."""
    device = next(model.parameters()).device
    flows = []
    with torch.inference_mode():
        for pair in pairwise(frames_THWC):
            images = [torch.from_numpy(frame_HWC).permute(2, 0, 1)[None].to(device) / 127.5 - 1 for frame_HWC in pair]
            flows.append(model(*images, num_flow_updates=updates)[-1].cpu().numpy())
    return np.concatenate(flows)


def flow_settings(weights: Path, options: argparse.Namespace, precision: str) -> dict[str, Any]:
    """Return the settings of the section [flows]."""
    return {
        "estimator": options.model,
        "weights": str(weights),
        "updates": options.updates,
        "device": options.device,
        "precision": precision,
        "batch_size": max(options.batch),
    }


def open_stage(folder: Path, weights: Path, options: argparse.Namespace, precision: str) -> StoredStage:
    """Return the stage over the video below ``folder``."""
    told = [f"flows.{name}={value}" for name, value in flow_settings(weights, options, precision).items()]
    sizes = [f"frames.height={options.size[0]}", f"frames.width={options.size[1]}"]
    return StoredStage(folder, [FramesStage, FlowsStage], [*told, *sizes])


def print_speeds(model: RAFT, weights: Path, folder: Path, options: argparse.Namespace) -> None:
    """Measure and print a table."""
    device = pick_device(options.device)
    frames_THWC = moving_noise(options.frames, *options.size)
    write_video(folder, options.frames, *options.size)
    ways: dict[str, Callable[[], Flow]] = {
        "obvious loop, fp32": partial(obvious_loop, model.to(device), frames_THWC, options.updates)
    }
    stages = {}
    for precision in options.precision:
        for batch in options.batch:
            settings = {**flow_settings(weights, options, precision), "batch_size": batch}
            ways[f"stpa, {batch} at once, {precision}"] = partial(
                open_raft(FlowsSettings.model_validate(settings)), frames_THWC
            )
        label = f"stpa flows, {max(options.batch)} at once, {precision}, with files"
        stages[label] = open_stage(folder, weights, options, precision)
    ways |= stages
    seconds_W2, flows = least_seconds(list(ways.values()), options.repeat)
    pairs, name = options.frames - 1, torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    print(
        f"{options.model}, {pairs} pairs of {options.size[0]} x {options.size[1]}, {options.updates} updates, {name}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}\n{machine()}"
    )
    print(
        f"{'way':42} {'pairs/s':>8} {'times':>6} {'processor s/pair':>17} {'times':>6} {'difference, px: mean, largest':>30}"
    )
    for label, taken_2, flow_T2HW in zip(ways, seconds_W2, flows, strict=True):
        clock, processor = seconds_W2[0] / taken_2
        difference_T2HW = np.abs(flow_T2HW - flows[0])
        speed, each = pairs / taken_2[0], taken_2[1] / pairs
        print(
            f"{label:42} {speed:8.2f} {clock:6.2f} {each:17.4f} {processor:6.2f} {difference_T2HW.mean():19.5f} "
            f"{difference_T2HW.max():10.5f}"
        )
    for label, stage in stages.items():
        print_overhead(stage, RaftFlow, ["_encode", "_refine"], device, label)


def _run_stage(folder: Path, weights: Path, options: argparse.Namespace, peaks: Any) -> None:
    for _ in open_stage(folder, weights, options, options.precision[0]).shards():
        pass
    peaks.put(peak_megabytes())


def print_peaks(model: RAFT, weights: Path, folder: Path, options: argparse.Namespace) -> None:
    """Run the stage over a short and a long video, and print the most memory that each took."""
    found = []
    for count in (options.frames, 10 * options.frames):
        write_video(folder / str(count), count, *options.size)
        context = multiprocessing.get_context("spawn")
        peaks = context.Queue()
        process = context.Process(target=_run_stage, args=(folder / str(count), weights, options, peaks))
        process.start()
        found.append(peaks.get())
        process.join()
        size = f"{options.size[0]} x {options.size[1]}"
        print(f"{options.model}, video of {count} frames of {size}: {found[-1]:.0f} MB at most")
    print(f"ten times the length takes {100 * (found[1] / found[0] - 1):+.1f} % of memory")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(MODELS), default="raft-small")
    parser.add_argument("--size", type=int, nargs=2, default=(128, 160), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--frames", type=clip_or_more, default=CLIP_FRAMES + 1)
    parser.add_argument("--updates", type=int, default=12)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8], help="pairs at once")
    parser.add_argument("--precision", nargs="+", default=["fp32", "mixed"], choices=["fp32", "mixed", "bf16"])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="peaks of memory instead of speeds")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = parse()
    torch.manual_seed(0)
    model = MODELS[options.model](weights=None).eval()
    with tempfile.TemporaryDirectory() as name:
        weights = Path(name) / "model.safetensors"
        save_file(model.state_dict(), weights)
        (print_peaks if options.memory else print_speeds)(model, weights, Path(name), options)


if __name__ == "__main__":
    main()
