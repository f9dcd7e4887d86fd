"""A whole evaluation, without networks: what is written, what is counted, what is refused."""

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from made_detector import MadeDetector, MadeInputs, make_config, silent

from pipeline.contract import DataError, Labels, VideoRecord
from scoring.baselines import BASELINES
from scoring.cli import show
from scoring.evaluate import evaluate
from scoring.protocols import PROTOCOLS
from scoring.scores import MissingScoreError, fusion_weights
from scoring.store import read_scores

VIDEOS = {"a": 40, "b": 50, "c": 45}
ANOMALOUS = {"a": range(20, 30), "b": range(0), "c": range(30, 38)}
ORIGIN = {"artifact": "eval-0123", "model": "train-4567", "seed": 3, "device": "cpu"}
INDICATORS = ("spatial", "temporal", "semantic", "fused")


def run(
    out: Path, inputs: MadeInputs | None = None, detector: MadeDetector | None = None, **settings: Any
) -> dict[str, Any]:
    """Evaluate without the picture, which takes longer to draw than everything else."""
    with patch("scoring.evaluate.draw_picture"):
        return run_with_picture(out, inputs, detector, **settings)


def run_with_picture(
    out: Path, inputs: MadeInputs | None = None, detector: MadeDetector | None = None, **settings: Any
) -> dict[str, Any]:
    out.mkdir(exist_ok=True)
    inputs = inputs or MadeInputs(VIDEOS, ANOMALOUS)
    return evaluate(detector or MadeDetector(), inputs, make_config(**settings), out, silent, ORIGIN)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluation")
    run_with_picture(out)
    return out


def metrics_in(folder: Path) -> dict[str, Any]:
    content = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def test_metrics_hold_every_indicator_under_both_protocols(folder: Path) -> None:
    metrics = metrics_in(folder)
    for protocol in ("paper", "deployment"):
        for name in INDICATORS:
            found = metrics["protocols"][protocol][name]
            assert 0 <= found["micro_auc"] <= 1
            assert 0 < found["average_precision"] <= 1
            assert set(found["per_video"]) == set(VIDEOS)
    assert metrics["protocols"]["deployment"]["fused"]["micro_auc"] > 0.95


def test_metrics_hold_every_baseline_with_its_best_value_over_the_protocols(folder: Path) -> None:
    baselines = metrics_in(folder)["baselines"]
    assert set(baselines) == set(BASELINES)
    for baseline in baselines.values():
        assert baseline["micro_auc"] == max(baseline["protocols"][name]["micro_auc"] for name in ("paper", "deployment"))


def test_metrics_say_what_was_counted_and_where_it_comes_from(folder: Path) -> None:
    metrics = metrics_in(folder)
    assert (metrics["videos"], metrics["frames"], metrics["anomalous_frames"]) == (3, 135, 18)
    assert metrics["dataset"] == "made-up"
    assert {"stpa", "torch", "python"} <= set(metrics["versions"])
    assert {name: metrics[name] for name in ORIGIN} == ORIGIN


def test_every_test_frame_is_scored_or_declared_dropped(folder: Path) -> None:
    protocols = metrics_in(folder)["protocols"]
    assert (protocols["paper"]["frames"], protocols["paper"]["dropped_frames"]) == (135 - 3 * 15, 3 * 15)
    assert (protocols["deployment"]["frames"], protocols["deployment"]["dropped_frames"]) == (135, 0)
    for video, frames in VIDEOS.items():
        assert read_scores(folder, "deployment")[video]["frame"].tolist() == list(range(frames))
        assert read_scores(folder, "paper")[video]["frame"].tolist() == list(range(8, frames - 7))


