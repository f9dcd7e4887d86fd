"""Training from the command line: killed, told to stop, started again, with several processes, for several seeds."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from safetensors.torch import load_file
from street import ROOT, command, stpa

pytestmark = pytest.mark.timeout(400)  # the first test that needs the street makes it

SHORT = (
    *("--set", "train.objects=false", "--set", "train.calibration_windows=16", "--set", "train.discriminator_epochs=1"),
    *("--set", "train.epochs=0.6", "--set", "train.width=0.05"),
)
KEPT = ("--set", "train.checkpoint_steps=2")


@pytest.fixture
def project(street: Path, tmp_path: Path) -> Path:
    """Return the street with its own cache, of which only what training reads is there."""
    for name in ("street", "s.toml"):
        (tmp_path / name).symlink_to(street / name)
    cache = tmp_path / "cache" / "street"
    cache.mkdir(parents=True)
    for path in (street / "cache" / "street").iterdir():
        if path.name.partition("-")[0] in ("frames", "flows", "masks", "inpaint", "features", "inventory.json"):
            (shutil.copytree if path.is_dir() else shutil.copy)(path, cache / path.name)
    return tmp_path


def files(project: Path) -> dict[str, bytes]:
    """Return what the only complete training left."""
    (folder,) = project.glob("cache/street/train-*/data-*")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def start(project: Path, *options: str) -> "subprocess.Popen[str]":
    words = command("train", "--config", "s.toml", *options)
    return subprocess.Popen(words, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_checkpoint(project: Path, process: "subprocess.Popen[str]", after: Sequence[Path] = ()) -> list[Path]:
    """Wait until a checkpoint is there that was not before."""
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        found = sorted(project.glob("cache/street/.scratch/*/*/*/*.json"))
        if set(found) - set(after):
            return found
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    raise AssertionError("no checkpoint")


def test_a_training_that_was_killed_and_one_that_was_told_to_stop_end_as_an_undisturbed_one(project: Path) -> None:
    stpa(project, "train", *SHORT)
    undisturbed = files(project)
    shutil.rmtree(next(project.glob("cache/street/train-*")))
    killed = start(project, *SHORT, *KEPT)
    before = wait_for_checkpoint(project, killed)
    killed.kill()
    killed.communicate()
    told = start(project, *SHORT, *KEPT)
    before = wait_for_checkpoint(project, told, before)
    told.send_signal(signal.SIGTERM)
    _, error = told.communicate(timeout=60)
    assert told.returncode == 1
    assert "interrupted; what was finished is kept" in error
    assert "Traceback" not in error
    newest = max(project.glob("cache/street/.scratch/*/*/spatial/*.safetensors"))
    newest.write_bytes(newest.read_bytes()[:-9])
    last = stpa(project, "train", *SHORT, *KEPT)
    assert f"{newest.stem} is damaged" in last.stderr
    assert files(project) == undisturbed
    assert not (project / "cache/street/.scratch").exists()


def test_two_processes_of_torchrun_leave_the_training_of_one(project: Path) -> None:
    same = (*SHORT, "--set", "train.precision=fp32", "--set", "train.epochs=0.3")
    stpa(project, "train", *same)
    alone = load_file(next(project.glob("cache/street/train-*/data-*/spatial.safetensors")))
    (artifact,) = project.glob("cache/street/train-*")
    shutil.rmtree(artifact)
    done = subprocess.run(
        [*torchrun(), "-m", "stpa", "train", "--config", "s.toml", *same],
        cwd=project, env=environment(), capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder,) = artifact.glob("data-*")
    assert json.loads((folder / "bundle.json").read_text())["provenance"]["processes"] == 2
    for name, tensor in load_file(folder / "spatial.safetensors").items():
        bias_before_norm = name.endswith(".bias") and name.split(".")[1] in ("0", "3", "6", "9")
        if not bias_before_norm and not name.endswith("running_mean"):
            off = (tensor - alone[name]).abs().double()
            assert off.max() < 4e-3, name  # two steps: Adam makes a whole one of a gradient that is but rounding
            assert off.mean() < 1e-4, name
    assert "nothing to do" in stpa(project, "train", *same).stderr


def test_a_process_of_torchrun_that_dies_ends_the_command(project: Path) -> None:
    words = [*torchrun(), "-m", "stpa", "train", "--config", "s.toml", *SHORT, *KEPT, "--set", "train.epochs=50"]
    running = subprocess.Popen(
        words, cwd=project, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    wait_for_checkpoint(project, running)
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(running.pid)], capture_output=True, text=True, check=True)
    os.kill(int(listed.stdout.split()[-1]), signal.SIGKILL)
    running.communicate(timeout=90)
    assert running.returncode
    assert not list(project.glob("cache/street/train-*/data-*"))


def test_several_seeds_are_trained_and_evaluated_by_one_command_each(project: Path) -> None:
    stpa(project, "train", *SHORT, "--seeds", "2", "--set", "train.epochs=0.1", "--set", "train.seed=4")
    assert len(list(project.glob("cache/street/train-*/data-*"))) == 2
    told = stpa(project, "eval", *SHORT, "--seeds", "2", "--set", "train.epochs=0.1", "--set", "train.seed=4", "--json")
    found = json.loads(told.stdout)
    assert [run["seed"] for run in found["runs"]] == [4, 5]
    fused = found["protocols"]["paper"]["fused"]["micro_auc"]
    assert fused["mean"] == pytest.approx(sum(fused["values"]) / 2)
    table = stpa(project, "eval", *SHORT, "--seeds", "2", "--set", "train.epochs=0.1", "--set", "train.seed=4").stdout
    assert f"{fused['mean']:.3f} ± {fused['std']:.3f}" in table
    refused = stpa(project, "eval", "--seeds", "2", "--ablate", code=2)
    assert "--seeds" in refused.stderr


def torchrun() -> list[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port)]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
