"""Whoever makes shards on this machine: lost workers cost the shard in hand, and what is missing is said once."""

import multiprocessing
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

from pipeline.artifacts.plan import make_plan
from pipeline.config import ConfigError
from pipeline.execution.errors import ExecutionError
from pipeline.execution.executors import Executor, ThisProcess
from pipeline.execution.gpus import visible_gpus
from pipeline.execution.processes import LocalProcesses
from pipeline.execution.runner import Outcome, run_shards
from tests.pipeline.orders import begun, check_whole, loaded, make, open_orders, orders_of

EXECUTORS = [ThisProcess(), LocalProcesses(2)]


@pytest.mark.parametrize("executor", EXECUTORS, ids=["here", "processes"])
def test_every_shard_is_begun_once_and_models_are_loaded_once_per_process(tmp_path: Path, executor: Executor) -> None:
    workspace = open_orders(tmp_path, [3, 1, 2, 4])
    outcome = make(workspace, executor)
    assert (outcome.made, outcome.elsewhere, outcome.failures) == (10, 0, {})
    assert set(begun(workspace).values()) == {1}
    assert len(loaded(workspace)) == executor.workers()
    check_whole(workspace)
    assert make(workspace, executor).made == 0
    assert len(loaded(workspace)) == executor.workers()  # nothing is loaded for nothing


@pytest.mark.parametrize("executor", EXECUTORS, ids=["here", "processes"])
def test_what_may_pass_is_tried_three_times_after_the_others_and_bad_data_once(tmp_path: Path, executor: Executor) -> None:
    workspace = open_orders(tmp_path, [3, 3], v0_1_memory=2, v0_2_memory=9, v1_0_data=9)
    outcome = make(workspace, executor)
    assert outcome.made == 4
    assert outcome.failures == {
        "train/v0 shard 3": "CUDA out of memory (3 attempts)",
        "train/v1 shard 1": "frame 3 is damaged",
    }
    counts = begun(workspace)
    assert (counts["v0 1"], counts["v0 2"], counts["v1 0"], counts["v0 0"]) == (3, 3, 1, 1)


@pytest.mark.parametrize("executor", EXECUTORS, ids=["here", "processes"])
def test_what_models_lack_is_raised_as_itself(tmp_path: Path, executor: Executor) -> None:
    with pytest.raises(ConfigError, match=r"orders.model: expected weights"):
        make(open_orders(tmp_path, [2, 2], start_config=9), executor)
    with pytest.raises(FileNotFoundError, match="weights/nowhere"):
        make(open_orders(tmp_path, [2, 2], start_config=0, start_missing=9), executor)


@pytest.mark.parametrize("executor", EXECUTORS, ids=["here", "processes"])
def test_a_shard_that_asks_for_other_videos_is_a_mistake_of_its_stage(tmp_path: Path, executor: Executor) -> None:
    with pytest.raises(TypeError, match="depends on its own video only"):
        make(open_orders(tmp_path, [2], v0_0_videos=1), executor)


def test_a_killed_worker_costs_the_shard_in_its_hands_only(tmp_path: Path) -> None:
    workspace = open_orders(tmp_path, [4, 4], v0_1_kill=1)
    outcome = make(workspace, LocalProcesses(2))
    assert (outcome.made, outcome.failures) == (8, {})
    counts = begun(workspace)
    assert counts.pop("v0 1") == 2
    assert set(counts.values()) == {1}
    assert len(loaded(workspace)) == 3  # one process more, and no more than that
    check_whole(workspace)


def test_a_shard_that_kills_three_workers_is_reported_and_the_rest_goes_on(tmp_path: Path) -> None:
    workspace = open_orders(tmp_path, [3, 2], v0_1_kill=9)
    outcome = make(workspace, LocalProcesses(2))
    assert outcome.made == 4
    assert list(outcome.failures) == ["train/v0 shard 2"]
    assert "died" in outcome.failures["train/v0 shard 2"]
    assert begun(workspace)["v0 1"] == 3
    assert [(shard.record.id, shard.index) for shard in make_plan(workspace, "orders").missing] == [("v0", 1)]


def test_processes_that_die_before_they_are_ready_end_the_run_with_that_reason(tmp_path: Path) -> None:
    with pytest.raises(ExecutionError, match="before they are ready"):
        make(open_orders(tmp_path, [1], start_kill=99), LocalProcesses(2))
    workspace = open_orders(tmp_path, [2], start_kill=1)  # once may happen
    assert make(workspace, LocalProcesses(1)).made == 2


