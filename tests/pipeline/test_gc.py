"""What no settings refer to is shown, and goes when told so; nothing else does, whenever it is interrupted."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

import stpa
from pipeline.artifacts.plan import make_plan
from pipeline.artifacts.use import alone, in_use, last_used
from tests.pipeline.upkeep import files, garbage, make_whole, run, settings, space, verify, work_in_copy, write_video

OTHER = ("frames.height=48",)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_whole(tmp_path_factory.mktemp("made"), ("train", ()), ("train", OTHER), ("train", ("train.seed=1",)))


@pytest.fixture(autouse=True)
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a copy of a project that was made with two sizes of frames and, of one, two seeds."""
    return work_in_copy(made, tmp_path, monkeypatch)


def folders(*overrides: str) -> set[str]:
    """Return the artifacts that settings refer to and that are made."""
    workspace = space(*overrides)
    found = [workspace.artifact(name).folder for name in workspace.stages]
    return {folder.name for folder in found if folder.is_dir()}


def there() -> set[str]:
    return {path.name for path in Path("cache/small").iterdir() if path.is_dir() and path.name != ".locks"}


def shown(*arguments: str) -> set[str]:
    return {Path(row["path"]).name for row in garbage(*arguments)}


def age(path: Path, days: float) -> None:
    then = time.time() - 86_400 * days
    os.utime(path, (then, then))


# ---- what is shown


def test_it_shows_what_the_settings_do_not_refer_to_and_removes_nothing_unless_told_so() -> None:
    before, every = files(Path("cache")), there()
    rows = garbage(*settings())
    assert {Path(row["path"]).name for row in rows} == every - folders()
    assert {row["stage"] for row in rows} == {"frames", "train"}
    assert [row["receipts"] for row in rows] == [6, 1, 1]
    frames = rows[0]
    assert frames["size"] == sum(path.stat().st_size for path in Path(frames["path"]).rglob("*") if path.is_file())
    assert frames["key"] == space(*OTHER).key("frames")
    assert frames["used"] is not None
    assert not any(row["removed"] for row in rows)
    result = run("gc", *settings())
    assert "3 that none of the settings refers to" in result.stdout
    assert "nothing was removed; add --yes" in result.stderr
    assert files(Path("cache")) == before


def test_several_files_and_several_seeds_are_all_kept() -> None:
    Path("other.toml").write_text(Path("s.toml").read_text().replace("height = 32", "height = 48"))
    seeds = ("--set", "train.seed=0", "--set", "train.seed=1")
    assert shown(*settings(), *seeds) == folders(*OTHER)
    assert shown(*settings(), "--config", "other.toml") == folders("train.seed=1") - folders()
    assert shown(*settings(), "--config", "other.toml", *seeds) == set()
    assert "nothing to remove" in run("gc", *settings(), "--config", "other.toml", *seeds, "--yes").stdout


def test_only_what_was_not_touched_for_long_goes_with_older_than() -> None:
    (model,) = folders("train.seed=1") - folders()
    for path in (Path("cache/small") / model / "receipts", Path("cache/small/.locks") / model):
        age(path, 9)
    assert shown(*settings(), "--older-than", "8") == {model}
    assert shown(*settings(), "--older-than", "10") == set()
    run("gc", *settings(), "--older-than", "8", "--yes")
    assert there() == folders() | folders(*OTHER)


def test_a_run_that_reads_an_artifact_counts_as_use() -> None:
    frames = space().artifact("frames").folder
    age(Path("cache/small/.locks") / frames.name, 9)
    run("train", *settings("train.seed=2"))
    used = last_used(space().artifact("frames").place)
    assert used is not None
    assert time.time() - used < 100


def test_settings_that_cannot_be_read_remove_nothing() -> None:
    before = there()
    run("gc", "--config", "none.toml", "--yes", code=2)
    run("gc", *settings(), "--config", "none.toml", "--yes", code=2)
    run("gc", *settings("frames.hight=3"), "--yes", code=2)
    assert there() == before


# ---- what goes


def test_with_yes_exactly_that_goes_and_the_rest_is_whole() -> None:
    kept = {name: data for name, data in files(Path("cache")).items() if name.split("/")[1] in folders()}
    result = run("gc", *settings(), "--yes")
    assert "removed 3 of 3" in result.stderr
    assert there() == folders()
    assert files(Path("cache")) == kept
    assert verify("--all") == []
    assert {path.name for path in Path("cache/small/.locks").iterdir()} <= folders() | {"shards"}
    assert garbage(*settings()) == []


