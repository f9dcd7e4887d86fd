"""Pairs of frames per second of RAFT: as `stpa flows` runs it, against the obvious loop over torchvision's model.

    python benchmarks/flow.py [--model raft-small] [--size 128 160] [--frames 17] [--batch 1 8] [--device auto] [--repeat 3]

The obvious loop is one pair at a time, in single precision, with the library's defaults, every update brought up to full
size as `RAFT.forward` does. Weights are random (seed 0): the arithmetic does not depend on them. Both see the same uint8
frames and leave flow in main memory. The last line is the whole stage, which reads stored frames and writes shards as well,
at the largest batch and in mixed precision on a GPU. Each way is run once unmeasured, then all take turns; the least time
counts. Processor time, of all threads, is beside it: on a machine that does other work too it is the steadier of the two.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torchvision.models.optical_flow import RAFT

from pipeline.artifacts.plan import make_plan
from pipeline.artifacts.workspace import Workspace
from pipeline.config import CLIP_FRAMES, load_config
from pipeline.contract import ShardStage
from pipeline.datasets.inventory import take_inventory
from pipeline.datasets.registry import open_dataset
from pipeline.execution.inputs import StoredInputs
from pipeline.execution.runner import run_shards
from pipeline.models.devices import pick_device
from pipeline.models.flow_raft import MODELS, RaftFlow
from pipeline.stages.flows import FlowsStage
from pipeline.stages.frames import FramesStage

Frames = NDArray[np.uint8]
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


def moving_noise(count: int, height: int, width: int) -> Frames:
    """Return frames (T, H, W, 3) of noise that moves by two pixels."""
    noise_HWC = np.random.default_rng(0).integers(0, 256, (height, width + 2 * count, 3), np.uint8)
    return np.stack([noise_HWC[:, 2 * i : 2 * i + width] for i in range(count)])


def prepare_stage(folder: Path, frames_THWC: Frames, model: RAFT, options: argparse.Namespace) -> Callable[[], Flow]:
    """Store the frames, and return what makes and writes all shards of the flow, the model being loaded already."""
    (folder / "data" / "train" / "a").mkdir(parents=True)
    for i, frame_HWC in enumerate(frames_THWC):
        cv2.imwrite(str(folder / "data" / "train" / "a" / f"{i:06d}.png"), frame_HWC[..., ::-1])
    save_file(model.state_dict(), folder / "model.safetensors")
    flows = {"estimator": options.model, "weights": folder, "updates": options.updates, "device": options.device}
    settings = [f"flows.{name}={value}" for name, value in flows.items()] + [f"flows.batch_size={max(options.batch)}"]
    sizes = [f"frames.height={options.size[0]}", f"frames.width={options.size[1]}", f"run.cache='{folder / 'cache'}'"]
    config = load_config(None, [*settings, *sizes, f"dataset.root='{folder / 'data'}'"])
    records = take_inventory(open_dataset(config.dataset), folder / "inventory.json").records
    workspace = Workspace(config, [FramesStage, FlowsStage], records)
    for name in ("frames", "flows"):
        plan = make_plan(workspace, name)
        outcome = run_shards(workspace, plan, plan.missing, lambda what, done, total: None)
        assert not outcome.failures, outcome.failures
    stage, artifact, inputs = workspace.stages["flows"], workspace.artifact("flows"), StoredInputs(workspace)
    assert isinstance(stage, ShardStage)
    worker, (record,) = stage.worker(), records

    def run() -> Flow:
        for shard in artifact.shards(record, stage.length(record)):
            artifact.write(shard, worker(shard, inputs), stage.arrays(record))
        return np.asarray(inputs.read("flows", "flow", record))

    return run


def least_seconds(ways: Sequence[Callable[[], Flow]], repeat: int) -> tuple[NDArray[np.float64], list[Flow]]:
    """Run each way once, then all of them in turn; return the least times, (ways, 2) of clock and processor, and results."""
    results = [way() for way in ways]
    seconds_RW2 = np.empty((repeat, len(ways), 2))
    for taken_W2 in seconds_RW2:
        for way, taken_2 in zip(ways, taken_W2, strict=True):
            start_2 = np.array([time.perf_counter(), time.process_time()])
            way()  # ends with a copy to main memory, so that nothing is left waiting on a GPU
            taken_2[:] = np.array([time.perf_counter(), time.process_time()]) - start_2
    return seconds_RW2.min(0), results


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(MODELS), default="raft-small")
    parser.add_argument("--size", type=int, nargs=2, default=(128, 160), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--frames", type=int, default=CLIP_FRAMES + 1)
    parser.add_argument("--updates", type=int, default=12)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8], help="pairs at once")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeat", type=int, default=3)
    return parser.parse_args()


def main() -> None:
    """Measure and print a table."""
    options = parse()
    device = pick_device(options.device)
    torch.manual_seed(0)
    model = MODELS[options.model](weights=None).eval().to(device)
    frames_THWC = moving_noise(options.frames, *options.size)
    ways: dict[str, Callable[[], Flow]] = {
        "obvious loop, fp32": partial(obvious_loop, model, frames_THWC, options.updates)
    }
    for half in (None, torch.float16) if device.type == "cuda" else (None,):
        for batch in options.batch:
            raft = RaftFlow(model, updates=options.updates, batch_size=batch, half=half)
            ways[f"stpa, {batch} at once, {'mixed' if half else 'fp32'}"] = partial(raft, frames_THWC)
    with tempfile.TemporaryDirectory() as folder:
        ways[f"stpa flows, {max(options.batch)} at once, with files"] = prepare_stage(
            Path(folder), frames_THWC, model, options
        )
        seconds_W2, flows = least_seconds(list(ways.values()), options.repeat)
    pairs, name = options.frames - 1, torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    print(
        f"{options.model}, {pairs} pairs of {options.size[0]} x {options.size[1]}, {options.updates} updates, {name}, "
        f"{torch.get_num_threads()} threads of {os.cpu_count()} cores, torch {torch.__version__}"
    )
    print(f"{'way':36} {'pairs/s':>8} {'times':>6} {'processor s/pair':>17} {'times':>6} {'largest difference, px':>23}")
    for label, taken_2, flow_T2HW in zip(ways, seconds_W2, flows, strict=True):
        clock, processor = seconds_W2[0] / taken_2
        difference = np.abs(flow_T2HW - flows[0]).max()
        speed, each = pairs / taken_2[0], taken_2[1] / pairs
        print(f"{label:36} {speed:8.2f} {clock:6.2f} {each:17.4f} {processor:6.2f} {difference:23.5f}")


if __name__ == "__main__":
    main()
