"""The store never loses a shard, never invents one, and says why something is missing."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import zarr
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.artifacts.files import LONGEST_NAME, safe_name
from pipeline.artifacts.keys import artifact_key, digest_inputs
from pipeline.artifacts.plan import Plan, make_plan
from pipeline.artifacts.reasons import differences, setting_name
from pipeline.artifacts.receipts import (
    folder_receipt_name,
    make_receipt,
    parse_receipt_name,
    receipt_name,
    receipt_names,
    video_name,
)
from pipeline.artifacts.store import DamagedShardError, MissingShardError
from pipeline.artifacts.workspace import Workspace
from pipeline.config import Config, load_config
from pipeline.contract import ArraySpec, FolderStage, Inputs, Report, ShardStage, ShardWorker, Split, Video, VideoRecord
from pipeline.execution.inputs import StoredInputs
from pipeline.files import write_atomically, write_json


class Inpaint(ShardStage):
    name = "inpaint"
    version = 1
    splits: ClassVar[tuple[Split, ...]] = ("train",)

    def settings(self) -> dict[str, Any]:
        return self.config.inpaint.determining()

    def length(self, record: VideoRecord) -> int:
        return record.num_frames

    def arrays(self, record: VideoRecord) -> tuple[ArraySpec, ...]:
        return (ArraySpec(name="x", shape=(record.num_frames, 80, 80), dtype="float32", dimension_names=("t", "y", "x")),)

    def worker(self) -> ShardWorker:
        raise NotImplementedError


class Features(Inpaint):
    name = "features"
    upstream = ("inpaint",)

    def settings(self) -> dict[str, Any]:
        return {}


class Train(FolderStage):
    name = "train"
    version = 1
    upstream: ClassVar[tuple[str, ...]] = ("features",)
    splits: ClassVar[tuple[Split, ...]] = ("train",)

    def settings(self) -> dict[str, Any]:
        return self.config.train.determining()

    def run(self, inputs: Inputs, out: Path, report: Report) -> None:
        raise NotImplementedError


class Eval(Train):
    name = "eval"
    upstream = ("train",)
    splits = ("test",)
    needs_labels = True


def record(name: str = "01", digest: str = "a" * 32, frames: int = 40, split: Split = "train") -> VideoRecord:
    video = Video(id=name, split=split, files=(Path(name),))
    return VideoRecord(video=video, num_frames=frames, height=8, width=8, fps=25, digest=digest)


X = ArraySpec(name="x", shape=(40, 80, 80), dtype="float32", dimension_names=("t", "y", "x"))
"""The array of the one video that most tests have."""


def workspace(tmp_path: Path, *records: VideoRecord, overrides: tuple[str, ...] = (), labels: str = "") -> Workspace:
    config: Config = load_config(None, [f"run.cache='{tmp_path}'", "run.shard_frames=16", *overrides])
    return Workspace(config, [Inpaint, Features, Train, Eval], records, label_digest=labels)


def make(space: Workspace, name: str = "inpaint") -> None:
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
        artifact.write_receipt(receipt_name(shard.record, shard.index, total), asdict(receipt))


def finish(space: Workspace, name: str) -> None:
    """Leave behind what a run of a whole-split stage does."""
    stage = space.stages[name]
    assert isinstance(stage, FolderStage)
    artifact, digest = space.artifact(name), space.input_digest(stage)
    artifact.begin(space.declared(name))
    (artifact.folder / f"data-{digest}").mkdir()
    write_json(artifact.receipts_folder / folder_receipt_name(digest), {"inputs": space.inputs_of(stage)})


# ---- writing and reading


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    space = workspace(tmp_path, record())
    make(space)
    values = space.artifact("inpaint").read(record(), X, 10, 40)
    np.testing.assert_array_equal(values[:, 0, 0], [0] * 6 + [1] * 16 + [2] * 8)


def test_a_shard_without_receipt_does_not_exist(tmp_path: Path) -> None:
    space = workspace(tmp_path, record())
    make(space)
    artifact = space.artifact("inpaint")
    (artifact.receipts_folder / receipt_name(record(), 1, 3)).unlink()
    plan = make_plan(space, "inpaint")
    assert (plan.state, plan.shards_done, [shard.index for shard in plan.missing]) == ("partial", 2, [1])
    with pytest.raises(MissingShardError, match="shard 2 of 3 of train video 01"):
        artifact.read(record(), X, 0, 40)
    assert artifact.read(record(), X, 0, 16).max() == 0


def test_a_flipped_bit_and_a_lost_file_are_found(tmp_path: Path) -> None:
    space = workspace(tmp_path, record())
    make(space)
    artifact = space.artifact("inpaint")
    file = next((artifact.folder / "data").rglob("c/1/0/0"))
    data = bytearray(file.read_bytes())
    data[20] ^= 4
    file.write_bytes(bytes(data))
    with pytest.raises(DamagedShardError, match="cannot be read"):
        artifact.read(record(), X, 16, 32)
    file.unlink()
    with pytest.raises(DamagedShardError, match="0 is gone"):
        artifact.read(record(), X, 16, 32)


def test_a_lost_shard_is_found_though_rubbish_lies_in_its_folder(tmp_path: Path) -> None:
    """Zarr takes a shard without a file for one of fill values, here zeros: what an honest reader must not return."""
    space = workspace(tmp_path, record())
    make(space)
    file = next((space.artifact("inpaint").folder / "data").rglob("c/1/0/0"))
    file.rename(file.with_suffix(".0123.partial"))
    with pytest.raises(DamagedShardError, match=r"c/1/0/0 is gone\); run: stpa inpaint --force --videos 01"):
        space.artifact("inpaint").read(record(), X, 10, 40)


def test_a_shard_cut_anywhere_is_never_read_as_data(tmp_path: Path) -> None:
    space = workspace(tmp_path, record())
    make(space)
    file = next((space.artifact("inpaint").folder / "data").rglob("c/1/0/0"))
    whole = file.read_bytes()
    for length in (*range(300), *range(300, len(whole), 37), len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(DamagedShardError):
            space.artifact("inpaint").read(record(), X, 16, 32)


@pytest.mark.parametrize("content", ["", "{}", None])
def test_damaged_metadata_of_an_array_are_named(tmp_path: Path, content: str | None) -> None:
    space = workspace(tmp_path, record())
    make(space)
    path = next((space.artifact("inpaint").folder / "data").rglob("x/zarr.json"))
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    with pytest.raises(DamagedShardError, match="have a receipt but cannot be read"):
        space.artifact("inpaint").read(record(), X, 10, 40)
    for name in receipt_names(record(), 3):  # what --force does
        (space.artifact("inpaint").receipts_folder / name).unlink()
    make(space)
    assert space.artifact("inpaint").read(record(), X, 10, 40).max() == 2


def test_xarray_and_napari_find_names_and_units(tmp_path: Path) -> None:
    make(workspace(tmp_path, record()))
    group = zarr.open_group(workspace(tmp_path).artifact("inpaint").folder / "data", mode="r")
    array = group[f"{video_name(record())}/x"]
    assert isinstance(array, zarr.Array)
    assert array.metadata.dimension_names == ("t", "y", "x")  # type: ignore[union-attr]  # of format 3, which has them
    assert dict(array.attrs) == {"units": "", "description": ""}
    assert np.isnan(array.fill_value)


def test_no_flipped_bit_changes_what_is_read(tmp_path: Path) -> None:
    space = workspace(tmp_path, record())
    make(space)
    artifact = space.artifact("inpaint")
    expected = artifact.read(record(), X, 16, 32)
    file = next((artifact.folder / "data").rglob("c/1/0/0"))
    whole, rng = file.read_bytes(), np.random.default_rng(0)
    refused = 0
    for bit in rng.choice(8 * len(whole), 300, replace=False):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        file.write_bytes(data)
        try:
            np.testing.assert_array_equal(artifact.read(record(), X, 16, 32), expected)
        except DamagedShardError:
            refused += 1
    assert refused > 290  # a bit without a meaning may flip unnoticed, and without harm


def test_a_shard_made_again_replaces_what_an_interrupted_run_left(tmp_path: Path) -> None:
    space = workspace(tmp_path, record())
    make(space)
    artifact = space.artifact("inpaint")
    file = next((artifact.folder / "data").rglob("c/1/0/0"))
    whole = file.read_bytes()
    (artifact.receipts_folder / receipt_name(record(), 1, 3)).unlink()
    file.write_bytes(whole[:99])
    make(space)
    assert file.read_bytes() == whole


def test_an_interrupted_second_making_leaves_the_first_shard_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when two runs make the same shard and one of them is killed: the receipt of the other must stay true."""
    space = workspace(tmp_path, record())
    make(space)
    artifact, stage = space.artifact("inpaint"), space.stages["inpaint"]
    assert isinstance(stage, ShardStage)
    shard = artifact.shards(record(), 40)[1]

    def interrupt(handle: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            artifact.write(shard, {"x": np.ones((16, 80, 80), np.float32) * 9}, stage.arrays(record()))
    assert (artifact.read(record(), X, 16, 32) == 1).all()


def test_the_shard_is_on_disk_before_its_receipt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    make(workspace(tmp_path, record(frames=16)))
    shard = [i for i, path in enumerate(synced) if "/x/c/0/0" in path]
    receipt = [i for i, path in enumerate(synced) if "/receipts" in path]
    assert len(shard) == 2  # the file, then its entry in the folder
    assert shard[-1] < receipt[0]


def test_a_receipt_says_what_was_written(tmp_path: Path) -> None:
    make(workspace(tmp_path, record()))
    artifact = workspace(tmp_path, record()).artifact("inpaint")
    receipt = json.loads((artifact.receipts_folder / receipt_name(record(), 2, 3)).read_text())
    said = tuple(receipt[name] for name in ("video", "split", "shard", "start", "stop"))
    assert said == ("01", "train", 2, 32, 40)
    assert [(artifact.folder / file).is_file() for file in receipt["files"]] == [True]


@pytest.mark.parametrize("place", ["manifest.json", "receipts/.partial-x", "receipts/notes.txt", "data/.partial-y"])
def test_rubbish_in_an_artifact_is_no_receipt(tmp_path: Path, place: str) -> None:
    space = workspace(tmp_path, record())
    make(space)
    (space.artifact("inpaint").folder / place).write_bytes(b"rubbish")
    assert make_plan(space, "inpaint").state == "fresh"
    space.artifact("inpaint").begin(space.declared("inpaint"))
    assert space.artifact("inpaint").manifest() == space.declared("inpaint")


def test_wrong_shapes_and_nan_are_refused(tmp_path: Path) -> None:
    space = workspace(tmp_path, record())
    stage = space.stages["inpaint"]
    assert isinstance(stage, ShardStage)
    artifact, specs = space.artifact("inpaint"), stage.arrays(record())
    shard = artifact.shards(record(), 40)[2]
    with pytest.raises(ValueError, match=r"expected float32 \(8, 80, 80\)"):
        artifact.write(shard, {"x": np.zeros((16, 80, 80), np.float32)}, specs)
    with pytest.raises(ValueError, match="finite"):
        artifact.write(shard, {"x": np.full((8, 80, 80), np.nan, np.float32)}, specs)


def test_arrays_that_were_not_declared_are_refused(tmp_path: Path) -> None:
    space = workspace(tmp_path, record())
    artifact = space.artifact("inpaint")
    stage = space.stages["inpaint"]
    assert isinstance(stage, ShardStage)
    shard = artifact.shards(record(), 40)[0]
    with pytest.raises(ValueError, match=r"expected arrays \['x'\], the worker returned \['y'\]"):
        artifact.write(shard, {"y": np.zeros(16)}, stage.arrays(record()))


@pytest.mark.parametrize(("start", "stop"), [(-1, 4), (5, 4), (0, 41)])
def test_a_range_outside_the_video_is_a_mistake_of_the_caller(tmp_path: Path, start: int, stop: int) -> None:
    space = workspace(tmp_path, record())
    make(space)
    with pytest.raises(IndexError, match="40 elements"):
        space.artifact("inpaint").read(record(), X, start, stop)


# ---- inputs of workers


def test_workers_read_by_stage_and_name(tmp_path: Path) -> None:
    space = workspace(tmp_path, record(), record("02", split="test"))
    make(space)
    inputs = StoredInputs(space)
    assert [video.id for video in inputs.videos()] == ["01", "02"]
    assert [video.id for video in inputs.videos("train")] == ["01"]
    assert inputs.read("inpaint", "x", record()).shape == (40, 80, 80)
    assert inputs.read("inpaint", "x", record(), 38).shape == (2, 80, 80)
    assert inputs.read("inpaint", "x", record(), 3, 3).shape == (0, 80, 80)
    assert inputs.labels(record("02", split="test")) is None


def test_workers_cannot_read_what_is_not_complete(tmp_path: Path) -> None:
    space = workspace(tmp_path, record())
    inputs = StoredInputs(space)
    with pytest.raises(MissingShardError, match="run: stpa inpaint"):
        inputs.read("inpaint", "x", record())
    with pytest.raises(MissingShardError, match="run: stpa train"):
        inputs.folder("train")
    with pytest.raises(TypeError, match="train: expected a stage that writes arrays"):
        inputs.read("train", "x", record())
    finish(space, "train")
    assert inputs.folder("train").is_dir()


# ---- the plan and its reasons


def test_a_changed_setting_is_explained_downstream_and_switching_back_is_free(tmp_path: Path) -> None:
    space = workspace(tmp_path, record())
    make(space, "inpaint")
    make(space, "features")
    finish(space, "train")
    changed = workspace(tmp_path, record(), overrides=("inpaint.steps=20",))
    plans = {name: make_plan(changed, name) for name in ("inpaint", "features", "train")}
    assert {plan.state for plan in plans.values()} == {"stale"}
    assert plans["inpaint"].why == "inpaint.steps 10 -> 20"
    assert plans["features"].why == "upstream inpaint changed"
    assert plans["train"].why == "upstream features changed"
    assert make_plan(changed, "inpaint").shards_done == 0
    assert make_plan(changed, "eval").why == "never made"
    again = workspace(tmp_path, record())
    assert [make_plan(again, name).state for name in ("inpaint", "features", "train")] == ["fresh"] * 3


def test_several_causes_are_all_named(tmp_path: Path) -> None:
    make(workspace(tmp_path, record()))
    changed = workspace(tmp_path, record(), overrides=("inpaint.steps=20", "inpaint.eta=0.5", "run.shard_frames=32"))
    assert make_plan(changed, "inpaint").why == "inpaint.eta 0.0 -> 0.5; run.shard_frames 16 -> 32; inpaint.steps 10 -> 20"


def test_operational_settings_make_nothing_stale(tmp_path: Path) -> None:
    make(workspace(tmp_path, record()))
    assert make_plan(workspace(tmp_path, record(), overrides=("inpaint.batch_size=3",)), "inpaint").state == "fresh"


def test_a_raised_stage_version_is_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(workspace(tmp_path, record()))
    monkeypatch.setattr(Inpaint, "version", 2)
    assert make_plan(workspace(tmp_path, record()), "inpaint").why == "stage version 1 -> 2"


def test_the_comparison_is_with_the_artifact_that_was_last_worked_on(tmp_path: Path) -> None:
    for steps in (30, 20):
        make(workspace(tmp_path, record(), overrides=(f"inpaint.steps={steps}",)))
    begun = workspace(tmp_path, record(), overrides=("inpaint.steps=40",))
    begun.artifact("inpaint").begin(begun.declared("inpaint"))  # nothing was finished there
    assert make_plan(workspace(tmp_path, record()), "inpaint").why == "inpaint.steps 20 -> 10"


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"settings": 3, "upstream": [], "version": 1}'])
def test_a_damaged_manifest_beside_does_not_stop_the_plan(tmp_path: Path, content: bytes) -> None:
    space = workspace(tmp_path, record())
    make(space)
    (space.artifact("inpaint").folder / "manifest.json").write_bytes(content)
    assert make_plan(workspace(tmp_path, record(), overrides=("inpaint.steps=20",)), "inpaint").state in {"stale", "absent"}
    assert make_plan(space, "inpaint").state == "fresh"


