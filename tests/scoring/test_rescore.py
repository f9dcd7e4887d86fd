"""Old scores and those of others, evaluated again without a model: what is accepted, what is refused, and the numbers."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from made_detector import MadeDetector, MadeInputs, make_config, silent

from pipeline.contract import DataError
from scoring.cli import evaluate as command
from scoring.evaluate import evaluate
from scoring.rescore import DatasetLabels, relabel, rescore
from scoring.score_files import ScoreFile, read_score_csv
from scoring.seeds import mean_and_spread, over_runs
from scoring.stored_scores import read_score_file

VIDEOS = {"a": 40, "b": 50, "c": 45}
ANOMALOUS = {"a": range(20, 30), "b": range(0), "c": range(30, 38)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an evaluation."""
    out = tmp_path_factory.mktemp("eval-0123") / "data-4567"
    out.mkdir()
    with patch("scoring.evaluate.draw_picture"):
        evaluate(MadeDetector(), MadeInputs(VIDEOS, ANOMALOUS), make_config(), out, silent, {"seed": 3, "device": "cpu"})
    return out


def metrics_in(folder: Path) -> dict[str, Any]:
    content = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def write_csv(path: Path, rows: Sequence[Sequence[object]], header: str = "video,frame,score,label") -> Path:
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n", encoding="utf-8")
    return path


def rows_of(video: str, scores: Sequence[float], labels: Sequence[int]) -> list[tuple[object, ...]]:
    return [(video, frame, score, label) for frame, (score, label) in enumerate(zip(scores, labels, strict=True))]


GOOD = [*rows_of("a", [0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]), *rows_of("b", [0.0, 0.2, 0.1], [0, 0, 0])]


def run(*arguments: object, **options: Any) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments], **options)


def test_an_evaluation_gives_its_numbers_again(folder: Path) -> None:
    again, first = rescore(read_score_file(folder.parent)), metrics_in(folder)
    for protocol in ("paper", "deployment"):
        for name, value in first["protocols"][protocol].items():
            if isinstance(value, dict) and "per_video" in value:
                assert again["protocols"][protocol][name] == value
        assert again["protocols"][protocol]["dropped_frames"] == first["protocols"][protocol]["dropped_frames"]
        for name in ("time", "random"):
            there = first["baselines"][name]["protocols"][protocol]
            assert again["baselines"][name]["protocols"][protocol] == there
    for key in ("dataset", "seed", "videos", "frames", "labelled_frames", "anomalous_frames", "labels", "macro_padding"):
        assert again[key] == first[key], key


def test_a_csv_file_with_labels_needs_nothing_else(tmp_path: Path) -> None:
    result = run("--scores", write_csv(tmp_path / "s.csv", GOOD), "--json")
    found = json.loads(result.stdout)
    metrics = found["protocols"]["score"]["score"]
    assert result.exit_code == 0
    assert metrics["micro_auc"] == pytest.approx(9 / 10)  # of 2 x 5 pairs one is in the wrong order
    assert metrics["per_video"]["a"]["auc"] == pytest.approx(3 / 4)
    assert metrics["per_video"]["b"]["undefined"] == "every frame is normal"
    assert (found["videos"], found["frames"], found["anomalous_frames"]) == (2, 7, 2)
    assert "score AUC" in run("--scores", tmp_path / "s.csv").stdout


def test_lines_may_stand_in_any_order_and_other_columns_are_left_aside(tmp_path: Path) -> None:
    shuffled = [("x", *row) for row in (GOOD[3], *GOOD[4:], GOOD[0], GOOD[2], GOOD[1])]
    first = rescore(read_score_csv(write_csv(tmp_path / "a.csv", GOOD)))
    other = rescore(read_score_csv(write_csv(tmp_path / "b.csv", shuffled, "note,video,frame,score,label")))
    assert other["protocols"]["score"]["score"] == first["protocols"]["score"]["score"]


