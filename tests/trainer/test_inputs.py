"""How a bundle remembers what its inputs were made by."""

import json
from pathlib import Path

import pytest

from pipeline.config import Config
from pipeline.contract import DataError
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
