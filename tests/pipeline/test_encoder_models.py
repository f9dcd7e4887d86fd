"""Encoders of others: by id on the hub and commit, CLIP's or SigLIP's, prepared as they want it, in some precision."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hub_cache import COMMIT, put_into_cache
from huggingface_hub import constants
from numpy.typing import NDArray
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    SiglipImageProcessor,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from pipeline.config import Config, ConfigError, FeaturesSettings
from pipeline.models.clip_folder import encoder_folder, feature_length, read_preparation
from pipeline.models.encoders import open_encoder, pick_type
from pipeline.stages.features import FeaturesNormalStage, FeaturesStage
from trainer.inputs import BundleInputs

SIZE, LENGTH, OTHER = 32, 12, "b" * 40
TOWER: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIZE,
    "patch_size": 8,
}
Bytes = NDArray[np.uint8]


@pytest.fixture
def frames_THWC() -> Bytes:
    rng = np.random.default_rng(0)
    return np.repeat(np.repeat(rng.integers(0, 256, (7, 12, 20, 3), dtype=np.uint8), 4, axis=1), 4, axis=2)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Return a folder with CLIP's image tower as its authors keep it: random weights, statistics and sizes of their own."""
    torch.manual_seed(0)
    CLIPVisionModelWithProjection(CLIPVisionConfig(**TOWER, projection_dim=LENGTH)).save_pretrained(tmp_path / "clip")
    CLIPImageProcessor(size={"shortest_edge": SIZE}, crop_size=SIZE).save_pretrained(tmp_path / "clip")
    return tmp_path / "clip"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the hub's cache be an empty folder."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def settings(model: Path | str, **changed: Any) -> FeaturesSettings:
    return FeaturesSettings.model_validate({"model": str(model), "device": "cpu", **changed})


def keyed(model: Path | str, **changed: Any) -> dict[str, Any]:
    return FeaturesStage(Config(features=settings(model, **changed))).settings()


def by_library(processor: Any, model: Any, frames_THWC: Bytes, answer: str) -> NDArray[np.float32]:
    """Return what the library's own processor and model make of one frame after another."""
    with torch.no_grad():
        answers = [model(**processor(images=frame_HWC, return_tensors="pt"))[answer] for frame_HWC in frames_THWC]
    return np.asarray(torch.cat(answers).numpy())


# ---- by whose statistics, at which size


def test_a_folder_of_clip_gives_what_its_own_processor_and_model_give(clip: Path, frames_THWC: Bytes) -> None:
    model, processor = CLIPVisionModelWithProjection.from_pretrained(clip), CLIPImageProcessor.from_pretrained(clip)
    expected = by_library(processor, model, frames_THWC, "image_embeds")
    found = open_encoder(settings(clip, preprocessing="centre-crop"))(frames_THWC)
    np.testing.assert_allclose(found, expected, atol=0.01)  # their processor rounds to 8 bits after resizing
    assert np.ptp(expected, axis=0).max() > 0.1


def test_a_folder_of_siglip_gives_what_its_own_processor_and_model_give(tmp_path: Path, frames_THWC: Bytes) -> None:
    torch.manual_seed(0)
    model = SiglipVisionModel(SiglipVisionConfig(**TOWER)).eval()
    model.save_pretrained(tmp_path)
    processor = SiglipImageProcessor(size={"height": SIZE, "width": SIZE})
    processor.save_pretrained(tmp_path)
    encode = open_encoder(settings(tmp_path, preprocessing="centre-crop"))
    assert encode.length == feature_length(tmp_path) == TOWER["hidden_size"]
    found, expected = encode(frames_THWC), by_library(processor, model, frames_THWC, "pooler_output")
    np.testing.assert_allclose(found, expected, atol=0.05)  # their processor rounds to 8 bits after resizing
    boxed = open_encoder(settings(tmp_path))(frames_THWC)  # letterbox: the frame keeps its proportions
    assert np.abs(boxed - found).max() > 0.2