def test_what_is_in_use_stays() -> None:
    used = space(*OTHER).artifact("frames").folder
    with in_use([space(*OTHER).artifact("frames").place]):
        assert [row["in_use"] for row in garbage(*settings())] == [True, False, False]
        assert "removed 2 of 3" in run("gc", *settings(), "--yes").stderr
    assert verify("--all") == []
    assert used.is_dir()
    run("gc", *settings(), "--yes")
    assert not used.exists()


def test_while_it_is_removed_nobody_can_begin_to_use_it(tmp_path: Path) -> None:
    folder = space().artifact("frames").place
    with alone(folder) as free:
        assert free
        with alone(folder) as again:
            assert not again
    with in_use([folder]), in_use([folder]), alone(folder) as free:
        assert not free
    with alone(folder) as free:
        assert free


def test_leftovers_go_when_they_are_older_than_a_day() -> None:
    frames, dataset = space().artifact("frames").folder, Path("cache/small")
    old, new = frames / "data" / ".partial-old", frames / "data" / ".partial-new"
    for path in (old, new, dataset / ".partial-inventory"):
        path.write_bytes(b"half")
    (frames / ".partial-folder").mkdir()
    (frames / ".partial-folder" / "model").write_bytes(b"half")
    for path in (old, dataset / ".partial-inventory", frames / ".partial-folder"):
        age(path, 1.1)
    kept = ("--set", "train.seed=0", "--set", "train.seed=1", "--set", "frames.height=32", "--set", "frames.height=48")
    assert shown(*settings(), *kept) == {".partial-old", ".partial-inventory", ".partial-folder"}
    with in_use([space().artifact("frames").place]):
        run("gc", *settings(), *kept, "--yes")
        assert old.exists()
    run("gc", *settings(), *kept, "--yes")
    assert (old.exists(), new.exists(), (frames / ".partial-folder").exists()) == (False, True, False)
    assert not (dataset / ".partial-inventory").exists()


def test_nothing_but_artifacts_of_the_named_dataset_is_touched(tmp_path: Path) -> None:
    dataset, key = Path("cache/small"), "0123456789abcdef"
    (dataset / f"notes-{key}").mkdir()
    (dataset / f"notes-{key}" / "mine.txt").write_text("mine")
    (dataset / f"frames-{key}.tar").write_text("mine")
    (dataset / "mine.txt").write_text("mine")
    shutil.copytree(dataset, "cache/another", symlinks=True)
    elsewhere = tmp_path / "elsewhere"
    shutil.move(str(space(*OTHER).artifact("frames").folder), elsewhere)
    (dataset / f"frames-{key}").symlink_to(elsewhere)
    (space("train.seed=1").artifact("train").folder / "data").symlink_to(elsewhere)
    outside, another = files(elsewhere), files(Path("cache/another"))
    run("gc", *settings(), "--yes")
    assert files(elsewhere) == outside
    assert files(Path("cache/another")) == another
    assert there() == folders() | {f"notes-{key}", f"frames-{key}"}
    assert (dataset / "mine.txt").read_text() == (dataset / f"notes-{key}" / "mine.txt").read_text() == "mine"


def test_nothing_is_removed_behind_a_dataset_folder_that_is_a_link(tmp_path: Path) -> None:
    Path("cache/small").rename(tmp_path / "elsewhere")
    Path("cache/small").symlink_to(tmp_path / "elsewhere")
    before = files(tmp_path / "elsewhere")
    assert "symbolic link" in run("gc", *settings(), "--yes", code=1).stderr
    assert files(tmp_path / "elsewhere") == before


# ---- of videos that are gone