def plan_after(tmp_path: Path, *records: VideoRecord) -> Plan:
    make(workspace(tmp_path, record("01"), record("02")))
    return make_plan(workspace(tmp_path, *records), "inpaint")


def test_an_added_video_makes_only_its_own_shards(tmp_path: Path) -> None:
    plan = plan_after(tmp_path, record("01"), record("02"), record("03"))
    assert (plan.state, plan.why) == ("partial", "train/03 not made yet (3 shards)")
    assert {shard.record.id for shard in plan.missing} == {"03"}


def test_a_replaced_video_makes_only_its_own_shards_and_putting_it_back_costs_nothing(tmp_path: Path) -> None:
    plan = plan_after(tmp_path, record("01"), record("02", digest="b" * 32, frames=50))
    assert (plan.state, plan.why) == ("partial", "the content of train/02 changed (4 shards)")
    assert {shard.record.id for shard in plan.missing} == {"02"}
    assert plan_after(tmp_path, record("01"), record("02")).state == "fresh"


def test_a_removed_video_makes_no_work(tmp_path: Path) -> None:
    plan = plan_after(tmp_path, record("01"))
    assert (plan.state, plan.why, plan.shards) == ("fresh", "complete", 3)


def test_a_truncated_video_is_another_video(tmp_path: Path) -> None:
    plan = plan_after(tmp_path, record("01"), record("02", digest="c" * 32, frames=17))
    assert (plan.shards_done, plan.shards, plan.why) == (3, 5, "the content of train/02 changed (2 shards)")


