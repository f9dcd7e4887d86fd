"""Kill -9 at random moments, run again, compare every byte: at least 50 kills, and a table of what was computed twice.

    python -m benchmarks.faults [--kills 60] [--seed 0]

Each round begins with an empty cache and runs ``stpa masks --upstream`` (frames, flows and masks of four small videos, 72
shards). One to three times it is hit at a moment drawn from the seed; after each hit every shard with a receipt must be what
an undisturbed run leaves, to the byte, and the same command runs again. After the last hit nothing disturbs it, and all
arrays must be the same. Hit are:

* the process itself, alone in this process or with its local workers (which must end by themselves, soon);
* one of its workers: the command must go on and end with 0;
* a worker of a Dask scheduler (two ``dask worker``, whose nannies start others): the command must go on and end with 0;
* the Dask scheduler: the command must end by itself, and the next one finds a new scheduler.

A shard that was begun more than once was computed twice: lost in flight, as its receipt was not written yet. One that was
begun again although its receipt lay there when the command started would be a fault, and ends the campaign.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from benchmarks.machine import machine

ROOT = Path(__file__).parents[1]
SETTINGS = """
[dataset]
name = "faults"

[frames]
height = 64
width = 96

[run]
shard_frames = 16
"""
VIDEOS, FRAMES = 4, 96
START_DASK = 2.0
"""Seconds until a scheduler has its workers, about: before that there is nothing to hit."""
GRACE = 5.0
"""Seconds in which workers must have noticed that the process that started them is gone."""


def write_videos(folder: Path) -> None:
    """Write pictures of bright squares that move over noise; two videos per split."""
    for number in range(VIDEOS):
        target = folder / ("train" if number % 2 else "test") / f"{number}"
        target.mkdir(parents=True)
        background = np.random.default_rng(number).integers(0, 99, (96, 128, 3)).astype(np.uint8)
        for i in range(FRAMES):
            picture = background.copy()
            picture[20 + 10 * number :][:24, i : i + 16] = 220
            cv2.imwrite(str(target / f"{i:03d}.png"), picture)


@dataclass(kw_only=True)
class Tally:
    """What came of the hits of one kind."""

    kills: int = 0
    rounds: int = 0
    shards: int = 0
    """Shards of all rounds."""
    twice: int = 0
    """Computations beyond one per shard: what was in flight when it was hit."""
    again: int = 0
    """Shards begun although their receipt lay there when the command started."""
    different: int = 0
    """Rounds whose arrays were not those of an undisturbed run."""
    untrue: int = 0
    """Files that a receipt vouched for, right after a hit, and that were other than an undisturbed run leaves."""
    orphans: int = 0
    """Workers that lived on after GRACE seconds without the process that started them."""
    failures: list[str] = field(default_factory=list)


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


def begun(log: Path) -> list[tuple[str, str, int]]:
    """Return stage, video and number of every shard that was begun, in order."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [(stage, video, int(index)) for stage, video, index in (line.split("\t") for line in lines)]


def receipts(project: Path) -> set[tuple[str, str, int]]:
    """Return stage, video and number of every shard that has its receipt."""
    found = set()
    for path in project.glob("cache/faults/*/receipts/*.json"):
        video, _, number = path.name.removesuffix(".json").rpartition(".")
        found.add((path.parts[-3].rpartition("-")[0], video, int(number.partition("-")[0])))
    return found


def arrays(project: Path) -> dict[str, bytes]:
    """Return every file below data/ but what interrupted writes left."""
    paths = [path for path in project.glob("cache/faults/*/data/**/*") if path.is_file() and ".partial-" not in path.name]
    return {path.relative_to(project).as_posix(): path.read_bytes() for path in paths}


def untrue(project: Path, expected: dict[str, bytes]) -> int:
    """Return how many files are vouched for by a receipt and are not as expected."""
    count = 0
    for path in project.glob("cache/faults/*/receipts/*.json"):
        artifact = path.parents[1]
        files = [artifact / file for file in json.loads(path.read_text())["files"]]
        names = [file.relative_to(project).as_posix() for file in files]
        count += sum(
            not file.is_file() or file.read_bytes() != expected[name] for file, name in zip(files, names, strict=True)
        )
    return count


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


