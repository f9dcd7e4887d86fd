"""Two processes train as one does: the same batch, the same statistics, the same steps, but for rounding."""

from pathlib import Path

import pytest
import torch
from process_pair import FITTED, everything, make_normalisation, run_pair
from safetensors.torch import load_file
from torch import Tensor

from pipeline.config import ConfigError
from trainer.calibration import Network
from trainer.devices import pick_devices
from trainer.processes import Processes, SharedBatchNorm, join_processes

WEIGHT = 1e-5
"""How far the weights of a layer may be apart on average after nine steps of 1e-4 each; measured: 3e-6 against a process
of two threads, 4e-6 at most of any weight against one of one thread. A weight whose gradient is little more than rounding
may go elsewhere, as it does when one process has another number of threads: Adam makes a whole step of any gradient."""
STEPS = 9e-4


def is_cancelled(name: str) -> bool:
    """Say whether normalisation takes away again what it adds: its gradient is rounding, which Adam makes whole steps of."""
    return name.endswith("running_mean") or (name.endswith(".bias") and name.split(".")[1] in ("0", "3", "6", "9"))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Tensor]]:
    folder = tmp_path_factory.mktemp("pair")
    for process in run_pair("everything", folder):
        assert process.returncode == 0, process.stderr
    return [load_file(folder / f"{rank}.safetensors") for rank in range(2)]


@pytest.fixture(scope="module")
def alone() -> dict[str, Tensor]:
    return everything(Processes())


def part(found: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.partition(".")[2]: tensor for key, tensor in found.items() if key.startswith(f"{name}.")}


def test_batch_normalisation_sees_the_rows_of_both(pair: list[dict[str, Tensor]], alone: dict[str, Tensor]) -> None:
    (first, second), whole = (part(found, "norm") for found in pair), part(alone, "norm")
    for name in ("output", "gradient"):
        torch.testing.assert_close(torch.cat([first[name], second[name]]), whole[name], rtol=1e-4, atol=1e-4)
    for name in whole.keys() - {"output", "gradient"}:
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], whole[name], rtol=1e-4, atol=1e-4)


def test_rows_normalised_apart_would_have_been_noticed(alone: dict[str, Tensor]) -> None:
    whole, network = make_normalisation()
    apart = torch.cat([network(rows) for rows in whole.split(2)])
    assert (apart - part(alone, "norm")["output"]).abs().max() > 0.05


def test_gradients_of_the_first_step_are_those_of_one_process(
    pair: list[dict[str, Tensor]], alone: dict[str, Tensor]
) -> None:
    for name, expected in part(alone, "first").items():
        assert torch.equal(pair[0][f"first.{name}"], pair[1][f"first.{name}"])
        if not is_cancelled(name):
            assert (pair[0][f"first.{name}"] - expected).abs().max() < 1e-4 * expected.abs().max(), name


@pytest.mark.parametrize("network", FITTED)
def test_training_together_ends_where_training_alone_does(
    pair: list[dict[str, Tensor]], alone: dict[str, Tensor], network: Network
) -> None:
    first, second, whole = part(pair[0], network), part(pair[1], network), part(alone, network)
    torch.testing.assert_close(first["losses"], whole["losses"], rtol=1e-4, atol=0)
    for name, expected in whole.items():
        assert torch.equal(first[name], second[name]), name  # not even rounding may part them
        if expected.is_floating_point() and not is_cancelled(name):
            off = (first[name] - expected).abs()
            assert off.mean() <= WEIGHT, name
            assert off.max() <= STEPS, name


def test_a_process_that_fails_ends_the_other_one_too(tmp_path: Path) -> None:
    codes = [process.returncode for process in run_pair("fail", tmp_path)]
    assert all(codes)
    assert not list(tmp_path.iterdir())


def test_alone_nothing_is_exchanged_and_normalisation_stays_what_it_is() -> None:
    network = make_normalisation()[1]
    Processes().share(network)
    assert not isinstance(network.get_submodule("0"), SharedBatchNorm)
    with join_processes(torch.device("cpu"), 3) as processes:
        assert (processes, processes.rows(3)) == (Processes(), slice(0, 3))


def test_a_batch_that_cannot_be_dealt_out_evenly_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "here", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    refused = pytest.raises(ConfigError, match=r"train\.batch_size: expected a multiple of 2")
    with refused, join_processes(torch.device("cpu"), 3):
        pass
    with pytest.raises(ConfigError, match="expected one device under torchrun"):
        pick_devices("cpu,cpu")


def test_one_or_two_devices_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pick_devices("cpu") == (torch.device("cpu"),)
    assert pick_devices("cpu, cpu") == (torch.device("cpu"), torch.device("cpu"))
    with pytest.raises(ConfigError, match="expected one device, or two"):
        pick_devices("cpu,cpu,cpu")
    with pytest.raises(ConfigError, match="expected auto, cpu, cuda"):
        pick_devices("cpu,abacus")
