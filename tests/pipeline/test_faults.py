"""Killed, starved of disk or of memory: a rerun gives the same bytes, and nothing half-written passes for whole."""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts.plan import make_plan
from pipeline.contract import Shard, ShardStage
from tests.pipeline import layouts
from tests.pipeline.noise_run import FRAMES, SHARDS, noise, open_noise

ROOT = Path(__file__).parents[2]
DELAYS = (0.0, 0.013, 0.029, 0.0)  # seconds after a shard was receipted at which the process is killed


def start(cache: Path, workers: int = 1, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.pipeline.noise_run", str(cache), str(workers)]
    pipe = subprocess.PIPE
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, env=env)


def run(cache: Path, workers: int = 1, **environment: str) -> tuple[int, str, str]:
    with start(cache, workers, **environment) as process:
        out, err = process.communicate(timeout=100)
    return process.returncode, out.strip(), err


def receipts(cache: Path) -> set[str]:
    return open_noise(cache).artifact("noise").receipts()


def check_receipted(cache: Path) -> int:
    """Read every shard that has a receipt and compare it with what it should hold; return how many there are."""
    workspace = open_noise(cache)
    artifact, missing = workspace.artifact("noise"), set(make_plan(workspace, "noise").missing)
    shards = [shard for record in workspace.records for shard in artifact.shards(record, FRAMES)]
    done: list[Shard] = [shard for shard in shards if shard not in missing]
    stage = workspace.stages["noise"]
    assert isinstance(stage, ShardStage)
    for shard in done:
        for spec in stage.arrays(shard.record):
            found = artifact.read(shard.record, spec, shard.start, shard.stop)
            numbers_T = np.arange(shard.start, shard.stop)
            expected = numbers_T if spec.name == "number" else noise(shard.record, shard.start, shard.stop)
            np.testing.assert_array_equal(found, expected)
    return len(done)


def stored(cache: Path) -> dict[str, bytes]:
    """Return every file below data/ that counts: rubbish of interrupted writes is no shard."""
    folder = open_noise(cache).artifact("noise").folder / "data"
    files = [path for path in folder.rglob("*") if path.is_file() and "partial" not in path.name]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    cache = tmp_path_factory.mktemp("undisturbed")
    assert run(cache)[:2] == (0, str(SHARDS))
    assert check_receipted(cache) == SHARDS
    return stored(cache)


