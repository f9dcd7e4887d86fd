"""Processes that ``benchmarks/faults.py`` starts and kills: the command, its workers, a Dask scheduler and its workers."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.fault_project import begun, receipts

ROOT = Path(__file__).parents[1]


class Cluster:
    """A Dask scheduler and two workers on this machine, started by hand, each with a process group of its own."""

    def __init__(self, project: Path, log: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        host, port = self.address.removeprefix("tcp://").split(":")
        environment = {**os.environ, "STPA_FAULTS_LOG": str(log), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        dask = [sys.executable, "-m", "dask"]
        scheduler = [*dask, "scheduler", "--host", host, "--port", port, "--no-dashboard"]
        worker = [*dask, "worker", self.address, "--nthreads", "1", "--no-dashboard", "--local-directory", str(project)]
        null = subprocess.DEVNULL
        commands = [scheduler, [*worker, "--death-timeout", "10"], [*worker, "--death-timeout", "10"]]
        self._processes = [
            subprocess.Popen(each, cwd=project, env=environment, stdout=null, stderr=null, start_new_session=True)
            for each in commands
        ]
        self.scheduler = self._processes[0]

    def workers(self) -> list[int]:
        """Return the processes that compute: children of the nannies."""
        nannies = [process.pid for process in self._processes[1:]]
        found = [pid for nanny in nannies for pid in members(nanny) if pid != nanny]
        return [pid for pid in found if "spawn_main" in command_line(pid)]

    def close(self) -> None:
        """End all of it."""
        for process in self._processes:
            wait_for_end(process.pid, 0)
            process.wait()


class Command:
    """One run of ``stpa masks --upstream`` in a session, and so a process group, of its own."""

    def __init__(self, project: Path, workers: int, cluster: Cluster | None = None) -> None:
        self.log = project / "begun.log"
        self._known = receipts(project)
        self._before = len(begun(self.log))
        command = [sys.executable, "-c", "from benchmarks.fault_stages import main; main()", "masks", "--upstream"]
        who = ["--scheduler", cluster.address] if cluster else ["--workers", str(workers)]
        self._cluster = cluster
        environment = {**os.environ, "STPA_FAULTS_LOG": str(self.log), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [*command, "--config", "s.toml", *who],
            cwd=project,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def finish(self) -> tuple[int, str]:
        """Wait for its end; return exit code and what it said."""
        _, err = self.process.communicate(timeout=120)
        return self.process.returncode, err

    def workers(self) -> list[int]:
        """Return the processes that compute for it, and that are alive."""
        if self._cluster is not None:
            return self._cluster.workers()
        return [pid for pid in members(self.process.pid) if pid != self.process.pid and "spawn_main" in command_line(pid)]

    def repeated(self) -> int:
        """Return how many shards it began although they were receipted when it started."""
        return sum(shard in self._known for shard in begun(self.log)[self._before :])


def members(group: int) -> list[int]:
    """Return the living processes of a process group."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, _, pgrp = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(pgrp) == group and state not in "ZX":
                found.append(int(folder.name))
    return found


def command_line(pid: int) -> str:
    """Return how a process was started; empty if it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def wait_for_end(group: int, seconds: float) -> int:
    """Wait until a process group is empty; end what is left of it then, and return how many that were."""
    deadline = time.monotonic() + seconds
    while (left := members(group)) and time.monotonic() < deadline:
        time.sleep(0.01)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len([pid for pid in left if "spawn_main" in command_line(pid)])
