"""A project of two small videos with every kind of artifact in seconds, for the tests of what looks after the cache."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

import stpa
from pipeline.artifacts.workspace import Workspace
from pipeline.contract import FolderStage, Inputs, Report, Split
from pipeline.session import open_session
from pipeline.stages.flows import FlowsStage
from pipeline.stages.frames import FramesStage

FRAMES = 40
SETTINGS = """
[dataset]
name = "small"

[frames]
height = 32
width = 48

[run]
shard_frames = 16
"""


class MeanStage(FolderStage):
    """Stands for training: leaves two files made of all frames, and is called like it."""

    name = "train"
    version = 1
    upstream = ("frames",)
    splits: ClassVar[tuple[Split, ...]] = ("train",)

    def settings(self) -> dict[str, Any]:
        return {"seed": self.config.train.seed}

    def run(self, inputs: Inputs, out: Path, report: Report) -> None:
        means = {record.id: float(inputs.read("frames", "frames", record).mean()) for record in inputs.videos("train")}
        (out / "deep").mkdir()
        told = {"artifact": out.parent.name, "means": means}  # as an evaluation names its artifact
        (out / "deep" / "means.json").write_text(json.dumps(told))
        (out / "model.bin").write_bytes(np.random.default_rng(self.config.train.seed).bytes(500))


STAGES = (FramesStage, FlowsStage, MeanStage)
Command = Callable[..., Result]


def write_video(folder: Path, seed: int) -> None:
    """Write pictures of a bright square that moves over noise."""
    folder.mkdir(parents=True, exist_ok=True)
    background = np.random.default_rng(seed).integers(0, 99, (48, 64, 3)).astype(np.uint8)
    for i in range(FRAMES):
        picture = background.copy()
        picture[20:30, i : i + 10] = 200
        ok, png = cv2.imencode(".png", picture)  # imwrite crashes on names that are no UTF-8
        assert ok
        (folder / f"{i:03d}.png").write_bytes(png.tobytes())


def make_project(folder: Path) -> None:
    """Write settings and two training videos."""
    for seed, name in enumerate("ab"):
        write_video(folder / "data" / "train" / name, seed)
    (folder / "s.toml").write_text(SETTINGS)


def work_in(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Make a project's folder the working directory, and the stages of this file those of the command."""
    patch.chdir(folder)
    patch.setattr(stpa, "STAGES", [f"tests.pipeline.upkeep:{stage.__name__}" for stage in STAGES])


def make_whole(folder: Path, *runs: tuple[str, Sequence[str]]) -> Path:
    """Make a project and then these stages of it, each under some settings; return the folder."""
    make_project(folder)
    with pytest.MonkeyPatch.context() as patch:
        work_in(folder, patch)
        for stage, overrides in runs:
            run(stage, *settings(*overrides))
    return folder


def work_in_copy(made: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy a project into a folder and work there, so that others find it as it was."""
    shutil.copytree(made, folder, dirs_exist_ok=True)
    work_in(folder, monkeypatch)
    return folder


def run(*arguments: str, code: int = 0) -> Result:
    """Run the command as a user types it, in this process, and expect an exit code."""
    result = CliRunner().invoke(stpa.main, arguments, catch_exceptions=False)
    assert result.exit_code == code, f"stpa {' '.join(arguments)}: exit {result.exit_code}\n{result.output}"
    return result


def settings(*more: str) -> tuple[str, ...]:
    """Return the options that name the settings, and these overrides."""
    return ("--config", "s.toml", *(word for override in more for word in ("--set", override)))


def verify(*arguments: str, code: int = 0) -> list[dict[str, Any]]:
    """Return the findings of ``stpa verify``, with the artifact in each."""
    rows = json.loads(run("verify", *settings(), "--json", *arguments, code=code).stdout)["artifacts"]
    return [{**finding, "artifact": row["artifact"]} for row in rows for finding in row["findings"]]


def garbage(*arguments: str) -> list[dict[str, Any]]:
    """Return what ``stpa gc`` shows."""
    rows: list[dict[str, Any]] = json.loads(run("gc", "--json", *arguments).stdout)["garbage"]
    return rows


def space(*overrides: str) -> Workspace:
    """Return the workspace of the project in the working directory."""
    return open_session(Path("s.toml"), overrides, STAGES).workspace


def files(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder but those that hold dates and times."""
    timed = {".locks", "receipts", "inventory.json"}
    found = [path for path in folder.rglob("*") if path.is_file() and not timed & set(path.parts)]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