def test_kill_9_at_any_moment_costs_only_the_shard_in_hand(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    finished = 0
    for delay in DELAYS:
        before = len(receipts(tmp_path))
        with start(tmp_path) as process:
            while process.poll() is None and len(receipts(tmp_path)) < before + 3:
                time.sleep(0.002)
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            process.communicate()
        finished = check_receipted(tmp_path)
        assert before + 3 <= finished == len(receipts(tmp_path))
    assert finished < SHARDS, "the run was over before it was killed: the test tested nothing"
    assert run(tmp_path)[:2] == (0, str(SHARDS - finished))  # nothing that was finished is made again
    assert stored(tmp_path) == undisturbed


def test_a_killed_worker_costs_only_the_shards_in_its_hands(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    code, out, err = run(tmp_path / "cache", workers=2, NOISE_SUICIDE=str(tmp_path / "died"))
    assert (tmp_path / "died").exists()
    assert (code, out) == (0, str(SHARDS)), err
    assert check_receipted(tmp_path / "cache") == SHARDS
    assert stored(tmp_path / "cache") == undisturbed


@pytest.mark.parametrize("workers", [1, 2])
def test_a_shard_that_needs_more_memory_than_there_is_is_reported_and_costs_no_other(
    tmp_path: Path, undisturbed: dict[str, bytes], workers: int
) -> None:
    code, out, err = run(tmp_path, workers=workers, NOISE_HUNGRY="1")
    made, _, reason = out.partition(" ")
    assert (code, made) == (0, str(SHARDS - 1)), err
    assert "allocate" in reason
    assert check_receipted(tmp_path) == SHARDS - 1
    assert run(tmp_path)[:2] == (0, "1")
    assert stored(tmp_path) == undisturbed


def test_two_runs_at_once_do_no_harm(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    with start(tmp_path) as first, start(tmp_path) as second:
        results = [process.communicate(timeout=100) for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), results
    assert check_receipted(tmp_path) == SHARDS
    assert stored(tmp_path) == undisturbed


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 3 MB, on which 8 MB of noise do not fit."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_keeps_what_was_finished_and_a_larger_one_gets_the_same_bytes(
    small_disk: Path, undisturbed: dict[str, bytes]
) -> None:
    code, _, err = run(small_disk)
    assert code != 0
    assert re.search(r"No space left on device", err)
    finished = check_receipted(small_disk)
    assert 0 < finished == len(receipts(small_disk)) < SHARDS
    assert run(small_disk)[0] != 0  # still full: fails again, and loses nothing
    assert check_receipted(small_disk) >= finished
    finished = check_receipted(small_disk)
    subprocess.run(["mount", "-o", "remount,size=30m", str(small_disk)], check=True)
    assert run(small_disk)[:2] == (0, str(SHARDS - finished))
    assert stored(small_disk) == undisturbed


@pytest.mark.parametrize("calls", [0, 1, 5, 11, 24])
def test_a_disk_that_fills_at_any_write_leaves_no_half_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    """The same without the right to mount: the disk refuses the n-th flush and all that follow."""
    from pipeline.execution.runner import run_shards

    left = [calls]
    real = os.fsync

    def fsync(handle: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    workspace = open_noise(tmp_path)
    plan = make_plan(workspace, "noise")
    some = plan.missing[:7]
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(OSError, match="No space left on device"):
            run_shards(workspace, plan, some, lambda what, done, total: None)
    finished = check_receipted(tmp_path)
    assert finished == len(receipts(tmp_path)) < 7
    again = make_plan(open_noise(tmp_path), "noise")
    assert len(again.missing) == SHARDS - finished
    run_shards(open_noise(tmp_path), again, [shard for shard in again.missing if shard in some], lambda *_: None)
    assert check_receipted(tmp_path) == 7


def test_a_read_only_cache_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    code, _, err = run(tmp_path / "cache")
    assert code != 0
    assert str(tmp_path / "cache") in err


# ---- through the command line


def stpa(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    heeds = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # whatever shell starts this
    program = f"{heeds}; import sys; sys.path.insert(0, sys.argv.pop(1)); from stpa import main; main()"
    command = [sys.executable, "-c", program, str(ROOT), *arguments, "--config", "s.toml"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def finish(folder: Path, *arguments: str) -> tuple[int, str]:
    with stpa(folder, *arguments) as process:
        _, err = process.communicate(timeout=100)
    return process.returncode, err


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    for name in "ab":
        layouts.write_video(folder / "data" / "train" / f"{name}.mp4", count=208, size=(240, 320))
    (folder / "s.toml").write_text("[run]\nshard_frames = 16\n")
    return folder


def frame_files(folder: Path) -> dict[str, bytes]:
    files = [path for path in (folder / "cache").rglob("data/**/*") if path.is_file() and "partial" not in path.name]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_killed_command_goes_on_where_it_was_to_the_same_bytes(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project, tmp_path, dirs_exist_ok=True)
    assert finish(project, "frames")[0] == 0
    with stpa(tmp_path, "frames") as process:
        while process.poll() is None and len(list(tmp_path.glob("cache/*/frames-*/receipts/*.json"))) < 4:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    done = len(list(tmp_path.glob("cache/*/frames-*/receipts/*.json")))
    assert 4 <= done < 26, "the command was over before it was killed: the test tested nothing"
    code, err = finish(tmp_path, "frames")
    assert (code, f"made {26 - done} shards" in err) == (0, True), err
    assert frame_files(tmp_path) == frame_files(project)


def test_a_full_disk_ends_a_command_with_code_1_and_a_reason(project: Path, small_disk: Path) -> None:
    code, err = finish(project, "frames", "--set", f"run.cache={str(small_disk)!r}")
    assert code == 1
    assert "Traceback" not in err
    assert str(small_disk) in err
    assert "free" in err or "No space left" in err


def children(process: int) -> list[str]:
    commands = []
    with suppress(FileNotFoundError):  # one of them has just ended
        for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
            commands.append(Path(f"/proc/{child}/cmdline").read_text())
    return commands


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's /proc to see processes start")
@pytest.mark.parametrize("delay", [0.0, 0.1, 0.3])
def test_workers_that_are_interrupted_while_they_start_say_nothing(project: Path, tmp_path: Path, delay: float) -> None:
    shutil.copytree(project / "data", tmp_path / "data")
    shutil.copy(project / "s.toml", tmp_path)
    with stpa(tmp_path, "frames", "--workers", "2") as process:
        while process.poll() is None and not any("spawn_main" in command for command in children(process.pid)):
            time.sleep(0.005)
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGINT)  # as the terminal does
        _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Traceback" not in err
    assert "Error" not in err
    assert "interrupted" in err
