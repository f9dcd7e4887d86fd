"""The eval stage as the engine sees it."""

import subprocess
import sys
from pathlib import Path

import pytest
from made_detector import make_config

from pipeline.config import ConfigError
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
