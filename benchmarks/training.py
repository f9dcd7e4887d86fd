"""Training clips per second of one autoencoder: a straightforward loop and this program's, on the same clips, in one run.

    python benchmarks/training.py [--device cpu] [--steps 6] [--size 256] [--batch 4] [--width 1.0] [--compile]

The straightforward loop is the published recipe: a data set that reads 16 JPEG files a clip with OpenCV, `x / 127.5 - 1`,
fp32, Adam, torch's own order of memory. This program's is what ``stpa train`` runs, with the paper's pseudo-anomalies, from
memory and from a stream of spawned readers. Both train the published network (no place channels, no skips) on grey clips.
The first four steps of each, in which kernels are chosen and memory is taken from the system, are not counted. Takes three
minutes on two quiet cores.

The last lines: what a clip costs (counted by torch), the rate at which this device multiplies bfloat16 matrices, and which
share of it the training reaches. Ends with 1 if it is less than 3.3 times as fast on a CPU, if less than 40 % of the
matrix rate is reached on a GPU, or if more than 5 % of the time is spent waiting for clips.
"""

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from published import PublishedAutoencoder
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from pipeline.config import CLIP_FRAMES, TrainSettings
from pipeline.contract import Array, Labels, Split, Video, VideoRecord
from trainer.batches import StepBatches, loaded
from trainer.clips import load_training_data
from trainer.course import Around, Course
from trainer.devices import usable_precision
from trainer.together import make_signals

FRAMES = 96
WARM_UP = 4
LEAST_TIMES, LEAST_SHARE, MOST_WAITING = 3.3, 0.40, 0.05