def test_all_videos_replaced_is_stale(tmp_path: Path) -> None:
    plan = plan_after(tmp_path, record("01", "b" * 32), record("02", "c" * 32))
    assert (plan.state, plan.why) == ("stale", "the content of train/01, train/02 changed (6 shards)")


def test_an_interrupted_run_is_partial_and_many_videos_are_counted(tmp_path: Path) -> None:
    records = [record(f"{i:02d}") for i in range(6)]
    space = workspace(tmp_path, *records)
    make(space)
    for name in receipt_names(records[0], 3)[1:]:
        (space.artifact("inpaint").receipts_folder / name).unlink()
    plan = make_plan(workspace(tmp_path, *records, *(record(f"1{i}") for i in range(5))), "inpaint")
    expected = "train/10, train/11, train/12 and 2 more not made yet (15 shards); train/00 unfinished (2 shards)"
    assert (plan.state, plan.why) == ("partial", expected)


def test_a_dataset_without_videos_of_the_split_needs_nothing(tmp_path: Path) -> None:
    plan = make_plan(workspace(tmp_path, record(split="test")), "inpaint")
    assert (plan.state, plan.shards, plan.why) == ("fresh", 0, "nothing to do: the dataset has no train video")


@pytest.mark.parametrize(
    ("records", "why"),
    [
        ((record("01"), record("02"), record("03")), "train/03 added"),
        ((record("01"),), "train/02 removed"),
        ((record("01"), record("02", "b" * 32)), "train/02 changed"),
        ((record("01", "b" * 32), record("03", "c" * 32)), "train/03 added; train/02 removed; train/01 changed"),
    ],
)
def test_a_whole_split_stage_names_the_videos_that_changed(
    tmp_path: Path, records: tuple[VideoRecord, ...], why: str
) -> None:
    before = workspace(tmp_path, record("01"), record("02"))
    finish(before, "train")
    plan = make_plan(workspace(tmp_path, *records), "train")
    assert (plan.state, plan.why, plan.shards_done) == ("stale", why, 0)
    assert make_plan(before, "train").state == "fresh"


