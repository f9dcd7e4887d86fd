"""The networks of RAFT as their authors built them (princeton-vl/RAFT, core/extractor.py and update.py), for tests."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def norm(kind: str, width: int) -> nn.Module:
    return {"batch": nn.BatchNorm2d(width), "instance": nn.InstanceNorm2d(width), "none": nn.Sequential()}[kind]


def conv(inputs: int, outputs: int, size: int | tuple[int, int] = 3, stride: int = 1) -> nn.Conv2d:
    rows, columns = (size, size) if isinstance(size, int) else size
    return nn.Conv2d(inputs, outputs, (rows, columns), stride, (rows // 2, columns // 2))


class ResidualBlock(nn.Module):
    def __init__(self, inputs: int, width: int, kind: str, stride: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv(inputs, width, 3, stride), conv(width, width)
        self.norm1, self.norm2 = norm(kind, width), norm(kind, width)
        self.downsample = None
        if stride > 1:
            self.norm3 = norm(kind, width)  # the same module as the one in downsample
            self.downsample = nn.Sequential(conv(inputs, width, 1, stride), self.norm3)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))))
        return F.relu((x if self.downsample is None else self.downsample(x)) + y)


class BottleneckBlock(nn.Module):
    def __init__(self, inputs: int, width: int, kind: str, stride: int) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = (
            conv(inputs, width // 4, 1),
            conv(width // 4, width // 4, 3, stride),
            conv(width // 4, width, 1),
        )
        self.norm1, self.norm2, self.norm3 = norm(kind, width // 4), norm(kind, width // 4), norm(kind, width)
        self.downsample = None
        if stride > 1:
            self.norm4 = norm(kind, width)
            self.downsample = nn.Sequential(conv(inputs, width, 1, stride), self.norm4)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))))
        y = F.relu(self.norm3(self.conv3(y)))
        return F.relu((x if self.downsample is None else self.downsample(x)) + y)


class Encoder(nn.Module):
    def __init__(self, block: Any, widths: tuple[int, int, int], outputs: int, kind: str) -> None:
        super().__init__()
        self.conv1, self.norm1 = conv(3, widths[0], 7, 2), norm(kind, widths[0])
        before = (widths[0], *widths)
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(block(before[i], widths[i], kind, 1 if i == 0 else 2), block(widths[i], widths[i], kind, 1))
            for i in range(3)
        )
        self.conv2 = conv(widths[2], outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm1(self.conv1(x)))
        result: Tensor = self.conv2(self.layer3(self.layer2(self.layer1(x))))
        return result


class MotionEncoder(nn.Module):
    def __init__(self, correlations: int, corr: tuple[int, ...], flow: tuple[int, int], outputs: int) -> None:
        super().__init__()
        self.convc1 = conv(correlations, corr[0], 1)
        if len(corr) > 1:
            self.convc2 = conv(corr[0], corr[1])
        self.convf1, self.convf2 = conv(2, flow[0], 7), conv(flow[0], flow[1])
        self.conv = conv(corr[-1] + flow[1], outputs - 2)

    def forward(self, flow: Tensor, corr: Tensor) -> Tensor:
        corr = F.relu(self.convc1(corr))
        if hasattr(self, "convc2"):
            corr = F.relu(self.convc2(corr))
        inside = F.relu(self.convf2(F.relu(self.convf1(flow))))
        return torch.cat([F.relu(self.conv(torch.cat([corr, inside], dim=1))), flow], dim=1)


class GRU(nn.Module):
    """ConvGRU (one pass of 3 x 3, names without a digit) or SepConvGRU (rows, then columns)."""

    def __init__(self, hidden: int, inputs: int, *, separate: bool) -> None:
        super().__init__()
        self.passes = ("1", "2") if separate else ("",)
        for digit in self.passes:
            size: int | tuple[int, int] = {"1": (1, 5), "2": (5, 1), "": 3}[digit]  # type: ignore[assignment]
            for letter in "zrq":
                self.add_module(f"conv{letter}{digit}", conv(hidden + inputs, hidden, size))

    def forward(self, hidden: Tensor, x: Tensor) -> Tensor:
        for digit in self.passes:
            both = torch.cat([hidden, x], dim=1)
            update = torch.sigmoid(self.get_submodule(f"convz{digit}")(both))
            reset = torch.sigmoid(self.get_submodule(f"convr{digit}")(both))
            new = torch.tanh(self.get_submodule(f"convq{digit}")(torch.cat([reset * hidden, x], dim=1)))
            hidden = (1 - update) * hidden + update * new
        return hidden


class UpdateBlock(nn.Module):
    def __init__(self, *, large: bool) -> None:
        super().__init__()
        if large:
            self.encoder = MotionEncoder(324, (256, 192), (128, 64), 128)
            self.gru = GRU(128, 256, separate=True)
        else:
            self.encoder = MotionEncoder(196, (96,), (64, 32), 82)
            self.gru = GRU(96, 146, separate=False)
        hidden, inside = (128, 256) if large else (96, 128)
        self.flow_head = nn.Module()
        self.flow_head.conv1, self.flow_head.conv2 = conv(hidden, inside), conv(inside, 2)
        if large:
            self.mask = nn.Sequential(conv(128, 256), nn.ReLU(), conv(256, 576, 1))

    def forward(self, hidden: Tensor, context: Tensor, corr: Tensor, flow: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        head: Any = self.flow_head
        hidden = self.gru(hidden, torch.cat([context, self.encoder(flow, corr)], dim=1))
        mask = 0.25 * self.mask(hidden) if hasattr(self, "mask") else None
        return hidden, head.conv2(F.relu(head.conv1(hidden))), mask


class RAFT(nn.Module):
    """Encoders and update block; what lies between them has no weights."""

    def __init__(self, *, large: bool) -> None:
        super().__init__()
        block, widths = (ResidualBlock, (64, 96, 128)) if large else (BottleneckBlock, (32, 64, 96))
        self.fnet = Encoder(block, widths, 256 if large else 128, "instance")
        self.cnet = Encoder(block, widths, 256 if large else 160, "batch" if large else "none")
        self.update_block = UpdateBlock(large=large)