def test_what_another_run_made_since_the_plan_is_not_made_again(tmp_path: Path) -> None:
    workspace = open_orders(tmp_path, [3, 2])
    plan = make_plan(workspace, "orders")
    some = [shard for shard in plan.missing if shard.record.id == "v0"]
    run_shards(workspace, plan, some, lambda *_: None)
    outcome = run_shards(workspace, plan, plan.missing, lambda *_: None, others=True)
    assert (outcome.made, outcome.elsewhere) == (2, 3)
    assert set(begun(workspace).values()) == {1}


def make_together(tmp_path: Path, start: "threading.Barrier", results: "multiprocessing.SimpleQueue[Outcome]") -> None:
    start.wait(60)
    results.put(make(open_orders(tmp_path, [3, 2, 4])))


def test_runs_of_one_stage_at_once_do_not_do_the_work_twice(tmp_path: Path) -> None:
    workspace = open_orders(tmp_path, [3, 2, 4])
    (orders_of(workspace) / "nap").write_text("0.1")
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(2), context.SimpleQueue()
    runs = [context.Process(target=make_together, args=(tmp_path, start, results)) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
        assert run.exitcode == 0
    outcomes = [results.get(), results.get()]
    assert sum(outcome.made for outcome in outcomes) == 9
    assert not any(outcome.failures for outcome in outcomes)
    assert set(begun(workspace).values()) == {1}
    check_whole(workspace)


def test_what_a_run_had_in_work_when_it_was_killed_is_made_by_the_other(tmp_path: Path) -> None:
    workspace = open_orders(tmp_path, [2], v0_0_wait=1)
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(1), context.SimpleQueue()
    run = context.Process(target=make_together, args=(tmp_path, start, results))
    run.start()
    until = time.monotonic() + 60
    while not begun(workspace) and time.monotonic() < until:
        time.sleep(0.02)
    threading.Timer(1.5, run.kill).start()
    outcome = make(workspace)
    assert (outcome.made, begun(workspace)["v0 0"]) == (2, 2)
    run.join()
    check_whole(workspace)


def test_a_receipt_tells_its_run_and_what_took_the_time(tmp_path: Path) -> None:
    workspace = open_orders(tmp_path, [2])
    outcome = make(workspace)
    artifact = workspace.artifact("orders")
    receipts = [artifact.read_receipt(name) or {} for name in artifact.receipts()]
    assert len({receipt["provenance"]["run"] for receipt in receipts}) == 1
    for receipt in receipts:
        assert set(receipt["parts"]) == {"read", "compute", "write"}
        assert sum(receipt["parts"].values()) == pytest.approx(receipt["seconds"], abs=1e-3)
    assert sum(outcome.parts.values()) == pytest.approx(sum(receipt["seconds"] for receipt in receipts), abs=1e-2)
    assert outcome.slowest.split()[-1] in {"read", "compute", "write"}


def test_every_process_has_a_gpu_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.execution.processes.operational_settings", lambda stage: {"device": "auto"})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    workspace = open_orders(tmp_path, [2, 2, 2])
    make(workspace, LocalProcesses(3))
    assert sorted(line.split()[1] for line in loaded(workspace)) == ["3", "3", "5"]


def test_gpus_are_counted_without_cuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = """GPU 0: NVIDIA H100 (UUID: GPU-aaa)
  MIG 3g.40gb     Device  0: (UUID: MIG-one)
  MIG 3g.40gb     Device  1: (UUID: MIG-two)
GPU 1: NVIDIA H100 (UUID: GPU-bbb)
"""
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\ncat <<'END'\n{listing}END\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert visible_gpus() == ("MIG-one", "MIG-two", "GPU-bbb")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-x, 2")
    assert visible_gpus() == ("GPU-x", "2")
    for none in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", none)
        assert visible_gpus() == ()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: (_ for _ in ()).throw(FileNotFoundError()))
    assert visible_gpus() == ()


def test_the_disk_is_watched_while_shards_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = open_orders(tmp_path, [4])
    real = shutil.disk_usage

    def usage(path: object) -> object:
        full = len(workspace.artifact("orders").receipts()) >= 2
        return real("/")._replace(free=100) if full else real("/")

    monkeypatch.setattr(shutil, "disk_usage", usage)
    with pytest.raises(OSError, match="No space left on device, or nearly so: expected room for the shards") as caught:
        make(workspace)
    assert "100 bytes free" in str(caught.value)
    monkeypatch.undo()
    assert make(workspace).made == 2
    check_whole(workspace)
