"""``stpa regions`` as a user types it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from scoring.regions_cli import regions


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, text in {
        "tracks/01.txt": "".join(f"0,{frame},10,10,19,19\n" for frame in range(10)),
        "tracks/02.txt": "",
        "detections/01.txt": "3,10,10,19,19,0.9\n3,50,50,59,59,0.5\n",
        "detections/02.txt": "0,1,1,5,5,0.7\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def run(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(regions, [str(folder / "tracks"), str(folder / "detections"), *options])


def test_the_object_holds_both_criteria_and_what_was_counted(files: Path) -> None:
    result = run(files, "--num-frames", "20", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["rbdc"], found["tbdc"]) == (0, pytest.approx(0.1), 1.0)
    counts = ("videos", "frames", "tracks", "regions", "detections", "false_detections")
    assert [found[name] for name in counts] == [2, 20, 1, 10, 3, 2]
    assert "video 02: its track file is empty, 0 of 10 true regions" in result.stderr


def test_without_json_the_numbers_are_lines(files: Path) -> None:
    lines = run(files, "--num-frames", "20").stdout.splitlines()
    assert lines[:2] == ["RBDC 0.1000", "TBDC 1.0000"]
    assert "10 true regions in 1 tracks, 3 detections (2 false) in 2 videos, 20 frames; ties: keep" in lines[2]


def test_a_missing_detection_file_means_nothing_was_detected_and_is_said(files: Path) -> None:
    (files / "detections" / "01.txt").unlink()
    result = run(files, "--num-frames", "20", "--json")
    assert json.loads(result.stdout)["rbdc"] == 0
    assert "video 01: no detection file, so 0 of its 10 true regions are found" in result.stderr


def test_equal_scores_are_said_to_depend_on_the_disk_unless_they_are_collapsed(files: Path) -> None:
    (files / "detections" / "02.txt").write_text("0,1,1,5,5,0.9\n")
    assert "2 of 3 detections share their score" in run(files, "--num-frames", "20").stderr
    collapsed = run(files, "--num-frames", "20", "--ties", "collapse", "--json")
    assert "share their score" not in collapsed.stderr
    assert json.loads(collapsed.stdout)["rbdc"] == pytest.approx(0.1 * 0.05 / 2 + 0.1 * 0.95)


def test_only_normal_videos_leave_both_criteria_undefined(files: Path) -> None:
    (files / "tracks" / "01.txt").write_text("")
    result = run(files, "--num-frames", "20", "--json")
    assert (result.exit_code, json.loads(result.stdout)["rbdc"]) == (0, None)
    assert "RBDC undefined: there is no true region" in run(files, "--num-frames", "20").stdout


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("detections/03.txt", "0,1,1,5,5,0.7\n", "video 03: expected detections in the 2 videos with tracks, found 1"),
        ("detections/01.txt", "3,10,10,19,19,nan\n", "expected finite numbers, found '3,10,10,19,19,nan'"),
        ("detections/01.txt", "99,10,10,19,19,0.5\n", "video 01: expected detections in frames 0 to 19, found frames 99"),
        ("tracks/01.txt", "0,3,10,10,19\n", "expected 6 columns"),
    ],
)
def test_bad_files_end_with_code_3_and_a_reason(files: Path, file: str, text: str, message: str) -> None:
    (files / file).write_text(text)
    result = run(files, "--num-frames", "20", "--json")
    assert (result.exit_code, result.stdout) == (3, "")
    assert message in result.stderr


@pytest.mark.parametrize("options", [(), ("--num-frames", "0"), ("--num-frames", "20", "--ties", "most")])
def test_wrong_usage_ends_with_code_2(files: Path, options: tuple[str, ...]) -> None:
    assert run(files, *options).exit_code == 2


def test_a_folder_that_is_not_there_ends_with_code_3(tmp_path: Path) -> None:
    result = run(tmp_path, "--num-frames", "20")
    assert result.exit_code == 3
    assert "expected a folder of track files" in result.stderr
