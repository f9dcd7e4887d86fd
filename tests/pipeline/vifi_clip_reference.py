"""The image tower of ViFi-CLIP as its authors built it (OpenAI's clip/model.py), for tests."""

import torch
from torch import Tensor, nn


class QuickGELU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, width // 64, batch_first=True)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", QuickGELU())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False)[0]
        result: Tensor = x + self.mlp(self.ln_2(x))
        return result


class ImageEncoder(nn.Module):
    def __init__(self, size: int, patch: int, width: int, layers: int, length: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(width))
        self.positional_embedding = nn.Parameter(torch.randn((size // patch) ** 2 + 1, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = nn.Module()
        self.transformer.resblocks = nn.Sequential(*(Block(width) for _ in range(layers)))
        self.proj = nn.Parameter(torch.randn(width, length) / width**0.5)

    def forward(self, pixel_BCHW: Tensor) -> Tensor:
        patch_BND = self.conv1(pixel_BCHW).flatten(2).transpose(1, 2)
        first_B1D = self.class_embedding.expand(len(patch_BND), 1, -1)
        place_BND = self.ln_pre(torch.cat([first_B1D, patch_BND], dim=1) + self.positional_embedding)
        result: Tensor = self.ln_post(self.transformer.get_submodule("resblocks")(place_BND)[:, 0]) @ self.proj
        return result
