"""What the machine does to a command (disk, clock, kill -9, broken videos) costs no finished work and no wrong byte."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pipeline.artifacts.store import Artifact
from pipeline.contract import Shard
from tests.pipeline import layouts
from tests.pipeline.upkeep import files, garbage, make_whole, run, settings, verify, work_in_copy, write_video

ROOT = Path(__file__).parents[2]
FUTURE = time.time() + 400 * 86_400


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_whole(tmp_path_factory.mktemp("made"), ("flows", ()), ("train", ()))


@pytest.fixture(autouse=True)
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a copy of a project of which everything is made."""
    return work_in_copy(made, tmp_path, monkeypatch)


def receipts() -> set[Path]:
    return set(Path("cache").glob("small/*/receipts/*.json"))


# ---- the disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of its own, which can be made read-only even for root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if (
        mount is None
        or subprocess.run([mount, "-t", "tmpfs", "-o", "size=9m", "tmpfs", str(folder)], check=False).returncode
    ):
        pytest.skip("needs the right to mount a small tmpfs")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)  # a process keeps its lock files open


def test_a_read_only_store_is_read_and_verified_and_what_cannot_be_written_is_named(disk: Path) -> None:
    shutil.copytree("cache", disk / "cache")
    on_disk, before = settings(f"run.cache='{disk}/cache'"), files(disk)
    run("status", *on_disk)  # takes stock
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert run("status", *on_disk).stdout.count("complete") == 3
    assert "no findings" in run("verify", *on_disk).stdout
    for stage in ("frames", "flows", "train"):
        assert "nothing to do" in run(stage, *on_disk).stderr
    told = run("flows", *on_disk, "--set", "flows.estimator=dis", code=1).stderr
    assert "Read-only file system" in told
    assert str(disk) in told
    assert "nothing was removed" in run("gc", *settings(f"run.cache='{disk}/cache'", "frames.height=48")).stderr
    assert run("gc", *settings(f"run.cache='{disk}/cache'", "frames.height=48"), "--yes", code=1).exit_code == 1
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    assert files(disk) == before
    assert "made 6 shards" in run("flows", *on_disk, "--set", "flows.estimator=dis").stderr