def test_evaluation_follows_labels_test_videos_and_the_training_data_of_its_model(tmp_path: Path) -> None:
    train, test = record("01"), record("02", split="test")
    finish(workspace(tmp_path, train, test, labels="old"), "eval")
    assert make_plan(workspace(tmp_path, train, test, labels="old"), "eval").state == "fresh"
    assert make_plan(workspace(tmp_path, train, test, labels="new"), "eval").why == "labels changed"
    other_train = workspace(tmp_path, record("01", "b" * 32), test, labels="old")
    assert make_plan(other_train, "eval").why == "train changed"
    other_test = workspace(tmp_path, train, record("02", "b" * 32, split="test"), labels="old")
    assert make_plan(other_test, "eval").why == "test/02 changed"


def test_training_does_not_follow_labels_or_test_videos(tmp_path: Path) -> None:
    finish(workspace(tmp_path, record("01"), labels="old"), "train")
    assert make_plan(workspace(tmp_path, record("01"), record("02", split="test"), labels="new"), "train").state == "fresh"


def test_a_lost_folder_of_a_whole_split_stage_is_found(tmp_path: Path) -> None:
    space = workspace(tmp_path, record())
    finish(space, "train")
    next(space.artifact("train").folder.glob("data-*")).rmdir()
    plan = make_plan(space, "train")
    assert (plan.state, plan.why, plan.folder_missing) == ("stale", "its files are gone", True)