def test_gone_shows_what_was_made_of_videos_that_are_gone_or_replaced_and_removes_exactly_that() -> None:
    kept = ("--set", "train.seed=0", "--set", "train.seed=1", "--set", "frames.height=32", "--set", "frames.height=48")
    shutil.rmtree("data/train/a")
    write_video(Path("data/train/b"), 7)
    write_video(Path("data/train/c"), 8)
    for overrides in ((), OTHER, ("train.seed=1",)):
        run("train", *settings(*overrides))
    before = files(Path("cache"))
    assert garbage(*settings(), *kept) == []
    rows = garbage(*settings(), *kept, "--gone")
    names = {str(Path(row["path"]).relative_to(Path("cache/small").resolve())) for row in rows}
    parts = sorted(name.partition("/")[2].rpartition("@")[0] or "data-" for name in names)
    assert parts == ["data-", "data-", "data-", *["data/train-a"] * 2, *["data/train-b"] * 2]
    assert {row["kind"] for row in rows} == {"gone"}
    assert sum(row["receipts"] for row in rows) == 3 + 4 * 3
    assert sum(row["size"] for row in rows) == sum(
        len(data) for name, data in before.items() if any(name.startswith(f"small/{gone}/") for gone in names)
    )
    assert files(Path("cache")) == before
    told = run("gc", *settings(), *kept, "--gone")
    assert "nothing was removed; add --yes" in told.stderr
    assert "7 that neither the settings nor the videos refer to" in told.stdout
    assert {line.split()[0] for line in told.stdout.splitlines()[:-1]} == {f"small/{name}" for name in names}
    assert "removed 7 of 7" in run("gc", *settings(), *kept, "--gone", "--yes").stderr
    left = {name: data for name, data in before.items() if not any(name.startswith(f"small/{gone}/") for gone in names)}
    assert files(Path("cache")) == left
    assert verify("--all") == []
    assert garbage(*settings(), *kept, "--gone") == []
    for overrides in ((), OTHER, ("train.seed=1",)):
        assert "nothing to do" in run("train", *settings(*overrides)).stderr


def test_gone_removes_nothing_that_a_run_uses_nor_while_a_video_cannot_be_read() -> None:
    shutil.rmtree("data/train/a")
    frames = space().artifact("frames")
    with in_use([frames.place]):
        run("gc", *settings(), "--gone", "--yes")
    assert len(frames.receipts()) == 6
    write_video(Path("data/train/c"), 8)
    Path("data/train/b/003.png").write_bytes(b"rubbish")
    assert "some cannot be used" in run("gc", *settings(), "--gone", "--yes", code=3).stderr
    assert len(frames.receipts()) == 6
    write_video(Path("data/train/b"), 1)
    run("gc", *settings(), "--gone", "--yes")
    assert {name.partition("@")[0] for name in frames.receipts()} == {"train-b"}


def test_gone_interrupted_leaves_no_receipt_without_its_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree("data/train/a")
    for nth in (1, 2, 4, 5, 7):
        real: Callable[..., None] = os.unlink
        left = [nth]

        def interrupt(*arguments: object, left: list[int] = left, real: Callable[..., None] = real, **more: object) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt
            real(*arguments, **more)

        with monkeypatch.context() as patch:
            patch.setattr(os, "unlink", interrupt)
            CliRunner().invoke(stpa.main, ["gc", *settings(), "--gone", "--yes"])
        rows = json.loads(CliRunner().invoke(stpa.main, ["verify", *settings(), "--all", "--json"]).stdout)["artifacts"]
        assert {finding["kind"] for row in rows for finding in row["findings"]} <= {"stray"}
    run("gc", *settings(), "--gone", "--yes")
    assert verify("--all") == []
    assert {name.partition("@")[0] for name in space().artifact("frames").receipts()} == {"train-b"}


def test_scratch_of_a_training_that_nobody_will_go_on_with_goes_too() -> None:
    (model,) = folders("train.seed=1") - folders()
    for name in (model, *folders(), "train-0123456789abcdef"):
        (Path("cache/small/.scratch") / name / "abc").mkdir(parents=True)
        (Path("cache/small/.scratch") / name / "abc" / "step").write_bytes(b"x" * 100)
    run("gc", *settings(), "--yes")
    assert {path.name for path in Path("cache/small/.scratch").iterdir()} == folders()


# ---- interrupted


MOMENTS = [("rename", 1), ("rename", 2), ("rmdir", 1), ("rmdir", 9), *(("unlink", nth) for nth in (1, 2, 6, 9, 25))]


@pytest.mark.parametrize(("call", "nth"), MOMENTS)
def test_interrupted_at_any_moment_every_artifact_is_whole_or_not_there(
    monkeypatch: pytest.MonkeyPatch, call: str, nth: int
) -> None:
    real: Callable[..., None] = getattr(os, call)
    left = [nth]

    def interrupt(*arguments: object, **more: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        real(*arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, interrupt)
        assert "interrupted" in run("gc", *settings(), "--yes", code=1).stderr
    assert verify("--all") == []
    for overrides in ((), OTHER, ("train.seed=1",)):
        for stage in ("frames", "train"):
            plan = make_plan(space(*overrides), stage)
            assert plan.shards_done in (0, plan.shards), "half of an artifact passes for something"
    assert folders() <= there()
    run("gc", *settings(), "--yes")
    assert there() == folders()
    for overrides in ((), OTHER, ("train.seed=1",)):
        run("train", *settings(*overrides))
    assert verify("--all") == []