def test_the_side_left_out_in_a_file_of_older_form_is_that_number(clip: Path) -> None:
    facts = {"size": 36, "crop_size": SIZE, "resample": 3, "image_mean": [0.1, 0.2, 0.3], "image_std": [1, 1, 1]}
    (clip / "preprocessor_config.json").write_text(json.dumps(facts))
    found = read_preparation(clip)
    assert (found.short_side_for(SIZE), found.bicubic, found.mean) == (36, True, (0.1, 0.2, 0.3))


@pytest.mark.parametrize("wrong", [{"image_mean": [0.5]}, {"image_std": [0, 1, 1]}, {"size": 8}, {"resample": 1}, []])
def test_a_processor_that_cannot_be_followed_is_refused_by_name(clip: Path, wrong: object) -> None:
    (clip / "preprocessor_config.json").write_text(json.dumps(wrong))
    with pytest.raises(ConfigError, match=r"preprocessor_config\.json: expected the settings of a CLIP image processor"):
        open_encoder(settings(clip))


def test_the_key_tells_how_a_folder_wants_pictures_to_be_resized(clip: Path) -> None:
    told = keyed(clip)
    assert (told["short_side"], told["resample"]) == (SIZE, "bicubic")
    embedded = keyed("embedded")
    assert set(embedded) == {"model", "preprocessing"}  # as before there were other ways
    assert len(embedded["model"]) == 64


# ---- the hub


def test_a_model_of_the_hub_is_keyed_by_id_and_commit(clip: Path, cache: Path, frames_THWC: Bytes) -> None:
    put_into_cache(cache, "owner/clip", clip, revision="main")
    assert keyed("owner/clip") == {"model": f"owner/clip@{COMMIT}", "preprocessing": "letterbox"}
    assert keyed("owner/clip") == keyed("owner/clip", revision="main") == keyed("owner/clip", revision=COMMIT)
    stage = FeaturesNormalStage(Config(features=settings("owner/clip")))
    stage.check()
    found = open_encoder(settings("owner/clip"))(frames_THWC)
    np.testing.assert_array_equal(found, open_encoder(settings(clip))(frames_THWC))


def test_a_branch_that_was_fetched_again_is_another_key(clip: Path, cache: Path) -> None:
    put_into_cache(cache, "owner/clip", clip, revision="main")
    before = keyed("owner/clip")
    put_into_cache(cache, "owner/clip", clip, revision="main", commit=OTHER)
    assert keyed("owner/clip") != before
    assert keyed("owner/clip", revision=COMMIT) == before


def test_a_model_that_was_never_fetched_is_named_with_the_command(cache: Path) -> None:
    stage = FeaturesStage(Config(features=settings("owner/clip", revision=COMMIT)))
    assert stage.settings()["model"] == f"owner/clip@{COMMIT}"  # a commit says all that the key must know
    with pytest.raises(FileNotFoundError, match=rf"hf download owner/clip --revision {COMMIT} --include '\*\.json'"):
        stage.check()
    with pytest.raises(FileNotFoundError, match=r"hf download owner/clip --revision main --include '\*\.json' --include"):
        FeaturesStage(Config(features=settings("owner/clip"))).settings()


@pytest.mark.parametrize("missing", ["model.safetensors", "preprocessor_config.json", "config.json"])
def test_a_model_of_which_a_file_is_missing_is_refused_by_its_name(clip: Path, cache: Path, missing: str) -> None:
    (clip / missing).unlink()
    (clip / "pytorch_model.bin").write_bytes(b"a pickle, which is never read")
    put_into_cache(cache, "owner/clip", clip, revision="main")
    with pytest.raises(FileNotFoundError, match=rf"owner/clip.*expected {missing.replace('.', '.')}.*hf download"):
        FeaturesStage(Config(features=settings("owner/clip"))).check()


