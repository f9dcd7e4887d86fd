"""What ``stpa flows`` leaves for people and other programs: contact sheets and flow files."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from flow_run import workspace_of, write_coloured

from pipeline.artifacts.store import MissingShardError
from pipeline.artifacts.workspace import Workspace
from pipeline.config import ConfigError, FlowsSettings
from pipeline.execution.inputs import StoredInputs
from pipeline.flow_export import export_flows
from pipeline.models import flow_files
from pipeline.models.flow_colours import flow_colours
from pipeline.sheets import GAP, LINE, preview_flows, spread

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return 18 frames of 64 x 96 pixels that move 2 px to the right and 1 px up, and their flow."""
    folder = tmp_path_factory.mktemp("made")
    write_coloured(folder / "data")
    return workspace_of(folder, "rgb")


def test_a_sheet_shows_frame_flow_and_magnitude_side_by_side(made: Workspace) -> None:
    (record,) = made.records
    path = preview_flows(made, made.records, 2)
    assert Path(path) == made.folder / f"flows-{made.key('flows')}.png"
    page_HWC = cv2.imread(str(path))[..., ::-1]
    assert page_HWC.shape == (LINE + GAP + 2 * (LINE + 192 + GAP), GAP + 3 * (288 + GAP), 3)  # three times enlarged
    inputs = StoredInputs(made)
    for row, i in enumerate((4, 12)):
        top = LINE + GAP + row * (LINE + 192 + GAP) + LINE
        cells = [page_HWC[top : top + 192 : 3, left : left + 288 : 3] for left in (8, 304, 600)]
        np.testing.assert_array_equal(cells[0], inputs.read("frames", "frames", record, i, i + 1)[0])
        hue_3 = flow_colours(np.array([[[2.0]], [[-1.0]]]), 2.3)[0, 0].astype(int)
        assert np.abs(cells[1][16:-16, 16:-16].astype(int) - hue_3).max() < 30  # moves to the right and a little up
        assert cells[2][16:-16, 16:-16].mean() > 150  # all of it moves about as fast as anything does


def test_a_video_at_rest_is_not_shown_as_moving(tmp_path: Path) -> None:
    for i in range(16):
        path = tmp_path / "data" / "still" / "train" / "a" / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), np.full((64, 96, 3), 100, np.uint8))
    workspace = workspace_of(tmp_path, "still")
    page_HWC = cv2.imread(str(preview_flows(workspace, workspace.records, 1)))
    assert page_HWC[2 * LINE + GAP : 2 * LINE + GAP + 192, 304 : 304 + 288].min() > 240


def test_chosen_frames_are_spread_evenly_and_each_occurs_once(made: Workspace) -> None:
    (record,) = made.records
    assert [i for _, i in spread(made, "flows", [record], 3)] == [2, 8, 14]
    assert [i for _, i in spread(made, "flows", [record], 100)] == list(range(17))
    both = spread(made, "flows", [record, record], 4)
    assert [i for _, i in both] == [4, 12, 4, 12]


@pytest.mark.parametrize("name", list(flow_files.FORMATS))
def test_every_flow_is_exported_under_the_number_of_its_first_frame(made: Workspace, tmp_path: Path, name: str) -> None:
    (record,) = made.records
    seen: list[float] = []
    assert export_flows(made, [record], tmp_path, name, lambda what, done, total: seen.append(done / total)) == 17
    assert seen[-1] == 1
    kind = flow_files.FORMATS[name]
    files = sorted((tmp_path / "train-a").iterdir())
    assert [file.name for file in files] == [f"{i:06d}{kind.suffix}" for i in range(17)]
    found_T2HW = np.stack([kind.read(file) for file in files])
    flow_T2HW = StoredInputs(made).read("flows", "flow", record).astype(np.float32)
    np.testing.assert_allclose(found_T2HW, flow_T2HW, atol=0 if name == "flo" else 1 / 128)


def test_a_format_that_cannot_hold_the_vectors_is_a_wrong_setting(
    made: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StoredInputs, "read", lambda *_: np.full((16, 2, 64, 96), 600, np.float16))
    with pytest.raises(ConfigError, match=r"--format kitti: .*000000\.png: .* use flo"):
        export_flows(made, made.records, tmp_path, "kitti", lambda what, done, total: None)


def test_flow_that_was_never_made_is_neither_drawn_nor_exported(made: Workspace, tmp_path: Path) -> None:
    config = made.config.model_copy(update={"flows": FlowsSettings(estimator="dis")})
    other = Workspace(config, [type(stage) for stage in made.stages.values()], made.records)
    with pytest.raises(MissingShardError, match="run: stpa flows"):
        preview_flows(other, other.records, 1)
    with pytest.raises(MissingShardError, match="run: stpa flows"):
        export_flows(other, other.records, tmp_path, "flo", lambda what, done, total: None)


def test_the_command_makes_flow_then_prints_where_its_picture_is(tmp_path: Path) -> None:
    write_coloured(tmp_path / "data")
    program = "import sys; sys.path.insert(0, sys.argv.pop(1)); from stpa import main; main()"
    settings = ("--set", "dataset.root=data/rgb", "--set", "frames.height=64", "--set", "frames.width=96")
    command = [sys.executable, "-c", program, str(ROOT), "flows", *settings]
    options = ("--preview", "2", "--export", "files", "--format", "kitti")
    dry = subprocess.run([*command, *options, "--dry-run"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ".png" not in dry.stdout
    done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (tmp_path / done.stdout.strip()).read_bytes().startswith(b"\x89PNG")
    assert "wrote 17 files below files" in done.stderr
    assert len(list((tmp_path / "files" / "train-a").glob("*.png"))) == 17
