"""The published inpainting model as its authors built it (CompVis latent-diffusion), for checkpoints and answers of tests.

Names and order of modules are those of ``ldm.modules.diffusionmodules`` (openaimodel.UNetModel with ``resblock_updown``,
model.Encoder and model.Decoder without attention), the sampler is DDIM with eta 0.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

Change = Callable[[Tensor], Tensor]
HEADS = 8


def norm(width: int, eps: float = 1e-5) -> nn.GroupNorm:
    return nn.GroupNorm(32, width, eps=eps)


def conv(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, size // 2)


def halve(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2)


def double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


class ResBlock(nn.Module):
    def __init__(self, inputs: int, time: int, outputs: int, change: Change | None = None) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(norm(inputs), nn.SiLU(), conv(inputs, outputs))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(time, outputs))
        self.out_layers = nn.Sequential(norm(outputs), nn.SiLU(), nn.Dropout(0), conv(outputs, outputs))
        self.skip_connection = nn.Identity() if inputs == outputs else conv(inputs, outputs, 1)
        self.change = change or (lambda x: x)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        inside = self.in_layers[-1](self.change(self.in_layers[:-1](x)))
        inside = inside + self.emb_layers(time)[..., None, None]
        result: Tensor = self.skip_connection(self.change(x)) + self.out_layers(inside)
        return result


class AttentionBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.qkv = norm(width), nn.Conv1d(width, 3 * width, 1)
        self.proj_out = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        batch, width, *_ = x.shape
        flat = x.reshape(batch, width, -1)
        each = self.qkv(self.norm(flat)).reshape(batch * HEADS, 3 * width // HEADS, -1)
        q, k, v = each.split(width // HEADS, dim=1)
        weight = torch.softmax(torch.einsum("bct,bcs->bts", q, k) / math.sqrt(width // HEADS), dim=-1)
        attended = torch.einsum("bts,bcs->bct", weight, v).reshape(batch, width, -1)
        result: Tensor = (flat + self.proj_out(attended)).reshape(x.shape)
        return result


class Steps(nn.Sequential):
    def forward(self, x: Tensor, time: Tensor) -> Tensor:  # type: ignore[override]
        for layer in self:
            x = layer(x, time) if isinstance(layer, ResBlock) else layer(x)
        return x


class UNet(nn.Module):
    def __init__(self, widths: tuple[int, ...], blocks: int, attention: tuple[bool, ...], inputs: int = 7) -> None:
        super().__init__()
        first, time = widths[0], 4 * widths[0]
        self.time_embed = nn.Sequential(nn.Linear(first, time), nn.SiLU(), nn.Linear(time, time))
        self.input_blocks = nn.ModuleList([Steps(conv(inputs, first))])
        kept, now = [first], first
        for level, width in enumerate(widths):
            for _ in range(blocks):
                more = [AttentionBlock(width)] if attention[level] else []
                self.input_blocks.append(Steps(ResBlock(now, time, width), *more))
                now = width
                kept.append(now)
            if level < len(widths) - 1:
                self.input_blocks.append(Steps(ResBlock(now, time, now, halve)))
                kept.append(now)
        self.middle_block = Steps(ResBlock(now, time, now), AttentionBlock(now), ResBlock(now, time, now))
        self.output_blocks = nn.ModuleList()
        for level in reversed(range(len(widths))):
            for block in range(blocks + 1):
                layers: list[nn.Module] = [ResBlock(now + kept.pop(), time, widths[level])]
                now = widths[level]
                if attention[level]:
                    layers.append(AttentionBlock(now))
                if level and block == blocks:
                    layers.append(ResBlock(now, time, now, double))
                self.output_blocks.append(Steps(*layers))
        self.out = nn.Sequential(norm(now), nn.SiLU(), conv(now, 3))

    def forward(self, x: Tensor, time_B: Tensor) -> Tensor:
        half = self.time_embed[0].get_parameter("weight").shape[1] // 2
        angle = time_B[:, None].float() * torch.exp(-math.log(10000) * torch.arange(half) / half)[None]
        time = self.time_embed(torch.cat([angle.cos(), angle.sin()], dim=-1))
        kept = []
        for block in self.input_blocks:
            x = block(x, time)
            kept.append(x)
        x = self.middle_block(x, time)
        for block in self.output_blocks:
            x = block(torch.cat([x, kept.pop()], dim=1), time)
        result: Tensor = self.out(x)
        return result


class VQBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = norm(inputs, 1e-6), conv(inputs, outputs)
        self.norm2, self.conv2 = norm(outputs, 1e-6), conv(outputs, outputs)
        if inputs != outputs:
            self.nin_shortcut = conv(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        inside = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        result: Tensor = (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x) + inside
        return result


def _half(inputs: int, outputs: int, last: int, middle: int) -> nn.Module:
    half = nn.Module()
    half.conv_in, half.conv_out = conv(*((3, inputs) if last == middle else (3, middle))), conv(last, outputs)
    half.mid = nn.Module()
    half.mid.block_1, half.mid.block_2 = VQBlock(middle, middle), VQBlock(middle, middle)
    half.norm_out = norm(last, 1e-6)
    return half


class VQModel(nn.Module):
    """Three channels in, three latent channels; levels are halved but for the last."""

    def __init__(self, widths: tuple[int, ...], blocks: int, codes: int) -> None:
        super().__init__()
        coarse, fine = widths[-1], widths[0]
        encoder: Any = _half(fine, 3, coarse, coarse)
        decoder: Any = _half(coarse, 3, fine, coarse)
        encoder.down, decoder.up = nn.ModuleList(), nn.ModuleList()
        now = fine
        for level, width in enumerate(widths):
            down: Any = nn.Module()
            down.block = nn.ModuleList([VQBlock(now if i == 0 else width, width) for i in range(blocks)])
            if level < len(widths) - 1:
                down.downsample = nn.Module()
                down.downsample.conv = nn.Conv2d(width, width, 3, 2)
            encoder.down.append(down)
            now = width
        for level, width in reversed(list(enumerate(widths))):
            up: Any = nn.Module()
            up.block = nn.ModuleList([VQBlock(now if i == 0 else width, width) for i in range(blocks + 1)])
            if level:
                up.upsample = nn.Module()
                up.upsample.conv = conv(width, width)
            decoder.up.insert(0, up)
            now = width
        self.encoder, self.decoder = encoder, decoder
        self.quantize = nn.Module()
        self.quantize.embedding = nn.Embedding(codes, 3)
        self.quant_conv, self.post_quant_conv = conv(3, 3, 1), conv(3, 3, 1)

    def encode(self, x: Tensor) -> Tensor:
        half: Any = self.encoder
        x = half.conv_in(x)
        for down in half.down:
            for block in down.block:
                x = block(x)
            if hasattr(down, "downsample"):
                x = down.downsample.conv(F.pad(x, (0, 1, 0, 1)))
        x = half.mid.block_2(half.mid.block_1(x))
        result: Tensor = self.quant_conv(half.conv_out(F.silu(half.norm_out(x))))
        return result

    def decode(self, x: Tensor) -> Tensor:
        code_K3 = self.quantize.get_parameter("embedding.weight")
        nearest = torch.cdist(x.permute(0, 2, 3, 1).reshape(-1, 3), code_K3).argmin(1)
        half: Any = self.decoder
        x = half.conv_in(self.post_quant_conv(code_K3[nearest].reshape(len(x), *x.shape[2:], 3).permute(0, 3, 1, 2)))
        x = half.mid.block_2(half.mid.block_1(x))
        for up in reversed(half.up):
            for block in up.block:
                x = block(x)
            if hasattr(up, "upsample"):
                x = up.upsample.conv(double(x))
        result: Tensor = half.conv_out(F.silu(half.norm_out(x)))
        return result


def betas() -> Tensor:
    return torch.linspace(0.0015**0.5, 0.0205**0.5, 1000, dtype=torch.float64) ** 2


@torch.no_grad()
def ddim(unet: UNet, latent: Tensor, condition: Tensor, steps: int) -> Tensor:
    kept = np.cumprod(1 - betas().numpy())
    times = np.arange(0, 1000, 1000 // steps) + 1
    before = np.append(kept[0], kept[times[:-1]])
    for time, previous in zip(times[::-1], before[::-1], strict=True):
        noise = unet(torch.cat([latent, condition], dim=1), torch.full((len(latent),), int(time)))
        clean = (latent - math.sqrt(1 - kept[time]) * noise) / math.sqrt(kept[time])
        latent = math.sqrt(previous) * clean + math.sqrt(1 - previous) * noise
    return latent
