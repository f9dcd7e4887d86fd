"""The store never loses a shard, never invents one, and says why something is missing."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from pipeline.artifacts.files import safe_name
from pipeline.artifacts.plan import make_plan
from pipeline.artifacts.receipts import make_receipt, receipt_name, write_receipt
from pipeline.artifacts.store import DamagedShardError, MissingShardError
from pipeline.artifacts.workspace import Workspace
from pipeline.config import Config, load_config
from pipeline.contract import ArraySpec, ShardStage, ShardWorker, Video, VideoRecord


class Doubling(ShardStage):
    name = "doubling"
    version = 1
    upstream: ClassVar[tuple[str, ...]] = ()

    def settings(self) -> dict[str, Any]:
        return self.config.inpaint.determining()

    def length(self, record: VideoRecord) -> int:
        return record.num_frames

    def arrays(self, record: VideoRecord) -> tuple[ArraySpec, ...]:
        return (ArraySpec(name="x", shape=(record.num_frames, 80, 80), dtype="float32", dimension_names=("t", "y", "x")),)

    def worker(self) -> ShardWorker:
        raise NotImplementedError


class Dependent(Doubling):
    name = "dependent"
    upstream = ("doubling",)

    def settings(self) -> dict[str, Any]:
        return {}


def record(name: str = "01", digest: str = "a" * 32, frames: int = 40) -> VideoRecord:
    video = Video(id=name, split="train", files=(Path(name),))
    return VideoRecord(video=video, num_frames=frames, height=8, width=8, fps=25, digest=digest)


def workspace(tmp_path: Path, *records: VideoRecord, overrides: tuple[str, ...] = ()) -> Workspace:
    config: Config = load_config(None, [f"run.cache='{tmp_path}'", "run.shard_frames=16", *overrides])
    return Workspace(config, [Doubling, Dependent], records)


def make(space: Workspace, name: str = "doubling") -> None:
    stage = space.stages[name]
    assert isinstance(stage, ShardStage)
    artifact = space.artifact(name)
    artifact.begin(space.declared(name))
    for shard in make_plan(space, name).missing:
        specs = stage.arrays(shard.record)
        artifact.prepare(shard.record, specs)
        values = np.full((shard.stop - shard.start, 80, 80), shard.index, np.float32)
        files = artifact.write(shard, {"x": values}, specs)
        total = -(-stage.length(shard.record) // 16)
        receipt = make_receipt(shard, seconds=0, files=files, provenance={})
        write_receipt(artifact.receipts_folder, receipt_name(shard.record, shard.index, total), receipt)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    space = workspace(tmp_path, record())
    make(space)
    values = space.artifact("doubling").read(record(), "x", 40, 10, 40)
    np.testing.assert_array_equal(values[:, 0, 0], [0] * 6 + [1] * 16 + [2] * 8)


def test_a_shard_without_receipt_does_not_exist(tmp_path: Path) -> None:
    space = workspace(tmp_path, record())
    make(space)
    artifact = space.artifact("doubling")
    (artifact.receipts_folder / receipt_name(record(), 1, 3)).unlink()
    plan = make_plan(space, "doubling")
    assert (plan.state, plan.shards_done, [shard.index for shard in plan.missing]) == ("partial", 2, [1])
    with pytest.raises(MissingShardError, match="shard 2 of 3 of train video 01"):
        artifact.read(record(), "x", 40, 0, 40)
    assert artifact.read(record(), "x", 40, 0, 16).max() == 0


def test_a_flipped_bit_and_a_lost_file_are_found(tmp_path: Path) -> None:
    space = workspace(tmp_path, record())
    make(space)
    artifact = space.artifact("doubling")
    file = next(path for path in (artifact.folder / "data").rglob("c/1/0/0"))
    data = bytearray(file.read_bytes())
    data[20] ^= 4
    file.write_bytes(bytes(data))
    with pytest.raises(DamagedShardError, match="cannot be read"):
        artifact.read(record(), "x", 40, 16, 32)
    file.unlink()
    with pytest.raises(DamagedShardError, match="0 is gone"):
        artifact.read(record(), "x", 40, 16, 32)


def test_a_changed_setting_is_explained_downstream_and_switching_back_is_free(tmp_path: Path) -> None:
    space = workspace(tmp_path, record())
    for name in ("doubling", "dependent"):
        make(space, name)
    changed = workspace(tmp_path, record(), overrides=("inpaint.steps=77",))
    assert make_plan(changed, "doubling").to_dict()["why"] == "steps 10 -> 77"
    assert make_plan(changed, "dependent").to_dict()["why"] == "upstream doubling changed"
    assert make_plan(changed, "dependent").state == "stale"
    assert make_plan(workspace(tmp_path, record()), "dependent").state == "fresh"


def test_a_replaced_video_makes_only_its_own_shards_again(tmp_path: Path) -> None:
    make(workspace(tmp_path, record("01"), record("02")))
    plan = make_plan(workspace(tmp_path, record("01"), record("02", digest="b" * 32), record("03")), "doubling")
    assert {shard.record.id for shard in plan.missing} == {"02", "03"}
    assert "the content of train/02 changed (3 shards)" in plan.why
    assert "train/03 not made yet" in plan.why


def test_wrong_shapes_and_nan_are_refused(tmp_path: Path) -> None:
    space = workspace(tmp_path, record())
    stage = space.stages["doubling"]
    assert isinstance(stage, ShardStage)
    artifact, specs = space.artifact("doubling"), stage.arrays(record())
    shard = artifact.shards(record(), 40)[2]
    with pytest.raises(ValueError, match=r"expected float32 \(8, 80, 80\)"):
        artifact.write(shard, {"x": np.zeros((16, 80, 80), np.float32)}, specs)
    with pytest.raises(ValueError, match="finite"):
        artifact.write(shard, {"x": np.full((8, 80, 80), np.nan, np.float32)}, specs)


@pytest.mark.parametrize("name", ["..", "../../x", "/etc/passwd", "a\\b", "ü" * 300, "a@b"])
def test_no_video_name_leaves_its_folder(name: str) -> None:
    safe = safe_name("train", name)
    assert "/" not in safe
    assert "@" not in safe
    assert len(safe) <= 140
    assert Path(safe).name == safe