@pytest.mark.parametrize("calls", [1, 3, 4, 5])
def test_a_disk_that_fills_while_a_whole_split_stage_ends_leaves_no_half_of_it(
    monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    before, real, left = receipts(), os.fsync, [calls]

    def fsync(handle: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        assert "No space left" in run("train", *settings("train.seed=7"), code=1).stderr
    assert receipts() == before
    assert not list(Path("cache").rglob(".partial-*"))
    assert "train: done" in run("train", *settings("train.seed=7")).stderr
    assert verify("--set", "train.seed=7") == []


# ---- videos


def test_a_video_of_rubbish_and_one_that_is_cut_off_are_named_and_the_others_made() -> None:
    data = Path("data/train")
    whole = layouts.write_video(Path("whole.mp4"), count=48).read_bytes()
    (data / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (data / "rubbish.mp4").write_bytes(os.urandom(5000))
    (data / "empty.mp4").touch()
    layouts.write_video(data / "good.mp4", count=48)
    broken = data / "a" / "017.png"
    picture = broken.read_bytes()
    broken.write_bytes(picture[:200])
    told = run("frames", *settings(), code=5).stderr
    assert "made 3 shards" in told
    for name in ("cut.mp4", "rubbish.mp4", "empty.mp4", "017.png"):
        assert name in told
        assert name in run("status", *settings()).stdout
    broken.write_bytes(picture)
    for name in ("cut.mp4", "rubbish.mp4", "empty.mp4"):
        (data / name).write_bytes(whole)
    assert "made 9 shards" in run("frames", *settings()).stderr  # a is as it was, and so are its shards
    assert verify() == []


def test_a_video_replaced_while_a_command_runs_never_passes_for_the_one_that_was_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, late = Artifact.write, Path("data/train/late/035.png")
    write_video(late.parent, 5)
    picture = late.with_name("000.png").read_bytes()

    def replaced(artifact: Artifact, shard: Shard, *arguments: Any) -> dict[str, str]:
        if shard.index == 0:
            late.write_bytes(picture)
        return real(artifact, shard, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Artifact, "write", replaced)
        told = run("frames", *settings(), code=5).stderr
    assert "late shard 1: " not in told
    assert "late shard 3: data/train/late: expected the content that it had when the command began" in told
    assert "the content of train/late changed (3 shards)" in run("status", *settings(), "--why").stdout
    assert "made 3 shards" in run("frames", *settings()).stderr
    assert verify() == []


# ---- the clock


def set_dates(time: float) -> None:
    for path in Path("cache").rglob("*"):
        os.utime(path, (time, time))


def test_receipts_of_the_future_count_and_nothing_is_made_again_or_removed_early() -> None:
    set_dates(FUTURE)
    before = files(Path("cache"))
    for stage in ("frames", "flows", "train"):
        assert "nothing to do" in run(stage, *settings()).stderr
    assert run("status", *settings()).stdout.count("complete") == 3
    assert verify("--all") == []
    other = settings("frames.height=48")
    assert len(garbage(*other)) == 3
    assert garbage(*other, "--older-than", "1") == []
    assert run("gc", *other).stdout.count("written in the future, by this clock, used in the future") == 3
    assert files(Path("cache")) == before
    run("train", *other)
    assert "train.seed 0 -> 3" in run("status", *settings("train.seed=3")).stdout


def test_a_picture_that_was_replaced_while_the_clock_was_set_back_is_noticed() -> None:
    write_video(Path("other"), seed=6)
    one, other = Path("data/train/a/005.png"), Path("other/005.png")
    then = one.stat().st_mtime
    data = other.read_bytes()
    size = max(len(data), one.stat().st_size)
    one.write_bytes(data + b"\0" * (size - len(data)))  # what follows the end of a picture is no part of it
    os.utime(one, (then, then))
    assert "the content of train/a changed (3 shards)" in run("status", *settings()).stdout


# ---- kill -9

COMMAND = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import stpa
stpa.STAGES = ["tests.pipeline.upkeep:" + name for name in ("FramesStage", "FlowsStage", "MeanStage")]
"""
KILLED = """
call, left, real = sys.argv[2], [int(sys.argv[3])], getattr(os, sys.argv[2])

def killed(*arguments, **more):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **more)

setattr(os, call, killed)
stpa.main(sys.argv[4:])
"""
"""It is killed at the n-th call of a function of the system: no handler runs, nothing is tidied up."""


def killed_at(call: str, nth: int, *arguments: str) -> None:
    command = [sys.executable, "-c", COMMAND + KILLED, str(ROOT), call, str(nth), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == -signal.SIGKILL, f"it ended before it was killed: the test tested nothing\n{done.stderr}"


@pytest.mark.parametrize(("call", "nth"), [("rename", 1), ("unlink", 2), ("unlink", 9)])
def test_gc_killed_at_any_moment_leaves_whole_artifacts_and_goes_on(call: str, nth: int) -> None:
    before = files(Path("cache"))
    run("train", *settings("frames.height=48"))
    killed_at(call, nth, "gc", *settings(), "--yes")
    assert verify("--all") == []
    run("gc", *settings(), "--yes")
    assert files(Path("cache")) == before
    assert garbage(*settings()) == []


@pytest.mark.parametrize(("call", "nth"), [("unlink", 1), ("unlink", 3), ("fsync", 1), ("fsync", 4)])
def test_a_repair_killed_at_any_moment_is_finished_by_the_next_one(call: str, nth: int) -> None:
    before = files(Path("cache"))
    shards = sorted(Path("cache").glob("small/frames-*/data/*/frames/c/*/0/0/0"))[:3]
    for shard in shards:
        shard.write_bytes(shard.read_bytes()[:-7])
    next(Path("cache").glob("small/frames-*/manifest.json")).write_text("{}")
    (shards[0].parent / "stray").write_bytes(b"x")
    run("status", *settings())  # takes stock, so that what is killed is the repair
    killed_at(call, nth, "verify", *settings(), "--repair")
    run("frames", *settings())  # what lost its receipt
    run("verify", *settings(), "--repair")
    assert files(Path("cache")) == before
    assert verify() == []


def group_members(group: int) -> list[int]:
    """Return the living processes that a command, which leads a group of its own, left behind."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, _, of = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(of) == group and state not in "ZX":
                found.append(int(folder.name))
    return found


def test_workers_end_by_themselves_when_the_process_that_started_them_is_killed() -> None:
    before = files(Path("cache"))
    shutil.rmtree("cache")
    command = [sys.executable, "-c", f"{COMMAND}stpa.main(sys.argv[2:])", str(ROOT), "flows", *settings("run.workers=2")]
    with subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not list(Path("cache").glob("small/flows-*/receipts/*.json")):
            time.sleep(0.002)
        process.kill()
    deadline = time.monotonic() + 20
    while (left := group_members(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.02)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left
    for stage in ("flows", "train"):
        run(stage, *settings())
    run("verify", *settings(), "--repair")
    assert files(Path("cache")) == before
