"""A stage that obeys orders, for tests of whoever makes shards; processes elsewhere import it by name.

Orders are files in ``dataset.root``. ``VIDEO-INDEX.ORDER`` holds a number: how many more times the shard is to be refused
in that way. Everything that was begun stands in ``begun``, a line per shard: video, index, process.
"""

import os
import signal
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.plan import make_plan
from pipeline.artifacts.workspace import Workspace
from pipeline.config import ConfigError, load_config
from pipeline.contract import Array, ArraySpec, Inputs, Shard, ShardStage, ShardWorker, Stage, Video, VideoRecord
from pipeline.execution.executors import Executor
from pipeline.execution.runner import Outcome, run_shards

SHARD_FRAMES = 16


class ObedientStage(ShardStage):
    """Writes the numbers of the frames."""

    name = "orders"
    version = 1

    @property
    def in_order(self) -> bool:
        return not (self._orders / "scattered").exists()

    @property
    def _orders(self) -> Path:
        return Path(self.config.dataset.root)

    def settings(self) -> dict[str, Any]:
        return {"weights": os.environ.get("ORDERS_WEIGHTS", "")}  # what is found may differ from machine to machine

    def length(self, record: VideoRecord) -> int:
        return record.num_frames

    def arrays(self, record: VideoRecord) -> tuple[ArraySpec, ...]:
        return (ArraySpec(name="number", shape=(record.num_frames,), dtype="int32", dimension_names=("time",)),)

    def worker(self) -> ShardWorker:
        orders = self._orders
        with (orders / "loaded").open("a") as file:
            file.write(f"{os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES', '-')}\n")
        if taken(orders / "start.config"):
            raise ConfigError("orders.model: expected weights, found none")
        if taken(orders / "start.missing"):
            raise FileNotFoundError("weights/nowhere: expected a model")
        if taken(orders / "start.kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        return lambda shard, inputs: obey(orders, shard, inputs)


def obey(orders: Path, shard: Shard, inputs: Inputs) -> dict[str, Array]:
    """Fail as ordered, or make the shard."""
    order = orders / f"{shard.record.id}-{shard.index}"
    with (orders / "begun").open("a") as file:
        file.write(f"{shard.record.id} {shard.index} {os.getpid()}\n")
    if taken(order.with_suffix(".kill")):
        os.kill(os.getpid(), signal.SIGKILL)
    if taken(order.with_suffix(".wait")):
        time.sleep(60)
    if (orders / "nap").exists():
        time.sleep(float((orders / "nap").read_text()))
    if taken(order.with_suffix(".memory")):
        raise RuntimeError("CUDA out of memory")
    if taken(order.with_suffix(".data")):
        raise ValueError("frame 3 is damaged")
    if order.with_suffix(".videos").exists():
        inputs.videos()
    return {"number": np.arange(shard.start, shard.stop, dtype=np.int32)}


def taken(order: Path) -> bool:
    """Say whether there is an order left, and count it down."""
    try:
        left = int(order.read_text())
    except FileNotFoundError:
        return False
    order.write_text(str(left - 1))
    return left > 0


STAGES: list[type[Stage]] = [ObedientStage]


def records(lengths: Sequence[int]) -> list[VideoRecord]:
    """Return videos v0, v1, ... of so many shards."""
    return [
        VideoRecord(
            video=Video(id=f"v{i}", split="train", files=(Path(f"v{i}.mp4"),)),
            num_frames=SHARD_FRAMES * length - 3,
            height=8,
            width=8,
            fps=25,
            digest=f"{i:032x}",
        )
        for i, length in enumerate(lengths)
    ]


def open_orders(tmp_path: Path, lengths: Sequence[int], *overrides: str, **orders: int) -> Workspace:
    """Return a workspace with videos of so many shards; ``v0_1_kill=2`` orders two kills over shard 1 of v0."""
    root = tmp_path / "orders"
    root.mkdir(exist_ok=True, parents=True)
    for name, count in orders.items():
        video, _, rest = name.partition("_")
        (root / f"{video}-{rest.replace('_', '.')}".replace("start-", "start.")).write_text(str(count))
    settings = [f"run.cache='{tmp_path / 'cache'}'", f"run.shard_frames={SHARD_FRAMES}", f"dataset.root='{root}'"]
    return Workspace(load_config(None, [*settings, *overrides]), STAGES, records(lengths))


def make(workspace: Workspace, executor: Executor | None = None) -> Outcome:
    """Make what is missing."""
    plan = make_plan(workspace, "orders")
    return run_shards(workspace, plan, plan.missing, lambda *_: None, executor=executor)


def orders_of(workspace: Workspace) -> Path:
    """Return the folder of the orders."""
    return Path(workspace.config.dataset.root)


def begun(workspace: Workspace) -> Counter[str]:
    """Return how often each shard was begun."""
    path = orders_of(workspace) / "begun"
    lines = path.read_text().splitlines() if path.exists() else []
    return Counter(" ".join(line.split()[:2]) for line in lines)


def loaded(workspace: Workspace) -> list[str]:
    """Return process and GPU of every time that models were loaded."""
    return (orders_of(workspace) / "loaded").read_text().splitlines()


def check_whole(workspace: Workspace) -> None:
    """Read everything and compare."""
    artifact = workspace.artifact("orders")
    assert not make_plan(workspace, "orders").missing
    from pipeline.execution.inputs import StoredInputs

    for record in workspace.records:
        numbers_T = StoredInputs(workspace).read("orders", "number", record)
        np.testing.assert_array_equal(numbers_T, np.arange(record.num_frames))
    assert len(artifact.receipts()) == make_plan(workspace, "orders").shards
