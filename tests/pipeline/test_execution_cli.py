"""Where and how shards are made, as a user asks for it: shares, schedulers, what it will take, and a disk that fills."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import stpa
from pipeline.cli import stage_command
from pipeline.contract import FolderStage, Inputs, Report
from pipeline.execution.foresight import SAMPLE
from pipeline.progress import Progress, duration
from tests.pipeline import layouts
from tests.pipeline.orders import ObedientStage

SHARDS = {"a": 7, "b": 3, "c": 2}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, shards in SHARDS.items():
        layouts.write_video(tmp_path / "data" / "train" / f"{name}.mp4", count=16 * shards)
    (tmp_path / "s.toml").write_text("[frames]\nheight = 32\nwidth = 48\n[run]\nshard_frames = 16\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> tuple[int, str]:
    """Return exit code and everything that was printed."""
    result = CliRunner().invoke(stpa.main, [*arguments, "--config", "s.toml"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def receipts(folder: Path, stage: str) -> set[str]:
    return {path.name for path in folder.glob(f"cache/*/{stage}-*/receipts/*.json")}


def test_jobs_that_know_nothing_of_each_other_make_everything_once(project: Path) -> None:
    made: list[set[str]] = []
    for number in (2, 1, 3):
        before = receipts(project, "frames")
        assert run("frames", "--shard-range", f"{number}/3")[0] == 0
        made.append(receipts(project, "frames") - before)
    assert sum(map(len, made)) == sum(SHARDS.values())  # receipts are never written twice
    assert max(map(len, made)) <= 8
    assert [len({name.split("@")[0] for name in share}) for share in made].count(1) >= 1
    code, told = run("frames", "--shard-range", "2/3")
    assert (code, "nothing to do" in told) == (0, True)
    assert "12 of 12 shards" in run("frames")[1]


def test_a_forced_share_leaves_the_shares_of_others_alone(project: Path) -> None:
    assert run("frames")[0] == 0
    old = {path: path.stat().st_mtime_ns for path in project.glob("cache/*/frames-*/receipts/*.json")}
    assert "made 5 shards" in run("frames", "--force", "--shard-range", "2/3")[1]
    again = [path for path, time in old.items() if path.stat().st_mtime_ns != time]
    assert len(again) == 5
    assert receipts(project, "frames") == {path.name for path in old}


def test_a_share_needs_only_the_upstream_of_its_videos(project: Path) -> None:
    assert run("flows", "--shard-range", "1/6")[0] == 0
    videos = {name.split("@")[0] for name in receipts(project, "flows")}
    assert {name.split("@")[0] for name in receipts(project, "frames")} == videos
    assert len(videos) < 3


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("frames", "--shard-range", "0/3"), 2, "expected I/N with 1 <= I <= N"),
        (("frames", "--shard-range", "4/3"), 2, "found '4/3'"),
        (("frames", "--shard-range", "1:3"), 2, "such as 3/8"),
        (("train", "--shard-range", "1/3"), 2, "train works on whole splits"),
        (("frames", "--scheduler", "here", "--workers", "2"), 2, "give one"),
        (("frames", "--scheduler", "here", "--force"), 2, "expected an address such as tcp://host:8786, found 'here'"),
    ],
)
def test_mistakes_are_usage_errors(project: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    found, told = run(*arguments)
    assert (found, message in told) == (code, True), told
    assert not list(project.glob("cache/*/frames-*"))


def set_seconds(folder: Path, seconds: float, stage: str = "frames") -> None:
    """Let receipts say that every frame took so long."""
    for path in folder.glob(f"cache/*/{stage}-*/receipts/*.json"):
        receipt = json.loads(path.read_text())
        receipt["seconds"] = seconds * (receipt["stop"] - receipt["start"])
        path.write_text(json.dumps(receipt))


def test_time_is_told_from_receipts_and_where_they_come_from(project: Path) -> None:
    code, told = run("frames", "--dry-run")
    size = 16 * 12 * 32 * 48 * 3
    assert code == 0
    assert f"12 of 12 shards ({size:,} bytes before compression), in unknown time" in told
    assert not list(project.glob("cache/*/frames-*")), "a dry run makes nothing"

    run("frames", "--videos", "b")
    set_seconds(project, 10.0)
    assert "9 of 12 shards" in run("frames", "--dry-run")[1]
    assert "in about 24 min (as 3 receipts of this artifact say)" in run("frames", "--dry-run")[1]  # 144 frames
    assert "in about 12 min by 2 workers" in run("frames", "--dry-run", "--workers", "2")[1]
    assert "in about 160 s" not in run("frames", "--dry-run", "--videos", "c")[1]
    assert "in about 5.3 min" in run("frames", "--dry-run", "--videos", "c")[1]  # 32 frames
    assert "in about 5.3 min by 2 workers" not in run("frames", "--dry-run", "--videos", "c")[1]

    told = run("frames", "--dry-run", "--set", "frames.width=64")[1]
    other = r"12 of 12 .* in about 32 min \(as 3 receipts of frames-[0-9a-f]+, made with other settings, say\)"
    assert re.search(other, told)


def test_what_would_be_made_again_is_told_and_left_as_it_is(project: Path) -> None:
    run("frames")
    before = receipts(project, "frames")
    assert "would make 3 of 12 shards" in run("frames", "--force", "--dry-run", "--videos", "b")[1]
    assert "would make 5 of 12 shards" in run("frames", "--force", "--dry-run", "--shard-range", "2/3")[1]
    assert receipts(project, "frames") == before


class NoteStage(FolderStage):
    """Leaves a note."""

    name = "note"
    version = 1

    def settings(self) -> dict[str, Any]:
        return {}

    def run(self, inputs: Inputs, out: Path, report: Report) -> None:
        (out / "note.txt").write_text(f"{len(inputs.videos())} videos")


def test_a_whole_split_stage_runs_here_whatever_the_scheduler(project: Path) -> None:
    command = stage_command("note", summary="A note.")
    arguments = ["--config", "s.toml", "--scheduler", "tcp://127.0.0.1:9"]
    result = CliRunner().invoke(command, arguments, obj=lambda: (NoteStage,))
    assert (result.exit_code, "note: works on whole splits; made in this process" in result.output) == (0, True)
    assert [path.read_text() for path in project.glob("cache/*/note-*/data-*/note.txt")] == ["3 videos"]
    result = CliRunner().invoke(command, [*arguments, "--dry-run", "--force"], obj=lambda: (NoteStage,))
    assert "note: would make it, in about 0 s (as 1 receipts of this artifact say)" in result.output


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("order", "code", "message"),
    [
        ("start.config", 2, "orders.model: expected weights"),
        ("start.missing", 1, "weights/nowhere: expected a model"),
        ("a-1.memory", 5, "partly done:\norders: train/a shard 2: CUDA out of memory (3 attempts)"),
        ("a-1.data", 5, "orders: train/a shard 2: frame 3 is damaged"),
    ],
)
def test_what_goes_wrong_in_a_worker_ends_with_its_reason_and_exit_code(
    project: Path, order: str, code: int, message: str, workers: str
) -> None:
    (project / "data" / order).write_text("9")
    command = stage_command("orders", summary="Obeys.")
    result = CliRunner().invoke(command, ["--config", "s.toml", "--workers", workers], obj=lambda: (ObedientStage,))
    assert (result.exit_code, message in result.output) == (code, True), result.output
    assert len(receipts(project, "orders")) == (11 if code == 5 else 0)


def test_damaged_and_older_receipts_do_no_harm_to_the_estimate(project: Path) -> None:
    run("frames", "--videos", "a")
    set_seconds(project, 1.0)
    paths = sorted(project.glob("cache/*/frames-*/receipts/*.json"))
    paths[0].write_text("{")
    paths[1].write_text(json.dumps({"seconds": "soon", "start": 0, "stop": 16}))
    assert len(paths) < SAMPLE
    assert "in about 80 s (as 5 receipts" in run("frames", "--dry-run")[1]  # 5 shards of 16 frames are left


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list whose entry is how many receipts there may be until the disk is nearly full."""
    from pipeline.artifacts.place import LocalPlace

    most = [0]
    monkeypatch.setattr(LocalPlace, "free", lambda self: 1000 if len(receipts(Path(), "frames")) >= most[0] else 10**12)
    return most