def test_saved_scores_give_the_reported_auc_and_hold_no_nan(folder: Path) -> None:
    from sklearn.metrics import roc_auc_score

    for protocol in ("paper", "deployment"):
        tables = read_scores(folder, protocol).values()
        label_N = np.concatenate([table["label"] for table in tables])
        for name in INDICATORS:
            score_N = np.concatenate([table[f"score.{name}"] for table in tables])
            expected = metrics_in(folder)["protocols"][protocol][name]["micro_auc"]
            assert roc_auc_score(label_N, score_N) == pytest.approx(expected)
        assert all(np.isfinite(column).all() for table in tables for column in table.values())


def test_a_video_without_anomaly_is_reported_as_undefined(folder: Path) -> None:
    per_video = metrics_in(folder)["protocols"]["paper"]["fused"]["per_video"]
    assert per_video["b"] == {"auc": None, "undefined": "every frame is normal"}
    assert per_video["a"]["auc"] is not None
    assert "No AUC of its own has a video of one class, 1 of 3: b." in (folder / "table.txt").read_text(encoding="utf-8")


def test_the_margin_is_that_over_the_best_baseline_without_an_oracle(folder: Path) -> None:
    metrics = metrics_in(folder)
    for protocol in ("paper", "deployment"):
        rivals = [
            baseline["protocols"][protocol]["micro_auc"]
            for baseline in metrics["baselines"].values()
            if not baseline["oracle"]
        ]
        margin = metrics["protocols"][protocol]["margin"]
        assert margin["micro_auc"] == pytest.approx(metrics["protocols"][protocol]["fused"]["micro_auc"] - max(rivals))
        assert margin["over"] != "constant"


def test_deployment_scores_of_a_video_do_not_depend_on_other_test_videos(folder: Path, tmp_path: Path) -> None:
    run(tmp_path, MadeInputs({"a": 40}, ANOMALOUS))
    alone, among = read_scores(tmp_path, "deployment")["a"], read_scores(folder, "deployment")["a"]
    for name in set(alone) - {"video"}:
        np.testing.assert_array_equal(alone[name], among[name])


def test_deployment_scores_of_a_frame_do_not_depend_on_later_frames(tmp_path: Path) -> None:
    class CutShort(MadeInputs):
        def read(self, stage: str, name: str, record: VideoRecord, start: int = 0, stop: int | None = None) -> Any:
            return long.read(stage, name, long.records[0], start, stop)

    long = MadeInputs({"a": 60}, {"a": range(20, 30)})
    run(tmp_path / "long", long)
    run(tmp_path / "short", CutShort({"a": 40}, {"a": range(20, 30)}))
    whole, cut = (read_scores(tmp_path / name, "deployment")["a"] for name in ("long", "short"))
    np.testing.assert_array_equal(whole["score.fused"][:40], cut["score.fused"])


def test_the_same_evaluation_writes_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    run_with_picture(tmp_path)
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    written = {"metrics.json", "table.txt", "picture.png", "scores.zarr", "maps.zarr", "regions"}
    assert {path.parts[0] for path in files} == written
    for path in files:
        assert (folder / path).read_bytes() == (tmp_path / path).read_bytes(), path


def test_without_labels_scores_are_written_and_metrics_are_null(tmp_path: Path) -> None:
    metrics = run(tmp_path, MadeInputs(VIDEOS, dict.fromkeys(VIDEOS)))
    assert metrics["anomalous_frames"] is None
    assert metrics["protocols"]["paper"]["fused"]["micro_auc"] is None
    assert metrics["protocols"]["paper"]["margin"] == {"micro_auc": None, "over": None, "interval": None}
    assert {baseline["micro_auc"] for baseline in metrics["baselines"].values()} == {None}
    assert "have no labels" in (tmp_path / "table.txt").read_text(encoding="utf-8")
    assert (read_scores(tmp_path, "paper")["a"]["label"] == -1).all()
    assert np.isfinite(read_scores(tmp_path, "deployment")["c"]["score.fused"]).all()


