"""How a bundle remembers what its inputs were made by."""

import json
import shutil
from pathlib import Path

import pytest

from pipeline.config import Config, ConfigError
from pipeline.contract import DataError
from pipeline.models.clip_folder import encoder_folder
from trainer.inputs import NAME, BundleInputs, load_inputs, save_inputs

CONFIG = Config.model_validate(
    {
        "frames": {"height": 64, "width": 80, "colour": "grey"},
        "flows": {"estimator": "dis", "source": "video"},
        "features": {"preprocessing": "centre-crop", "batch_size": 3},
    }
)


def test_what_a_training_was_given_is_read_back_without_what_changes_nothing(tmp_path: Path) -> None:
    save_inputs(tmp_path, CONFIG)
    found = load_inputs(tmp_path)
    assert (found.frames, found.flows) == (CONFIG.frames, CONFIG.flows)
    assert found.features == CONFIG.features.model_copy(update={"batch_size": 32})
    assert found == BundleInputs.from_dict(found.to_dict())
    assert len(found.encoder_identity) == 64
    assert "batch_size" not in (tmp_path / NAME).read_text()


def test_a_bundle_of_an_earlier_version_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"inputs\.json: expected the settings .* found no such file; train again"):
        load_inputs(tmp_path)


@pytest.mark.parametrize(
    "change", [{"format": 2}, {"frames": {"height": 7}}, {"flows": 3}, {"encoder_identity": None, "features": {"x": 1}}]
)
def test_settings_that_cannot_be_read_are_named(tmp_path: Path, change: dict[str, object]) -> None:
    save_inputs(tmp_path, CONFIG)
    content = json.loads((tmp_path / NAME).read_text())
    (tmp_path / NAME).write_text(json.dumps(content | change))
    with pytest.raises(DataError, match=r"inputs\.json: .*train again"):
        load_inputs(tmp_path)


def test_weights_may_lie_elsewhere_but_must_be_the_same(tmp_path: Path) -> None:
    embedded = encoder_folder("embedded")
    moved = shutil.copytree(embedded, tmp_path / "moved")
    inputs = BundleInputs.from_config(CONFIG)
    there = Config.model_validate({"features": {"model": str(moved)}, "frames": {"height": 32}})
    found = inputs.moved(there, ["features.model"])
    assert (found.features.model, found.frames) == (str(moved), CONFIG.frames)
    found.check_encoder()
    (moved / "config.json").write_text((embedded / "config.json").read_text() + " ")
    with pytest.raises(ConfigError, match="found another one"):
        found.check_encoder()
    shutil.rmtree(moved)
    with pytest.raises(ConfigError, match=r"features\.model=FOLDER"):
        found.check_encoder()


def test_other_weights_of_a_flow_network_are_refused(tmp_path: Path) -> None:
    first, second = tmp_path / "a.pth", tmp_path / "b.pth"
    first.write_bytes(b"some weights")
    second.write_bytes(b"other weights")
    settings = {"flows": {"estimator": "raft-small", "weights": str(first)}}
    inputs = BundleInputs.from_config(Config.model_validate(settings))
    inputs.check_flow()
    assert BundleInputs.from_dict(inputs.to_dict()) == inputs
    other = Config.model_validate({"flows": {"weights": str(second)}})
    with pytest.raises(ConfigError, match=r"flows\.weights=FILE"):
        inputs.moved(other, ["flows.weights"]).check_flow()