def test_an_old_receipt_without_inputs_still_gives_a_reason(tmp_path: Path) -> None:
    space = workspace(tmp_path, record("01"))
    finish(space, "train")
    next(space.artifact("train").receipts_folder.iterdir()).write_text("{}")
    assert "added, removed or replaced" in make_plan(workspace(tmp_path, record("02")), "train").why


def test_settings_are_named_as_the_command_line_takes_them() -> None:
    assert setting_name("inpaint", "steps") == "inpaint.steps"
    assert setting_name("features-normal", "model") == "features.model"
    assert setting_name("frames", "shard_frames") == "run.shard_frames"
    assert setting_name("frames", "weights") == "weights"


def test_long_values_are_cut_in_reasons() -> None:
    old = {"version": 1, "settings": {"model": "a" * 500, "eta": None}, "upstream": {"frames": "1", "flows": "2"}}
    new = {"version": 1, "settings": {"model": "b", "steps": 3}, "upstream": {"frames": "1", "masks": "3"}}
    reasons = differences("inpaint", old, new)
    assert reasons[0] == "inpaint.eta none -> unset"
    assert reasons[1].endswith("aaa... -> b")
    assert len(reasons[1]) < 100
    assert reasons[2:] == ["inpaint.steps unset -> 3", "upstream masks changed", "upstream flows changed"]


