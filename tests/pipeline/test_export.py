"""One HDF5 file holds what the artifacts hold, and features in such a file become artifacts of their own."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
import pytest
import zarr

import stpa
from pipeline.artifacts.workspace import Workspace
from pipeline.config import Config, ConfigError
from pipeline.contract import Array, ArraySpec, Inputs, Shard, ShardStage, ShardWorker, Split, VideoRecord
from pipeline.execution.inputs import StoredInputs
from pipeline.hdf5 import copy_folder
from pipeline.models.feature_files import group_name
from pipeline.session import open_session
from pipeline.stages.features import FeaturesNormalStage, FeaturesStage
from tests.pipeline.upkeep import FRAMES, STAGES, files, make_project, run, settings, space, verify, work_in, write_video
from trainer.inputs import BundleInputs

LENGTH = 6


class InpaintStage(ShardStage):
    """Stands for masks and inpainting, which features read nothing of when they come from a file."""

    name = "inpaint"
    version = 1
    upstream = ("frames",)
    splits: ClassVar[tuple[Split, ...]] = ("train",)

    def settings(self) -> dict[str, Any]:
        return {}

    def length(self, record: VideoRecord) -> int:
        return record.num_frames

    def arrays(self, record: VideoRecord) -> tuple[ArraySpec, ...]:
        return (ArraySpec(name="image", shape=(record.num_frames,), dtype="uint8", dimension_names=("time",)),)

    def worker(self) -> ShardWorker:
        def make(shard: Shard, inputs: Inputs) -> dict[str, Array]:
            return {"image": np.zeros(shard.stop - shard.start, np.uint8)}

        return make


class FeaturesOfInpaint(FeaturesStage):
    """Features without masks upstream."""

    upstream: ClassVar[tuple[str, ...]] = ("inpaint", "features-normal")


FEATURE_STAGES = (*STAGES[:2], InpaintStage, FeaturesNormalStage, FeaturesOfInpaint)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_project(tmp_path)
    write_video(tmp_path / "data/test/odd ü%", seed=3)
    work_in(tmp_path, monkeypatch)


@pytest.fixture
def feature_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    places = [f"{stage.__module__}:{stage.__name__}" for stage in FEATURE_STAGES]
    monkeypatch.setattr(stpa, "STAGES", places)


def export(*arguments: str, code: int = 0) -> str:
    return run("export", *arguments, *settings(), "-o", "out.h5", code=code).stderr


# ---- out


def test_arrays_are_the_same_under_the_same_names_with_units_and_dimensions() -> None:
    run("flows", *settings())
    assert "wrote 6 arrays and files of frames, flows" in export("frames", "flows")
    workspace = space()
    inputs = StoredInputs(workspace)
    with h5py.File("out.h5") as file:
        assert dict(file.attrs) == {"format": "stpa artifacts 1", "dataset": "small"}
        for stage, array in (("frames", "frames"), ("flows", "flow")):
            for record in workspace.records:
                found = file[f"{stage}/{group_name(record.split, record.id)}/{array}"]
                stored = inputs.read(stage, array, record)
                assert (found.dtype, found.shape) == (stored.dtype, stored.shape)
                np.testing.assert_array_equal(found[:], stored)
                assert file[f"{stage}/{group_name(record.split, record.id)}"].attrs["digest"] == record.digest
        flow = file["flows/train-a/flow"]
        assert list(flow.attrs["dimension_names"]) == ["time", "component", "y", "x"]
        assert [dimension.label for dimension in flow.dims] == ["time", "component", "y", "x"]
        assert flow.attrs["units"] == "pixel/frame"
        assert "component 0 = x to the right" in flow.attrs["description"]
        assert file["flows/test-odd %C3%BC%25"].attrs["id"] == "odd ü%"


def test_the_file_says_how_it_was_made() -> None:
    run("flows", *settings())
    export("flows")
    declared = space().declared("flows")
    with h5py.File("out.h5") as file:
        told = file["flows"].attrs
        assert (told["stage"], told["key"], told["version"]) == ("flows", space().key("flows"), declared["version"])
        assert json.loads(told["settings"]) == declared["settings"]
        assert json.loads(told["upstream"]) == {"frames": space().key("frames")}
        assert "zarr" in json.loads(told["provenance"])[0]["packages"]


def test_large_frames_are_chunks_of_their_own_and_all_is_compressed_with_checksums() -> None:
    large = ("frames.height=64", "frames.width=96")
    run("frames", *settings(*large))
    run("export", "frames", *settings(*large), "-o", "out.h5")
    with h5py.File("out.h5") as file:
        frames = file["frames/train-a/frames"]
        assert frames.chunks == (1, 64, 96, 3)
        assert (frames.compression, frames.fletcher32) == ("gzip", True)
        assert frames.id.get_storage_size() < frames.nbytes


def test_only_the_chosen_videos_are_written_and_needed() -> None:
    run("frames", *settings(), "--videos", "a")
    export("frames", "--videos", "a")
    with h5py.File("out.h5") as file:
        assert list(file["frames"]) == ["train-a"]
    assert "nothing" not in export("frames", code=4)


def test_what_is_not_complete_is_not_exported_and_the_old_file_stays() -> None:
    run("frames", *settings())
    export("frames")
    before = Path("out.h5").read_bytes()
    assert "flows: expected a complete artifact, found absent (never made); run: stpa flows" in export("flows", code=4)
    next(Path("cache").glob("small/frames-*/receipts/*")).unlink()
    assert "unfinished" in export("frames", code=4)
    assert Path("out.h5").read_bytes() == before
    assert "no stage flowers" in export("flowers", code=2)


def test_a_damaged_shard_or_a_full_disk_leaves_no_half_file(monkeypatch: pytest.MonkeyPatch) -> None:
    run("frames", *settings())
    shard = next(Path("cache").glob("small/frames-*/data/*b@*/frames/c/2/0/0/0"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-3])
    assert "cannot be read" in export("frames", code=1)
    shard.write_bytes(whole)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        assert "No space left" in export("frames", code=1)
    assert not list(Path().glob("*.h5"))
    assert not list(Path().glob(".partial-*"))


def test_equal_artifacts_make_equal_files() -> None:
    run("frames", *settings())
    export("frames")
    before = Path("out.h5").read_bytes()
    export("frames")
    assert Path("out.h5").read_bytes() == before


def test_of_a_whole_split_stage_every_file_is_written_and_zarr_groups_become_groups(tmp_path: Path) -> None:
    run("train", *settings())
    export("train")
    folder = StoredInputs(space()).folder("train")
    with h5py.File("out.h5") as file:
        assert file["train/model.bin"][:].tobytes() == (folder / "model.bin").read_bytes()
        assert json.loads(file["train/deep/means.json"][:].tobytes()) == json.loads((folder / "deep/means.json").read_text())
        assert set(json.loads(file["train"].attrs["inputs"])) == {"train/a", "train/b"}
    scores = zarr.open_group(
        tmp_path / "eval" / "scores.zarr", mode="w", attributes={"videos": ["x", "y"], "rules": {"a": 1}}
    )
    table = scores.create_group("paper", attributes={"threshold": None, "pooling": "region"})
    values_R = np.random.default_rng(0).random(50)
    table.create_array("score", data=values_R, dimension_names=("row",), chunks=(20,))
    table.create_array("none", data=np.zeros((0, 4)), dimension_names=("row", "corner"))
    with h5py.File("copy.h5", "w") as file:
        assert copy_folder(tmp_path / "eval", file) == 2
        np.testing.assert_array_equal(file["scores/paper/score"][:], values_R)
        assert file["scores/paper/none"].shape == (0, 4)
        assert list(file["scores/paper/score"].attrs["dimension_names"]) == ["row"]
        assert list(file["scores"].attrs["videos"]) == ["x", "y"]
        assert json.loads(file["scores"].attrs["rules"]) == {"a": 1}
        assert (file["scores/paper"].attrs["pooling"], file["scores/paper"].attrs["threshold"]) == ("region", "null")


# ---- and in


def features_of(record: VideoRecord, dtype: str = "float32") -> Array:
    seed = int(record.digest[:8], 16)
    return np.random.default_rng(seed).normal(size=(FRAMES, LENGTH)).astype(dtype)


@pytest.fixture
def theirs(feature_stages: None) -> Iterator[h5py.File]:
    """Write features as a program that knows nothing of stpa would: no attributes, no chunks, 32 bits."""
    with h5py.File("theirs.h5", "w") as file:
        for record in space().records:
            file[f"features-normal/{group_name(record.split, record.id)}/normal"] = features_of(record)
            if record.split == "train":
                file[f"features/{group_name(record.split, record.id)}/spatial_pa"] = features_of(record) + 1
        yield file


READ = ("features.file=theirs.h5",)


def read_in(code: int = 0) -> str:
    return run("features", *settings(*READ), "--upstream", code=code).stderr


def test_features_made_elsewhere_become_the_artifacts_of_both_stages(theirs: h5py.File) -> None:
    theirs.close()
    read_in()
    inputs = StoredInputs(_space())
    for record in _space().records:
        expected_TD = features_of(record).astype(np.float16)
        np.testing.assert_array_equal(inputs.read("features-normal", "normal", record), expected_TD)
        if record.split == "train":
            expected_TD = (features_of(record) + 1).astype(np.float16)
            np.testing.assert_array_equal(inputs.read("features", "spatial_pa", record), expected_TD)
    assert verify("--set", READ[0]) == []
    assert "nothing to do" in read_in()


def _space() -> Workspace:
    return open_session(Path("s.toml"), READ, FEATURE_STAGES).workspace


def test_they_are_never_taken_for_those_of_our_models_nor_of_another_file(theirs: h5py.File) -> None:
    config = space().config
    own = Workspace(config, FEATURE_STAGES, ()).key("features-normal")
    before = _space().key("features-normal")
    theirs["more"] = 1
    theirs.close()
    key = _space().key("features-normal")
    assert len({own, before, key}) == 3
    Path("theirs.h5").rename("moved.h5")
    assert run("status", *settings("features.file=moved.h5"), "--json").stdout.count(key) >= 1
    assert _receipt_says(key) is None
    run("features", *settings("features.file=moved.h5"), "--upstream")
    told = _receipt_says(key)
    assert told is not None
    assert told["features"]["file"] == "moved.h5"
    assert len(told["features"]["sha256"]) == 64


def _receipt_says(key: str) -> Any:
    paths = list(Path("cache").glob(f"small/features-normal-{key}/receipts/*.json"))
    return json.loads(paths[0].read_text())["provenance"] if paths else None


def test_what_was_exported_can_be_read_back_and_says_where_it_came_from(theirs: h5py.File) -> None:
    theirs.close()
    read_in()
    run("export", "features", *settings(*READ), "-o", "again.h5")
    with h5py.File("again.h5") as file:
        assert set(file) == {"features-normal", "features"}
        assert file["features-normal/train-a/normal"].shape == (FRAMES, LENGTH)
    again = settings("features.file=again.h5")
    run("features", *again, "--upstream")
    run("export", "features", *again, "-o", "third.h5")
    with h5py.File("again.h5") as one, h5py.File("third.h5") as other:
        np.testing.assert_array_equal(one["features/train-b/spatial_pa"][:], other["features/train-b/spatial_pa"][:])
        told = json.loads(other["features"].attrs["provenance"])[0]["features"]["says"]
        assert told["key"] == one["features"].attrs["key"]


@pytest.mark.parametrize("wrong", ["short", "long", "nan", "huge", "narrow", "digest", "gone"])
def test_a_video_whose_features_cannot_be_right_is_named_and_the_others_are_read(theirs: h5py.File, wrong: str) -> None:
    place = "features-normal/train-b/normal"
    feature_TD = theirs[place][:]
    del theirs[place]
    if wrong in ("nan", "huge"):
        feature_TD[17, 2] = {"nan": np.nan, "huge": 1e6}[wrong]
    shapes = {"short": feature_TD[1:], "long": np.concatenate([feature_TD, feature_TD[:1]]), "narrow": feature_TD[:, 1:]}
    if wrong == "gone":
        del theirs["features-normal/train-b"]
    else:
        theirs[place] = shapes.get(wrong, feature_TD)
    if wrong == "digest":
        theirs["features-normal/train-b"].attrs["digest"] = "0" * 32
    theirs.close()
    told = run("features", *settings(*READ), "--upstream", code=5).stderr
    assert "theirs.h5: /features-normal/train-b" in told
    expected = {"nan": "frame 17", "huge": "frame 17", "digest": "0" * 32, "gone": "found none"}
    assert expected.get(wrong, "expected shape (40, 6)") in told
    receipts = [path.name for path in Path("cache").glob("small/features-normal-*/receipts/*.json")]
    assert len([name for name in receipts if "train-a" in name or "test-" in name]) == 6


@pytest.mark.parametrize("wrong", ["rubbish", "stages", "whole numbers", "external link", "virtual", "chunks"])
def test_a_file_that_is_not_as_documented_or_leads_out_of_itself_is_refused(theirs: h5py.File, wrong: str) -> None:
    with h5py.File("secret.h5", "w") as secret:
        secret["normal"] = np.ones((FRAMES, LENGTH), np.float32)
    for name in list(theirs["features-normal"]):
        group = theirs["features-normal"][name]
        del group["normal"]
        if wrong == "external link":
            group["normal"] = h5py.ExternalLink("secret.h5", "/normal")
        elif wrong == "virtual":
            layout = h5py.VirtualLayout((FRAMES, LENGTH), np.float32)
            layout[:] = h5py.VirtualSource("secret.h5", "normal", (FRAMES, LENGTH))
            group.create_virtual_dataset("normal", layout)
        elif wrong == "chunks":
            group.create_dataset(
                "normal", (FRAMES, LENGTH), "f4", maxshape=(None, None), chunks=(2**20, 2**9), compression="gzip"
            )
        else:
            group["normal"] = np.ones((FRAMES, LENGTH), np.int64 if wrong == "whole numbers" else np.float32)
    if wrong == "stages":
        del theirs["features-normal"]
    theirs.close()
    if wrong == "rubbish":
        Path("theirs.h5").write_bytes(b"rubbish" * 99)
    told = read_in(code=3)
    assert "theirs.h5" in told
    assert "expected" in told
    assert not list(Path("cache").glob("small/features*/receipts/*"))


def test_a_file_that_is_not_there_is_named(feature_stages: None) -> None:
    assert "features.file: expected an HDF5 file at theirs.h5" in read_in(code=1)


def test_a_bundle_trained_on_them_refuses_to_encode_new_video(theirs: h5py.File) -> None:
    theirs.close()
    config = _space().config
    found = BundleInputs.from_dict(BundleInputs.from_config(config).to_dict())
    with pytest.raises(ConfigError, match=r"features of a file \(features\.file\), made elsewhere"):
        found.check_encoder()


def test_settings_of_today_have_the_keys_that_they_had() -> None:
    assert Config().features.determining() == {"model": "embedded", "preprocessing": "letterbox"}


def test_reading_in_needs_no_more_of_the_cache_than_exporting(theirs: h5py.File) -> None:
    theirs.close()
    read_in()
    before = files(Path("cache"))
    run("export", "features", "frames", *settings(*READ), "-o", "out.h5")
    assert files(Path("cache")) == before