def test_a_disk_that_is_nearly_full_ends_the_run_before_it_is_and_loses_nothing(
    project: Path, full_disk: list[int]
) -> None:
    code, told = run("frames")
    assert (code, "1,000 bytes free" in told) == (1, True)
    assert not receipts(project, "frames")
    full_disk[0] = 5
    code, told = run("frames")
    assert (code, "room for the shards in work" in told) == (1, True)
    assert "what was finished is kept" in told
    assert len(receipts(project, "frames")) == 5
    full_disk[0] = 10**6
    assert "made 7 shards" in run("frames")[1]
    assert run("verify")[0] == 0


def test_shards_that_are_there_need_no_more_room_when_they_are_made_again(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.artifacts.place import LocalPlace

    assert "made 12 shards" in run("frames")[1]
    largest = 3 * 16 * 32 * 48
    monkeypatch.setattr(LocalPlace, "free", lambda self: 3 * largest)  # less than all of them, more than the one in work
    assert "made 12 shards" in run("frames", "--force")[1]
    assert run("frames", "--force", "--set", "frames.height=64")[0] == 1


def test_progress_tells_rate_time_left_and_what_takes_the_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [1000.0]
    monkeypatch.setattr("pipeline.progress.time.monotonic", lambda: now[0])
    progress = Progress()
    for done in range(1, 6):
        progress("flows\t83 % compute", done, 9)
        now[0] += 30.0
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].strip() == "flows: 5 of 9, 2/min, about 120 s left (83 % compute)".replace("120 s", "2.0 min")


def test_work_of_the_same_name_that_follows_has_a_clock_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr("pipeline.progress.time.monotonic", lambda: now[0])
    with Progress() as progress:
        for _training in range(2):
            for done in (0, 50, 100):
                progress("training", done, 100)
                now[0] += 20
            now[0] += 1000
    lines = capsys.readouterr().err.splitlines()
    assert lines[-2:] == lines[:2]
    assert lines[-1].strip() == "training: 100 of 100 in 40 s"


def test_time_is_said_as_people_say_it() -> None:
    said = [duration(seconds) for seconds in (0.4, 42, 119, 130, 3_000, 10_000, 100_000, 1_000_000)]
    assert said == ["0 s", "42 s", "119 s", "2.2 min", "50 min", "2.8 h", "28 h", "11.6 days"]
