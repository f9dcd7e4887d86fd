"""What each part of the score is worth, from what an evaluation stored."""

import json
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import zarr
from click.testing import CliRunner
from made_detector import MadeDetector, MadeInputs, make_config, silent

from pipeline.contract import DataError
from scoring.ablation import Quality, ablate, read_stored
from scoring.ablation_cli import format_ablation
from scoring.cli import evaluate as eval_command
from scoring.evaluate import evaluate
from scoring.metrics import pooled_auc
from scoring.protocols import DEPLOYMENT, PAPER, Protocol

ORIGIN = {"artifact": "eval-0123", "model": "train-4567", "seed": 3, "device": "cpu"}
VIDEOS = {"a": 40, "b": 50, "c": 45}
ANOMALOUS = {"a": range(20, 30), "b": range(0), "c": range(30, 38)}


def run(out: Path, detector: MadeDetector | None = None, inputs: MadeInputs | None = None, **settings: Any) -> Path:
    out.mkdir(exist_ok=True)
    inputs = inputs or MadeInputs(VIDEOS, ANOMALOUS)
    with patch("scoring.evaluate.draw_picture"):
        evaluate(detector or MadeDetector(), inputs, make_config(**settings), out, silent, ORIGIN)
    return out


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("evaluation"))


def rows(folder: Path, protocol: str = "deployment") -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in ablate(folder)["protocols"][protocol]["rows"]}


def metrics_in(folder: Path) -> Any:
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("protocol", ["paper", "deployment"])
def test_the_fused_score_and_each_indicator_alone_are_as_the_evaluation_reports_them(folder: Path, protocol: str) -> None:
    found, reported = rows(folder, protocol), metrics_in(folder)["protocols"][protocol]
    alone = {"spatial", "temporal", "semantic", "spatial_frame", "temporal_frame"}
    assert {name.removesuffix(" alone") for name, row in found.items() if row["kind"] == "alone"} == alone
    for name in alone:
        assert found[f"{name} alone"]["micro_auc"] == reported[name]["micro_auc"]
    assert found["fused"]["micro_auc"] == reported["fused"]["micro_auc"]
    assert found["fused"]["weights"] == reported["fusion_weights"]
    assert found["fused"]["difference"] == 0


@pytest.mark.parametrize("protocol", ["paper", "deployment"])
def test_without_an_indicator_is_what_a_model_that_never_had_it_scores(folder: Path, tmp_path: Path, protocol: str) -> None:
    run(tmp_path, MadeDetector(("spatial", "temporal")))
    never = metrics_in(tmp_path)["protocols"][protocol]["fused"]
    without = rows(folder, protocol)["without semantic"]
    assert set(without["weights"]) == {"spatial", "temporal"}
    for metric in ("micro_auc", "average_precision", "equal_error_rate"):
        assert without[metric] == pytest.approx(never[metric])


@pytest.mark.parametrize("protocol", ["paper", "deployment"])
def test_the_other_pooling_is_what_an_evaluation_with_it_scores(folder: Path, tmp_path: Path, protocol: str) -> None:
    run(tmp_path, pooling="frame")
    assert rows(folder, protocol)["pooled by frame"]["micro_auc"] == pytest.approx(
        metrics_in(tmp_path)["protocols"][protocol]["fused"]["micro_auc"]
    )
    assert rows(tmp_path, protocol)["pooled by region"]["micro_auc"] == pytest.approx(
        metrics_in(folder)["protocols"][protocol]["fused"]["micro_auc"]
    )


def test_weights_by_labels_are_marked_and_never_worse_than_those_learnt_without(folder: Path) -> None:
    for protocol in ("paper", "deployment"):
        found = rows(folder, protocol)
        oracle = [name for name, row in found.items() if row["oracle"]]
        assert oracle == ["weights by labels, region", "weights by labels, frame"]
        assert found[oracle[0]]["micro_auc"] >= found["fused"]["micro_auc"]
        assert found[oracle[1]]["micro_auc"] >= found["pooled by frame"]["micro_auc"]


