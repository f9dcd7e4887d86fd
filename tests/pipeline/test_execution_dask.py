"""The workers of a Dask scheduler, started by hand as users do: lost workers, wrong workers, a lost scheduler."""

import io
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.config import ConfigError
from pipeline.execution.errors import ExecutionError
from pipeline.execution.on_dask import DaskWorkers
from tests.pipeline.orders import begun, check_whole, loaded, make, open_orders, orders_of

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
MORTAL = ("--idle-timeout", "180s")  # nothing outlives tests that were killed


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Cluster:
    """``dask scheduler`` and ``dask worker`` processes on loopback."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.address = f"tcp://127.0.0.1:{free_port()}"
        self.processes: list[subprocess.Popen[bytes]] = []
        port = self.address.rpartition(":")[2]
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", port, *MORTAL)
        self._wait_for(lambda log: "Scheduler at" in log, "scheduler")

    def _start(self, role: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
        command = [sys.executable, "-m", "dask", role, "--no-dashboard", *arguments]
        with (self._folder / f"{role}.log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=self._folder, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        self.processes.append(process)
        return process

    def _wait_for(self, ready: Callable[[str], bool], role: str) -> None:
        until = time.monotonic() + PATIENCE
        while not ready(self.log(role)):
            assert time.monotonic() < until, self.log(role)
            time.sleep(0.05)

    def log(self, role: str) -> str:
        return (self._folder / f"{role}.log").read_text()

    def add_workers(self, count: int = 1, **environment: str) -> None:
        """Start a ``dask worker`` with so many processes, which a nanny replaces when they die, and wait for them."""
        before = self.log("worker").count("Registered to") if (self._folder / "worker.log").exists() else 0
        arguments = ("--nworkers", str(count), "--nthreads", "1", "--host", "127.0.0.1", "--memory-limit", "0")
        mortal = ("--death-timeout", "60", "--local-directory", str(self._folder))
        self._start("worker", self.address, *arguments, *mortal, **environment)
        self._wait_for(lambda log: log.count("Registered to") >= before + count, "worker")

    def close(self) -> None:
        for process in reversed(self.processes):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    folder.mkdir(exist_ok=True)
    cluster = Cluster(folder)
    try:
        yield cluster
    finally:
        cluster.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("cluster")) as cluster:
        cluster.add_workers(2)
        yield cluster


def test_workers_make_every_shard_once_and_keep_their_models_for_the_next_run(cluster: Cluster, tmp_path: Path) -> None:
    workspace = open_orders(tmp_path, [3, 1, 2, 4])
    (orders_of(workspace) / "scattered").touch()
    outcome = make(workspace, DaskWorkers(cluster.address))
    assert (outcome.made, outcome.elsewhere, outcome.failures) == (10, 0, {})
    assert set(begun(workspace).values()) == {1}
    assert len(loaded(workspace)) == DaskWorkers(cluster.address).workers() == 2
    check_whole(workspace)
    for name in list(workspace.artifact("orders").receipts())[:5]:
        workspace.artifact("orders").remove_receipt(name)
    assert make(workspace, DaskWorkers(cluster.address)).made == 5
    assert len(loaded(workspace)) == 2


def test_failures_are_told_and_retried_there_too(cluster: Cluster, tmp_path: Path) -> None:
    workspace = open_orders(tmp_path, [3, 3], v0_1_memory=2, v0_2_memory=9, v1_0_data=9)
    outcome = make(workspace, DaskWorkers(cluster.address))
    assert outcome.made == 4
    assert sorted(outcome.failures.values()) == ["CUDA out of memory (3 attempts)", "frame 3 is damaged"]
    with pytest.raises(ConfigError, match=r"orders.model: expected weights"):
        make(open_orders(tmp_path / "other", [2], start_config=9), DaskWorkers(cluster.address))


def test_a_killed_worker_costs_the_shard_in_its_hands_only(cluster: Cluster, tmp_path: Path) -> None:
    workspace = open_orders(tmp_path, [4, 4], v0_1_kill=1)
    outcome = make(workspace, DaskWorkers(cluster.address))
    assert (outcome.made, outcome.elsewhere, outcome.failures) == (8, 0, {})
    counts = begun(workspace)
    assert counts.pop("v0 1") == 2
    assert set(counts.values()) == {1}
    check_whole(workspace)


def test_a_shard_that_kills_worker_after_worker_is_reported_and_the_rest_goes_on(cluster: Cluster, tmp_path: Path) -> None:
    workspace = open_orders(tmp_path, [3, 2], v0_1_kill=99)
    outcome = make(workspace, DaskWorkers(cluster.address))
    assert outcome.made == 4
    assert list(outcome.failures) == ["train/v0 shard 2"]
    assert re.search(r"\d workers died while they made it", outcome.failures["train/v0 shard 2"])
    assert 3 <= begun(workspace)["v0 1"] <= 4


def test_workers_with_other_code_or_weights_are_named_and_left_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with running(tmp_path / "cluster") as cluster:
        cluster.add_workers(PYTHONPATH="")  # without the stage
        with pytest.raises(ExecutionError, match=r"(?s)no worker fits.*expected the same stpa .*No module named"):
            make(open_orders(tmp_path, [2]), DaskWorkers(cluster.address))
        cluster.add_workers(ORDERS_WEIGHTS="others")
        with pytest.raises(ExecutionError, match=r"(?s)expected orders under key .*: other code or weights"):
            make(open_orders(tmp_path, [2]), DaskWorkers(cluster.address))
        cluster.add_workers()
        capfd.readouterr()
        workspace = open_orders(tmp_path, [3, 2])
        assert make(workspace, DaskWorkers(cluster.address)).made == 5
        assert capfd.readouterr().err.count("is not used: ") == 2
        assert len(loaded(workspace)) == 1


def test_a_worker_that_sees_another_cache_is_named(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "cwd", lambda: Path("/proc/1/nowhere"))  # no such folder for the workers
    monkeypatch.chdir(tmp_path)
    workspace = open_orders(tmp_path, [2], "run.cache='cache'")
    with pytest.raises(ExecutionError, match=r"expected the cache of this run, found no cache/"):
        make(workspace, DaskWorkers(cluster.address))
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert make(workspace, DaskWorkers(cluster.address)).made == 2  # relative to where the run was started


def test_workers_may_come_late_and_a_lost_scheduler_ends_the_run_with_one_reason_and_no_traceback(tmp_path: Path) -> None:
    shown = logging.StreamHandler(io.StringIO())
    logging.getLogger("distributed").addHandler(shown)
    try:
        lose_the_scheduler(tmp_path)
        time.sleep(1)  # a loop of its own logs what it lost
        assert "Traceback" not in shown.stream.getvalue()
        logging.getLogger("distributed.client").error("a plain line")
        assert "a plain line" in shown.stream.getvalue()
    finally:
        logging.getLogger("distributed").removeHandler(shown)


def lose_the_scheduler(tmp_path: Path) -> None:
    with running(tmp_path / "cluster") as cluster:
        workspace = open_orders(tmp_path, [3])
        late = threading.Timer(3, cluster.add_workers)
        late.start()
        assert make(workspace, DaskWorkers(cluster.address)).made == 3
        late.join()

        workspace = open_orders(tmp_path, [3, 40], v1_2_wait=30)
        doom = threading.Thread(target=kill_once_begun, args=(cluster, orders_of(workspace) / "begun"))
        doom.start()
        with pytest.raises(ExecutionError, match=r"tcp://.*: expected the scheduler .* found it gone .* start one"):
            make(workspace, DaskWorkers(cluster.address))
        doom.join()


def kill_once_begun(cluster: Cluster, begun: Path) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and "v1 2" not in begun.read_text():
        time.sleep(0.05)
    os.killpg(cluster.scheduler.pid, signal.SIGKILL)


def test_an_address_where_nobody_answers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import dask

    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        with pytest.raises(ExecutionError, match="no Dask scheduler answers there"):
            DaskWorkers(f"tcp://127.0.0.1:{free_port()}").workers()
        for nonsense in ("nonsense", "tcp://host", "tcp://host:port", ""):
            with pytest.raises(ConfigError, match="tcp://host:8786"):
                DaskWorkers(nonsense).workers()


def test_a_scheduler_that_goes_before_it_said_who_works_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        """What the library's client is then."""

        def __init__(self, *arguments: object, **options: object) -> None:
            pass

        def __enter__(self) -> "Silent":
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def scheduler_info(self, n_workers: int) -> dict[str, object]:
            return {}

    monkeypatch.setattr("pipeline.execution.on_dask._Client", Silent)
    with pytest.raises(ExecutionError, match="found it gone"):
        DaskWorkers("tcp://127.0.0.1:9").workers()
