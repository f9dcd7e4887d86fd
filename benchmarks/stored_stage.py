"""A video of noise below a folder, and a stage over it whose model is loaded: it reads stored arrays and writes shards."""

import argparse
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.artifacts.plan import make_plan
from pipeline.artifacts.workspace import Workspace
from pipeline.config import CLIP_FRAMES, load_config
from pipeline.contract import Array, ShardStage, Stage
from pipeline.datasets.inventory import take_inventory
from pipeline.datasets.registry import open_dataset
from pipeline.execution.inputs import StoredInputs
from pipeline.execution.runner import run_shards

Frames = NDArray[np.uint8]


def clip_or_more(text: str) -> int:
    """Return a number of frames from the command line; shorter videos are refused by every stage."""
    if int(text) < CLIP_FRAMES:
        raise argparse.ArgumentTypeError(f"expected at least {CLIP_FRAMES} frames, those of a clip, found {text}")
    return int(text)


def moving_noise(count: int, height: int, width: int) -> Frames:
    """Return frames (T, H, W, 3) of smooth noise that moves by two pixels."""
    return np.stack(list(_moving_noise(count, height, width)))


def _moving_noise(count: int, height: int, width: int) -> Iterator[Frames]:
    noise_HWC = np.random.default_rng(0).integers(0, 256, (height, width + 2 * count, 3), np.uint8)
    smooth_HWC = cv2.GaussianBlur(noise_HWC, (0, 0), 2).astype(np.float32)
    picture_HWC = np.clip((smooth_HWC - 128) * 8 + 128, 0, 255).astype(np.uint8)  # blurring took the contrast
    yield from (picture_HWC[:, 2 * i : 2 * i + width] for i in range(count))


def write_video(folder: Path, count: int, height: int, width: int) -> None:
    """Write the only video of a dataset below ``folder``: pictures of :func:`moving_noise`."""
    (folder / "data" / "train" / "a").mkdir(parents=True)
    for i, frame_HWC in enumerate(_moving_noise(count, height, width)):
        cv2.imwrite(str(folder / "data" / "train" / "a" / f"{i:06d}.png"), frame_HWC[..., ::-1])


class StoredStage:
    """The last of ``stages`` over the video below ``folder``; what it reads is stored, its model is loaded.

    ``settings`` are overrides, such as ``features.batch_size=8``.
    """

    def __init__(self, folder: Path, stages: Sequence[type[Stage]], settings: Sequence[str]) -> None:
        places = [f"run.cache='{folder / 'cache'}'", f"dataset.root='{folder / 'data'}'"]
        config = load_config(None, [*settings, *places])
        records = take_inventory(open_dataset(config.dataset), folder / "inventory.json").records
        workspace = Workspace(config, stages, records)
        *upstream, name = (stage.name for stage in stages)
        for needed in upstream:
            plan = make_plan(workspace, needed)
            outcome = run_shards(workspace, plan, plan.missing, lambda what, done, total: None)
            assert not outcome.failures, outcome.failures
        stage, (self._record,) = workspace.stages[name], records
        assert isinstance(stage, ShardStage)
        self._stage, self._artifact, self._inputs = stage, workspace.artifact(name), StoredInputs(workspace)
        self._artifact.begin(workspace.declared(name))
        self._artifact.prepare(self._record, stage.arrays(self._record))
        self._worker = stage.worker()

    def reopen(self) -> None:
        """Load the model anew: a worker that keeps what it found would find it at no cost the next time."""
        self._worker = self._stage.worker()

    def shards(self) -> Iterator[dict[str, Array]]:
        """Make and write one shard after the other; yield the arrays of each."""
        for shard in self._artifact.shards(self._record, self._stage.length(self._record)):
            arrays = self._worker(shard, self._inputs)
            self._artifact.write(shard, arrays, self._stage.arrays(self._record))
            yield arrays

    def __call__(self) -> NDArray[np.floating]:
        """Make and write all shards; return all of its only array."""
        return np.concatenate([next(iter(arrays.values())) for arrays in self.shards()])


@contextmanager
def clocked(owner: Any, method: str, device: torch.device, taken: list[NDArray[np.float64]]) -> Iterator[None]:
    """Add the seconds of every call of a method, (2,) of clock and processor, to a list while the context lasts."""
    original = getattr(owner, method)

    def wait() -> NDArray[np.float64]:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return np.array([time.perf_counter(), time.process_time()])

    def call(*arguments: Any, **named: Any) -> Any:
        start_2 = wait()
        answer = original(*arguments, **named)
        taken.append(wait() - start_2)
        return answer

    with mock.patch.object(owner, method, call):
        yield


def print_overhead(
    stage: Callable[[], Any], owner: Any, methods: Sequence[str], device: torch.device, name: str, *, repeat: int = 1
) -> None:
    """Run a stage some more and print the share of its time outside of the calls of its model, the median of all runs."""
    shares_R2, seconds_R = [], []
    for _ in range(repeat):
        taken: list[NDArray[np.float64]] = []
        with ExitStack() as stack:
            for method in methods:
                stack.enter_context(clocked(owner, method, device, taken))
            start_2 = np.array([time.perf_counter(), time.process_time()])
            stage()
            whole_2 = np.array([time.perf_counter(), time.process_time()]) - start_2
        shares_R2.append(100 * (1 - np.sum(taken, axis=0) / whole_2))
        seconds_R.append(whole_2[0])
    clock, processor = np.median(shares_R2, axis=0)
    print(
        f"{name}: {clock:.1f} % of {np.median(seconds_R):.2f} s, and {processor:.1f} % of the processor's, "
        "is spent outside of the model"
    )


def least_seconds(ways: Sequence[Callable[[], Any]], repeat: int) -> tuple[NDArray[np.float64], list[Any]]:
    """Run each way once, then all of them in turn; return the least times, (ways, 2) of clock and processor, and results."""
    results = [way() for way in ways]
    seconds_RW2 = np.empty((repeat, len(ways), 2))
    for taken_W2 in seconds_RW2:
        for way, taken_2 in zip(ways, taken_W2, strict=True):
            start_2 = np.array([time.perf_counter(), time.process_time()])
            way()  # ends with a copy to main memory, so that nothing is left waiting on a GPU
            taken_2[:] = np.array([time.perf_counter(), time.process_time()]) - start_2
    return seconds_RW2.min(0), results


def peak_megabytes() -> float:
    """Return the most memory that this process ever had, MB; Linux counts in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
