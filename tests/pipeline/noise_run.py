"""A program that runs a stage of incompressible noise, to be killed, starved and restarted: see test_faults.py.

    python -m tests.pipeline.noise_run CACHE WORKERS

With NOISE_SUICIDE, a path, the process that first creates that file kills itself in the middle of a shard. With NOISE_HUNGRY
the third shard of video 1 asks for more memory than its process may have.
"""

import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pipeline.artifacts.plan import make_plan
from pipeline.artifacts.workspace import Workspace
from pipeline.config import load_config
from pipeline.contract import Array, ArraySpec, Inputs, Shard, ShardStage, ShardWorker, Stage, Video, VideoRecord
from pipeline.execution.runner import run_shards

VIDEOS, FRAMES, SHARD_FRAMES, SIDE = 5, 100, 16, 120  # 35 shards of up to 230 kB
SHARDS = VIDEOS * -(-FRAMES // SHARD_FRAMES)


def noise(record: VideoRecord, start: int, stop: int) -> Array:
    """Return the array that a shard should hold: noise by video and frame, with a frame of zeros now and then."""
    seeds = [(int(record.id), frame) for frame in range(start, stop)]
    noise_THW = np.stack([np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE), np.uint8) for seed in seeds])
    noise_THW[np.arange(start, stop) % 7 == 0] = 0
    return noise_THW


def ask_for_too_much() -> None:
    """Allocate a gibibyte where the system gives the process a quarter of that."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + 2**28, hard))
    try:
        np.ones(2**30, np.uint8)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


class NoiseStage(ShardStage):
    """Noise of which every byte is known."""

    name = "noise"
    version = 1
    suicide: ClassVar[str] = ""

    def settings(self) -> dict[str, Any]:
        return {}

    def length(self, record: VideoRecord) -> int:
        return record.num_frames

    def arrays(self, record: VideoRecord) -> tuple[ArraySpec, ...]:
        shape = (record.num_frames, SIDE, SIDE)
        small = ArraySpec(name="number", shape=shape[:1], dtype="int32", dimension_names=("t",))
        return (ArraySpec(name="noise", shape=shape, dtype="uint8", dimension_names=("t", "y", "x")), small)

    def worker(self) -> ShardWorker:
        suicide = os.environ.get("NOISE_SUICIDE")

        def make(shard: Shard, inputs: Inputs) -> dict[str, Array]:
            if suicide and shard.index == 2:
                try:
                    Path(suicide).touch(exist_ok=False)
                except FileExistsError:
                    pass
                else:
                    os.kill(os.getpid(), signal.SIGKILL)
            if os.environ.get("NOISE_HUNGRY") and (shard.record.id, shard.index) == ("1", 2):
                ask_for_too_much()
            numbers_T = np.arange(shard.start, shard.stop, dtype=np.int32)
            return {"noise": noise(shard.record, shard.start, shard.stop), "number": numbers_T}

        return make


STAGES: list[type[Stage]] = [NoiseStage]


def open_noise(cache: Path, workers: int = 1) -> Workspace:
    """Return the workspace of the noise stage below ``cache``."""
    config = load_config(None, [f"run.cache='{cache}'", f"run.shard_frames={SHARD_FRAMES}", f"run.workers={workers}"])
    videos = [Video(id=f"{number}", split="train", files=(Path(f"{number}.mp4"),)) for number in range(VIDEOS)]
    records = [
        VideoRecord(video=video, num_frames=FRAMES, height=8, width=8, fps=25, digest=f"{i:032x}")
        for i, video in enumerate(videos)
    ]
    return Workspace(config, STAGES, records)


def main() -> None:
    """Make what is missing; print how many shards were made."""
    workspace = open_noise(Path(sys.argv[1]), int(sys.argv[2]))
    plan = make_plan(workspace, "noise")
    outcome = run_shards(workspace, plan, plan.missing, lambda what, done, total: None)
    print(outcome.made, *outcome.failures.values())


if __name__ == "__main__":
    main()
