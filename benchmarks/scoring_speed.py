"""Speed of scoring against a loop over windows: one autoencoder with random weights, 16 x 256 x 256, full width.

    python benchmarks/scoring_speed.py [--size 256 256] [--width 1.0] [--frames 256] [--loop 12] [--exact 64] [--device cpu]

* loop: what the published programs do. Every frame has a window of 16 of its own, which goes through the network alone, in
  fp32 and torch's usual memory order; the error of frame 8 is kept.
* exact: what `stpa eval` does. The same windows in batches, bf16 where the machine has it, channels-last; of the last two
  layers only what is looked at, which are the frames of both protocols.
* dense: `eval.mode = dense`; also with the mean over 2 and 8 phases.

Each way scores as many frames as it needs for its rate (`--loop`, `--exact`, `--frames`), after a warm-up, the best of
`--repeat` runs. Ends with 1 if exact is less than 3 times or dense less than 30 times as fast as the loop. What the modes
do to the AUC: benchmarks/scoring_modes.py.
"""

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from machine import machine
from published import PublishedAutoencoder
from torch import Tensor

from pipeline.config import CLIP_FRAMES
from trainer.autoencoder import Autoencoder, make_autoencoder
from trainer.dense import Phases, dense_errors
from trainer.devices import usable_precision
from trainer.indicators import TAPS, video_windows, window_errors
from trainer.normalise import normalise_frames

CENTRE = TAPS["centre"]
EXPECTED = {"exact": 3.0, "dense, 1 phase": 30.0}


def obvious_loop(network: PublishedAutoencoder, video_THWC: Tensor, device: torch.device) -> Tensor:
    """Return the error of frame 8 of every window, (T - 15,)."""
    errors = []
    with torch.no_grad():
        for start in range(len(video_THWC) - CLIP_FRAMES + 1):
            window_THWC = video_THWC[start : start + CLIP_FRAMES].float() / 127.5 - 1
            clip_BCTHW = window_THWC.permute(3, 0, 1, 2)[None].contiguous().to(device)
            reconstruction_BCTHW = network(clip_BCTHW)
            errors.append(((reconstruction_BCTHW - clip_BCTHW)[:, :, CENTRE] ** 2).mean())
    return torch.stack(errors).cpu()


def moving_video(frames: int, height: int, width: int) -> Tensor:
    """Return a texture that drifts, (T, H, W, 1) uint8."""
    random = np.random.default_rng(0)
    ground_HW = random.integers(0, 256, (height, width)).astype(np.uint8)
    return torch.from_numpy(np.stack([np.roll(ground_HW, frame, axis=1) for frame in range(frames)])[..., None])


def best_seconds(work: Callable[[], object], repeat: int, device: torch.device) -> float:
    """Return the shortest of several runs."""
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def networks(width: float, device: torch.device) -> tuple[Autoencoder, PublishedAutoencoder]:
    """Return the same network as it is scored with here, and as it is usually written; statistics of one batch each."""
    ours = make_autoencoder(channels=1, width=width, seed=0, device=device).train()
    with torch.no_grad():
        ours(normalise_frames(moving_video(CLIP_FRAMES, 64, 64)).permute(3, 0, 1, 2)[None].to(device))
    plain = PublishedAutoencoder(width=width).to(device)
    plain.load_state_dict(ours.state_dict())
    return ours.eval(), plain.eval()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=[256, 256], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--frames", type=int, default=256, help="frames scored densely")
    parser.add_argument("--loop", type=int, default=12, help="windows of the loop")
    parser.add_argument("--exact", type=int, default=64, help="windows scored exactly")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    precision = usable_precision("bf16", device)
    ours, plain = networks(arguments.width, device)
    video = moving_video(max(arguments.frames, arguments.exact, arguments.loop) + CLIP_FRAMES, *arguments.size)
    counts = (arguments.loop, arguments.exact, arguments.frames)
    few, several, all_of_them = (video[: count + CLIP_FRAMES - 1] for count in counts)

    def exact(part_THWC: Tensor) -> Tensor:
        windows = video_windows(part_THWC.to(device), arguments.batch, slice(CLIP_FRAMES - 1, None))
        return window_errors(ours, map(normalise_frames, windows), precision)["centre"].frame_mse_N

    def dense(part_THWC: Tensor, phases: Phases) -> Tensor:
        wanted = slice(CENTRE, CENTRE + len(part_THWC) - CLIP_FRAMES + 1)
        sequence = part_THWC.to(device)
        return dense_errors(ours, sequence, normalise_frames, precision, phases=phases, wanted=wanted).frame_mse_N

    ways: dict[str, tuple[int, Callable[[], Tensor], Callable[[], Tensor]]] = {
        "loop": (arguments.loop, lambda: obvious_loop(plain, few, device), lambda: obvious_loop(plain, few, device)),
        "exact": (arguments.exact, lambda: exact(several), lambda: exact(few)),
        "dense, 1 phase": (arguments.frames, lambda: dense(all_of_them, 1), lambda: dense(few, 1)),
        "dense, 2 phases": (arguments.frames, lambda: dense(all_of_them, 2), lambda: dense(few, 2)),
        "dense, 8 phases": (arguments.frames, lambda: dense(all_of_them, 8), lambda: dense(few, 8)),
    }
    print(f"{machine()}\n{device}, {torch.get_num_threads()} threads, torch {torch.__version__}, {precision}; "
          f"16 x {arguments.size[0]} x {arguments.size[1]}, width {arguments.width:g}, batch {arguments.batch}\n")
    print(f"{'way':18}{'frames':>8}{'frames/s':>12}{'times':>9}{'error against the loop':>26}")
    rates: dict[str, float] = {}
    expected_N = None
    for name, (frames, work, compared) in ways.items():
        found_N = compared()  # a warm-up too
        expected_N = found_N if expected_N is None else expected_N
        rates[name] = frames / best_seconds(work, arguments.repeat, device)
        difference = float(((found_N - expected_N).abs() / expected_N).max())
        times = rates[name] / rates["loop"]
        print(f"{name:18}{frames:8}{rates[name]:12.2f}{times:9.1f}{100 * difference:24.2f} %", flush=True)
    missed = [name for name, times in EXPECTED.items() if rates[name] < times * rates["loop"]]
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
