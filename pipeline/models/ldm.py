"""Inpainting by latent diffusion (Rombach et al., CVPR 2022, section 4.5), built of the parts of diffusers.

A VQ autoencoder brings pictures to a quarter of their size and 3 channels: encoding does not quantise, decoding does. A
UNet sees the noisy latent, the latent of the picture with a black hole, and the hole itself: 3 + 3 + 1 channels.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import diffusers
import numpy as np
import torch
from diffusers.models.attention_processor import Attention as DiffusersAttention
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline.models.inpainting_ldm import CLASS, INDEX, SCHEDULE, WEIGHTS
from pipeline.models.weights import load_weights, save_weights

Precision = Literal["bf16", "fp32"]
Part = Any
"""A model or a schedule of diffusers, whose classes are not typed."""
VQModel: Part = diffusers.VQModel
UNet2DModel: Part = diffusers.UNet2DModel
DDIMScheduler: Part = diffusers.DDIMScheduler
Attention: Part = DiffusersAttention

HEADS = "attention_heads"
"""Key of the folder's index: see :func:`set_heads`."""
LATENT_CHANNELS = 3
TRAIN_STEPS = 1000


def make_scheduler(prediction: str = "epsilon") -> Part:
    """Return the schedule of the published model: 1000 steps, betas linear in their square roots, 0.0015 to 0.0205."""
    return DDIMScheduler(
        num_train_timesteps=TRAIN_STEPS,
        beta_start=0.0015,
        beta_end=0.0205,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction,
    )