def test_weights_in_several_files_are_read(clip: Path, frames_THWC: Bytes, tmp_path: Path) -> None:
    model = CLIPVisionModelWithProjection.from_pretrained(clip)
    (clip / "preprocessor_config.json").rename(tmp_path / "kept.json")
    model.save_pretrained(tmp_path / "parts", max_shard_size="8KB")
    (tmp_path / "kept.json").rename(tmp_path / "parts" / "preprocessor_config.json")
    assert not (tmp_path / "parts" / "model.safetensors").exists()
    assert encoder_folder(str(tmp_path / "parts")) == tmp_path / "parts"
    (clip / "preprocessor_config.json").write_bytes((tmp_path / "parts" / "preprocessor_config.json").read_bytes())
    np.testing.assert_array_equal(
        open_encoder(settings(tmp_path / "parts"))(frames_THWC), open_encoder(settings(clip))(frames_THWC)
    )


def test_code_that_lies_beside_a_model_is_never_run(clip: Path, cache: Path, tmp_path: Path) -> None:
    config = json.loads((clip / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "trap.Config", "AutoModel": "trap.Model"}
    (clip / "config.json").write_text(json.dumps(config))
    (clip / "trap.py").write_text(f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n")
    put_into_cache(cache, "owner/clip", clip, revision="main")
    open_encoder(settings("owner/clip"))
    assert not (tmp_path / "ran").exists()


def test_a_bundle_knows_the_commit_and_is_read_again(clip: Path, cache: Path) -> None:
    put_into_cache(cache, "owner/clip", clip, revision="main")
    inputs = BundleInputs.from_config(Config(features=settings("owner/clip", precision="bf16")))
    assert (inputs.encoder_identity, inputs.features.revision) == (f"owner/clip@{COMMIT}", COMMIT)
    again = BundleInputs.from_dict(inputs.to_dict())
    assert (again.features.model, again.features.revision, again.features.precision) == ("owner/clip", COMMIT, "bf16")
    put_into_cache(cache, "owner/clip", clip, revision="main", commit=OTHER)
    again.check_encoder()  # what main means by now is nothing to it
    moved = again.moved(Config(features=settings("owner/clip")), ["features.model"])
    with pytest.raises(ConfigError, match=rf"with \(owner/clip@{COMMIT}\), found another one \(owner/clip@{OTHER}\)"):
        moved.check_encoder()
    with pytest.raises(ConfigError, match="found another one"):
        again.moved(Config(features=settings(clip)), ["features.model"]).check_encoder()


def test_a_bundle_of_an_earlier_version_is_read() -> None:
    inputs = BundleInputs.from_config(Config())
    old = inputs.to_dict()
    assert set(old["features"]) == {"model", "preprocessing"}
    assert BundleInputs.from_dict(old) == inputs


# ---- precision


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.03), ("fp16", 0.004)])
def test_half_precision_moves_embeddings_by_no_more_than_its_steps(
    clip: Path, frames_THWC: Bytes, precision: str, tolerance: float
) -> None:
    full, half = (open_encoder(settings(clip, precision=name))(frames_THWC) for name in ("fp32", precision))
    error = np.linalg.norm(half - full, axis=1) / np.linalg.norm(full, axis=1)
    assert 0 < error.max() < tolerance


def test_without_a_gpu_auto_is_single_precision_and_no_part_of_the_key(clip: Path, frames_THWC: Bytes) -> None:
    auto, full = (open_encoder(settings(clip, precision=name)) for name in ("auto", "fp32"))
    np.testing.assert_array_equal(auto(frames_THWC), full(frames_THWC))
    assert pick_type("auto", torch.device("cuda")) == torch.float16
    assert "precision" not in keyed(clip)
    assert keyed(clip, precision="bf16")["precision"] == "bf16"


def test_receipts_are_told_device_batch_size_and_precision(clip: Path) -> None:
    stage = FeaturesNormalStage(Config(features=settings(clip, precision="bf16", batch_size=5)))
    assert stage.provenance() == {}
    stage.worker()
    assert stage.provenance() == {"device": "cpu", "batch_size": 5, "precision": "bf16"}