# ---- names and keys, for anything that anybody may come up with

settings.register_profile("same examples in every run, however slow the machine", deadline=None, derandomize=True)
settings.load_profile("same examples in every run, however slow the machine")

IDS = st.text(min_size=1, max_size=300) | st.text("./\\%+@ -aü\0", min_size=1, max_size=200)
NAMES = st.text(max_size=8)
VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
NESTED = VALUES | st.lists(VALUES, max_size=3) | st.dictionaries(NAMES, VALUES, max_size=3)
SETTINGS = st.dictionaries(NAMES, NESTED, max_size=4)


@given(video_id=IDS, split=st.sampled_from(["train", "test"]))
def test_no_video_id_leaves_its_folder_or_grows_too_long(video_id: str, split: Split) -> None:
    folder = Path("/cache/receipts")
    names = [safe_name(split, video_id), *receipt_names(record(video_id, split=split), 2)]
    for name in names:
        assert Path(os.path.normpath(folder / name)).parent == folder
        assert not set(name) & set("/\\\0@:*?\"<>|") - {"@"}
        assert name.isascii()
        assert name.isprintable()
        assert len(name) <= 255
    assert len(names[0]) <= LONGEST_NAME
    assert parse_receipt_name(names[1]) == (names[0], "a" * 12)
    assert names[1] == receipt_name(record(video_id, split=split), 0, 2)
    assert video_name(record(video_id, split=split)) == f"{names[0]}@{'a' * 12}"


