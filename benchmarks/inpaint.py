"""Images per second of inpainting: as `stpa inpaint` does it, against the obvious loop over the library.

    python -m benchmarks.inpaint [--model ldm|sd-small|sd|FOLDER] [--size 128 160] [--frames 16] [--steps 10] [--batch 1 8]
                                 [--device auto] [--repeat 3] [--prompt "a person"] [--memory]

ldm is the embedded model; sd has the sizes of Stable Diffusion 1.5 inpainting (needs 3 GB of disk and, for all ways
together, some 20 GB of memory), sd-small a fifth of its channels and of its side a quarter, both with random weights; FOLDER
is any pipeline. The obvious loop is one picture at a time with the library's defaults (single precision, the whole frame,
the prompt read every time). For the LDM, of which no library has a pipeline, it is its own sampler called so. Steps,
guidance and resolution are the same; `zoom` and `hole` are the ways that look at a window around the object only (a box of
1.5 % of the frame).

Each way is run once unmeasured, then all take turns; the least time counts. Processor time, of all threads, stands beside
it: on a machine that does other work too it is the steadier of the two. "with files" is the whole stage, which reads stored
frames and masks and writes shards; its overhead is what it spends outside of the model's calls. --memory paints videos of
two lengths, each in a process of its own, and prints the peaks.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from PIL import Image

from benchmarks.inpaint_models import SIZES, write_pipeline
from benchmarks.inpaint_stage import SHARD_FRAMES, Images, StoredStage, boxes, moving_noise, seed_of, write_video
from benchmarks.machine import machine
from benchmarks.stored_stage import clip_or_more
from pipeline.config import CLIP_FRAMES, InpaintSettings
from pipeline.models.devices import describe_device, pick_device
from pipeline.models.inpainting_diffusers import PipelinePainter, native_size
from pipeline.models.inpainting_ldm import EMBEDDED_NAME, LatentPainter, precision
from pipeline.models.inpainting_pipeline import pipeline_folder
from pipeline.models.inpainting_windows import Painter, WindowInpainter
from pipeline.models.ldm import load_ldm
from pipeline.models.weights import EMBEDDED

Way = Callable[[], Images]


# ---- the obvious loops


def obvious_pipeline(folder: Path, settings: InpaintSettings, device: torch.device) -> Callable[[Images], Images]:
    """Return what paints pictures as a few lines over diffusers do."""
    library: Any = diffusers.AutoPipelineForInpainting
    pipe = library.from_pretrained(folder, safety_checker=None, dtype=torch.float32).to(device)
    pipe.set_progress_bar_config(disable=True)
    native = settings.size or native_size(pipe)

    def run(frames_THWC: Images) -> Images:
        height, width = frames_THWC.shape[1:3]
        scale = native / min(height, width) / 8
        size = {"height": 8 * round(height * scale), "width": 8 * round(width * scale)}
        painted = []
        masks_THW = boxes(range(len(frames_THWC)), height, width)
        for i, (image_HWC, mask_HW) in enumerate(zip(frames_THWC, masks_THW, strict=True)):
            generator = torch.Generator().manual_seed(seed_of(i))
            pictures = {"image": Image.fromarray(image_HWC), "mask_image": Image.fromarray(mask_HW)}
            words = {"prompt": settings.prompt, "guidance_scale": settings.guidance_scale}
            made = pipe(
                **words, **pictures, **size, num_inference_steps=settings.steps, strength=1.0, generator=generator
            ).images[0]
            painted.append(np.where(mask_HW[..., None], np.asarray(made.resize((width, height))), image_HWC))
        return np.stack(painted)

    return run


def obvious_ldm(settings: InpaintSettings, device: torch.device) -> Callable[[Images], Images]:
    """Return what paints pictures by the LDM's sampler, one at a time in single precision."""
    model = load_ldm(EMBEDDED / EMBEDDED_NAME, device=device, precision="fp32")

    def run(frames_THWC: Images) -> Images:
        masks_THW = boxes(range(len(frames_THWC)), *frames_THWC.shape[1:3])
        made = [
            model.paint(frames_THWC[i : i + 1], masks_THW[i : i + 1], [seed_of(i)], steps=settings.steps)[0]
            for i in range(len(frames_THWC))
        ]
        return np.where(masks_THW[..., None], np.stack(made), frames_THWC)

    return run


class ModelClock:
    """Seconds that were spent inside the models' calls, by the clock."""

    def __init__(self) -> None:
        self.seconds = 0.0
        for painter in (PipelinePainter, LatentPainter):
            self._wrap(painter)

    def _wrap(self, painter: Any) -> None:
        paint = painter.paint

        def timed(*given: Any) -> Any:
            start = time.perf_counter()
            try:
                return paint(*given)  # returns an array in main memory: nothing is left waiting on a GPU
            finally:
                self.seconds += time.perf_counter() - start

        painter.paint = timed


def measure(ways: dict[str, Way], repeat: int) -> tuple[dict[str, list[float]], dict[str, Images]]:
    """Run each way once, then all of them in turn; return their least [clock, processor, overhead], and results."""
    clock = ModelClock()
    results = {name: way() for name, way in ways.items()}
    least = {name: [np.inf, np.inf, np.inf] for name in ways}
    for _ in range(repeat):
        for name, way in ways.items():
            clock.seconds = 0.0
            start, processor = time.perf_counter(), time.process_time()
            way()
            spent = time.perf_counter() - start
            overhead = spent / clock.seconds - 1 if clock.seconds else np.nan
            found = (spent, time.process_time() - processor, overhead)
            least[name] = [min(pair) for pair in zip(least[name], found, strict=True)]
    return least, results