def test_a_folder_of_one_file_per_video_such_as_stpa_score_leaves_is_as_good(tmp_path: Path) -> None:
    out = tmp_path / "scored"
    (out / "regions").mkdir(parents=True)
    (out / "regions" / "a.csv").write_text("0,1,1,2,2,0.5\n")
    of_a, of_b = [row[1:] for row in GOOD[:4]], [row[1:] for row in GOOD[4:]]
    one_file = write_csv(tmp_path / "s.csv", [*(("a", *row) for row in of_a), *(("day/b", *row) for row in of_b)])
    first = rescore(read_score_csv(one_file))
    write_csv(out / "a.csv", of_a, "frame,fused,label")
    write_csv(out / "day%2Fb.csv", [(0.04, *row) for row in of_b], "time,frame,score,label")
    found = rescore(read_score_file(out))
    assert found["protocols"]["score"]["score"] == first["protocols"]["score"]["score"]
    assert set(found["protocols"]["score"]["score"]["per_video"]) == {"a", "day/b"}
    write_csv(out / "c.csv", [], "frame,time,spatial")
    with pytest.raises(DataError, match=r"c\.csv: expected the columns frame,score"):
        read_score_file(out)


def test_a_threshold_gives_events_and_a_frame_rate_false_alarms_per_hour(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "s.csv", GOOD)
    found = json.loads(run("--scores", path, "--threshold", 0.35, "--fps", 10, "--json").stdout)
    events = found["protocols"]["score"]["events"]
    assert (events["detected_events"], events["events"], events["false_frame_share"]) == (1, 1, 1 / 5)
    assert events["normal_hours"] == pytest.approx(5 / 10 / 3600)
    assert json.loads(run("--scores", path, "--json").stdout)["protocols"]["score"]["events"] is None
    assert "at threshold 0.35: 1 of 1 events detected" in run("--scores", path, "--threshold", 0.35).stdout


