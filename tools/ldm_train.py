"""Training of the inpainting model: the autoencoder, its codebook, and the UNet that removes noise."""

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline.models.ldm import TRAIN_STEPS, LatentInpainter, Part, UNet2DModel, VQModel, make_scheduler

LATENT_NOISE = 0.05  # in units of the latents' own spread: small enough to keep detail, large enough for coding
CODEBOOK = 2048
COLOUR = 10.0  # weight of the squared error of colour, which is small against the absolute one of light and dark
INSIDE, OUTSIDE = 1.0, 0.1  # weight of the loss inside and outside the hole


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Crops (N, H, W, 3) uint8 and holes (N, H, W) bool, as :func:`ldm_pictures.make_pictures` wrote them."""

    pictures_NHWC: NDArray[np.uint8]
    masks_NHW: NDArray[np.bool_]

    @classmethod
    def load(cls, folder: Path) -> "Pictures":
        """Map the files of a folder into memory."""
        return cls(
            pictures_NHWC=np.load(folder / "pictures.npy", mmap_mode="r"),
            masks_NHW=np.load(folder / "masks.npy", mmap_mode="r"),
        )

    def first(self, count: int) -> "Pictures":
        """Return the first ``count`` crops; they lie in random order."""
        return Pictures(pictures_NHWC=self.pictures_NHWC[:count], masks_NHW=self.masks_NHW[:count])


def new_vqvae() -> Part:
    """Return an untrained autoencoder: a quarter of the size, 3 latent channels, narrow at full size."""
    return VQModel(
        block_out_channels=(16, 32, 64),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=3,
        vq_embed_dim=3,
        num_vq_embeddings=CODEBOOK,
        norm_num_groups=8,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )


def new_unet() -> Part:
    """Return an untrained UNet: narrow at the latents' size, attention at an eighth of it."""
    return UNet2DModel(
        sample_size=16,
        in_channels=7,
        out_channels=3,
        block_out_channels=(32, 64, 128, 160),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D", "UpBlock2D"),
        attention_head_dim=32,
        norm_num_groups=16,
    )


