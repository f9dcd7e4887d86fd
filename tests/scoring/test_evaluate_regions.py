"""What an evaluation says of alarms and regions, without networks."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from made_detector import HEIGHT, WIDTH, MadeDetector, MadeInputs, make_config, silent

from pipeline.contract import Labels, VideoRecord
from scoring.evaluate import evaluate
from scoring.protocols import DEPLOYMENT
from scoring.region_store import read_regions
from scoring.store import read_about, read_scores
from scoring.threshold import alarm_threshold
from scoring.track_files import read_detections
from trainer.indicators import TapValues

ORIGIN = {"artifact": "eval-0123", "model": "train-4567", "seed": 3, "device": "cpu"}
ANOMALOUS = range(20, 40)


class Masked(MadeInputs):
    """Labels with pixel masks, at the place where the made-up detector finds something."""

    def labels(self, record: VideoRecord) -> Labels | None:
        labels = super().labels(record)
        assert labels is not None
        mask_THW = np.zeros((record.num_frames, HEIGHT, WIDTH), np.bool_)
        mask_THW[labels.frame_T, 8:16, 12:24] = True
        return Labels(frame_T=labels.frame_T, source="pixel masks", pixel_mask_THW=mask_THW)


class Local(MadeDetector):
    """Its maps are calm but for the place of the anomaly, where they hold the value of the frame."""

    def _tap(self, *arguments: Any) -> TapValues:
        found = super()._tap(*arguments)
        maps = {name: np.full(found.maps["spatial"].shape, 0.01, np.float16) for name in ("spatial", "temporal")}
        for name, map_Nhw in maps.items():
            map_Nhw[:, 2:4, 3:6] = found.values[name][:, None, None]
        return replace(found, maps=maps)


def run(out: Path, detector: MadeDetector | None = None, **settings: Any) -> dict[str, Any]:
    inputs = Masked({"a": 60, "b/c": 30}, {"a": ANOMALOUS, "b/c": range(0)})
    with patch("scoring.evaluate.draw_picture"):
        return evaluate(detector or Local(), inputs, make_config(**settings), out, silent, ORIGIN)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluation")
    run(out)
    return out


def metrics_in(folder: Path) -> Any:
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def test_every_protocol_says_its_rules_and_its_threshold(folder: Path) -> None:
    protocols = metrics_in(folder)["protocols"]
    assert protocols["deployment"]["rules"] == DEPLOYMENT.rules(["pixel masks"])
    assert protocols["deployment"]["threshold"] == alarm_threshold(MadeDetector(), DEPLOYMENT, "region", 0.01)
    assert protocols["paper"]["threshold"] is None
    assert protocols["paper"]["rules"]["label_set"] == "pixel masks"
    assert read_about(folder, "deployment")["threshold"] == protocols["deployment"]["threshold"]


def test_a_lower_rate_of_false_alarms_raises_thresholds_and_changes_no_score(folder: Path, tmp_path: Path) -> None:
    rare, usual = run(tmp_path, false_alarm_rate=0.001)["protocols"]["deployment"], metrics_in(folder)["protocols"]
    assert rare["threshold"] > usual["deployment"]["threshold"]
    assert rare["region_rule"]["threshold"] > usual["deployment"]["region_rule"]["threshold"]
    for video, table in read_scores(folder, "deployment").items():
        np.testing.assert_array_equal(read_scores(tmp_path, "deployment")[video]["score.fused"], table["score.fused"])


def test_regions_of_every_frame_are_in_a_table_and_in_files_of_the_reference_format(folder: Path) -> None:
    stored = read_regions(folder)
    assert stored is not None
    regions, about = stored
    assert set(regions) == {"a", "b/c"}
    assert (about["protocol"], about["stored"]) == ("deployment", [HEIGHT, WIDTH])
    files = read_detections(folder / "regions")
    assert set(files) == {"a", "b%2Fc"}
    assert files["a"].frame_D.tolist() == regions["a"]["frame"].tolist()
    boxes = np.stack([regions["a"][name] for name in ("x1", "y1", "x2", "y2")], axis=1)
    np.testing.assert_array_equal(files["a"].box_D4, boxes)  # the made-up videos are stored at their own size
    assert np.isin(np.arange(22, 40), regions["a"]["frame"]).all()
    assert np.unique(boxes, axis=0).tolist() == [[12, 8, 23, 15]]


def test_where_labels_have_masks_regions_are_compared_with_them(folder: Path) -> None:
    protocols = metrics_in(folder)["protocols"]
    assert protocols["deployment"]["regions"]["rbdc"] > 0.8
    assert protocols["paper"]["regions"] is None


def test_a_model_that_does_not_know_its_training_windows_has_scores_but_no_alarms_and_regions(tmp_path: Path) -> None:
    detector = MadeDetector()
    detector.windows = 0
    found = run(tmp_path, detector)["protocols"]["deployment"]
    assert (found["threshold"], found["regions"]) == (None, None)
    assert found["fused"]["micro_auc"] > 0.9
    assert read_regions(tmp_path) is None


def test_one_protocol_whose_scores_do_not_compare_between_videos_has_no_regions(tmp_path: Path) -> None:
    run(tmp_path, protocols=("paper",))
    assert read_regions(tmp_path) is None
    assert not (tmp_path / "regions").exists()
