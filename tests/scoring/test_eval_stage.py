"""The eval stage as the engine sees it."""

import json
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
from made_detector import make_config, silent
from squares import MadeInputs, make_street, make_training, small_settings

from pipeline.config import ConfigError
from pipeline.contract import DataError
from scoring.stage import EvalStage


def test_status_can_import_the_stage_without_loading_networks_or_drawing() -> None:
    code = "import sys, scoring.stage; print([m for m in ('torch', 'matplotlib', 'sklearn', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_pooling_and_protocols_determine_the_key_and_device_does_not() -> None:
    default = EvalStage(make_config()).settings()
    assert EvalStage(make_config(pooling="frame")).settings() != default
    assert EvalStage(make_config(protocols=("paper",))).settings() != default
    assert EvalStage(make_config(device="cpu", batch_size=3)).settings() == default


def test_it_reads_the_test_split_its_labels_and_the_model_alone() -> None:
    assert EvalStage.upstream == ("frames", "flows", "features-normal", "train")
    assert EvalStage.splits == ("test",)
    assert EvalStage.needs_labels


def test_a_device_that_is_not_there_is_refused_with_the_name_of_the_setting() -> None:
    with pytest.raises(ConfigError, match=r"eval\.device 'warp'"):
        EvalStage(make_config(device="warp")).check()


def test_a_folder_without_evaluation_is_said_to_be_missing(tmp_path: Path) -> None:
    from scoring.cli import show

    with pytest.raises(FileNotFoundError, match=r"metrics\.json"):
        show(tmp_path, as_json=True)


def test_a_damaged_model_is_reported_as_bad_data_with_the_remedy(tmp_path: Path) -> None:
    class Inputs(MadeInputs):
        def folder(self, stage: str) -> Path:
            return tmp_path

    with pytest.raises(DataError, match=r"bundle\.json: .*stpa train"):
        EvalStage(make_config()).run(Inputs([]), tmp_path, silent)


def test_it_evaluates_a_bundle_that_training_left(tmp_path: Path) -> None:
    from trainer.bundle import save_bundle
    from trainer.training import train

    class Inputs(MadeInputs):
        def folder(self, stage: str) -> Path:
            assert stage == "train"
            return model

    model, out = tmp_path / "train-0123" / "data-1", tmp_path / "eval-4567" / "data-2"
    model.mkdir(parents=True)
    out.mkdir(parents=True)
    save_bundle(model, train(make_training(2), small_settings(epochs=0.2, seed=5), silent))
    inputs = Inputs([make_street("fast", frames=30, speed=lambda frame: 3.0, seed=9, split="test")])
    with patch("scoring.evaluate.draw_picture"):
        EvalStage(make_config()).run(inputs, out, silent)
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert (metrics["artifact"], metrics["model"], metrics["seed"]) == ("eval-4567", "train-0123", 5)
    assert (metrics["frames"], metrics["protocols"]["paper"]["frames"]) == (30, 15)
    assert set(metrics["protocols"]["paper"]["fusion_weights"]) == {
        "spatial", "temporal", "semantic", "objects",
    }
    assert set(metrics["protocols"]["deployment"]["region_rule"]["weights"]) == {"spatial", "temporal", "objects"}
    assert metrics["protocols"]["deployment"]["threshold"] > 0
