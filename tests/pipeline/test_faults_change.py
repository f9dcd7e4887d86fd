"""Every kind of change makes exactly the shards again that it must, and ``status --why`` says so in a line per cause."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline.contract import Stage
from pipeline.stages.flows import FlowsStage
from pipeline.stages.frames import FramesStage
from tests.pipeline.upkeep import files, make_project, run, settings, verify, work_in, write_video

ALL = {"frames": 6, "flows": 6, "train": 1}
"""Receipts of two videos of 40 frames in shards of 16, and of the stage that reads both."""
DATA = Path("data/train")


def add() -> None:
    write_video(DATA / "c", seed=5)


def replace() -> None:
    shutil.rmtree(DATA / "a")
    write_video(DATA / "a", seed=6)


def truncate() -> None:
    for number in range(30, 40):
        (DATA / f"b/{number:03d}.png").unlink()


def rename() -> None:
    (DATA / "b").rename(DATA / "d")


def copy() -> None:
    shutil.copytree(DATA / "b", DATA / "d")


def delete() -> None:
    shutil.rmtree(DATA / "b")


def exchange() -> None:
    for old, new in (("a", "x"), ("b", "a"), ("x", "b")):
        (DATA / old).rename(DATA / new)


def nothing() -> None:
    """Change no video."""


def why(cause: str, cause_of_train: str) -> dict[str, list[str]]:
    """Return the one cause of both stages that make shards, and that of the stage over whole splits."""
    return {"frames": [cause], "flows": [cause], "train": [cause_of_train]}


def raise_version(patch: pytest.MonkeyPatch, stage: type[Stage]) -> None:
    patch.setattr(stage, "version", stage.version + 1)


@dataclass(frozen=True, kw_only=True)
class Change:
    """Something that happens to a project of which everything is made, and what must come of it."""

    videos: Callable[[], None] = nothing
    overrides: tuple[str, ...] = ()
    version_of: type[Stage] | None = None
    made: Mapping[str, int]
    """Stage -> shards that are made; those that are not named make none."""
    why: Mapping[str, list[str]] = field(default_factory=dict)
    """Stage -> its causes; stages that are not named are complete."""


CHANGES = {
    "nothing": Change(made={}),
    "a video added": Change(
        videos=add,
        made={"frames": 3, "flows": 3, "train": 1},
        why=why("train/c not made yet (3 shards)", "train/c added"),
    ),
    "a video replaced": Change(
        videos=replace,
        made={"frames": 3, "flows": 3, "train": 1},
        why=why("the content of train/a changed (3 shards)", "train/a changed"),
    ),
    "a video truncated": Change(
        videos=truncate,
        made={"frames": 2, "flows": 2, "train": 1},
        why=why("the content of train/b changed (2 shards)", "train/b changed"),
    ),
    "a video renamed": Change(
        videos=rename,
        made={"frames": 3, "flows": 3, "train": 1},
        why=why("train/d has the content of train/b, renamed (3 shards)", "train/d has the content of train/b, renamed"),
    ),
    "a video copied under another name": Change(
        videos=copy,
        made={"frames": 3, "flows": 3, "train": 1},
        why=why("train/d not made yet (3 shards)", "train/d added"),
    ),
    "a video removed": Change(videos=delete, made={"train": 1}, why={"train": ["train/b removed"]}),
    "two videos exchanged": Change(
        videos=exchange,
        made=ALL,
        why=why("the content of train/a, train/b changed (6 shards)", "train/a, train/b changed"),
    ),
    "a setting of one stage": Change(
        overrides=("flows.estimator=dis",), made={"flows": 6}, why={"flows": ["flows.estimator farneback -> dis"]}
    ),
    "a setting that others depend on": Change(
        overrides=("frames.colour=grey",),
        made=ALL,
        why={
            "frames": ["frames.colour rgb -> grey"],
            "flows": ["upstream frames changed"],
            "train": ["upstream frames changed"],
        },
    ),
    "a setting that decides nothing": Change(overrides=("run.workers=2", "flows.batch_size=3"), made={}),
    "the version of a stage raised": Change(
        version_of=FlowsStage, made={"flows": 6}, why={"flows": ["stage version 1 -> 2"]}
    ),
    "the version of the first stage raised": Change(
        version_of=FramesStage,
        made=ALL,
        why={
            "frames": ["stage version 1 -> 2"],
            "flows": ["upstream frames changed"],
            "train": ["upstream frames changed"],
        },
    ),
    "a setting and a video at once": Change(
        videos=add,
        overrides=("flows.estimator=dis",),
        made={"frames": 3, "flows": 9, "train": 1},
        why={
            "frames": ["train/c not made yet (3 shards)"],
            "flows": ["flows.estimator farneback -> dis"],
            "train": ["train/c added"],
        },
    ),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    make_project(folder)
    with pytest.MonkeyPatch.context() as patch:
        work_in(folder, patch)
        make()
    return folder


@pytest.fixture(autouse=True)
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a copy of a project of which everything is made."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    work_in(tmp_path, monkeypatch)


def make(*overrides: str) -> dict[str, int]:
    """Make everything; return how many receipts each stage wrote, and refuse receipts that were written over."""
    before = written()
    for stage in ("flows", "train"):
        run(stage, *settings(*overrides))
    after = written()
    assert {path: after[path] for path in before} == before, "something that was complete was made again"
    new = [path.parts[2].rpartition("-")[0] for path in after if path not in before]
    return {stage: new.count(stage) for stage in dict.fromkeys(new)}


def written() -> dict[Path, int]:
    """Return when each receipt was written."""
    return {path: path.stat().st_mtime_ns for path in Path("cache").glob("small/*/receipts/*.json")}


def causes(*overrides: str) -> dict[str, list[str]]:
    """Return why each stage is not complete, as the lines of ``status --why`` say; none for those that are."""
    rows = json.loads(run("status", *settings(*overrides), "--json").stdout)["stages"]
    lines = [line.strip() for line in run("status", *settings(*overrides), "--why").stdout.splitlines()]
    found = {row["stage"]: row["causes"] for row in rows}
    assert len(lines) == sum(map(len, found.values()))
    for cause in (cause for row in rows for cause in row["causes"]):
        assert any(line.endswith(cause) for line in lines), cause
    return {stage: stated for stage, stated in found.items() if stated != ["complete"]}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_a_change_is_explained_and_makes_exactly_what_it_must(change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(DATA, "before")
    before = files(Path("cache"))
    change.videos()
    with monkeypatch.context() as patch:
        if change.version_of is not None:
            raise_version(patch, change.version_of)
        assert causes(*change.overrides) == change.why
        assert make(*change.overrides) == change.made
        assert causes(*change.overrides) == {}
        assert make(*change.overrides) == {}
        assert verify(*(word for override in change.overrides for word in ("--set", override))) == []
    after = files(Path("cache"))
    assert {name: after[name] for name in before} == before  # nothing that was there was touched
    shutil.rmtree(DATA)  # and all of it back
    shutil.copytree("before", DATA)
    assert causes() == {}
    assert make() == {}
