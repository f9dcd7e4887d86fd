"""Models that are published in half precision alone are used as they are; nothing changes where there are whole weights."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hub_cache import COMMIT, put_into_cache
from huggingface_hub import constants
from numpy.typing import NDArray
from tiny_pipelines import SIZE, write_tiny_sd
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from pipeline.config import Config, ConfigError, FeaturesSettings, InpaintSettings
from pipeline.models.encoders import open_encoder
from pipeline.models.inpainting import check_inpainter, declared_settings, open_inpainter
from pipeline.models.variants import with_variant
from pipeline.stages.features import FeaturesStage

PARTS = ["text_encoder", "unet", "vae"]
FRAMES = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the hub's cache be an empty folder, and the network be out of reach."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("asked the network"))
    return tmp_path / "hub"


@pytest.fixture(scope="module")
def whole_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_sd(tmp_path_factory.mktemp("pipeline") / "whole", half=True)


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> CLIPVisionModelWithProjection:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = CLIPVisionModelWithProjection(CLIPVisionConfig(**sizes, image_size=32, patch_size=8, projection_dim=12))
    return model.to(torch.float16)  # type: ignore[arg-type,no-any-return]  # of transformers


def write_tower(folder: Path, tower: CLIPVisionModelWithProjection, **how: Any) -> Path:
    tower.save_pretrained(folder, **how)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(folder)
    return folder


def halved(folder: Path, to: Path, *parts: str) -> Path:
    """Copy a pipeline and let the weights of ``parts``, or all, be there in half precision alone."""
    shutil.copytree(folder, to)
    for path in to.rglob("*.safetensors"):
        if not parts or path.parent.name in parts:
            path.rename(path.with_name(with_variant(path.name, "fp16")))
    return to


def painting(model: Path | str, **more: Any) -> InpaintSettings:
    return InpaintSettings.model_validate({"model": str(model), "steps": 2, "device": "cpu", **more})


def encoding(model: Path | str, **more: Any) -> FeaturesSettings:
    return FeaturesSettings.model_validate({"model": str(model), "device": "cpu", **more})


def paint(model: Path | str) -> NDArray[np.uint8]:
    mask_BHW = np.zeros(FRAMES.shape[:3], np.bool_)
    mask_BHW[:, 8:20, 6:24] = True
    return open_inpainter(painting(model))(FRAMES, mask_BHW, [1, 2, 3])


# ---- pipelines


def test_a_pipeline_in_half_precision_alone_paints_what_it_paints_under_the_usual_names(
    tmp_path: Path, whole_pipeline: Path
) -> None:
    half = halved(whole_pipeline, tmp_path / "half")
    np.testing.assert_array_equal(paint(half), paint(whole_pipeline))
    assert declared_settings(painting(half))["variant"] == {"fp16": PARTS}
    assert open_inpainter(painting(half)).provenance()["variant"] == {"fp16": PARTS}


def test_no_key_knows_of_half_precision_where_there_are_whole_weights(tmp_path: Path, whole_pipeline: Path) -> None:
    assert "variant" not in declared_settings(painting(whole_pipeline))
    both = halved(whole_pipeline, tmp_path / "both")
    for name in PARTS:
        shutil.copytree(whole_pipeline / name, both / name, dirs_exist_ok=True)
    for path in both.rglob("*.fp16.safetensors"):
        path.write_bytes(b"never read")
    assert "variant" not in declared_settings(painting(both))
    np.testing.assert_array_equal(paint(both), paint(whole_pipeline))
    assert "variant" not in open_inpainter(painting(both)).provenance()


def test_a_pipeline_of_which_one_part_is_in_half_precision_says_which(tmp_path: Path, whole_pipeline: Path) -> None:
    mixed = halved(whole_pipeline, tmp_path / "mixed", "unet")
    assert declared_settings(painting(mixed))["variant"] == {"fp16": ["unet"]}
    np.testing.assert_array_equal(paint(mixed), paint(whole_pipeline))


def test_a_pipeline_of_the_hub_in_half_precision_is_another_key_at_the_same_commit(
    tmp_path: Path, hub: Path, whole_pipeline: Path
) -> None:
    snapshot = put_into_cache(hub, "owner/tiny", halved(whole_pipeline, tmp_path / "half"), revision="main")
    half = declared_settings(painting("owner/tiny"))
    check_inpainter(painting("owner/tiny"))
    shutil.rmtree(snapshot)
    put_into_cache(hub, "owner/tiny", whole_pipeline, revision="main")
    assert half == {**declared_settings(painting("owner/tiny")), "variant": {"fp16": PARTS}}


def test_weights_that_are_missing_are_named_with_the_command_for_either(
    tmp_path: Path, hub: Path, whole_pipeline: Path
) -> None:
    none = halved(whole_pipeline, tmp_path / "none")
    for path in none.rglob("*.safetensors"):
        path.unlink()
    put_into_cache(hub, "owner/tiny", none, revision="main")
    with pytest.raises(
        FileNotFoundError, match=r"hf download owner/tiny .*half precision alone, add --include '\*/\*\.fp16\*"
    ):
        check_inpainter(painting("owner/tiny"))


def lose_a_part(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.fp16.safetensors").unlink()


def pickle_a_part(folder: Path) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.fp16.safetensors"
    path.rename(path.with_suffix(".bin"))


def damage_the_list(folder: Path) -> None:
    lose_a_part(folder)
    (folder / "unet" / "diffusion_pytorch_model.safetensors.index.fp16.json").write_text("[1]")


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (lose_a_part, FileNotFoundError, "expected unet/diffusion_pytorch_model.safetensors or"),
        (pickle_a_part, ConfigError, "expected safetensors, found diffusion_pytorch_model.fp16.bin, a pickle"),
        (damage_the_list, ConfigError, "cannot be read as a list of files of weights"),
    ],
)
def test_half_a_pipeline_is_refused_before_any_work(
    tmp_path: Path, whole_pipeline: Path, damage: Callable[[Path], None], error: type[Exception], message: str
) -> None:
    half = halved(whole_pipeline, tmp_path / "half")
    damage(half)
    with pytest.raises(error, match=message):
        check_inpainter(painting(half))


# ---- encoders


@pytest.mark.parametrize("how", [{}, {"max_shard_size": "4KB"}])
def test_an_encoder_in_half_precision_alone_makes_what_it_makes_under_the_usual_names(
    tmp_path: Path, tower: CLIPVisionModelWithProjection, how: dict[str, Any]
) -> None:
    whole = write_tower(tmp_path / "whole", tower)
    half = write_tower(tmp_path / "half", tower, variant="fp16", **how)
    encode = open_encoder(encoding(half))
    np.testing.assert_array_equal(encode(FRAMES), open_encoder(encoding(whole))(FRAMES))
    assert encode.provenance()["variant"] == "fp16"
    assert "variant" not in open_encoder(encoding(whole)).provenance()


def test_an_encoder_of_the_hub_in_half_precision_is_another_key_at_the_same_commit(
    tmp_path: Path, hub: Path, tower: CLIPVisionModelWithProjection
) -> None:
    put_into_cache(hub, "owner/clip", write_tower(tmp_path / "half", tower, variant="fp16"), revision="main")
    stage = FeaturesStage(Config(features=encoding("owner/clip")))
    stage.check()
    assert stage.settings()["model"] == f"owner/clip@{COMMIT}/fp16"
    put_into_cache(hub, "owner/clip", write_tower(tmp_path / "whole", tower), revision="main")
    assert stage.settings()["model"] == f"owner/clip@{COMMIT}"  # whole ones came beside them


def test_lists_of_both_do_no_harm_where_the_files_of_one_were_fetched(
    tmp_path: Path, hub: Path, tower: CLIPVisionModelWithProjection
) -> None:
    both = write_tower(tmp_path / "both", tower, variant="fp16", max_shard_size="4KB")
    tower.save_pretrained(tmp_path / "whole", max_shard_size="4KB")
    shutil.copy(tmp_path / "whole" / "model.safetensors.index.json", both)
    put_into_cache(hub, "owner/clip", both, revision="main")
    assert open_encoder(encoding("owner/clip"))(FRAMES).shape == (3, 12)
    next((hub / "models--owner--clip" / "snapshots" / COMMIT).glob("model.fp16-00001*")).unlink()
    with pytest.raises(FileNotFoundError, match="expected model-00001-of-"):
        open_encoder(encoding("owner/clip"))
