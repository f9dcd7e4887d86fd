"""Transposed convolutions of the autoencoders: torch's own, but for the two of its ways on the CPU that are slow.

Measured on one core with bfloat16 at 16 x 256 x 256, batch 4, where a step took 5.6 s of the processor's time:

* The gradient of the bias is counted by torch's library (oneDNN 3.12) one number at a time: 0.73 s in the layer 128 -> 96
  alone, 0.85 s of every step. A sum over the gradient of the output is the same number and takes 0.03 s.
* The last layer makes one or few channels, where the library counts sixteen: 0.45 s. One product of matrices, whose rows are
  the 27 positions of the kernel, and adding up where they lie take 0.10 s (0.85 s and 0.17 s in fp32).

Weights, names and mathematics are those of ``nn.ConvTranspose3d``; only the order of roundings differs. On other
devices it is what runs.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Three = tuple[int, int, int]
ONES: Three = (1, 1, 1)


class TransposedConvolution(nn.ConvTranspose3d):
    """A transposed convolution 3 x 3 x 3 that doubles height and width, and the number of frames where ``stride`` is 2."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__(inputs, outputs, 3, stride=(stride, 2, 2), padding=1, output_padding=(stride - 1, 1, 1))

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return (B, outputs, stride * T, 2H, 2W) of (B, inputs, T, H, W); another size cannot be asked for."""
        assert output_size is None
        return transposed_convolution(input, self.weight, self.bias, stride=self.stride[0])


def transposed_convolution(
    input_BITHW: Tensor, weight_IO333: Tensor, bias_O: Tensor | None, *, stride: int, frames_padding: int = 1
) -> Tensor:
    """Return ``F.conv_transpose3d`` with strides (``stride``, 2, 2) and padding (``frames_padding``, 1, 1).

    Of the type that autocast says; what is added up here, the last layer on a CPU, is float32.
    """
    assert bias_O is not None
    if input_BITHW.device.type != "cpu":
        return F.conv_transpose3d(
            input_BITHW,
            weight_IO333,
            bias_O,
            stride=(stride, 2, 2),
            padding=(frames_padding, 1, 1),
            output_padding=(stride - 1, 1, 1),
        )
    if torch.is_autocast_enabled("cpu"):
        input_BITHW = input_BITHW.to(torch.get_autocast_dtype("cpu"))
    found: Tensor = _OnCpu.apply(input_BITHW, weight_IO333, bias_O, stride, frames_padding)
    return found


class _OnCpu(torch.autograd.Function):
    """Weight and bias are kept in float32 and rounded here. Sums of their gradients are rounded once, at the end."""

    @staticmethod
    def forward(
        context: Any, input_BITHW: Tensor, weight_IO333: Tensor, bias_O: Tensor, stride: int, frames_padding: int
    ) -> Tensor:
        weight = weight_IO333.to(input_BITHW.dtype)
        context.save_for_backward(input_BITHW, weight)
        context.shape = ((stride, 2, 2), (frames_padding, 1, 1), ONES, True, (stride - 1, 1, 1), 1)
        if stride == 1 and weight.shape[1] <= FEW:
            return _few_channels(input_BITHW, weight, bias_O, frames_padding)
        return torch.convolution(input_BITHW, weight, bias_O.to(input_BITHW.dtype), *context.shape)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None, None]:
        input_BITHW, weight = context.saved_tensors
        rounded = gradient.to(input_BITHW.dtype)
        wanted = (context.needs_input_grad[0], True, False)
        of_input, of_weight, _ = torch.ops.aten.convolution_backward(
            rounded, input_BITHW, weight, None, *context.shape, wanted
        )
        return of_input, of_weight.float(), gradient.sum((0, 2, 3, 4)).float(), None, None


FEW = 3
"""Up to so many channels are made at once with the positions of the kernel."""


def _few_channels(input_BITHW: Tensor, weight_IO333: Tensor, bias_O: Tensor, frames_padding: int) -> Tensor:
    """Return the transposed convolution with stride (1, 2, 2), (B, O, T, 2H, 2W) float32.

    1. One product of matrices makes what each place gives to the 3 x 3 x 3 places around it.
    2. A frame of the output takes from the frame before, the one at its own place, and the one after.
    3. In the plane, an even row of the output lies on a row of the input and takes row 1 of the kernel; an odd one lies
       between two and takes row 2 of the upper and row 0 of the lower one. Columns alike.
    """
    batch, inputs, frames, height, width = input_BITHW.shape
    kernel_MI = weight_IO333.permute(2, 3, 4, 1, 0).reshape(-1, inputs)
    place_NI = input_BITHW.permute(0, 2, 3, 4, 1).reshape(-1, inputs)
    given = (kernel_MI @ place_NI.t()).view(3, 3, 3, -1, batch, frames, height, width)
    there = frames - frames_padding
    plane_33OBTHW = given[1, ..., frames_padding - 1 : there + 1, :, :].float()
    plane_33OBTHW[..., :there, :, :] += given[0, ..., frames_padding:, :, :]
    plane_33OBTHW[..., 2 - frames_padding :, :, :] += given[2, ..., :there, :, :]
    shape = (len(bias_O), batch, plane_33OBTHW.shape[-3])
    found = bias_O.float().view(-1, 1, 1, 1, 1, 1, 1).expand(*shape, height, 2, width, 2).contiguous()
    for row, (odd_row, lower) in enumerate(PLACES):
        for column, (odd_column, right) in enumerate(PLACES):
            part = found[..., : height - lower, odd_row, : width - right, odd_column]
            part += plane_33OBTHW[row, column, ..., lower:, right:]
    return found.view(*shape, 2 * height, 2 * width).transpose(0, 1)


PLACES = ((1, 1), (0, 0), (1, 0))
"""For each row of the kernel: whether it gives to odd rows of the output, and whether these lie above what gives."""