def train_autoencoder(
    pictures: Pictures, *, steps: int, batch: int, crop: int, seed: int, start: Part | None = None
) -> Part:
    """Train without quantisation, then move mean and covariance of the latents to zero and one.

    A linear reading of the latents must give the colour of each block, or colour is found late or never.
    """
    torch.manual_seed(seed)
    vqvae = (start or new_vqvae()).to(memory_format=torch.channels_last)
    spread = nn.BatchNorm2d(3, affine=False, momentum=0.01)
    reading = nn.Conv2d(3, 2, 1)
    nn.init.zeros_(reading.weight)
    rng = np.random.default_rng([seed, 80])

    def loss() -> Tensor:
        image_B3HW = _draw_images(rng, pictures, batch, crop)
        latent_B3hw = spread(vqvae.encode(image_B3HW).latents.float())
        noisy_B3hw = latent_B3hw + LATENT_NOISE * torch.randn_like(latent_B3hw)
        colour_B2hw = functional.avg_pool2d(colour(image_B3HW), crop // noisy_B3hw.shape[-1])
        read = functional.mse_loss(reading(noisy_B3hw).float(), colour_B2hw)
        made_B3HW = vqvae.decode(noisy_B3hw, force_not_quantize=True).sample.float()
        return picture_loss(made_B3HW, image_B3HW) + COLOUR * read

    _optimise("autoencoder", [*vqvae.parameters(), *reading.parameters()], loss, steps=steps, rate=2e-3)
    _fold_spread(vqvae, spread)
    _whiten(vqvae, _encode_many(vqvae, pictures, np.arange(0, len(pictures.pictures_NHWC), 40)))
    return vqvae


def fit_codebook(vqvae: Part, pictures: Pictures, *, seed: int, rounds: int = 12) -> None:
    """Set the codes to the k-means centres of the latents of 1 picture in 20."""
    latent_N3hw = _encode_many(vqvae, pictures, np.arange(0, len(pictures.pictures_NHWC), 20))
    point_N3 = latent_N3hw.permute(0, 2, 3, 1).reshape(-1, 3)
    generator = torch.Generator().manual_seed(seed)
    point_N3 = point_N3[torch.randperm(len(point_N3), generator=generator)[:60_000]]
    code_K3 = point_N3[:CODEBOOK].clone()
    for _ in range(rounds):
        nearest_N = torch.cat([torch.cdist(part, code_K3).argmin(1) for part in torch.split(point_N3, 10_000)])
        count_K = torch.bincount(nearest_N, minlength=CODEBOOK)
        total_K3 = torch.zeros_like(code_K3).index_add_(0, nearest_N, point_N3)
        lost_K = count_K == 0
        code_K3 = total_K3 / count_K.clamp(min=1)[:, None]
        code_K3[lost_K] = point_N3[torch.randint(len(point_N3), (int(lost_K.sum()),), generator=generator)]
    vqvae.quantize.embedding.weight.data.copy_(code_K3)


def train_decoder(vqvae: Part, pictures: Pictures, *, steps: int, batch: int, crop: int, seed: int) -> None:
    """Train the decoder on quantised latents; encoder and codes stay."""
    rng = np.random.default_rng([seed, 81])
    parameters = [*vqvae.post_quant_conv.parameters(), *vqvae.decoder.parameters()]

    def loss() -> Tensor:
        image_B3HW = _draw_images(rng, pictures, batch, crop)
        with torch.no_grad():
            latent_B3hw = vqvae.encode(image_B3HW).latents.float()
        return picture_loss(vqvae.decode(latent_B3hw).sample.float(), image_B3HW)

    _optimise("decoder", parameters, loss, steps=steps, rate=1e-3)


def picture_loss(made_B3HW: Tensor, true_B3HW: Tensor) -> Tensor:
    """Return the mean absolute difference of pictures and of their gradients, and the mean squared one of their colour.

    Without the gradients edges blur. The absolute difference alone leaves colour out, whose median is grey.
    """
    error_B3HW = made_B3HW - true_B3HW
    parts = [error_B3HW, error_B3HW.diff(dim=2), error_B3HW.diff(dim=3)]
    return torch.stack([part.abs().mean() for part in parts]).sum() + COLOUR * colour(error_B3HW).square().mean()


def colour(image_B3HW: Tensor) -> Tensor:
    """Return (B, 2, H, W): red and blue against green."""
    return image_B3HW[:, ::2] - image_B3HW[:, 1:2]


@dataclass(frozen=True, kw_only=True)
class Latents:
    """What the UNet learns from: latents_N3hw, condition_N4hw, and weight_N1hw of the loss; float16."""

    latent_N3hw: Tensor
    condition_N4hw: Tensor
    weight_N1hw: Tensor

    def draw(self, rng: np.random.Generator, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draw ``batch`` of them, as float32."""
        rows = torch.from_numpy(rng.integers(len(self.latent_N3hw), size=batch))
        return self.latent_N3hw[rows].float(), self.condition_N4hw[rows].float(), self.weight_N1hw[rows].float()


@torch.no_grad()
def encode_pictures(vqvae: Part, pictures: Pictures, *, seed: int, batch: int = 64) -> Latents:
    """Encode a window around each hole once, whole and with the hole, by the production code."""
    model = LatentInpainter(copy.deepcopy(vqvae), new_unet(), make_scheduler())
    rng = np.random.default_rng([seed, 84])
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for start in range(0, len(pictures.pictures_NHWC), batch):
        rows = range(start, min(start + batch, len(pictures.pictures_NHWC)))
        windows = [(row, *_around_hole(rng, pictures.masks_NHW[row], model.trained_size)) for row in rows]
        image_B3HW = _as_tensor(np.stack([pictures.pictures_NHWC[window] for window in windows]))
        mask_BHW = np.stack([pictures.masks_NHW[window] for window in windows])
        mask_B1HW = torch.from_numpy(mask_BHW.astype(np.float32))[:, None]
        weight_B1hw = OUTSIDE + (INSIDE - OUTSIDE) * functional.max_pool2d(mask_B1HW, model.factor)
        condition_B4hw = model.condition(image_B3HW, mask_B1HW)
        parts.append((model.encode(image_B3HW).half(), condition_B4hw.half(), weight_B1hw.half()))
    latent_N3hw, condition_N4hw, weight_N1hw = (torch.cat(list(column)) for column in zip(*parts, strict=True))
    return Latents(latent_N3hw=latent_N3hw, condition_N4hw=condition_N4hw, weight_N1hw=weight_N1hw)


def _around_hole(rng: np.random.Generator, mask_HW: NDArray[np.bool_], size: int) -> tuple[slice, slice]:
    """Draw a window of ``size`` about whose middle, give or take an eighth of it, is a pixel of the hole."""
    holes_N2 = np.argwhere(mask_HW)
    middle_2 = holes_N2[int(rng.integers(len(holes_N2)))] + rng.integers(-size // 8, size // 8 + 1, 2)
    top, left = (int(v) for v in np.clip(middle_2 - size // 2, 0, np.array(mask_HW.shape) - size))
    return slice(top, top + size), slice(left, left + size)


def train_unet(
    latents: Latents, *, steps: int, batch: int, seed: int, rate: float = 1e-3, start: Part | None = None
) -> tuple[Part, list[float]]:
    """Train the UNet to predict velocity (Salimans and Ho, ICLR 2022); return its running mean and the losses."""
    torch.manual_seed(seed)
    unet = (start or new_unet()).to(memory_format=torch.channels_last)
    mean = RunningMean(unet)
    scheduler = make_scheduler("v_prediction")
    rng = np.random.default_rng([seed, 82])

    def loss() -> Tensor:
        latent_B3hw, condition_B4hw, weight_B1hw = latents.draw(rng, batch)
        noise_B3hw = torch.randn_like(latent_B3hw)
        time_B = torch.from_numpy(rng.permutation(batch) + rng.random(batch)).mul(TRAIN_STEPS / batch).long()
        noisy_B3hw = scheduler.add_noise(latent_B3hw, noise_B3hw, time_B)
        target_B3hw = scheduler.get_velocity(latent_B3hw, noise_B3hw, time_B)
        given_B7hw = torch.cat([noisy_B3hw, condition_B4hw], 1)
        made_B3hw = unet(given_B7hw.contiguous(memory_format=torch.channels_last), time_B).sample.float()
        error: Tensor = ((made_B3hw - target_B3hw).square() * weight_B1hw).sum() / (3 * weight_B1hw.sum())
        return error

    losses = _optimise("unet", list(unet.parameters()), loss, steps=steps, rate=rate, after=mean.update)
    mean.write_to(unet)
    return unet, losses


class RunningMean:
    """Exponential mean of a model's weights, which paints better than the last ones."""

    def __init__(self, model: Any, decay: float = 0.998) -> None:
        self._model, self._decay, self._count = model, decay, 0
        self._mean = [p.detach().clone() for p in model.parameters()]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the present weights; the mean reaches less far back in the beginning."""
        self._count += 1
        decay = min(self._decay, self._count / (self._count + 10))
        for mean, parameter in zip(self._mean, self._model.parameters(), strict=True):
            mean.lerp_(parameter, 1 - decay)

    @torch.no_grad()
    def write_to(self, model: Any) -> None:
        """Replace the weights of ``model`` by the mean."""
        for mean, parameter in zip(self._mean, model.parameters(), strict=True):
            parameter.copy_(mean)


def _optimise(
    what: str,
    parameters: list[nn.Parameter],
    loss: Callable[[], Tensor],
    *,
    steps: int,
    rate: float,
    after: Callable[[], None] = lambda: None,
) -> list[float]:
    """Run AdamW with 100 steps of warm-up and a cosine down to 2 %; return the loss of every step."""
    optimiser = torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.99), weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate_factor(step, steps))
    losses: list[float] = []
    begin = time.perf_counter()
    for step in range(steps):
        with _autocast():
            value = loss()
        optimiser.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        after()
        losses.append(value.item())
        if (step + 1) % 100 == 0 or step + 1 == steps:
            recent, spent = float(np.mean(losses[-100:])), time.perf_counter() - begin
            print(f"{what} {step + 1}/{steps} loss {recent:.4f} {spent:.0f} s", flush=True)
    return losses


def _rate_factor(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / 100) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / steps)))


def _autocast() -> AbstractContextManager[Any]:
    return torch.autocast("cpu", torch.bfloat16)


def _as_tensor(images_BHWC: NDArray[np.uint8]) -> Tensor:
    image_B3HW = torch.from_numpy(np.array(images_BHWC)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return image_B3HW.contiguous(memory_format=torch.channels_last)


def _draw_images(rng: np.random.Generator, pictures: Pictures, batch: int, crop: int) -> Tensor:
    """Draw crops; every fourth keeps its hole, black as the encoder will meet it."""
    count, height, width = pictures.masks_NHW.shape
    images = []
    for number in range(batch):
        row = int(rng.integers(count))
        top, left = int(rng.integers(height - crop + 1)), int(rng.integers(width - crop + 1))
        window = np.s_[row, top : top + crop, left : left + crop]
        image_HWC = np.array(pictures.pictures_NHWC[window])
        if number % 4 == 3:
            image_HWC[pictures.masks_NHW[window]] = 0
        images.append(image_HWC[:, ::-1] if rng.random() < 0.5 else image_HWC)
    return _as_tensor(np.stack(images))


@torch.no_grad()
def _encode_many(vqvae: Part, pictures: Pictures, rows: NDArray[np.int64]) -> Tensor:
    def parts() -> Iterator[Tensor]:
        for part in np.array_split(rows, max(1, len(rows) // 64)):
            with _autocast():
                latent_B3hw = vqvae.encode(_as_tensor(pictures.pictures_NHWC[part])).latents
            yield latent_B3hw.float()

    return torch.cat(list(parts()))


@torch.no_grad()
def _fold_spread(vqvae: Part, spread: nn.BatchNorm2d) -> None:
    """Move the normalisation of the latents into the last layer of the encoder."""
    assert spread.running_mean is not None
    assert spread.running_var is not None
    scale_3 = (spread.running_var + spread.eps).rsqrt()
    vqvae.quant_conv.weight.mul_(scale_3[:, None, None, None])
    vqvae.quant_conv.bias.sub_(spread.running_mean).mul_(scale_3)


@torch.no_grad()
def _whiten(vqvae: Part, latent_N3hw: Tensor) -> None:
    """Give the latents mean 0 and covariance 1, so that diffusion may start from N(0, 1); the decoder undoes it."""
    point_N3 = latent_N3hw.permute(0, 2, 3, 1).reshape(-1, 3).double()
    mean_3 = point_N3.mean(0)
    value_3, vector_33 = torch.linalg.eigh(torch.cov(point_N3.T))
    whiten_33 = vector_33 @ torch.diag(value_3.rsqrt()) @ vector_33.T
    quant, post = vqvae.quant_conv, vqvae.post_quant_conv
    quant.bias.copy_((whiten_33 @ (quant.bias.double() - mean_3)).float())
    quant.weight.copy_((whiten_33 @ quant.weight.double()[:, :, 0, 0]).float()[..., None, None])
    colour_33 = torch.linalg.inv(whiten_33)
    post.bias.add_((post.weight.double()[:, :, 0, 0] @ mean_3).float())
    post.weight.copy_((post.weight.double()[:, :, 0, 0] @ colour_33).float()[..., None, None])
