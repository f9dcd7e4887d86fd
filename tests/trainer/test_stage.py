"""The train stage under the runner: stored artifacts in, one bundle out, once."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from squares import FEATURES, HEIGHT, SMALL, WIDTH, Street, make_street, silent

from pipeline.artifacts.plan import make_plan
from pipeline.artifacts.workspace import Workspace
from pipeline.config import ConfigError, parse_config
from pipeline.contract import ArraySpec, Inputs, Shard, ShardStage, ShardWorker, Split, Stage, VideoRecord
from pipeline.execution.runner import run_folder, run_shards
from trainer.bundle import load_bundle
from trainer.stage import TrainStage

STREETS = {street.record: street for street in (make_street(f"street-{seed}", frames=32, seed=seed) for seed in range(2))}


class Made(ShardStage):
    """Stores the arrays of made-up streets under the name of a stage of the pipeline."""

    version: ClassVar[int] = 1
    splits: ClassVar[tuple[Split, ...]] = ("train",)
    made: ClassVar[dict[str, tuple[str, tuple[int, ...]]]]

    def settings(self) -> dict[str, Any]:
        return {}

    def length(self, record: VideoRecord) -> int:
        return record.num_frames - (self.name == "flows")

    def arrays(self, record: VideoRecord) -> tuple[ArraySpec, ...]:
        return tuple(
            ArraySpec(
                name=name,
                shape=(self.length(record), *shape),
                dtype=dtype,
                dimension_names=("time", *(f"axis_{i}" for i in range(len(shape)))),
            )
            for name, (dtype, shape) in self.made.items()
        )

    def worker(self) -> ShardWorker:
        def make(shard: Shard, inputs: Inputs) -> dict[str, Any]:
            arrays = STREETS[shard.record].arrays
            return {name: arrays[self.name, name][shard.start : shard.stop] for name in self.made}

        return make


def made_stage(stage: str, **arrays: tuple[str, tuple[int, ...]]) -> type[Stage]:
    return type(f"Made-{stage}", (Made,), {"name": stage, "made": arrays})


STAGES = (
    made_stage("frames", frames=("uint8", (HEIGHT, WIDTH, 3))),
    made_stage("flows", flow=("float16", (2, HEIGHT, WIDTH))),
    made_stage("masks", mask=("bool", (HEIGHT, WIDTH)), object=("int32", ())),
    made_stage("inpaint", image=("uint8", (HEIGHT, WIDTH, 3))),
    made_stage("features-normal", normal=("float16", (FEATURES,))),
    made_stage("features", spatial_pa=("float16", (FEATURES,))),
    TrainStage,
)


def open_workspace(cache: Path, streets: Sequence[Street] = tuple(STREETS.values()), **train: Any) -> Workspace:
    settings = {"run": {"cache": str(cache), "shard_frames": 16}, "train": SMALL | {"epochs": 0.3} | train}
    return Workspace(parse_config(settings), STAGES, [street.record for street in streets])


def make_all(workspace: Workspace) -> None:
    for name in TrainStage.upstream:
        plan = make_plan(workspace, name)
        run_shards(workspace, plan, plan.missing, silent)
    run_folder(workspace, make_plan(workspace, "train"), None, silent)


def bundle_folder(workspace: Workspace) -> Path:
    (folder,) = workspace.artifact("train").folder.glob("data-*")
    return folder


def test_the_stage_trains_on_stored_artifacts_and_is_then_fresh(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path)
    assert make_plan(workspace, "train").state == "absent"
    make_all(workspace)
    assert make_plan(workspace, "train").state == "fresh"
    bundle = load_bundle(bundle_folder(workspace), torch.device("cpu"))
    assert (bundle.info.height, bundle.info.width, bundle.info.feature_length) == (HEIGHT, WIDTH, FEATURES)
    assert bundle.info.settings == workspace.config.train


def test_the_same_artifacts_and_settings_leave_the_same_bytes(tmp_path: Path) -> None:
    folders = []
    for name in ("one", "two"):
        workspace = open_workspace(tmp_path / name)
        make_all(workspace)
        folders.append(bundle_folder(workspace))
    for path in folders[0].iterdir():
        assert path.read_bytes() == (folders[1] / path.name).read_bytes(), path.name


def test_settings_of_training_change_the_key_and_where_it_runs_does_not(tmp_path: Path) -> None:
    key = open_workspace(tmp_path).key("train")
    assert open_workspace(tmp_path, device="auto").key("train") == key
    assert open_workspace(tmp_path, place=False).key("train") != key
    assert open_workspace(tmp_path, p_t=0.1).key("train") != key


def test_a_failed_training_leaves_nothing_that_counts(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path, learning_rate=1e30, epochs=3)
    with pytest.raises(ArithmeticError, match="loss became nan"):
        make_all(workspace)
    assert make_plan(workspace, "train").state == "absent"
    assert not list(workspace.artifact("train").folder.glob("data-*"))


@pytest.mark.parametrize(
    ("section", "settings", "message"),
    [
        ("train", {"spatial_pa": "nothing"}, r"train\.spatial_pa: expected one of"),
        ("train", {"temporal_pa": "nothing"}, r"train\.temporal_pa: expected one of"),
        ("train", {"device": "abacus"}, r"train\.device 'abacus': expected auto, cpu, cuda or cuda:N"),
        ("frames", {"colour": "grey"}, r"train\.colour = rgb needs frames\.colour = rgb"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_runs(
    section: str, settings: dict[str, Any], message: str
) -> None:
    config = parse_config({"train": {"colour": "rgb"}} | {section: {"colour": "rgb"} | settings})
    with pytest.raises(ConfigError, match=message):
        TrainStage(config).check()


def test_importing_the_stage_loads_no_torch() -> None:
    program = "import json, sys, trainer.stage; print(json.dumps(sorted(sys.modules)))"
    root = str(Path(__file__).parents[2])
    result = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    loaded = set(json.loads(result.stdout))
    assert "trainer.stage" in loaded
    assert not loaded & {"torch", "diffusers", "transformers", "matplotlib"}
