"""What the inpainting model can do, measured on streets it never saw, and the card that says so."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.config import InpaintSettings
from pipeline.models.inpainting import open_inpainter
from pipeline.models.ldm import load_ldm
from pipeline.synthetic.ground import to_bytes
from tools.ldm_pictures import FIRST_SCENE, draw_hole, render_street, shifted_silhouette, silhouette

HEIGHT, WIDTH = 128, 160
HELD_OUT = 900  # scenes 900 to 999: not used for training (1000 and above), nor by those who evaluate (below 100)
STEPS = 10


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Frames (N, H, W, 3) uint8 RGB and holes (N, H, W) bool."""

    frames_NHWC: NDArray[np.uint8]
    masks_NHW: NDArray[np.bool_]


def held_out(count: int, *, seed: int = 0) -> Examples:
    """Return frames of ``count`` new scenes; holes are silhouettes in place, silhouettes elsewhere, and the mixture."""
    frames, masks = [], []
    for number in range(count):
        rng = np.random.default_rng([seed, 83, number])
        street = render_street(HELD_OUT + number, 2)
        frame_HWC = cv2.resize(street.pictures_NHWC[1], (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        owner_HW = cv2.resize(street.owner_NHW[1], (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)
        kind = (silhouette, shifted_silhouette, draw_hole)[number % 3]
        frames.append(np.asarray(frame_HWC, np.uint8))
        masks.append(_large_enough(rng, kind, np.asarray(owner_HW, np.int16)))
    return Examples(frames_NHWC=np.stack(frames), masks_NHW=np.stack(masks))


def _large_enough(rng: np.random.Generator, kind: Any, owner_HW: NDArray[np.int16]) -> NDArray[np.bool_]:
    for _ in range(100):
        mask_HW: NDArray[np.bool_] = kind(rng, owner_HW)
        if 0.002 < mask_HW.mean() < 0.2:
            return mask_HW
    return draw_hole(rng, owner_HW)


def measure(folder: Path, examples: Examples) -> dict[str, float]:
    """Return what the autoencoder keeps (PSNR, dB) and what fills look like, in grey levels; see the card for words."""
    frames_NHWC, masks_NHW = examples.frames_NHWC, examples.masks_NHW
    model = load_ldm(folder)
    image_N3HW = torch.from_numpy(frames_NHWC).permute(0, 3, 1, 2).float() / 127.5 - 1
    rebuilt_NHWC = to_bytes(((model.decode(model.encode(image_N3HW)) + 1) * 127.5).permute(0, 2, 3, 1).numpy())
    error_N = ((rebuilt_NHWC.astype(float) - frames_NHWC) ** 2).mean(axis=(1, 2, 3))
    paint = open_inpainter(InpaintSettings(model=str(folder), steps=STEPS, device="cpu"))
    paint(frames_NHWC[:8], masks_NHW[:8], range(8))  # warm up
    begin = time.process_time()
    painted_NHWC = paint(frames_NHWC, masks_NHW, range(len(masks_NHW)))
    seconds = (time.process_time() - begin) / len(masks_NHW)
    other_NHWC = paint(frames_NHWC, masks_NHW, range(1000, 1000 + len(masks_NHW)))
    rows = [_of_one(*one) for one in zip(frames_NHWC, masks_NHW, painted_NHWC, other_NHWC, mean_fill(examples), strict=True)]
    return {
        "psnr": float(np.mean(10 * np.log10(255**2 / error_N))),
        "cpu_seconds": seconds,
        **{name: float(np.mean([row[name] for row in rows])) for name in rows[0]},
    }


def mean_fill(examples: Examples) -> NDArray[np.uint8]:
    """Return the frames with each hole in the mean colour of what surrounds it: what a fill must be better than."""
    filled_NHWC = examples.frames_NHWC.copy()
    for frame_HWC, mask_HW in zip(filled_NHWC, examples.masks_NHW, strict=True):
        frame_HWC[mask_HW] = frame_HWC[_rim(mask_HW)].mean(axis=0).round()
    return filled_NHWC


def _rim(mask_HW: NDArray[np.bool_], width: int = 6) -> NDArray[np.bool_]:
    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    return np.asarray(cv2.dilate(mask_HW.astype(np.uint8), kernel) > 0) & ~mask_HW


def _of_one(
    frame_HWC: NDArray[np.uint8],
    mask_HW: NDArray[np.bool_],
    painted_HWC: NDArray[np.uint8],
    other_HWC: NDArray[np.uint8],
    flat_HWC: NDArray[np.uint8],
) -> dict[str, float]:
    true, fill, other, flat = (image[mask_HW].astype(float) for image in (frame_HWC, painted_HWC, other_HWC, flat_HWC))
    return {
        "std_true": _spread(true),
        "std_rim": _spread(frame_HWC[_rim(mask_HW)].astype(float)),
        "std_fill": _spread(fill),
        "detail_true": _detail(frame_HWC, mask_HW),
        "detail_fill": _detail(painted_HWC, mask_HW),
        "difference_true": float(np.abs(fill - true).mean()),
        "difference_flat_true": float(np.abs(flat - true).mean()),
        "difference_seeds": float(np.abs(fill - other).mean()),
    }


def _spread(pixels_NC: NDArray[np.float64]) -> float:
    return float(pixels_NC.mean(axis=1).std())


def _detail(image_HWC: NDArray[np.uint8], mask_HW: NDArray[np.bool_]) -> float:
    """Return the mean absolute difference of neighbouring pixels inside the hole."""
    grey_HW = image_HWC.astype(float).mean(axis=-1)
    across, down = mask_HW[:, 1:] & mask_HW[:, :-1], mask_HW[1:] & mask_HW[:-1]
    return float(np.concatenate([np.abs(np.diff(grey_HW))[across], np.abs(np.diff(grey_HW, axis=0))[down]]).mean())


def draw_examples(folder: Path, examples: Examples, path: Path, *, columns: int = 2, zoom: int = 1) -> None:
    """Write a picture of rows of: original, hole, two fills (seeds 0 and 1), ``columns`` examples side by side."""
    paint = open_inpainter(InpaintSettings(model=str(folder), steps=STEPS, device="cpu"))
    frames_NHWC, masks_NHW = examples.frames_NHWC, examples.masks_NHW
    holes_NHWC = np.where(masks_NHW[..., None], np.uint8(0), frames_NHWC)
    fills = [paint(frames_NHWC, masks_NHW, [seed] * len(masks_NHW)) for seed in (0, 1)]
    tiles = [_frame_lines(np.concatenate(row, axis=1)) for row in zip(frames_NHWC, holes_NHWC, *fills, strict=True)]
    rows = [np.concatenate(tiles[i : i + columns], axis=1) for i in range(0, len(tiles) - columns + 1, columns)]
    sheet_HWC = np.concatenate(rows).repeat(zoom, axis=0).repeat(zoom, axis=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), cv2.cvtColor(sheet_HWC, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 9]):
        raise OSError(f"{path}: the picture could not be written")


def _frame_lines(tile_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.pad(tile_HWC, ((0, 3), (0, 3), (0, 0)), constant_values=255)


def zoomed(examples: Examples, size: int = 64) -> Examples:
    """Return windows of ``size`` around the holes, so that a picture of them shows more than a tiny spot."""
    frames, masks = [], []
    for frame_HWC, mask_HW in zip(examples.frames_NHWC, examples.masks_NHW, strict=True):
        rows, columns = np.nonzero(mask_HW)
        top = int(np.clip(rows.mean() - size / 2, 0, HEIGHT - size))
        left = int(np.clip(columns.mean() - size / 2, 0, WIDTH - size))
        window = np.s_[top : top + size, left : left + size]
        frames.append(frame_HWC[window])
        masks.append(mask_HW[window])
    return Examples(frames_NHWC=np.stack(frames), masks_NHW=np.stack(masks))


TEMPLATE = Path(__file__).with_suffix(".md")


def write_card(folder: Path, facts: dict[str, Any]) -> dict[str, float]:
    """Write ``README.md`` and ``examples.png`` into the folder of a model; return what was measured."""
    examples = held_out(48)
    measured = measure(folder, examples)
    shown = Examples(frames_NHWC=examples.frames_NHWC[:18], masks_NHW=examples.masks_NHW[:18])
    draw_examples(folder, zoomed(shown), folder / "examples.png", columns=3, zoom=2)
    model = load_ldm(folder)
    parameters = [sum(p.numel() for p in part.parameters()) / 1e6 for part in (model.vqvae, model.unet)]
    text = TEMPLATE.read_text(encoding="utf-8").format(
        **facts,
        **measured,
        count=len(examples.masks_NHW),
        steps=STEPS,
        first_scene=FIRST_SCENE,
        codes=model.vqvae.config.num_vq_embeddings,
        vqvae_parameters=parameters[0],
        unet_parameters=parameters[1],
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
    return measured
