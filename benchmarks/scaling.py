"""A plan on paper: shards, bytes, time, store requests and scheduler load of a dataset on many workers, from measured rates.

    python -m benchmarks.scaling CACHE [--workers 64] [--train 330 259209] [--test 107 40791] [--rate STAGE=FRAMES_PER_S ...]

CACHE is the folder of a dataset whose stages are made (cache/demo): seconds and bytes per frame are those of its receipts. A
rate given by hand, such as that of a GPU, takes the place of a measured one. The default dataset is as large as ShanghaiTech
(videos and frames of either split). Requests are counted by running the stages on a store in memory with short and with
longer videos; what the scheduler can take is measured with empty tasks. docs/scaling.md explains the columns.
"""

import argparse
import json
import math
import re
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.engine_runs import write_videos
from benchmarks.machine import machine
from pipeline.artifacts.plan import make_plan
from pipeline.artifacts.url_place import UrlPlace
from pipeline.contract import Stage
from pipeline.execution.runner import run_shards
from pipeline.execution.split import PIECES_PER_WORKER
from pipeline.session import open_session
from pipeline.stages.flows import FlowsStage
from pipeline.stages.frames import FramesStage
from pipeline.stages.masks import MasksStage

STAGES = {"frames": 2, "flows": 2, "masks": 1, "inpaint": 1, "features-normal": 2, "features": 1}
"""Stage -> how many splits it covers: both, or the training split."""
COUNTED: tuple[type[Stage], ...] = (FramesStage, FlowsStage, MasksStage)
VERBS = {
    "read": "GET",
    "require": "GET",
    "is_file": "HEAD",
    "write": "PUT",
    "names": "LIST",
    "tree": "LIST",
    "remove": "DELETE",
}
STEP = 16


@dataclass(frozen=True, kw_only=True)
class Rate:
    """What a frame costs."""

    seconds: float
    bytes: float


def measured_rates(cache: Path) -> dict[str, Rate]:
    """Return seconds and bytes per frame of each stage, as its receipts tell."""
    rates = {}
    for name in STAGES:
        frames, seconds, size = 0, 0.0, 0
        for folder in cache.glob(f"{name}-*"):
            if not re.fullmatch(f"{name}-[0-9a-f]{{16}}", folder.name):
                continue
            for path in folder.glob("receipts/*@*.json"):
                receipt = json.loads(path.read_bytes())
                frames += receipt["stop"] - receipt["start"]
                seconds += receipt["seconds"]
                size += sum((folder / file).stat().st_size for file in receipt["files"])
        if frames:
            rates[name] = Rate(seconds=seconds / frames, bytes=size / frames)
    return rates


def count_requests(frames: int) -> tuple[Counter[tuple[str, str]], int]:
    """Make the light stages of two videos in a store in memory; return (stage, verb) -> calls, and the shards per stage."""
    counts: Counter[tuple[str, str]] = Counter()
    current = [""]

    def counting(name: str) -> Any:
        real = getattr(UrlPlace, name)

        def call(self: UrlPlace, *arguments: Any, **more: Any) -> Any:
            counts[current[0], VERBS[name]] += 1
            return real(self, *arguments, **more)

        return call

    with tempfile.TemporaryDirectory() as place:
        write_videos(Path(place), 2, frames, (64, 96))
        overrides = [f"dataset.root='{place}/data'", f"run.cache='memory://scaling-{frames}'", f"run.shard_frames={STEP}"]
        overrides += ["frames.height=64", "frames.width=96", f"dataset.name=n{frames}"]
        workspace = open_session(None, overrides, COUNTED).workspace
        with patch.multiple(UrlPlace, **{name: counting(name) for name in VERBS}):
            for stage in workspace.stages:
                current[0] = stage
                plan = make_plan(workspace, stage)
                run_shards(workspace, plan, plan.missing, lambda what, done, total: None)
    return counts, 2 * -(-frames // STEP)


def requests_per_shard() -> dict[str, dict[str, float]]:
    """Return stage -> verb -> requests per further shard of a video."""
    (few, before), (many, after) = count_requests(2 * STEP), count_requests(6 * STEP)
    return {
        stage.name: {
            verb: (many[stage.name, verb] - few[stage.name, verb]) / (after - before) for verb in ("GET", "HEAD", "PUT")
        }
        for stage in COUNTED
    }


def scheduler_rate(tasks: int = 300) -> float:
    """Return how many empty tasks per second go through a Dask scheduler when the next waits for the one before."""
    import distributed

    dask: Any = distributed  # which has no types
    with (
        dask.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster,
        dask.Client(cluster) as client,
    ):
        client.submit(int, 0, pure=False).result()
        start = time.perf_counter()
        for number in range(tasks):
            client.submit(int, number, pure=False).result()
        return tasks / (time.perf_counter() - start)


def print_plan(rates: dict[str, Rate], arguments: argparse.Namespace, requests: dict[str, dict[str, float]]) -> None:
    """Print a row per stage."""
    workers, step = arguments.workers, arguments.shard_frames
    print(f"\n| stage | frames | shards | ms per frame | minutes on {workers} | GB written | pieces/s | requests/s |")
    print("|---|---|---|---|---|---|---|---|")
    for name, splits in STAGES.items():
        if name not in rates:
            continue
        parts = (arguments.train, arguments.test)[:splits]
        frames = sum(frames for _, frames in parts)
        shards = sum(videos * math.ceil(frames / videos / step) for videos, frames in parts)
        seconds = max(frames * rates[name].seconds / workers / arguments.efficiency, step * rates[name].seconds)
        pieces = min(shards, workers * PIECES_PER_WORKER + sum(videos for videos, _ in parts))
        per_shard = sum(requests.get(name, requests["masks"]).values())
        print(
            f"| {name} | {frames:,} | {shards:,} | {1000 * rates[name].seconds:.2f} | {seconds / 60:.1f} "
            f"| {frames * rates[name].bytes / 1e9:.1f} | {pieces / seconds:.1f} | {shards * per_shard / seconds:.0f} |"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--train", type=int, nargs=2, default=(330, 259_209), metavar=("VIDEOS", "FRAMES"))
    parser.add_argument("--test", type=int, nargs=2, default=(107, 40_791), metavar=("VIDEOS", "FRAMES"))
    parser.add_argument("--shard-frames", type=int, default=128)
    parser.add_argument("--efficiency", type=float, default=0.9, help="of many workers; benchmarks/engine.py measures it")
    parser.add_argument("--rate", nargs="+", default=[], metavar="STAGE=FRAMES_PER_SECOND")
    arguments = parser.parse_args()
    rates = measured_rates(arguments.cache)
    for given in arguments.rate:
        name, _, value = given.partition("=")
        rates[name] = Rate(seconds=1 / float(value), bytes=rates[name].bytes if name in rates else 0)
    requests = requests_per_shard()
    print(f"{machine()}\n")
    for name, verbs in requests.items():
        print(f"{name}: requests per shard:", ", ".join(f"{count:.2f} {verb}" for verb, count in verbs.items()))
    print(f"scheduler: {scheduler_rate():.0f} empty tasks per second, one at a time")
    print_plan(rates, arguments, requests)


if __name__ == "__main__":
    main()
