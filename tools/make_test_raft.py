"""Train the small RAFT with which tests ask whether ours finds known motion: of whole pictures, nothing else.

    python tools/make_test_raft.py --out tests/pipeline/raft_small_global.safetensors --minutes 55 --half

Pairs of smooth noise, of which the second is the first one moved, turned and enlarged, are made from the seed as long as
time allows: other machines come to other weights. What comes out knows motion of up to ten pixels of a picture that moves
as a whole, to 0.12 pixels on average. It is of no use for video and not in the package: see docs/weights.md for real ones.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models.optical_flow import raft_small

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

SIDE = 128
UPDATES = 6
Pair = tuple[Tensor, Tensor, Tensor]


def texture(rng: np.random.Generator, side: int) -> NDArray[np.float32]:
    """Return smooth noise (side, side), 0..255, of one or two grains."""
    total_HW = np.zeros((side, side), np.float32)
    for sigma in rng.uniform(1.2, 4, rng.integers(1, 3)):
        grain_HW = cv2.GaussianBlur(rng.standard_normal((side, side)).astype(np.float32), (0, 0), sigma)
        total_HW += rng.uniform(0.3, 1) * grain_HW / grain_HW.std()
    low, high = np.percentile(total_HW, rng.uniform(0, 2)), np.percentile(total_HW, rng.uniform(98, 100))
    bottom, top = rng.uniform(0, 60), rng.uniform(195, 255)
    return np.asarray(np.clip((total_HW - low) / (high - low), 0, 1) * (top - bottom) + bottom, np.float32)


def motion(rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a matrix (2, 2) and a shift (2,): what is at p, from the middle, is at ``matrix @ p + shift`` in the next."""
    angle = rng.choice([0.0, rng.uniform(-0.07, 0.07)])
    scale = rng.choice([1.0, rng.uniform(0.94, 1.06)])
    turn_22 = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return turn_22, rng.uniform(-1, 1, 2) * rng.choice([0, 2, 5])


def pair(rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
    """Return two pictures (SIDE, SIDE) and the flow (2, SIDE, SIDE) from the first to the second, pixels."""
    image_HW = texture(rng, 2 * SIDE)
    matrix_22, shift_2 = motion(rng)
    middle_2, image_middle_2 = np.full(2, (SIDE - 1) / 2), np.full(2, (2 * SIDE - 1) / 2)
    pictures = []
    for turn_22, offset_2 in ((np.eye(2), np.zeros(2)), (matrix_22, shift_2)):
        back_22 = np.linalg.inv(turn_22)
        back_23 = np.column_stack([back_22, image_middle_2 - back_22 @ (middle_2 + offset_2)])
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        pictures.append(np.clip(cv2.warpAffine(image_HW, back_23, (SIDE, SIDE), flags=flags), 0, 255).astype(np.uint8))
    place_2HW = np.stack(np.meshgrid(*2 * (np.arange(SIDE) - (SIDE - 1) / 2,)))
    flow_2HW = np.einsum("ij,jhw->ihw", matrix_22 - np.eye(2), place_2HW) + shift_2[:, None, None]
    return pictures[0], pictures[1], flow_2HW.astype(np.float32)


def batch_of(rng: np.random.Generator, size: int) -> Pair:
    """Return two batches of images (B, 3, H, W) -1..1 and flow (B, 2, H, W)."""
    first, second, flow = (np.stack(part) for part in zip(*(pair(rng) for _ in range(size)), strict=True))
    images = [torch.from_numpy(part).float().div(127.5).sub(1)[:, None].expand(-1, 3, -1, -1) for part in (first, second)]
    return images[0], images[1], torch.from_numpy(flow)


def error(model: Any, held_out: Pair, rim: int = 16) -> Tensor:
    """Return the mean end-point error (B,) away from the rim, pixels."""
    first_BCHW, second_BCHW, flow_B2HW = held_out
    with torch.inference_mode():
        found_B2HW = model.eval()(first_BCHW, second_BCHW, num_flow_updates=12)[-1]
    model.train()
    distance_BHW: Tensor = (found_B2HW - flow_B2HW)[..., rim:-rim, rim:-rim].norm(dim=1)
    return distance_BHW.mean((1, 2))


def train(model: Any, arguments: argparse.Namespace) -> None:
    """Fit for so many minutes; the learning rate rises for a twentieth of them and falls for the rest."""
    rng = np.random.default_rng(arguments.seed)
    held_out = batch_of(np.random.default_rng(arguments.seed + 1), 16)
    optimiser = torch.optim.AdamW(model.parameters(), lr=arguments.learning_rate, weight_decay=1e-5)
    start, step, told = time.monotonic(), 0, 0.0
    while (share := (time.monotonic() - start) / 60 / arguments.minutes) < 1:
        optimiser.param_groups[0]["lr"] = arguments.learning_rate * min(20 * share, (1 - share) / 0.95) + 1e-6
        first_BCHW, second_BCHW, flow_B2HW = batch_of(rng, arguments.batch)
        with torch.autocast("cpu", torch.bfloat16, enabled=arguments.half):
            found = model(first_BCHW, second_BCHW, num_flow_updates=UPDATES)
        losses = [(each - flow_B2HW).abs().mean() * 0.8 ** (UPDATES - 1 - i) for i, each in enumerate(found)]
        loss = torch.stack(losses).sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
        if time.monotonic() - told > 60:
            told = time.monotonic()
            print(f"{share:.2f} step {step} loss {loss:.3f} held out {error(model, held_out).mean():.3f} px", flush=True)
    errors, still = error(model, held_out), held_out[2].norm(dim=1).mean()
    print(f"step {step}: held out {errors.mean():.3f} px, worst {errors.max():.3f}, no motion at all {still:.3f}")


def main() -> None:
    """Train and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=55)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--half", action="store_true", help="bfloat16 under autocast, which is faster here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    model = raft_small(weights=None).train()
    train(model, arguments)
    weights = {name: value.half() if value.is_floating_point() else value for name, value in model.state_dict().items()}
    save_file(weights, arguments.out, {"tool": "tools/make_test_raft.py", "seed": str(arguments.seed)})


if __name__ == "__main__":
    main()