def hit_process(command: Command, tally: Tally, moment: float) -> bool:
    """Kill the process after so many seconds; False if it had ended by then."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        command.process.wait(moment)
        return False
    command.process.kill()
    command.process.communicate()
    tally.orphans += wait_for_end(command.process.pid, GRACE)
    return True


def hit_worker(command: Command, tally: Tally, moment: float, rng: random.Random) -> bool:
    """Kill one worker, at the given moment or as soon as there is one; the command must end well all the same."""
    time.sleep(moment)
    while command.process.poll() is None and not command.workers():
        time.sleep(0.002)
    victims = command.workers()
    if not victims:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(rng.choice(victims), signal.SIGKILL)
    code, err = command.finish()
    if code != 0:
        tally.failures.append(f"after a worker was killed: exit code {code}: {err.strip()[-300:]}")
    return True


def hit_scheduler(command: Command, cluster: Cluster, tally: Tally, moment: float) -> bool:
    """Kill the scheduler; the command must end by itself, unless it had ended."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        command.process.wait(moment)
        return False
    cluster.scheduler.kill()
    try:
        code, err = command.finish()
    except subprocess.TimeoutExpired:
        command.process.kill()
        command.process.communicate()
        tally.failures.append("after the scheduler was killed the command did not end within 120 s")
        return True
    if code not in (0, 1, 5) or (code != 0 and "stpa: " not in err):
        tally.failures.append(f"after the scheduler was killed: exit code {code}: {err.strip()[-300:]}")
    return True


ALONE, PROCESS, WORKER = "the process, working alone", "the process, with two workers", "one of two workers"
DASK_WORKER, SCHEDULER = "one of two Dask workers", "the Dask scheduler"
KINDS = (ALONE, PROCESS, WORKER, DASK_WORKER, SCHEDULER)
"""What is hit."""


def hit_once(kind: str, project: Path, seconds: float, tally: Tally, rng: random.Random) -> Command:
    """Run the command and hit it at a moment of the time that it takes; return it, ended."""
    cluster = Cluster(project, project / "begun.log") if kind in (DASK_WORKER, SCHEDULER) else None
    command = Command(project, 1 if kind == ALONE else 2, cluster)
    try:
        moment = rng.uniform(0, seconds) + (START_DASK if cluster else 0)
        if kind == SCHEDULER:
            assert cluster is not None
            hit = hit_scheduler(command, cluster, tally, moment)
        elif kind in (WORKER, DASK_WORKER):
            hit = hit_worker(command, tally, moment, rng)
        else:
            hit = hit_process(command, tally, moment)
        tally.kills += hit
        if not hit:
            command.finish()
    finally:
        if cluster is not None:
            cluster.close()
    return command


def run_round(kind: str, folder: Path, expected: dict[str, bytes], seconds: float, tally: Tally, rng: random.Random) -> None:
    """Hit a run one to three times, finish it, and compare."""
    project = folder / "round"
    with fresh(folder, project):
        for _ in range(rng.choice((1, 1, 2, 3))):
            command = hit_once(kind, project, seconds, tally, rng)
            tally.untrue += untrue(project, expected)
            tally.again += command.repeated()
        last = Command(project, 2)
        code, err = last.finish()
        if code != 0:
            tally.failures.append(f"the last run: exit code {code}: {err.strip()[-300:]}")
        tally.again += last.repeated()
        counts = Counter(begun(last.log))
        tally.rounds += 1
        tally.shards += len(counts)
        tally.twice += sum(counts.values()) - len(counts)
        tally.different += arrays(project) != expected


@contextlib.contextmanager
def fresh(folder: Path, project: Path) -> Iterator[None]:
    """Give a round a project with videos and an empty cache, and take it away afterwards."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        Path(place, "data").symlink_to(folder / "data")
        Path(place, "s.toml").write_text(SETTINGS)
        project.symlink_to(place)
        yield
        project.unlink()


def print_table(tallies: dict[str, Tally], seconds: float, seed: int) -> None:
    """Print what happened as markdown."""
    print(f"\n{machine()}")
    print(f"seed {seed}; an undisturbed run takes {seconds:.1f} s\n")
    print(
        "| kill -9 of | kills | caches finished | shards in them | computed twice | made again after their receipt"
        " | untrue receipts | workers left behind | caches that differ |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for kind, tally in tallies.items():
        numbers = (
            tally.kills,
            tally.rounds,
            tally.shards,
            tally.twice,
            tally.again,
            tally.untrue,
            tally.orphans,
            tally.different,
        )
        print(f"| {kind} |", *(f"{number} |" for number in numbers))


def main() -> None:
    """Run the campaign; exit code 1 if anything was lost, repeated or different."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    tallies = {kind: Tally() for kind in arguments.kinds}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_videos(folder / "data")
        with fresh(folder, folder / "round"):
            start = time.perf_counter()
            first = Command(folder / "round", 1)
            code, err = first.finish()
            seconds = time.perf_counter() - start
            assert code == 0, err
            expected = arrays(folder / "round")
            assert len(begun(first.log)) == len(receipts(folder / "round")) > 0
        while (kills := sum(tally.kills for tally in tallies.values())) < arguments.kills:
            kind = min(tallies, key=lambda kind: tallies[kind].kills)
            run_round(kind, folder, expected, seconds, tallies[kind], rng)
            print(f"  {kills} of {arguments.kills} kills", file=sys.stderr, flush=True)
    print_table(tallies, seconds, arguments.seed)
    problems = [problem for tally in tallies.values() for problem in tally.failures]
    print(*problems, sep="\n", file=sys.stderr)
    if problems or any(tally.again or tally.untrue or tally.different or tally.orphans for tally in tallies.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
