"""The command line, as a user types it: a process, its output and its exit code."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def stpa(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    program = "import sys; sys.path.insert(0, sys.argv.pop(1)); from stpa import main; main()"
    command = [sys.executable, "-c", program, str(ROOT), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        (tmp_path / "data" / "train" / name).mkdir(parents=True)
        for i in range(20):
            noise = np.random.default_rng(i).integers(0, 255, (48, 64, 3)).astype(np.uint8)
            assert cv2.imwrite(str(tmp_path / "data" / "train" / name / f"{i:03d}.png"), noise)
    (tmp_path / "s.toml").write_text("[frames]\nheight = 32\nwidth = 48\n[run]\nshard_frames = 16\n")
    return tmp_path


def states(project: Path, *arguments: str) -> dict[str, str]:
    result = stpa("status", "--config", "s.toml", "--json", *arguments, cwd=project)
    assert result.returncode == 0, result.stderr
    rows = json.loads(result.stdout)["stages"]
    return {row["stage"]: row["state"] for row in rows if row["stage"] in ("frames", "flows")}


def test_a_stage_runs_with_its_cheap_upstream_and_once_only(project: Path) -> None:
    assert states(project) == {"frames": "absent", "flows": "absent"}
    assert stpa("flows", "--config", "s.toml", cwd=project).returncode == 0
    assert states(project) == {"frames": "fresh", "flows": "fresh"}
    assert "nothing to do" in stpa("flows", "--config", "s.toml", cwd=project).stderr
    assert states(project, "--set", "flows.estimator=dis") == {"frames": "fresh", "flows": "stale"}


def test_an_unreadable_video_does_not_stop_the_others(project: Path) -> None:
    (project / "data" / "train" / "bad.mp4").write_bytes(b"not a video")
    for i in range(20):
        (project / "data" / "train" / "a" / f"{i:03d}.png").write_bytes(b"")
    result = stpa("frames", "--config", "s.toml", cwd=project)
    assert result.returncode == 5
    assert "made 2 shards" in result.stderr
    assert "bad.mp4" in result.stderr
    assert "Traceback" not in result.stderr


def test_of_many_unreadable_videos_some_are_named_and_all_counted(project: Path) -> None:
    for number in range(30):
        (project / "data" / "train" / f"bad{number:02d}.mp4").write_bytes(b"not a video")
    for command in ("frames", "status"):
        result = stpa(command, "--config", "s.toml", cwd=project)
        told = [line for line in (result.stdout + result.stderr).splitlines() if "bad" in line]
        assert len(told) == 20
        assert "and 10 more; `stpa data check` names all of them" in result.stdout + result.stderr
    checked = stpa("data", "check", "--config", "s.toml", cwd=project)
    assert len([line for line in checked.stdout.splitlines() if "bad" in line]) == 30


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("frames", "--config", "none.toml"), 2, "none.toml"),
        (("frames", "--set", "frames.hight=64"), 2, "did you mean 'height'"),
        (("flows", "--set", "flows.estimator=raft2"), 2, "farneback, dis"),
        (("frames", "--set", "dataset.root=nowhere"), 3, "nowhere"),
        (("eval", "--videos", "a"), 2, "whole splits"),
        (("inpaint",), 4, "stpa flows"),
        (("inpaint", "--set", "inpaint.model=nowhere", "--upstream"), 1, "nowhere"),
        (("frames", "--videos", "zzz"), 2, "matches none of the 2 videos"),
    ],
)
def test_mistakes_end_with_a_reason_and_the_right_exit_code(
    project: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    result = stpa(*arguments, cwd=project)
    assert (result.returncode, "Traceback" in result.stderr) == (code, False), result.stderr
    assert message in result.stderr
