"""The 3D-convolutional autoencoder of STEAL-Net and LNTRA, whose family the paper's two autoencoders belong to.

Added here, as a choice: it is told where it looks. What is normal depends on the place (which way people walk, how large
and how fast they look), which a convolution cannot know beyond the reach of its padding.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.convolutions import TransposedConvolution, transposed_convolution

CHANNELS = (96, 128, 256, 256)
N = TypeVar("N", bound=nn.Module)
DRAWING = threading.Lock()
"""Held while weights are drawn: all threads of a process draw from one generator."""


class Trunk(nn.Module, ABC):
    """Four strided convolutions and the first two transposed ones: what the networks of this package have in common.

    ``width`` multiplies the channels 96-128-256-256 (rounded to multiples of 8, which is what vector units like).
    ``place`` appends two channels to the input, x and y from -1 to 1 (CoordConv: Liu et al., NeurIPS 2018).
    ``skips`` names levels of the encoder, 2 or 3, whose output is added to the decoder's of the same size (as U-Nets do).
    """

    def __init__(self, *, channels: int, width: float = 1.0, place: bool = False, skips: Sequence[int] = ()) -> None:
        super().__init__()
        self.place = place
        self.skips = tuple(skips)
        self.widths = tuple(max(8, round(count * width / 8) * 8) for count in CHANNELS)
        a, b, c, d = self.widths
        self.encoder = nn.Sequential(
            *_down(channels + 2 * place, a, stride=(1, 2, 2)),
            *_down(a, b, stride=(2, 2, 2)),
            *_down(b, c, stride=(2, 2, 2)),
            *_down(c, d, stride=(2, 2, 2)),
        )
        self.decoder = nn.Sequential(*_up(d, c), *_up(c, b))

    @abstractmethod
    def error_maps(self, clip_BCTHW: Tensor, cell: int, index_K: Sequence[int] | None = None) -> Tensor:
        """Return how little each place is like normal video; see :class:`trainer.indicators.Judge`."""

    def hidden(self, clip_BCTHW: Tensor) -> Tensor:
        """Return what is known of each 4 x 4 pixels of two frames, (B, D, T / 2, H / 4, W / 4); a stage is three layers."""
        level_1 = self.encoder[:3](with_place(clip_BCTHW) if self.place else clip_BCTHW)
        level_2 = self.encoder[3:6](level_1)
        level_3 = self.encoder[6:9](level_2)
        hidden = self.decoder[:3](self.encoder[9:](level_3))
        hidden = self.decoder[3:6](hidden + level_3 if 3 in self.skips else hidden)
        result: Tensor = hidden + level_2 if 2 in self.skips else hidden
        return result


class Autoencoder(Trunk):
    """Four strided convolutions and four transposed ones; 5,980,801 parameters with one channel, width 1, without place.

    Place is no part of the output. With skips far fewer steps are needed until people are reconstructed, at the price that
    more passes unchanged. For the rest see :class:`Trunk`.
    """

    def __init__(self, *, channels: int, width: float = 1.0, place: bool = False, skips: Sequence[int] = ()) -> None:
        super().__init__(channels=channels, width=width, place=place, skips=skips)
        a, b, *_ = self.widths
        self.decoder.extend(_up(b, a))
        self.output = TransposedConvolution(a, channels, stride=1)

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        """Return the reconstruction, (B, C, T, H, W) in -1..1; T a multiple of 8, H and W of 16."""
        reconstruction: Tensor = self.output(self.decoder[6:](self.hidden(clip_BCTHW))).tanh()
        return reconstruction

    def frames(self, clip_BCTHW: Tensor, index_K: Sequence[int]) -> Tensor:
        """Return only these frames of the reconstruction, (B, C, K, H, W); in evaluation mode, the same as ``forward``.

        The last layers work at full size and are slow; each frame of the output needs three frames of what precedes the
        last one, and these two or three elements of what precedes that.
        """
        if self.training:
            raise RuntimeError("frames() leaves frames out of the batch statistics: call eval() first")
        convolution, *pointwise = self.decoder[6:]
        hidden_BDTHW = self.hidden(clip_BCTHW)
        last = 2 * hidden_BDTHW.shape[2] - 1
        blocks = []
        for index in index_K:
            # frame t of what the convolution returns is made of elements t // 2 to (t + 1) // 2 of what it receives
            first, stop = max(0, index - 1), min(last, index + 1) + 1
            received = hidden_BDTHW[:, :, first // 2 : stop // 2 + 1]
            block_BA3HW = convolution(received)[:, :, first % 2 : first % 2 + stop - first]
            for layer in pointwise:
                block_BA3HW = layer(block_BA3HW)
            blocks.append(F.pad(block_BA3HW, (0, 0, 0, 0, int(index == 0), int(index == last))))
        shown_KBA3HW = torch.cat(blocks).contiguous(memory_format=torch.channels_last_3d)
        output = self.output
        frame_KBC1HW = transposed_convolution(shown_KBA3HW, output.weight, output.bias, stride=1, frames_padding=2)
        return torch.cat(frame_KBC1HW.tanh().chunk(len(index_K)), dim=2)

    def error_maps(self, clip_BCTHW: Tensor, cell: int, index_K: Sequence[int] | None = None) -> Tensor:
        """Return the squared error of some frames, or of all, mean over cells of ``cell`` x ``cell`` pixels."""
        if index_K is None:
            shown_BCKHW, reconstruction_BCKHW = clip_BCTHW, self(clip_BCTHW)
        else:
            shown_BCKHW, reconstruction_BCKHW = clip_BCTHW[:, :, list(index_K)], self.frames(clip_BCTHW, index_K)
        return F.avg_pool2d((reconstruction_BCKHW.float() - shown_BCKHW).square_().mean(1), cell)


def with_place(clip_BCTHW: Tensor) -> Tensor:
    """Return the clip with two channels more, (B, C + 2, T, H, W): x and y, -1 at the left and top, 1 at the other side."""
    batch, _, frames, height, width = clip_BCTHW.shape
    x_W = torch.linspace(-1, 1, width, dtype=clip_BCTHW.dtype, device=clip_BCTHW.device)
    y_H = torch.linspace(-1, 1, height, dtype=clip_BCTHW.dtype, device=clip_BCTHW.device)
    shape = (batch, 1, frames, height, width)
    place = [x_W.view(1, 1, 1, 1, -1).expand(shape), y_H.view(1, 1, 1, -1, 1).expand(shape)]
    return torch.cat([clip_BCTHW, *place], dim=1).contiguous(memory_format=torch.channels_last_3d)


def _down(inputs: int, outputs: int, *, stride: tuple[int, int, int]) -> tuple[nn.Module, ...]:
    convolution = nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1)
    return convolution, nn.BatchNorm3d(outputs), nn.LeakyReLU(0.2, inplace=True)


def _up(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    convolution = TransposedConvolution(inputs, outputs, stride=2)
    return convolution, nn.BatchNorm3d(outputs), nn.LeakyReLU(0.2, inplace=True)


def make_autoencoder(
    *,
    channels: int,
    width: float,
    place: bool = False,
    skips: Sequence[int] = (),
    seed: int,
    device: torch.device,
) -> Autoencoder:
    """Return an initialised network, see :func:`initialised`."""
    build = partial(Autoencoder, channels=channels, width=width, place=place, skips=skips)
    return initialised(build, seed, device)


def initialised(build: Callable[[], N], seed: int, device: torch.device) -> N:
    """Return a network with random weights; the same seed gives the same ones and leaves torch's own generator alone."""
    with DRAWING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build()
    return to_device(network, device)


def to_device(network: N, device: torch.device) -> N:
    """Move a network, weights in channels-last order (1.3 times faster on CPU, more with bf16)."""
    network.to(device)
    for parameter in network.parameters():
        if parameter.dim() == 5:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
    return network