@dataclass(frozen=True)
class Street:
    """Inputs of one made-up video of grey squares that walk over a textured ground; frames are those of the JPEG files."""

    folder: Path
    size: int

    def write(self) -> None:
        """Write the JPEG files."""
        random = np.random.default_rng(0)
        ground_HW = cv2.GaussianBlur(random.integers(0, 255, (self.size, self.size), np.uint8), (0, 0), 3)
        for number in range(FRAMES):
            cv2.imwrite(str(self.folder / f"{number:04d}.jpg"), np.where(self.mask(number), np.uint8(210), ground_HW))

    def mask(self, number: int) -> Array:
        """Return where the square is, (H, W) bool."""
        mask_HW = np.zeros((self.size, self.size), np.bool_)
        side = self.size // 8
        left = (2 * number) % (self.size - side)
        mask_HW[self.size // 2 : self.size // 2 + side, left : left + side] = True
        return mask_HW

    def videos(self, split: Split | None = None) -> Sequence[VideoRecord]:
        """Return the one video."""
        video = Video(id="street", split="train", files=(self.folder,), is_folder=True)
        return [VideoRecord(video=video, num_frames=FRAMES, height=self.size, width=self.size, fps=25.0, digest="0")]

    def read(self, stage: str, name: str, record: VideoRecord, start: int = 0, stop: int | None = None) -> Array:
        """Return what the stages before the training would have stored."""
        numbers = range(FRAMES - (stage == "flows"))[start:stop]
        if name == "object":
            return np.zeros(len(numbers), np.int32)
        if stage == "flows":
            return np.stack([np.stack([self.mask(n) * 2.0, self.mask(n) * 0.0]) for n in numbers]).astype(np.float16)
        if stage == "masks":
            return np.stack([self.mask(n) for n in numbers])
        files = [str(self.folder / f"{n:04d}.jpg") for n in numbers]
        grey_THW1 = np.stack([np.asarray(cv2.imread(file, cv2.IMREAD_GRAYSCALE)) for file in files])[..., None]
        return grey_THW1 if stage == "frames" else 255 - grey_THW1

    def labels(self, record: VideoRecord) -> Labels | None:
        """Return None."""
        return None

    def folder_of(self, stage: str) -> Path:
        """Return nothing: there is none."""
        raise LookupError(stage)


class JpegClips(Dataset[Tensor]):
    """What the field does: every clip is read from its picture files when it is asked for."""

    def __init__(self, folder: Path, size: int) -> None:
        self._files, self._size = sorted(folder.glob("*.jpg")), size

    def __len__(self) -> int:
        return len(self._files) - CLIP_FRAMES + 1

    def __getitem__(self, start: int) -> Tensor:
        """Return a clip, (1, 16, H, W) float32 in -1..1."""
        frames = []
        for path in self._files[start : start + CLIP_FRAMES]:
            frame_HWC = cv2.imread(str(path))
            assert frame_HWC is not None
            grey_HW = cv2.cvtColor(cv2.resize(frame_HWC, (self._size, self._size)), cv2.COLOR_BGR2GRAY)
            frames.append(grey_HW.astype(np.float32) / 127.5 - 1)
        return torch.from_numpy(np.stack(frames)[None])


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How fast a loop was."""

    clips_per_second: float
    waiting: float
    """Share of the time spent waiting for clips."""


def straightforward(street: Street, options: argparse.Namespace, device: torch.device) -> Speed:
    """Train as published."""
    torch.manual_seed(0)
    network = PublishedAutoencoder(width=options.width).to(device).train()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-4)
    epoch = DataLoader(JpegClips(street.folder, street.size), batch_size=options.batch, shuffle=True, drop_last=True)
    loader = itertools.chain.from_iterable(itertools.repeat(epoch))
    began, waited = 0.0, 0.0
    for step in range(options.steps + WARM_UP):
        if step == WARM_UP:
            began, waited = time.perf_counter(), 0.0
        before = time.perf_counter()
        clip_BCTHW = next(loader).to(device)
        waited += time.perf_counter() - before
        optimiser.zero_grad()
        loss = F.mse_loss(network(clip_BCTHW), clip_BCTHW)
        torch.autograd.backward(loss)
        optimiser.step()
        loss.item()
    seconds = time.perf_counter() - began
    return Speed(clips_per_second=options.steps * options.batch / seconds, waiting=waited / seconds)


def ours(street: Street, options: argparse.Namespace, device: torch.device, where: str) -> Speed:
    """Train as ``fit_network`` does."""
    settings = TrainSettings.model_validate(
        {"batch_size": options.batch, "width": options.width, "place": False, "data": where, "compile": options.compile}
    )
    data = load_training_data(street, settings, device, _silent)  # type: ignore[arg-type]
    signal = make_signals(data, settings, device)["spatial"]
    course = Course(signal, data, settings, device, _silent, Around())
    began, waited = 0.0, 0.0
    with loaded(StepBatches(signal, data, settings), range(options.steps + WARM_UP), settings) as batches:
        for step in range(options.steps + WARM_UP):
            if step == WARM_UP:
                wait(device)
                began, waited = time.perf_counter(), 0.0
            before = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - before
            course.take(step, batch)
            course.look_around(step)
        wait(device)
        seconds = time.perf_counter() - began
    return Speed(clips_per_second=options.steps * options.batch / seconds, waiting=waited / seconds)


def matrix_rate(device: torch.device, side: int) -> float:
    """Return how many floating-point operations per second a product of square bfloat16 matrices reaches here."""
    one, other = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    times = []
    for _ in range(6):
        wait(device)
        before = time.perf_counter()
        for _ in range(5):
            one @ other
        wait(device)
        times.append((time.perf_counter() - before) / 5)
    return 2 * side**3 / min(times)


def wait(device: torch.device) -> None:
    """Wait until the device has done what it was told to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def operations_per_clip(options: argparse.Namespace) -> int:
    """Return the floating-point operations of one training step, per clip, as torch counts them (on no device at all)."""
    with torch.device("meta"):
        network = PublishedAutoencoder(width=options.width).train()
        clip_BCTHW = torch.empty(1, 1, CLIP_FRAMES, options.size, options.size)
    with FlopCounterMode(display=False) as counter:
        torch.autograd.backward(F.mse_loss(network(clip_BCTHW), clip_BCTHW))
    return int(counter.get_total_flops())


def _silent(what: str, done: float, total: float) -> None:
    """Report to nobody."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, default=6, help="steps that count, of each loop")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    device = torch.device(options.device)
    with tempfile.TemporaryDirectory() as folder:
        street = Street(Path(folder), options.size)
        street.write()
        loops: dict[str, Callable[[], Speed]] = {
            "straightforward, fp32, JPEG files": lambda: straightforward(street, options, device),
            f"stpa, {usable_precision('bf16', device)}, from memory": lambda: ours(street, options, device, "memory"),
            f"stpa, {usable_precision('bf16', device)}, streamed": lambda: ours(street, options, device, "stream"),
        }
        speeds = {name: run() for name, run in loops.items()}
    first, memory, _ = speeds.values()
    print(f"{CLIP_FRAMES} x {options.size} x {options.size}, batch {options.batch}, width {options.width:g}, on {device}, "
          f"{torch.get_num_threads()} threads, torch {torch.__version__}")  # fmt: skip
    print(f"{'loop':36} {'clips/s':>9} {'times':>7} {'waiting':>9}")
    for name, speed in speeds.items():
        times = speed.clips_per_second / first.clips_per_second
        print(f"{name:36} {speed.clips_per_second:9.2f} {times:7.2f} {speed.waiting:9.1%}")
    rate = matrix_rate(device, 8192 if device.type == "cuda" else 1024)
    cost = operations_per_clip(options)
    share = memory.clips_per_second * cost / rate
    print(f"a clip costs {cost / 1e9:.1f} GFLOP; bf16 matrices: {rate / 1e12:.2f} TFLOP/s; training reaches {share:.0%}")
    slow = share < LEAST_SHARE if device.type == "cuda" else memory.clips_per_second < LEAST_TIMES * first.clips_per_second
    sys.exit(1 if slow or memory.waiting > MOST_WAITING else 0)


if __name__ == "__main__":
    main()
