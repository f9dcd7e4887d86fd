"""Several processes that train one network together (``torchrun``): the same steps as one process takes, but for rounding.

What is added up over the processes, and in which order:
1. every process makes the whole batch of a step, by the same seed, and keeps its rows of it;
2. batch normalisation adds up sums over all rows, forwards and backwards, before anything is divided;
3. the loss of a process is its share of the mean over the batch: gradients are added up, not averaged;
4. every optimiser then takes the same step. Rank 0 alone writes, and decides when to stop.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pipeline.config import ConfigError
from pipeline.execution import ranks

PATIENCE = timedelta(minutes=10)
"""After which a process that waits for another one gives up."""


@dataclass(frozen=True)
class Processes:
    """Which process this is, of how many; alone unless torchrun started it."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this one writes."""
        return self.rank == 0

    def rows(self, batch_size: int) -> slice:
        """Return which clips of a batch are this process's."""
        share = batch_size // self.count
        return slice(self.rank * share, (self.rank + 1) * share)

    def add_up(self, tensor: Tensor) -> Tensor:
        """Add a tensor up over all processes, in place; returns it."""
        if self.count > 1:
            dist.all_reduce(tensor)
        return tensor

    def from_first(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite these tensors by those of the first process."""
        if self.count > 1:
            for tensor in tensors:
                whole = tensor if tensor.is_contiguous() else tensor.contiguous()
                dist.broadcast(whole, src=0)
                tensor.copy_(whole)

    def any(self, flag: bool, device: torch.device) -> bool:
        """Say whether the flag is set in any process."""
        return flag if self.count == 1 else bool(self.add_up(torch.tensor(float(flag), device=device)) > 0)

    def first_says(self, number: float, device: torch.device) -> float:
        """Return the number of the first process."""
        if self.count == 1:
            return number
        told = torch.tensor(number, dtype=torch.float64, device=device)
        self.from_first([told])
        return float(told)

    def add_up_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add up the gradients over all processes, in one message."""
        if self.count == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = self.add_up(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, summed in zip(gradients, torch.split(flat, [gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(summed.view(gradient.shape))

    def share(self, network: nn.Module) -> None:
        """Let the batch normalisation of a network see the rows of all processes."""
        if self.count == 1:
            return
        for module in list(network.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.BatchNorm3d):
                    setattr(module, name, SharedBatchNorm.of(child, self))


@contextmanager
def join_processes(device: torch.device, batch_size: int) -> Iterator[Processes]:
    """Join the others that torchrun started, for the time of the block.

    Raises
    ------
    ConfigError
        A batch cannot be dealt out in equal parts.
    """
    count = ranks.count()
    if count == 1:
        yield Processes()
        return
    if batch_size % count:
        raise ConfigError(f"train.batch_size: expected a multiple of {count}, the number of processes, found {batch_size}")
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Processes(rank=dist.get_rank(), count=count)
        dist.barrier()
    finally:
        dist.destroy_process_group()


class _AddUp(torch.autograd.Function):
    """The sum over all processes; backwards, too: what each of them makes of the sum depends on every summand."""

    @staticmethod
    def forward(context: Any, tensor: Tensor) -> Tensor:
        found = tensor.clone()
        dist.all_reduce(found)
        return found

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        found = gradient.clone()
        dist.all_reduce(found)
        return found


class SharedBatchNorm(nn.BatchNorm3d):
    """Batch normalisation over the rows of all processes, which hold equally many; alone it is what it is derived from.

    torch's SyncBatchNorm has no CPU implementation. Variance is that of differences from the shared mean: a difference of
    two sums would lose half of the digits.
    """

    processes = Processes()

    @classmethod
    def of(cls, other: nn.BatchNorm3d, processes: Processes) -> "SharedBatchNorm":
        """Return the same normalisation, with the same parameters."""
        found = cls(other.num_features, eps=other.eps, momentum=other.momentum)
        found._parameters, found._buffers = other._parameters, other._buffers
        found.processes = processes
        return found.train(other.training)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (B, C, T, H, W)."""
        if not self.training:
            return super().forward(input)
        axes, shape = (0, 2, 3, 4), (1, -1, 1, 1, 1)
        values = input.float()
        number = input.numel() // input.shape[1] * self.processes.count
        mean_C = _add_up(values.sum(axes)) / number
        centred = values - mean_C.view(shape)
        variance_C = _add_up(centred.square().sum(axes)) / number
        self._remember(mean_C.detach(), variance_C.detach() * (number / (number - 1)))
        scale_C = self.weight * (variance_C + self.eps).rsqrt()
        return (centred * scale_C.view(shape) + self.bias.view(shape)).to(input.dtype)

    def _remember(self, mean_C: Tensor, variance_C: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean_C, self.momentum)
        self.running_var.lerp_(variance_C, self.momentum)


def _add_up(tensor: Tensor) -> Tensor:
    found: Tensor = _AddUp.apply(tensor)
    return found