def ddim_timesteps(steps: int) -> list[int]:
    """Return the times of DDIM, latest first: every (1000 // steps)-th, from 1, as the published program takes them.

    Where ``steps`` does not divide 1000 this gives more than ``steps`` times.
    """
    return [t + 1 for t in range(0, TRAIN_STEPS, TRAIN_STEPS // steps) if t + 1 < TRAIN_STEPS][::-1]


class LatentInpainter:
    """Autoencoder, UNet and schedule, ready to paint on one device.

    Parameters
    ----------
    vqvae
        ``VQModel`` with 3 latent channels; latents are multiplied by its ``scaling_factor``.
    unet
        ``UNet2DModel`` with 7 channels in and 3 out.
    scheduler
        ``DDIMScheduler``; it says what the UNet predicts.
    precision
        bf16: convolutions and products in bfloat16 (autocast), all else in float32. The networks given are changed.
    """

    def __init__(
        self,
        vqvae: Part,
        unet: Part,
        scheduler: Part,
        *,
        device: str | torch.device = "cpu",
        precision: Precision = "bf16",
    ) -> None:
        found = (vqvae.config.latent_channels, unet.config.in_channels, unet.config.out_channels)
        if found != (LATENT_CHANNELS, 2 * LATENT_CHANNELS + 1, LATENT_CHANNELS):
            raise ValueError(f"expected 3 latent channels and a UNet of 7 channels in, 3 out; found {found}")
        self.device = torch.device(device)
        self.vqvae = _for_inference(vqvae, self.device, precision)
        self.unet = _for_inference(unet, self.device, precision)
        self.scheduler = scheduler
        self.precision: Precision = precision
        self.factor = 2 ** (len(vqvae.config.block_out_channels) - 1)
        """Pixels per latent, along one axis."""
        self.multiple = self.factor * 2 ** (len(unet.config.block_out_channels) - 1)
        """What the UNet can halve, in pixels; other sizes are extended to it inside :meth:`paint`."""
        self.trained_size = int(unet.config.sample_size) * self.factor
        """Side of the pictures it was trained with, in pixels."""

    @torch.inference_mode()
    def condition(self, image_B3HW: Tensor, mask_B1HW: Tensor) -> Tensor:
        """Return condition_B4hw float32: the latent of the masked picture and the mask (-1, +1) at the latents' size.

        ``image_B3HW`` float32 in [-1, 1]; ``mask_B1HW`` float32, 1 = repaint, 0 = keep.
        """
        masked_B3HW = torch.where(mask_B1HW > 0.5, -1.0, image_B3HW)  # a black hole
        latent_B3hw = self.encode(masked_B3HW)
        small_B1hw = functional.interpolate(mask_B1HW, size=latent_B3hw.shape[-2:], mode="nearest")
        return torch.cat([latent_B3hw, small_B1hw * 2 - 1], 1)

    @torch.inference_mode()
    def encode(self, image_B3HW: Tensor) -> Tensor:
        """Return latents_B3hw float32, not quantised, of pictures in [-1, 1]."""
        with self._autocast():
            latent_B3hw = self.vqvae.encode(image_B3HW.contiguous(memory_format=torch.channels_last)).latents
        scaled: Tensor = latent_B3hw.float() * self.vqvae.config.scaling_factor
        return scaled

    @torch.inference_mode()
    def decode(self, latent_B3hw: Tensor) -> Tensor:
        """Return pictures_B3HW float32 in [-1, 1] of latents, which are quantised first."""
        with self._autocast():
            picture_B3HW = self.vqvae.decode(latent_B3hw / self.vqvae.config.scaling_factor).sample
        clamped: Tensor = picture_B3HW.float().clamp(-1, 1)
        return clamped

    @torch.inference_mode()
    def sample(
        self,
        condition_B4hw: Tensor,
        latent_B3hw: Tensor,
        *,
        steps: int,
        eta: float = 0.0,
        generators: Sequence[torch.Generator] = (),
    ) -> Tensor:
        """Return latents_B3hw float32 after DDIM from the given initial latents (standard normal).

        ``generators``, one per picture, are drawn from where ``eta`` > 0 adds noise.
        """
        times = ddim_timesteps(steps)
        # Set by hand: the scheduler's own choice differs from the published one where steps do not divide 1000.
        self.scheduler.set_timesteps(steps, device=self.device)
        for time in times:
            step_B = torch.full((len(latent_B3hw),), time, device=self.device)
            given_B7hw = torch.cat([latent_B3hw, condition_B4hw], 1).contiguous(memory_format=torch.channels_last)
            with self._autocast():
                predicted_B3hw = self.unet(given_B7hw, step_B).sample
            noise = draw_noise(generators, latent_B3hw.shape[1:]).to(self.device) if eta > 0 else None
            latent_B3hw = self.scheduler.step(
                predicted_B3hw.float(), time, latent_B3hw, eta=eta, variance_noise=noise
            ).prev_sample
        return latent_B3hw

    def paint(
        self,
        images_BHWC: NDArray[np.uint8],
        masks_BHW: NDArray[np.bool_],
        seeds: Sequence[int],
        *,
        steps: int,
        eta: float = 0.0,
        latents: Tensor | None = None,
    ) -> NDArray[np.uint8]:
        """Return pictures (B, H, W, 3) uint8 RGB with the masked region repainted; every other pixel changes a little too.

        ``images_BHWC`` uint8 RGB, ``masks_BHW`` True = repaint. Each picture has its own random stream, from its seed.
        ``latents`` (B, 3, h, w) float32, standard normal, to begin with instead of those that are drawn; h and w as
        :meth:`encode` returns them for the picture extended to :attr:`multiple`.
        """
        height, width = masks_BHW.shape[1:]
        image_B3HW = torch.from_numpy(np.ascontiguousarray(images_BHWC)).permute(0, 3, 1, 2).to(self.device) / 127.5 - 1
        mask_B1HW = torch.from_numpy(np.ascontiguousarray(masks_BHW))[:, None].to(self.device).float()
        margin = (0, -width % self.multiple, 0, -height % self.multiple)
        condition_B4hw = self.condition(
            functional.pad(image_B3HW, margin, mode="replicate"), functional.pad(mask_B1HW, margin)
        )
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        shape = (LATENT_CHANNELS, *condition_B4hw.shape[-2:])
        if latents is None:
            latents = draw_noise(generators, shape)
        elif tuple(latents.shape) != (len(seeds), *shape):
            raise ValueError(f"expected latents {(len(seeds), *shape)}, found {tuple(latents.shape)}")
        latent_B3hw = latents.to(self.device)
        latent_B3hw = self.sample(condition_B4hw, latent_B3hw, steps=steps, eta=eta, generators=generators)
        painted_BHWC = self.decode(latent_B3hw)[..., :height, :width].permute(0, 2, 3, 1)
        painted: NDArray[np.uint8] = ((painted_BHWC + 1) * 127.5).round().to(torch.uint8).cpu().numpy()
        return painted

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")


def draw_noise(generators: Sequence[torch.Generator], shape: Sequence[int]) -> Tensor:
    """Return noise (B, *shape) float32, standard normal, drawn on the CPU: the same wherever the painting is done."""
    return torch.stack([torch.randn(tuple(shape), generator=generator) for generator in generators])


def set_heads(unet: Part, heads: int) -> None:
    """Give every attention of a UNet this many heads, whatever its width; the weights stay as they are.

    ``UNet2DModel`` knows one width of heads and has more of them where there are more channels. The published model has 8
    everywhere.

    Raises
    ------
    ValueError
        Some width is no multiple of ``heads``.
    """
    for name, layer in unet.named_modules():
        if isinstance(layer, Attention):
            if layer.inner_dim % heads:
                raise ValueError(f"{name}: expected a width that {heads} heads divide, found {layer.inner_dim}")
            layer.heads = layer.sliceable_head_dim = heads
            layer.scale = (layer.inner_dim // heads) ** -0.5


def load_ldm(folder: Path, *, device: str | torch.device = "cpu", precision: Precision = "bf16") -> LatentInpainter:
    """Open a folder written by :func:`save_ldm`, or of the same layout.

    Raises
    ------
    FileNotFoundError, ValueError
        A file is missing, or the folder holds another kind of model, or weights that do not fit its settings.
    """
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    if index.get("_class_name") != CLASS:
        raise ValueError(f"{folder / INDEX}: expected _class_name {CLASS!r}, found {index.get('_class_name')!r}")
    vqvae = VQModel.from_config(_config(folder / "vqvae" / "config.json"))
    unet = UNet2DModel.from_config(_config(folder / "unet" / "config.json"))
    for part, name in ((vqvae, "vqvae"), (unet, "unet")):
        path = folder / name / WEIGHTS
        try:
            part.load_state_dict(load_weights(path))
        except RuntimeError as error:
            raise ValueError(f"{path}: expected weights that fit config.json beside them: {error}") from error
    if HEADS in index:
        set_heads(unet, index[HEADS])
    scheduler = DDIMScheduler.from_config(_config(folder / SCHEDULE))
    return LatentInpainter(vqvae, unet, scheduler, device=device, precision=precision)


def save_ldm(
    folder: Path,
    vqvae: Part,
    unet: Part,
    scheduler: Part,
    *,
    heads: int | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write settings and weights (half precision, or ``dtype``) in the layout of diffusers: vqvae/, unet/, scheduler/.

    ``heads``: attention heads at every width, where the UNet has not those that its settings give it; see :func:`set_heads`.
    """
    for part, name in ((vqvae, "vqvae"), (unet, "unet")):
        part.save_config(folder / name)
        save_weights(part.state_dict(), folder / name / WEIGHTS, dtype)
    scheduler.save_config(folder / "scheduler")
    index: dict[str, Any] = {
        "_class_name": CLASS,
        "vqvae": ["diffusers", "VQModel"],
        "unet": ["diffusers", "UNet2DModel"],
        "scheduler": ["diffusers", "DDIMScheduler"],
    }
    if heads is not None:
        index[HEADS] = heads
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _config(path: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return config


def _for_inference(model: Any, device: torch.device, precision: Precision) -> Any:
    model = model.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)
    for layer in model.modules():
        if precision == "bf16" and isinstance(layer, nn.Conv2d | nn.Linear):
            layer.bfloat16()  # autocast would do it again at every step
    return model