@pytest.mark.parametrize("protocol", [PAPER, DEPLOYMENT])
@pytest.mark.parametrize("weights", [(1.0, 0.5, 0.2), (0.0, 1.0, 0.0), (0.0, 0.0, 0.0)])
def test_what_weights_are_tuned_by_is_the_reported_micro_auc(
    folder: Path, protocol: Protocol, weights: tuple[float, ...]
) -> None:
    stored = read_stored(folder, protocol)
    chosen = dict(zip(stored.indicators, weights, strict=True))
    assert Quality(stored, "region")(chosen) == pytest.approx(pooled_auc(stored.fused(chosen, "region")))


def test_labels_teach_to_leave_out_an_indicator_that_misleads(tmp_path: Path) -> None:
    class Misled(MadeDetector):
        def calibrate(self, tap: Any, name: str, values: Any) -> Any:
            z_N = super().calibrate(tap, name, values)
            return 10 - 3 * z_N if name == "spatial" else z_N

    detector = Misled()
    detector.windows = 0  # normal windows would tell that such evidence is worth little
    found = rows(run(tmp_path, detector))
    assert found["weights by labels, region"]["weights"]["spatial"] == 0
    assert found["weights by labels, region"]["difference"] > 0.03
    assert found["without spatial"]["difference"] > 0.03


def test_it_works_with_any_number_of_indicators(tmp_path: Path) -> None:
    found = rows(run(tmp_path, MadeDetector(("temporal",))))
    assert [name for name, row in found.items() if row["kind"] in ("alone", "without")] == [
        "temporal alone", "temporal_frame alone",
    ]


def test_without_labels_all_metrics_are_undefined_and_the_table_says_why(tmp_path: Path) -> None:
    run(tmp_path, inputs=MadeInputs(VIDEOS, dict.fromkeys(VIDEOS)))
    found = ablate(tmp_path)
    assert {row["micro_auc"] for part in found["protocols"].values() for row in part["rows"]} == {None}
    assert "no labels" in format_ablation(found)


def test_the_table_holds_the_numbers_of_the_object_and_marks_what_knows_the_labels(folder: Path) -> None:
    found = ablate(folder)
    lines = format_ablation(found).splitlines()
    for name in ("fused", "without temporal", "equal weights"):
        line = next(line for line in lines if line.startswith(f"{name}  "))
        values = [part["micro_auc"] for part in (rows(folder, protocol)[name] for protocol in ("paper", "deployment"))]
        assert [line.removeprefix(name).split()[index] for index in (0, 3)] == [f"{value:.3f}" for value in values]
    assert {line.split(" *")[0] for line in lines if " *" in line[:30] and ":" not in line} == {
        "weights by labels, region", "weights by labels, frame", "constant",
    }
    assert any(line.startswith("flow p99 smoothed") for line in lines)


def damaged(folder: Path, out: Path, name: str, row: int) -> Path:
    shutil.copytree(folder, out)
    column = zarr.open_group(out / "scores.zarr", mode="r+")[f"deployment/{name}"]
    assert isinstance(column, zarr.Array)
    column[row] = np.nan
    return out


def test_a_stored_score_that_is_not_finite_is_refused_with_the_name_of_the_video(folder: Path, tmp_path: Path) -> None:
    broken = damaged(folder, tmp_path / "broken", "z.temporal_region", 40 + 7)
    with pytest.raises(DataError, match=r"test video b, protocol deployment: .*z\.temporal_region.* 1 .*frame 7"):
        ablate(broken)


def test_a_folder_without_evaluation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected an evaluation, cannot read it"):
        ablate(tmp_path)


def test_an_evaluation_of_before_is_refused_with_the_remedy(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "old")
    group = zarr.open_group(tmp_path / "old" / "scores.zarr", mode="r+")["paper"]
    assert isinstance(group, zarr.Group)
    group.attrs.put({"columns": group.attrs["columns"]})
    with pytest.raises(DataError, match="found none; stpa eval --force"):
        ablate(tmp_path / "old")


@pytest.mark.parametrize("other", [("--scores", "x.csv"), ("--dry-run",)])
def test_it_is_refused_together_with_what_gives_nothing_to_look_at(other: tuple[str, ...]) -> None:
    done = CliRunner().invoke(eval_command, ["--ablate", *other])
    assert done.exit_code == 2
    assert "--ablate" in done.output
