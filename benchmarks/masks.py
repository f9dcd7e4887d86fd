"""Frames per second of Mask R-CNN: as `stpa masks` runs it, against the obvious loop over torchvision's model.

    python -m benchmarks.masks [--detector maskrcnn_resnet50_fpn_v2] [--size 128 192] [--short-side 800] [--frames 16]
                               [--batch 1 4] [--precision fp32 mixed] [--device auto] [--repeat 3]

The obvious loop is one frame at a time, in single precision, with every answer kept and chosen from afterwards. Weights are
random (seed 0): next to nothing is found, so that networks are measured up to the boxes, not the masks inside of them.
"with files" is the whole stage, once, which reads stored frames, follows what is found and writes shards; its overhead is
what it spends outside of the model's calls. mixed differs from fp32 on a GPU only. Each way is run once unmeasured, then all
take turns; the least time counts. On two cores a frame at a short side of 800 takes seconds: try --short-side 128 first.
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torchvision.models.detection import MaskRCNN, maskrcnn_resnet50_fpn, maskrcnn_resnet50_fpn_v2

from benchmarks.machine import machine
from benchmarks.stored_stage import (
    Frames,
    StoredStage,
    clip_or_more,
    least_seconds,
    moving_noise,
    print_overhead,
    write_video,
)
from pipeline.config import CLIP_FRAMES, MasksSettings
from pipeline.models.devices import pick_device
from pipeline.models.mask_rcnn import LONG_SIDE, SURE, open_mask_rcnn
from pipeline.stages.frames import FramesStage
from pipeline.stages.masks import MasksStage

DETECTORS = {"maskrcnn_resnet50_fpn": maskrcnn_resnet50_fpn, "maskrcnn_resnet50_fpn_v2": maskrcnn_resnet50_fpn_v2}
PERSON = 1


def obvious_loop(model: Any, frames_THWC: Frames, score: float) -> int:
    """Return how many people a few lines over the library find."""
    device, found = next(model.parameters()).device, 0
    with torch.inference_mode():
        for frame_HWC in frames_THWC:
            (answer,) = model([torch.from_numpy(frame_HWC.copy()).permute(2, 0, 1).to(device) / 255])
            chosen_N = (answer["labels"] == PERSON) & (answer["scores"] > score)
            found += len((answer["masks"][chosen_N] >= SURE).cpu().numpy())
    return found


def mask_settings(weights: Path, options: argparse.Namespace, precision: str, batch: int) -> dict[str, Any]:
    """Return the settings of the section [masks]."""
    return {
        "source": "mask-rcnn",
        "detector": options.detector,
        "weights": str(weights),
        "short_side": options.short_side,
        "precision": precision,
        "batch_size": batch,
        "device": options.device,
    }


def print_speeds(model: MaskRCNN, weights: Path, folder: Path, options: argparse.Namespace) -> None:
    """Measure and print a table."""
    device, frames_THWC = pick_device(options.device), moving_noise(options.frames, *options.size)
    write_video(folder, options.frames, *options.size)
    ways: dict[str, Callable[[], Any]] = {
        "obvious loop, fp32": partial(obvious_loop, model.to(device), frames_THWC, MasksSettings().score)
    }
    stages = {}
    for precision in options.precision:
        for batch in options.batch:
            settings = MasksSettings.model_validate(mask_settings(weights, options, precision, batch))
            ways[f"stpa, {batch} at once, {precision}"] = partial(open_mask_rcnn(settings), frames_THWC)
        told = [f"masks.{n}={v}" for n, v in mask_settings(weights, options, precision, max(options.batch)).items()]
        sizes = [f"frames.height={options.size[0]}", f"frames.width={options.size[1]}"]
        label = f"stpa masks, {max(options.batch)} at once, {precision}, with files"
        stages[label] = StoredStage(folder, [FramesStage, MasksStage], [*told, *sizes])
    seconds_W2, _ = least_seconds(list(ways.values()), options.repeat)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    print(
        f"{options.detector}, {options.frames} frames of {options.size[0]} x {options.size[1]} at a short side of "
        f"{options.short_side}, {name}, {torch.get_num_threads()} threads, torch {torch.__version__}\n{machine()}"
    )
    print(f"{'way':42} {'frames/s':>8} {'times':>6} {'processor s/frame':>18} {'times':>6}")
    for label, taken_2 in zip(ways, seconds_W2, strict=True):
        clock, processor = seconds_W2[0] / taken_2
        speed, each = options.frames / taken_2[0], taken_2[1] / options.frames
        print(f"{label:42} {speed:8.2f} {clock:6.2f} {each:18.4f} {processor:6.2f}")
    for label, stage in stages.items():
        stage.reopen()
        print_overhead(stage, MaskRCNN, ["forward"], device, label)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", choices=list(DETECTORS), default="maskrcnn_resnet50_fpn_v2")
    parser.add_argument("--size", type=int, nargs=2, default=(128, 192), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--short-side", type=int, default=MasksSettings().short_side)
    parser.add_argument("--frames", type=clip_or_more, default=CLIP_FRAMES)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4], help="frames at once")
    parser.add_argument("--precision", nargs="+", default=["fp32", "mixed"], choices=["fp32", "mixed"])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeat", type=int, default=3)
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = parse()
    torch.manual_seed(0)
    limits = {"min_size": options.short_side, "max_size": round(LONG_SIDE * options.short_side)}
    model = DETECTORS[options.detector](weights=None, weights_backbone=None, **limits).eval()
    with tempfile.TemporaryDirectory() as name:
        weights = Path(name) / "model.safetensors"
        save_file(model.state_dict(), weights)
        print_speeds(model, weights, Path(name), options)


if __name__ == "__main__":
    main()
