"""Frames per second of the encoder: as `stpa features` runs it, against the obvious loop over the library.

    python -m benchmarks.features [--model embedded|vit-b-16|FOLDER] [--size 128 192] [--frames 64] [--batch 1 32]
                                  [--device auto] [--repeat 3] [--precision fp32 bf16]
                                  [--preprocessing centre-crop|letterbox] [--memory]

vit-b-16 has the sizes of CLIP ViT-B/16 and random weights (350 MB of disk): the arithmetic does not depend on them. The
obvious loop is one frame at a time through the library's own image processor and model, in single precision. Both see the
same uint8 frames, with centre-crop cut out alike, and leave embeddings in main memory. "with files" is the whole stage,
which reads stored frames and writes shards as well, at the largest batch; its overhead is what it spends outside of the
model's calls. Each way is run once unmeasured, then all take turns; the least time counts. Processor time, of all threads,
is beside it: on a machine that does other work too it is the steadier of the two. --memory runs the stage over videos of
--frames and of ten times as many frames instead, each in a process of its own, and prints the peaks.
"""

import argparse
import multiprocessing
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection
from transformers.utils import logging

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
from pipeline.config import FeaturesSettings
from pipeline.models.clip_folder import encoder_folder
from pipeline.models.devices import pick_device
from pipeline.models.encoders import open_encoder
from pipeline.stages.features import FeaturesNormalStage
from pipeline.stages.frames import FramesStage

Features = NDArray[np.floating]


def write_vit_b_16(folder: Path) -> Path:
    """Write a tower of the sizes of CLIP ViT-B/16 with random weights, and OpenAI's preprocessing; return the folder."""
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        patch_size=16,
        projection_dim=512,
    )
    CLIPVisionModelWithProjection(config).save_pretrained(folder)
    CLIPImageProcessor().save_pretrained(folder)
    return folder


def obvious_loop(processor: Any, model: Any, frames_THWC: Frames) -> Features:
    """Return embeddings (T, D) as a few lines over the library make them."""
    device = next(model.parameters()).device
    with torch.inference_mode():
        answers = [
            model(**processor(images=frame_HWC, return_tensors="pt").to(device)).image_embeds.cpu()
            for frame_HWC in frames_THWC
        ]
    return np.asarray(torch.cat(answers).numpy())


def stage_settings(folder: Path, options: argparse.Namespace, precision: str) -> list[str]:
    """Return what `stpa features` would be told."""
    features = {"device": options.device, "batch_size": max(options.batch), "precision": precision}
    told = [f"features.{name}={value}" for name, value in features.items()]
    sizes = [f"frames.height={options.size[0]}", f"frames.width={options.size[1]}"]
    return [*told, *sizes, f"features.model='{folder}'", f"features.preprocessing={options.preprocessing}"]


def print_speeds(weights: Path, folder: Path, options: argparse.Namespace) -> None:
    """Measure and print a table."""
    device = pick_device(options.device)
    frames_THWC = moving_noise(options.frames, *options.size)
    model: Any = CLIPVisionModelWithProjection.from_pretrained(weights, dtype=torch.float32)
    processor: Any = CLIPImageProcessor.from_pretrained(weights)
    ways: dict[str, Callable[[], Features]] = {
        "obvious loop, fp32": partial(obvious_loop, processor, model.to(device).eval(), frames_THWC)
    }
    write_video(folder, options.frames, *options.size)
    stages = {}
    for precision in options.precision:
        for batch in options.batch:
            settings = FeaturesSettings(
                model=str(weights),
                preprocessing=options.preprocessing,
                batch_size=batch,
                precision=precision,
                device=options.device,
            )
            ways[f"stpa, {batch} at once, {precision}"] = partial(open_encoder(settings), frames_THWC)
        stage = StoredStage(folder, [FramesStage, FeaturesNormalStage], stage_settings(weights, options, precision))
        stages[f"stpa features, {max(options.batch)} at once, {precision}, with files"] = stage
    ways |= stages
    seconds_W2, features = least_seconds(list(ways.values()), options.repeat)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    threads = f"{torch.get_num_threads()} threads, torch {torch.__version__}"
    print(
        f"{options.model}, {options.frames} frames of {options.size[0]} x {options.size[1]}, {name}, {threads}\n{machine()}"
    )
    print(f"{'way':48} {'frames/s':>8} {'times':>6} {'processor s/frame':>18} {'times':>6} {'error, relative':>16}")
    for label, taken_2, feature_TD in zip(ways, seconds_W2, features, strict=True):
        clock, processor_times = seconds_W2[0] / taken_2
        error = np.linalg.norm(feature_TD - features[0], axis=1) / np.linalg.norm(features[0], axis=1)
        speed, each = options.frames / taken_2[0], taken_2[1] / options.frames
        print(f"{label:48} {speed:8.2f} {clock:6.2f} {each:18.4f} {processor_times:6.2f} {error.max():16.5f}")
    for label, stage in stages.items():
        print_overhead(stage, CLIPVisionModelWithProjection, ["forward"], device, label, repeat=options.repeat)


def _run_stage(folder: Path, settings: list[str], peaks: Any) -> None:
    stage = StoredStage(folder, [FramesStage, FeaturesNormalStage], settings)
    for _ in stage.shards():
        pass
    peaks.put(peak_megabytes())


def print_peaks(weights: Path, folder: Path, options: argparse.Namespace) -> None:
    """Run the stage over a short and a long video, and print the most memory that each took."""
    found = []
    for count in (options.frames, 10 * options.frames):
        write_video(folder / str(count), count, *options.size)
        context = multiprocessing.get_context("spawn")
        peaks = context.Queue()
        settings = stage_settings(weights, options, options.precision[0])
        process = context.Process(target=_run_stage, args=(folder / str(count), settings, peaks))
        process.start()
        found.append(peaks.get())
        process.join()
        print(
            f"{options.model}, video of {count} frames of {options.size[0]} x {options.size[1]}: {found[-1]:.0f} MB at most"
        )
    print(f"ten times the length takes {100 * (found[1] / found[0] - 1):+.1f} % of memory")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--size", type=int, nargs=2, default=(128, 192), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--frames", type=clip_or_more, default=64)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32], help="frames at once")
    parser.add_argument("--precision", nargs="+", default=["fp32"], choices=["fp32", "fp16", "bf16"])
    parser.add_argument("--preprocessing", default="centre-crop", choices=["centre-crop", "letterbox"])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="peaks of memory instead of speeds")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = parse()
    library: Any = logging  # untyped
    library.disable_progress_bar()
    library.set_verbosity_error()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = write_vit_b_16(folder / "weights") if options.model == "vit-b-16" else encoder_folder(options.model)
        (print_peaks if options.memory else print_speeds)(weights, folder, options)


if __name__ == "__main__":
    main()