@given(first=IDS, second=IDS)
def test_different_ids_have_different_names(first: str, second: str) -> None:
    assume(first != second)
    assert safe_name("train", first) != safe_name("train", second)


@given(video_id=st.text("ab-", min_size=116, max_size=300))
def test_a_cut_name_is_not_that_of_any_other_id(video_id: str) -> None:
    """An id that looks like the cut name of another one must not take its place."""
    name = safe_name("train", video_id)
    assume(len(f"train-{video_id}") > LONGEST_NAME)
    assert safe_name("train", name.removeprefix("train-")) != name


@pytest.mark.parametrize("name", ["..", "../../x", "/etc/passwd", "\udcff", "C:\\x", "é", "e\u0301"])
def test_hostile_names_are_quoted(name: str) -> None:
    assert safe_name("train", name).startswith("train-")
    assert safe_name("train", "é") != safe_name("train", "e\u0301")


@given(before=SETTINGS, upstream=st.dictionaries(NAMES, NAMES, max_size=3))
def test_keys_do_not_depend_on_the_order_of_settings(before: Mapping[str, Any], upstream: Mapping[str, str]) -> None:
    key = artifact_key("inpaint", 1, before, upstream)
    assert key == artifact_key("inpaint", 1, _reversed(before), _reversed(upstream))
    assert len(key) == 16
    assert set(key) <= set("0123456789abcdef")


def _reversed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _reversed(value[name]) for name in reversed(value)}
    return [_reversed(entry) for entry in value] if isinstance(value, list) else value


@given(before=SETTINGS, name=NAMES, value=VALUES)
def test_any_changed_setting_changes_the_key(before: dict[str, Any], name: str, value: Any) -> None:
    after = {**before, name: value}
    assume(json.dumps(before, sort_keys=True) != json.dumps(after, sort_keys=True))
    assert artifact_key("inpaint", 1, before, {}) != artifact_key("inpaint", 1, after, {})


def test_stage_version_and_upstream_are_part_of_the_key() -> None:
    keys = {
        artifact_key("inpaint", 1, {}, {}),
        artifact_key("features", 1, {}, {}),
        artifact_key("inpaint", 2, {}, {}),
        artifact_key("inpaint", 1, {"upstream": {}}, {}),
        artifact_key("inpaint", 1, {}, {"frames": "a"}),
        artifact_key("inpaint", 1, {}, {"frames": "b"}),
    }
    assert len(keys) == 6


def test_every_determining_setting_of_a_real_stage_changes_its_key_and_no_other_does(tmp_path: Path) -> None:
    base = workspace(tmp_path).key("inpaint")
    for override in ("model='x'", "steps=11", "eta=0.1", "seed=1", "composite=false"):
        assert workspace(tmp_path, overrides=(f"inpaint.{override}",)).key("inpaint") != base, override
    for override in ("inpaint.batch_size=3", "inpaint.device='cpu'", "train.seed=3", "run.workers=2"):
        assert workspace(tmp_path, overrides=(override,)).key("inpaint") == base, override


@given(inputs=st.dictionaries(st.text(), st.text()), name=st.text(), digest=st.text())
@settings(max_examples=50)
def test_the_digest_of_inputs_follows_each_and_no_order(inputs: dict[str, str], name: str, digest: str) -> None:
    assert digest_inputs(inputs) == digest_inputs(_reversed(inputs))
    assume(inputs.get(name) != digest)
    assert digest_inputs(inputs) != digest_inputs({**inputs, name: digest})


# ---- files


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})

    def interrupt(handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"x" * 1000)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]
    assert json.loads(path.read_text()) == {"a": 1}


def test_what_json_cannot_hold_is_refused_before_the_file_is_touched(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert not any(tmp_path.iterdir())
