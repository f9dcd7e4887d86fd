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
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.fault_processes import Cluster, Command, wait_for_end
from benchmarks.fault_project import arrays, begun, fresh, receipts, untrue, write_videos
from benchmarks.machine import machine

START_DASK = 2.0
"""Seconds until a scheduler has its workers, about: before that there is nothing to hit."""
GRACE = 5.0
"""Seconds in which workers must have noticed that the process that started them is gone."""


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
