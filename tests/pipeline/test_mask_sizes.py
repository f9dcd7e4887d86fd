"""After `stpa masks` people are told how large the masks are, of whichever source."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from flow_run import FRAMES, write_coloured

from pipeline.artifacts.plan import make_plan
from pipeline.artifacts.store import MissingShardError
from pipeline.artifacts.workspace import Workspace
from pipeline.config import DatasetSettings, load_config
from pipeline.datasets.inventory import take_inventory
from pipeline.datasets.registry import open_dataset
from pipeline.execution.inputs import StoredInputs
from pipeline.execution.runner import run_shards
from pipeline.mask_sizes import MaskSizes, measure_masks
from pipeline.stages.flows import FlowsStage
from pipeline.stages.frames import FramesStage
from pipeline.stages.masks import MasksStage

ROOT = Path(__file__).parents[2]


def quiet(what: str, done: float, total: float) -> None:
    pass


@pytest.fixture
def made(tmp_path: Path) -> Workspace:
    """Return random masks of 18 frames of 64 x 96 pixels, in two shards."""
    write_coloured(tmp_path / "data")
    settings = ["masks.source=random", "run.shard_frames=16", "frames.height=64", "frames.width=96", "masks.hold=16"]
    config = load_config(None, [*settings, f"run.cache='{tmp_path / 'cache'}'"])
    dataset = open_dataset(DatasetSettings(kind="folder", root=tmp_path / "data" / "rgb"))
    records = take_inventory(dataset, tmp_path / "inventory.json").records
    workspace = Workspace(config, [FramesStage, FlowsStage, MasksStage], records)
    for stage in ("frames", "masks"):
        plan = make_plan(workspace, stage)
        assert not run_shards(workspace, plan, plan.missing, quiet).failures
    return workspace


def test_sizes_are_those_of_the_stored_masks_and_no_flow_was_needed(made: Workspace) -> None:
    (record,) = made.records
    mask_THW, object_T = (StoredInputs(made).read("masks", name, record) for name in ("mask", "object"))
    seen: list[float] = []
    found = measure_masks(made, [record, record], lambda what, done, total: seen.append(done / total))
    share_N = np.tile(mask_THW[object_T >= 0].mean(axis=(1, 2)), 2)
    assert (found.objects, found.frames, found.masked) == (2, 2 * FRAMES, len(share_N))  # one in each
    assert found.median == pytest.approx(np.median(share_N))
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(share_N, (5, 95))))
    assert 0.001 <= found.low <= found.median <= found.high <= 0.1
    assert seen[-1] == 1


def test_frames_without_a_mask_are_left_out(made: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    object_T = np.array([-1] * 6 + [4] * 5 + [2] * 7, np.int32)
    mask_THW = np.zeros((FRAMES, 10, 10), np.bool_)
    mask_THW[6:11, :1] = True  # a tenth of the frame
    mask_THW[11:, :3] = True
    arrays = {"object": object_T, "mask": mask_THW}
    monkeypatch.setattr(
        StoredInputs, "read", lambda self, stage, name, record, start=0, stop=None: arrays[name][start:stop]
    )
    assert measure_masks(made, made.records, quiet) == MaskSizes(2, FRAMES, 12, 0.3, 0.1, 0.3)
    object_T[:] = -1
    assert str(measure_masks(made, made.records, quiet)) == "no object in any of 18 frames"


def test_masks_that_are_not_complete_are_not_measured(made: Workspace) -> None:
    other = Workspace(
        load_config(None, ["masks.source=random", "masks.seed=3", f"run.cache='{made.config.run.cache}'"]),
        [type(stage) for stage in made.stages.values()],
        made.records,
    )
    with pytest.raises(MissingShardError):
        measure_masks(other, made.records, quiet)


def test_the_command_tells_the_sizes_of_moving_objects_too(tmp_path: Path) -> None:
    write_coloured(tmp_path / "data")
    program = "import sys; sys.path.insert(0, sys.argv.pop(1)); from stpa import main; main()"
    settings = ("dataset.root=data/rgb", "frames.height=64", "frames.width=96", "flows.estimator=dis")
    told = [part for setting in settings for part in ("--set", setting)]
    done = subprocess.run(
        [sys.executable, "-c", program, str(ROOT), "masks", *told, "--upstream"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    number = r"\d+\.\d\d"
    pattern = rf"masks: \d+ objects in 18 of 18 frames; they cover {number} % of the frame \(median; 5 to 95 %: {number} to"
    assert re.match(pattern, done.stdout), done.stdout