BAD = {
    "NaN": (
        [*rows_of("a", [0.1, float("nan"), 0.3], [0, 0, 1])],
        r"video a: expected 3 finite scores, found 1 that are not \(nan\), first at frame 1",
    ),
    "twice": ([("a", 0, 0.1, 0), ("a", 1, 0.2, 1), ("a", 1, 0.2, 1)], "video a: .* found 3 scores of 2 frames; frame 1"),
    "gap": ([("a", 0, 0.1, 0), ("a", 2, 0.2, 1)], r"video a: .* \(3 scores, from 0\), found 2; frame 1"),
    "some labels": ([("a", 0, 0.1, 0), ("a", 1, 0.2, "")], "video a: expected a label for each of 2 scores, found 1"),
    "label 2": ([("a", 0, 0.1, 2)], "video a: expected labels 0 and 1, found '2'"),
    "word": ([("a", 0, "high", 1)], "line 2: expected a whole number for frame and a number for score"),
    "from 1": ([("a", 1, 0.1, 0), ("a", 2, 0.2, 1)], "video a: expected 3 scores, of frames 0 to 2, found 2, of frames 1"),
    "nothing": ([], "expected one line per scored frame, found none"),
    "no labels": ([("a", 0, 0.1, ""), ("a", 1, 0.2, "")], "expected labels of at least one of 1 videos, found none"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_scores_end_with_code_3_the_video_and_both_numbers(name: str, tmp_path: Path) -> None:
    import re

    rows, message = BAD[name]
    result = run("--scores", write_csv(tmp_path / "s.csv", rows))
    assert (result.exit_code, result.stdout) == (3, "")
    assert re.search(message, result.stderr), result.stderr
    assert "s.csv" in result.stderr


def test_a_file_that_is_neither_is_refused(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff\xfe")
    assert run("--scores", tmp_path / "picture.png").exit_code == 3
    assert run("--scores", tmp_path / "nowhere.csv").exit_code == 3
    (tmp_path / "empty").mkdir()
    result = run("--scores", tmp_path / "empty")
    assert (result.exit_code, "expected the folder of one evaluation" in result.stderr) == (3, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--scores", "s.csv", "--force"), "--force is for making an evaluation"),
        (("--scores", "s.csv", "--videos", "a*"), "--videos is for making an evaluation"),
        (("--fps", "25"), "--fps goes with --scores"),
        (("s.csv",), "s.csv goes with --scores"),
    ],
)
def test_options_that_do_not_go_together_end_with_code_2(arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, message in result.stderr) == (2, True), result.stderr


def test_frames_that_a_method_cannot_score_are_declared(tmp_path: Path) -> None:
    rows = [(video, frame, score, label) for video, frame, score, label in GOOD if frame >= 1]
    path = write_csv(tmp_path / "s.csv", rows)
    assert run("--scores", path).exit_code == 3
    found = json.loads(run("--scores", path, "--dropped", 1, 0, "--json").stdout)
    assert (found["protocols"]["score"]["dropped_frames"], found["protocols"]["score"]["frames"]) == (2, 5)


def labels_of(**frames: Sequence[int] | None) -> DatasetLabels:
    return DatasetLabels(
        frame_T={video: None if label is None else np.array(label, np.bool_) for video, label in frames.items()},
        lengths={video: 3 if label is None else len(label) for video, label in frames.items()},
        fps=dict.fromkeys(frames, 25.0),
        sources=("gt",),
    )


def csv_without_labels(tmp_path: Path) -> ScoreFile:
    return read_score_csv(write_csv(tmp_path / "s.csv", [row[:3] for row in GOOD], "video,frame,score"))


def test_labels_of_the_dataset_serve_scores_that_have_none(tmp_path: Path) -> None:
    file, changed = relabel(csv_without_labels(tmp_path), labels_of(a=[0, 0, 1, 1], b=[0, 0, 0]))
    found = rescore(file, threshold=0.35)
    assert changed == []
    assert found["protocols"]["score"]["score"]["micro_auc"] == pytest.approx(9 / 10)
    assert found["labels"] == ["gt"]
    assert found["protocols"]["score"]["events"]["normal_hours"] == pytest.approx(5 / 25 / 3600)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (labels_of(a=[0, 0, 1, 1]), r"video b: expected a video with scores .* \(1 such of 2 videos; .* has 1\)"),
        (
            labels_of(a=[0, 0, 1, 1], b=[0, 0, 0], z=[0, 1]),
            r"video z: expected a test video of the dataset to be in the scores too.* \(1 such of 3 videos; .* has 2\)",
        ),
        (labels_of(a=[0, 0, 1], b=[0, 0, 0]), "video a: expected scores of the 3 frames that its labels have, found .* 4 "),
    ],
)
def test_scores_and_labels_of_other_videos_or_lengths_are_refused(
    labels: DatasetLabels, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        relabel(csv_without_labels(tmp_path), labels)


def test_labels_that_are_longer_than_the_scores_are_refused(tmp_path: Path) -> None:
    file, _ = relabel(csv_without_labels(tmp_path), labels_of(a=[0, 0, 1, 1, 1], b=[0, 0, 0]))
    with pytest.raises(DataError, match="video a: expected 5 scores, of frames 0 to 4 of 5, found 4"):
        rescore(file)


def test_two_label_sets_for_one_dataset_are_refused(tmp_path: Path) -> None:
    file = read_score_csv(write_csv(tmp_path / "s.csv", GOOD))
    with pytest.raises(DataError, match=r"video a: expected one label set, found 2 anomalous .* and 3 in the dataset"):
        relabel(file, labels_of(a=[0, 1, 1, 1], b=[0, 0, 0]))
    assert relabel(file, labels_of(a=[0, 0, 1, 1], b=[0, 0, 0]))[1] == []


def test_an_old_evaluation_may_be_given_new_labels_and_says_so(folder: Path) -> None:
    fresh = {video: [int(frame in ANOMALOUS[video]) for frame in range(frames)] for video, frames in VIDEOS.items()}
    fresh["a"][5:9] = [1] * 4
    file, changed = relabel(read_score_file(folder), labels_of(**fresh))
    assert changed == ["a"]
    assert rescore(file)["anomalous_frames"] == 22
    assert rescore(file)["protocols"]["paper"]["dropped_frames"] == 45


def test_the_command_reads_labels_of_the_dataset_of_a_configuration(tmp_path: Path) -> None:
    for video in "ab":
        (tmp_path / "data" / "test" / video).mkdir(parents=True)
        for frame in range(16):
            picture = np.full((32, 48, 3), frame * 8, np.uint8)
            assert cv2.imwrite(str(tmp_path / "data" / "test" / video / f"{frame:03d}.png"), picture)
    (tmp_path / "data" / "labels.csv").write_text("video,start,end\na,4,8\n")
    (tmp_path / "s.toml").write_text(f"[dataset]\nroot = '{tmp_path}/data'\n[run]\ncache = '{tmp_path}/cache'\n")
    rows = [(video, frame, 0.1 * (video == "a" and 4 <= frame < 8)) for video in "ab" for frame in range(16)]
    for wanted, chosen in (((0, 1.0), rows), ((3, None), rows[:-1])):
        path = write_csv(tmp_path / "s.csv", chosen, "video,frame,score")
        result = run("--scores", path, "--config", tmp_path / "s.toml", "--json", obj=tuple)
        metrics = json.loads(result.stdout)["protocols"]["score"]["score"] if result.stdout else {}
        assert (result.exit_code, metrics.get("micro_auc")) == wanted
    assert "video b: expected 16 scores, of frames 0 to 15 of 16, found 15" in result.stderr


def test_labels_of_another_length_than_an_old_evaluation_had_are_refused(folder: Path) -> None:
    longer = {video: [0] * (frames + (video == "c")) for video, frames in VIDEOS.items()}
    with pytest.raises(DataError, match=r"video c: expected scores of the 46 frames .*, found scores of 45"):
        relabel(read_score_file(folder), labels_of(**longer))


def test_mean_and_spread_are_those_of_the_runs() -> None:
    found = mean_and_spread([0.8, 0.9, 1.0])
    assert (found["mean"], found["std"], found["min"], found["max"]) == (pytest.approx(0.9), pytest.approx(0.1), 0.8, 1.0)
    assert mean_and_spread([0.8])["std"] is None
    assert mean_and_spread([0.8, None])["mean"] is None


def test_several_runs_give_mean_and_spread_on_the_command_line(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.csv" for name in "xyz"]
    worst = [(video, frame, -score, label) for video, frame, score, label in GOOD]
    for path, rows in zip(paths, (GOOD, GOOD, worst), strict=True):
        write_csv(path, rows)
    found = json.loads(run("--scores", *paths, "--json").stdout)
    assert found["protocols"]["score"]["score"]["micro_auc"]["values"] == pytest.approx([0.9, 0.9, 0.1])
    assert found["protocols"]["score"]["score"]["micro_auc"]["mean"] == pytest.approx(1.9 / 3)
    table = run("--scores", paths[0], "--scores", paths[1], "--scores", paths[2]).stdout
    assert f"{1.9 / 3:.3f} ± {np.std([0.9, 0.9, 0.1], ddof=1):.3f}" in table
    assert "of 3 runs" in table


def test_runs_of_other_videos_or_labels_are_not_averaged(tmp_path: Path, folder: Path) -> None:
    file = read_score_file(folder)
    one = rescore(file)
    labels = {video: np.zeros_like(label_N) for video, label_N in file.tables["paper"].labels.items()}
    labels["a"] = ~labels["a"]
    tables = {name: replace(table, labels=labels) for name, table in file.tables.items() if name == "paper"}
    other = rescore(replace(file, tables=tables, path=tmp_path / "other"))
    with pytest.raises(DataError, match=r"other: expected the same labelled frames as in .* \(135\), found 90"):
        over_runs([one, other])
    result = run("--scores", write_csv(tmp_path / "a.csv", GOOD), write_csv(tmp_path / "b.csv", GOOD[:4]))
    assert (result.exit_code, "expected the same videos" in result.stderr) == (3, True)


def test_a_damaged_evaluation_is_refused(tmp_path: Path, folder: Path) -> None:
    import shutil

    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "metrics.json").unlink()
    with pytest.raises(DataError, match=r"expected scores\.zarr and metrics\.json of an evaluation"):
        read_score_file(copy)