def test_videos_without_labels_among_others_are_scored_but_not_compared(tmp_path: Path) -> None:
    metrics = run(tmp_path, MadeInputs(VIDEOS, {**ANOMALOUS, "b": None}))
    assert (metrics["frames"], metrics["labelled_frames"]) == (135, 85)
    assert set(metrics["protocols"]["deployment"]["fused"]["per_video"]) == {"a", "c"}
    assert "1 test videos have no labels" in (tmp_path / "table.txt").read_text(encoding="utf-8")
    assert len(read_scores(tmp_path, "deployment")["b"]["frame"]) == 50


def test_frame_pooling_fuses_the_errors_of_whole_frames(folder: Path, tmp_path: Path) -> None:
    by_frame = run(tmp_path, pooling="frame")["protocols"]["paper"]
    by_region = metrics_in(folder)["protocols"]["paper"]
    expected = fusion_weights(MadeDetector(), PROTOCOLS["paper"], "frame")
    assert by_frame["spatial"] == by_region["spatial_frame"]
    assert by_frame["spatial_region"] == by_region["spatial"]
    assert by_frame["fusion_weights"] == expected != fusion_weights(MadeDetector(), PROTOCOLS["paper"], "region")


def test_one_protocol_alone_can_be_asked_for(tmp_path: Path) -> None:
    metrics = run_with_picture(tmp_path, protocols=("paper",))
    assert list(metrics["protocols"]) == ["paper"]
    assert (tmp_path / "picture.png").stat().st_size > 5000


def test_a_test_video_shorter_than_a_clip_is_refused_before_any_work(tmp_path: Path) -> None:
    class NothingRead(MadeInputs):
        def read(self, *_: Any, **__: Any) -> Any:
            raise AssertionError("read before the check")

    with pytest.raises(DataError, match=r"test video tiny: expected at least 16 frames .* found 15.*tiny\.avi"):
        run(tmp_path, NothingRead({"a": 40, "tiny": 15}, {"a": None, "tiny": None}))


def test_a_dataset_without_test_videos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least one test video"):
        run(tmp_path, MadeInputs({}, {}))


def test_labels_that_do_not_fit_the_frames_are_refused(tmp_path: Path) -> None:
    class TooFew(MadeInputs):
        def labels(self, record: VideoRecord) -> Labels | None:
            return Labels(frame_T=np.zeros(record.num_frames - 1, np.bool_), source="gt.mat")

    with pytest.raises(DataError, match=r"gt\.mat: expected 40 labels for test video a, found \(39,\)"):
        run(tmp_path, TooFew(VIDEOS, ANOMALOUS))


def test_no_scores_and_no_metrics_are_written_when_a_score_is_missing(tmp_path: Path) -> None:
    detector = MadeDetector()
    detector.broken["temporal"] = float("nan")
    with pytest.raises(MissingScoreError, match="test video a"):
        run(tmp_path, detector=detector)
    assert {path.name for path in tmp_path.iterdir()} <= {"maps.zarr", "regions"}  # written while a video is measured


def test_show_prints_the_table_or_the_object(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show(folder, as_json=False)
    table = capsys.readouterr().out
    assert table.startswith((folder / "table.txt").read_text(encoding="utf-8"))
    show(folder, as_json=True)
    assert json.loads(capsys.readouterr().out) == metrics_in(folder)


def test_the_table_shows_the_numbers_of_the_object_in_aligned_columns(folder: Path) -> None:
    metrics, lines = metrics_in(folder), (folder / "table.txt").read_text(encoding="utf-8").splitlines()
    fused = next(line for line in lines if line.startswith("fused "))
    columns = ("micro_auc", "macro_auc", "average_precision", "equal_error_rate")
    values = [protocol["fused"][name] for protocol in metrics["protocols"].values() for name in columns]
    assert fused.split()[1:] == [f"{value:.3f}" for value in values]
    best = next(line for line in lines if line.startswith("  over best"))
    assert f"{metrics['protocols']['paper']['margin']['micro_auc']:+.3f}" in best
    header, random = lines[2], next(line for line in lines if line.startswith("random "))
    assert len(header) == len(random) == len(fused)
    assert "constant *" in "\n".join(lines)