# ---- memory


def peaks(folder: Path, size: tuple[int, int], inpaint: dict[str, Any]) -> tuple[float, float]:
    """Paint the video below ``folder``; return the peaks of main memory and of the GPU's, in MiB."""
    for _ in StoredStage(folder, size, inpaint).shards():
        pass
    on_gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, on_gpu / 2**20


def print_memory(folder: Path, size: tuple[int, int], inpaint: dict[str, Any]) -> None:
    """Measure a video of two shards and one of eight, each in a fresh process that finds frames and masks stored."""
    for count in (2 * SHARD_FRAMES, 8 * SHARD_FRAMES):
        place = folder / f"video-{count}"
        write_video(place, moving_noise(count, *size))
        StoredStage(place, size, {"model": "opencv-telea"})
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            main, gpu = pool.apply(peaks, (place, size, inpaint))
        print(f"{count:5} frames: peak {main:7.0f} MiB of main memory, {gpu:7.0f} MiB of the GPU's")


# ---- the table


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ldm", help=f"ldm, {', '.join(SIZES)} or a folder")
    parser.add_argument("--size", type=int, nargs=2, default=(128, 160), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--frames", type=clip_or_more, default=CLIP_FRAMES, help="no fewer than a clip has")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--prompt", default="a person", help="of pipelines")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8], help="pictures at once")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="measure peaks of memory instead of speed")
    return parser.parse_args()


def main() -> None:
    """Measure and print a table."""
    options = parse()
    device, size = pick_device(options.device), tuple(options.size)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        written = write_pipeline(folder / "model", options.model) if options.model in SIZES else Path(options.model)
        inpaint: dict[str, Any] = {"steps": options.steps, "device": options.device, "batch_size": max(options.batch)}
        inpaint |= {"model": "embedded"} if options.model == "ldm" else {"model": str(written), "prompt": options.prompt}
        if options.memory:
            print_memory(folder, size, inpaint)
            return
        ways = make_ways(folder, inpaint, options, device)
        least, results = measure(ways, options.repeat)
    what = f"{options.model}, {options.frames} frames of {size[0]} x {size[1]}, {options.steps} steps"
    versions = f"torch {torch.__version__}, diffusers {diffusers.__version__}"
    print(f"{what}, {describe_device(device)}, {torch.get_num_threads()} threads, {versions}; {machine()}")
    print_table(least, results, options.frames)


def open_painter(settings: InpaintSettings) -> Painter:
    """Return the model that the settings name, once for all ways of calling it."""
    if settings.model != "embedded":
        return PipelinePainter(pipeline_folder(settings), settings)
    half: Any = precision(settings)
    return LatentPainter(load_ldm(EMBEDDED / EMBEDDED_NAME, device=pick_device(settings.device), precision=half), settings)


def make_ways(folder: Path, inpaint: dict[str, Any], options: argparse.Namespace, device: torch.device) -> dict[str, Way]:
    """Return the ways by name, the obvious loop first."""
    frames_THWC = moving_noise(options.frames, *options.size)
    masks_THW = boxes(range(options.frames), *options.size)
    seeds = [seed_of(i) for i in range(options.frames)]
    settings = InpaintSettings.model_validate(inpaint)
    is_ldm = options.model == "ldm"
    obvious = obvious_ldm(settings, device) if is_ldm else obvious_pipeline(Path(inpaint["model"]), settings, device)
    ways: dict[str, Way] = {"obvious loop": partial(obvious, frames_THWC)}
    for label, wanted in {"fp32": {"precision": "fp32"}, "auto": {}}.items():
        painter = open_painter(settings.model_copy(update=wanted))
        windows = [("frame", batch) for batch in options.batch]
        if label == "auto":
            windows += [(view, max(options.batch)) for view in (("hole", "zoom") if is_ldm else ("zoom",))]
        for view, batch in windows:
            inpainter = WindowInpainter(painter, settings.model_copy(update={"view": view, "batch_size": batch}))
            ways[f"{view}, {batch} at once, {label}"] = partial(inpainter, frames_THWC, masks_THW, seeds)
    write_video(folder, frames_THWC)
    for view in ("frame", "hole") if is_ldm else ("frame", "zoom"):
        ways[f"{view}, {max(options.batch)} at once, with files"] = StoredStage(
            folder, options.size, {**inpaint, "view": view}
        )
    return ways


def print_table(least: dict[str, list[float]], results: dict[str, Images], frames: int) -> None:
    """Print a line per way; differences of whole frames are of painted pixels, from the obvious loop's."""
    first, *_ = least.values()
    reference, *_ = results.values()
    print(
        f"{'way':32} {'images/s':>9} {'times':>6} {'processor s/image':>18} {'times':>6} {'overhead':>9} "
        f"{'mean difference':>16}"
    )
    for name, (clock, processor, overhead) in least.items():
        made_THWC = results[name].astype(int)
        changed_THW = (made_THWC != reference).any(axis=-1)
        difference = np.abs(made_THWC - reference)[changed_THW].mean() if changed_THW.any() else 0.0
        told = f"{difference:16.2f}" if name.startswith(("obvious", "frame")) else " " * 16
        share = f"{100 * overhead:8.1f}%" if np.isfinite(overhead) else " " * 9
        speed, each = frames / clock, processor / frames
        times = f"{speed:9.2f} {first[0] / clock:6.2f} {each:18.3f} {first[1] / processor:6.2f}"
        print(f"{name:32} {times} {share} {told}")


if __name__ == "__main__":
    main()
