"""What each of two processes does in the tests of training together; they meet by the variables that torchrun would set."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from squares import make_training, silent, small_settings
from torch import nn

from trainer.autoencoder import make_autoencoder
from trainer.batches import StepBatches
from trainer.calibration import Network
from trainer.clips import load_training_data
from trainer.course import Around
from trainer.fit import fit_network
from trainer.processes import Processes, join_processes
from trainer.together import make_signals

CPU = torch.device("cpu")
FITTED: tuple[Network, ...] = ("temporal", "motion")
HERE = Path(__file__).parent


def run_pair(task: str, folder: Path, processes: int = 2) -> list["subprocess.CompletedProcess[str]"]:
    """Run this file once per process, until all have ended."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = []
    for rank in range(processes):
        ranks = {"RANK": str(rank), "WORLD_SIZE": str(processes), "LOCAL_RANK": str(rank)}
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
        path = os.pathsep.join([str(HERE), str(HERE.parents[1])])
        command = [sys.executable, __file__, task, str(folder)]
        environment = os.environ | ranks | place | {"PYTHONPATH": path}
        running.append(subprocess.Popen(command, env=environment, stdout=-1, stderr=-1, text=True))
    found = []
    for process in running:
        out, error = process.communicate(timeout=100)
        found.append(subprocess.CompletedProcess(process.args, process.returncode, out, error))
    return found


def normalise(processes: Processes, whole: torch.Tensor, network: nn.Module) -> dict[str, torch.Tensor]:
    """Return output, gradients and running statistics for this process's rows."""
    rows = processes.rows(len(whole))
    input_BCTHW = whole[rows].clone().requires_grad_()
    output_BCTHW = network(input_BCTHW)
    weight_BCTHW = torch.linspace(-1, 1, whole.numel()).view(whole.shape)[rows]
    (output_BCTHW.square() * weight_BCTHW).sum().backward()
    processes.add_up_gradients(network.parameters())
    gradients = {f"gradient.{name}": value.grad for name, value in network.named_parameters() if value.grad is not None}
    assert input_BCTHW.grad is not None
    buffers = {name: buffer for name, buffer in network.named_buffers() if buffer.is_floating_point()}
    return {"output": output_BCTHW.detach(), "gradient": input_BCTHW.grad, **gradients, **buffers}


def make_normalisation() -> tuple[torch.Tensor, nn.Module]:
    generator = torch.Generator().manual_seed(1)
    whole = torch.randn(4, 3, 2, 5, 6, generator=generator) * 3 + 100  # far from 0: a difference of sums would fail
    network = nn.Sequential(nn.BatchNorm3d(3))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([0.5, 1.0, 2.0]))
    return whole, network


def fit(processes: Processes, name: Network) -> dict[str, torch.Tensor]:
    """Train the temporal autoencoder or the motion network for a few steps.

    With seed 0 the motion network meets a gradient of about 0, of which Adam makes a step by rounding alone: weights are
    then 2e-5 apart even between one thread and two; with seeds 1, 2 and 3 they are 3e-7, 8e-7 and 7e-6.
    """
    settings = small_settings(seed=1, epochs=1.5, motion_epochs=1.5, precision="fp32", p_t=0.9, temporal_pa="bodies")
    data = load_training_data(make_training(1), settings, CPU, silent)
    signal = make_signals(data, settings)[name]
    found = fit_network(
        signal, data, settings, device=CPU, report=silent, around=Around(processes=processes)
    )
    return {**found.network.state_dict(), "losses": torch.tensor(found.losses)}


def gradients(processes: Processes) -> dict[str, torch.Tensor]:
    """Return the gradients of the first step."""
    settings = small_settings(p_t=0.9)
    data = load_training_data(make_training(1), settings, CPU, silent)
    batch = StepBatches(make_signals(data, settings)["temporal"], data, settings)[0].rows(processes.rows(4))
    network = make_autoencoder(channels=2, width=0.1, place=True, seed=1, device=CPU).train()
    processes.share(network)
    (batch.loss(network(batch.shown_BCTHW)) / processes.count).backward()
    processes.add_up_gradients(network.parameters())
    found = {name: parameter.grad for name, parameter in network.named_parameters()}
    return {name: gradient.contiguous() for name, gradient in found.items() if gradient is not None}


def everything(processes: Processes) -> dict[str, torch.Tensor]:
    """Return what all parts leave, by names that say which part."""
    whole, network = make_normalisation()
    processes.share(network)
    parts = {"norm": normalise(processes, whole, network), "first": gradients(processes)}
    parts |= {name: fit(processes, name) for name in FITTED}
    return {f"{part}.{name}": tensor.contiguous() for part, found in parts.items() for name, tensor in found.items()}


def main(task: str, folder: Path) -> None:
    with join_processes(CPU, 4) as processes:
        if task == "fail" and not processes.first:
            raise ValueError("this process had enough")
        save_file(everything(processes), folder / f"{processes.rank}.safetensors")


if __name__ == "__main__":
    arguments: Sequence[str] = sys.argv[1:]
    main(arguments[0], Path(arguments[1]))
