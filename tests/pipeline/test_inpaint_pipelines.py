"""An inpainting pipeline of diffusers paints as the library itself does, picture by picture; no code of its own is run."""

import importlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from hub_cache import put_into_cache
from huggingface_hub import constants
from inpaint_run import open_workspace, read, run
from numpy.typing import NDArray
from PIL import Image
from tiny_pipelines import SIZE, schedule, write_tiny_sd, write_tiny_sd3, write_tiny_sdxl

from pipeline.config import ConfigError, InpaintSettings
from pipeline.models.inpainting import check_inpainter, declared_settings, open_inpainter
from pipeline.models.inpainting_diffusers import BATCH_NOISE, PipelinePainter, native_size

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")  # of diffusers with NumPy 2

Images = NDArray[np.uint8]
TOLERANCE = 2
"""Of 255: rounding of batches of another size, at the most."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pipelines")
    return {
        "inpainting": write_tiny_sd(root / "inpainting"),
        "text-to-image": write_tiny_sd(root / "text", channels=4),
        "XL": write_tiny_sdxl(root / "xl"),
        "3": write_tiny_sd3(root / "sd3"),
    }


@pytest.fixture
def sd(folders: dict[str, Path]) -> Path:
    return folders["inpainting"]


def pictures(count: int = 3, height: int = SIZE, width: int = SIZE) -> tuple[Images, NDArray[np.bool_], list[int]]:
    """Return noise with a hole in each picture, and seeds."""
    images_BHWC = np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)
    masks_BHW = np.zeros((count, height, width), np.bool_)
    for i, mask_HW in enumerate(masks_BHW):
        mask_HW[4 : 20 - i, 6 + i : 24] = True
    return images_BHWC, masks_BHW, list(range(10, 10 + count))


def settings(folder: Path | str, **more: Any) -> InpaintSettings:
    return InpaintSettings.model_validate({"model": str(folder), "steps": 2, "device": "cpu", **more})


def paint(folder: Path, count: int = 3, **more: Any) -> Images:
    return open_inpainter(settings(folder, **more))(*pictures(count))


def by_the_library(folder: Path, prompt: str, negative: str, guidance: float, scheduler: str) -> Images:
    """Paint as a few lines over diffusers would: one picture at a time, PIL in and out."""
    made: Any = diffusers.AutoPipelineForInpainting
    no_t5 = {"text_encoder_3": None, "tokenizer_3": None} if folder.name == "sd3" else {}
    pipe = made.from_pretrained(folder, **no_t5)
    pipe.set_progress_bar_config(disable=True)
    if scheduler:
        pipe.scheduler = getattr(diffusers, scheduler).from_config(pipe.scheduler.config)
    painted = []
    for image_HWC, mask_HW, seed in zip(*pictures(), strict=True):
        made_HWC = pipe(
            prompt, image=Image.fromarray(image_HWC), mask_image=Image.fromarray(mask_HW), negative_prompt=negative or None,
            num_inference_steps=2, strength=1.0, guidance_scale=guidance, generator=torch.Generator().manual_seed(seed),
            height=SIZE, width=SIZE,
        ).images[0]  # fmt: skip
        painted.append(np.where(mask_HW[..., None], np.asarray(made_HWC), image_HWC))
    return np.stack(painted)


@pytest.mark.parametrize("kind", ["inpainting", "text-to-image", "XL"])
@pytest.mark.parametrize(
    ("prompt", "negative", "guidance", "scheduler"),
    [("the dog", "", 7.5, ""), ("the dog", "a cat", 3.0, "DDIMScheduler"), ("", "", 7.5, ""), ("the dog", "", 1.0, "")],
)
def test_what_is_painted_is_what_the_library_paints(
    folders: dict[str, Path], kind: str, prompt: str, negative: str, guidance: float, scheduler: str
) -> None:
    theirs = by_the_library(folders[kind], prompt, negative, guidance, scheduler)
    ours = paint(
        folders[kind], prompt=prompt, negative_prompt=negative, guidance_scale=guidance, scheduler=scheduler, view="frame"
    )
    masks_BHW = pictures()[1]
    assert np.abs(ours.astype(int) - theirs).max() <= TOLERANCE
    assert (ours != pictures()[0]).any(axis=-1)[masks_BHW].mean() > 0.9


def test_a_transformer_with_matched_flows_paints_as_the_library_does(folders: dict[str, Path]) -> None:
    theirs = by_the_library(folders["3"], "the dog", "", 7.0, "")
    ours = paint(folders["3"], prompt="the dog", guidance_scale=7.0, view="frame")
    assert np.abs(ours.astype(int) - theirs).max() <= TOLERANCE
    assert (ours != pictures()[0]).any(axis=-1)[pictures()[1]].mean() > 0.9
    with pytest.raises(ConfigError, match=r"inpaint\.eta: StableDiffusion3InpaintPipeline has no such setting"):
        paint(folders["3"], eta=0.5)


def test_a_family_that_keeps_prompts_otherwise_is_given_words(sd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = paint(sd, prompt="the dog", negative_prompt="cats")
    monkeypatch.setattr("pipeline.models.inpainting_diffusers._encode", lambda *_: {})
    assert np.abs(known.astype(int) - paint(sd, prompt="the dog", negative_prompt="cats")).max() <= TOLERANCE


def test_no_guidance_is_computed_where_the_prompt_says_nothing(sd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    forward = diffusers.UNet2DConditionModel.forward

    def counted(self: Any, sample: Any, *rest: Any, **named: Any) -> Any:
        seen.append(len(sample))
        return forward(self, sample, *rest, **named)

    monkeypatch.setattr(diffusers.UNet2DConditionModel, "forward", counted)
    paint(sd, count=2)
    paint(sd, count=2, prompt="the dog")
    # Two steps each (PNDM calls once more): first without guidance, then with it, which doubles the batch.
    assert seen == [2] * (len(seen) // 2) + [4] * (len(seen) // 2)


CHANGES: dict[str, Any] = {
    "prompt": "the cat", "negative_prompt": "a", "guidance_scale": 2.0, "strength": 0.5, "scheduler": "DDIMScheduler",
    "steps": 3, "seed": 1, "size": 48, "view": "zoom", "precision": "bf16", "context": 2,
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_what_changes_the_key_changes_the_picture(sd: Path, name: str) -> None:
    base = {"prompt": "the dog", "steps": 2, "view": "zoom" if name == "context" else "frame", "context": 1}
    changed = {**base, name: CHANGES[name]}
    assert declared_settings(settings(sd, **base)) != declared_settings(settings(sd, **changed))
    if name != "seed":  # which reaches the inpainter through the seeds of frames
        assert (paint(sd, count=1, **base) != paint(sd, count=1, **changed)).any()


def test_what_changes_no_picture_changes_no_key(sd: Path) -> None:
    base = declared_settings(settings(sd))
    assert base == declared_settings(settings(sd, batch_size=3, device="auto", radius=5))
    assert not {"batch_size", "device", "radius", "revision"} & set(base)


COMPATIBLE: list[str] = sorted(
    made.__name__ for made in type(schedule())._get_compatibles() if made.__name__ not in BATCH_NOISE
)


@pytest.mark.parametrize("scheduler", COMPATIBLE)
def test_a_picture_does_not_depend_on_its_neighbours_whatever_the_schedule(sd: Path, scheduler: str) -> None:
    inpainter = open_inpainter(settings(sd, scheduler=scheduler, prompt="the dog", eta=0.5))
    images_BHWC, masks_BHW, seeds = pictures(4)
    together = inpainter(images_BHWC, masks_BHW, seeds)
    order = [2, 0]
    others = inpainter(images_BHWC[order], masks_BHW[order], [seeds[i] for i in order])
    assert np.abs(together[order].astype(int) - others).max() <= TOLERANCE
    again = inpainter(images_BHWC[order], masks_BHW[order], [seeds[i] for i in reversed(order)])
    assert np.abs(again.astype(int) - others)[masks_BHW[order]].mean() > 1  # the seed, not the place in the batch


def test_other_precisions_paint_nearly_the_same_and_are_recorded(sd: Path) -> None:
    whole = paint(sd, prompt="the dog").astype(int)
    inpainter = open_inpainter(settings(sd, prompt="the dog", precision="bf16"))
    half = inpainter(*pictures())
    assert inpainter.provenance()["precision"] == "bf16"
    assert 0 < np.abs(half - whole).mean() < 12


def test_weights_that_lie_in_half_precision_are_used_in_the_one_that_was_asked_for(tmp_path: Path, sd: Path) -> None:
    half = write_tiny_sd(tmp_path / "half", half=True)
    for precision in ("fp32", "bf16"):
        ours, theirs = (paint(folder, prompt="the dog", precision=precision).astype(int) for folder in (half, sd))
        assert np.abs(ours - theirs).mean() < 12


def test_the_size_it_was_trained_with_is_read_off_the_pipeline(folders: dict[str, Path]) -> None:
    for folder in folders.values():
        painter = PipelinePainter(folder, settings(folder))
        assert painter.size == SIZE
        assert PipelinePainter(folder, settings(folder, size=64)).size == 64
    with pytest.raises(ConfigError, match=r"inpaint\.size: expected a number, as SimpleNamespace does not say"):
        native_size(SimpleNamespace(unet=SimpleNamespace(config=SimpleNamespace())))


@pytest.mark.parametrize("kind", ["inpainting", "XL"])
def test_the_stage_changes_the_hole_alone_and_says_how(folders: dict[str, Path], tmp_path: Path, kind: str) -> None:
    workspace = open_workspace(tmp_path, f"inpaint.model='{folders[kind]}'", "inpaint.prompt='the dog'")
    inputs = run(workspace)
    frames_THWC, image_THWC = read(inputs, "frames", "frames"), read(inputs, "inpaint", "image")
    mask_THW = read(inputs, "masks", "mask").astype(np.bool_)
    changed_THW = (image_THWC != frames_THWC).any(axis=-1)
    assert not changed_THW[~mask_THW].any()
    assert changed_THW[mask_THW].mean() > 0.9
    receipt = json.loads(next(workspace.artifact("inpaint").receipts_folder.iterdir()).read_text())
    told = {"device": "cpu", "precision": "fp32", "batch_size": 8, "safety_checker": False, "watermark": False}
    assert told.items() <= receipt["provenance"].items()
    assert receipt["provenance"]["scheduler"] == ("EulerDiscreteScheduler" if kind == "XL" else "PNDMScheduler")


# ---- where models come from


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the hub's cache be an empty folder, and the network be out of reach."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("asked the network"))
    return tmp_path / "hub"


def test_a_model_of_the_hub_is_opened_at_its_commit_and_the_commit_is_in_the_key(hub: Path, sd: Path) -> None:
    put_into_cache(hub, "owner/tiny", sd, revision="main")
    first = declared_settings(settings("owner/tiny"))
    np.testing.assert_array_equal(open_inpainter(settings("owner/tiny"))(*pictures()), paint(sd))
    put_into_cache(hub, "owner/tiny", sd, revision="v2", commit="b" * 40)
    assert declared_settings(settings("owner/tiny", revision="v2")) != first
    assert declared_settings(settings("owner/tiny", revision="b" * 40)) != first
    put_into_cache(hub, "owner/tiny", sd, revision="main", commit="c" * 40)  # the branch moved, and was fetched again
    assert declared_settings(settings("owner/tiny")) != first


def test_a_model_that_was_not_fetched_is_named_with_the_command(hub: Path, sd: Path) -> None:
    assert declared_settings(settings("owner/tiny"))["model_identity"] == "missing"  # status must be able to speak of it
    with pytest.raises(FileNotFoundError, match=r"hf download owner/tiny --revision main --include '\*\.json'"):
        check_inpainter(settings("owner/tiny"))
    snapshot = put_into_cache(hub, "owner/tiny", sd, revision="main")
    (snapshot / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"unet/diffusion_pytorch_model\.safetensors.*hf download owner/tiny"):
        check_inpainter(settings("owner/tiny"))


def test_a_folder_is_known_by_what_is_in_it_and_not_by_where_it_is(sd: Path, tmp_path: Path) -> None:
    here, there = (write_tiny_sd(tmp_path / name) for name in ("here", "there"))
    identity = declared_settings(settings(here))
    assert identity == declared_settings(settings(there)) == declared_settings(settings(sd))
    tokenizer = next(path for path in (there / "tokenizer").iterdir() if path.suffix in (".txt", ".json"))
    tokenizer.write_text(tokenizer.read_text() + "\n")
    assert declared_settings(settings(there)) != identity
    assert declared_settings(settings(write_tiny_sd(tmp_path / "other", seed=1))) != identity


def change_index(folder: Path, **changes: Any) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, **changes}))


def pickle_the_weights(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").rename(folder / "unet" / "diffusion_pytorch_model.bin")


def lose_the_weights(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()


def spread_and_lose_a_shard(folder: Path) -> None:
    lose_the_weights(folder)
    listed = {"weight_map": {"a": "diffusion_pytorch_model-00001-of-00001.safetensors"}}
    (folder / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(listed))


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (pickle_the_weights, ConfigError, r"unet: expected safetensors, found diffusion_pytorch_model\.bin, a pickle"),
        (lose_the_weights, FileNotFoundError, r"expected unet/diffusion_pytorch_model\.safetensors or"),
        (spread_and_lose_a_shard, FileNotFoundError, r"expected unet/diffusion_pytorch_model-00001-of-00001\.safetensors"),
        (lambda f: change_index(f, unet=["their_code", "Net"]), ConfigError, r"found their_code\.Net; models that bring"),
        (lambda f: change_index(f, unet=["os", "system"]), ConfigError, r"found os\.system"),
        (lambda f: change_index(f, _class_name=["their_code", "Pipe"]), ConfigError, "bring their own code"),
        (lambda f: change_index(f, _class_name="DDPMPipeline"), ConfigError, "AutoPipelineForInpainting of diffusers"),
        (lambda f: (f / "model_index.json").write_text("{"), ConfigError, "cannot be read as JSON"),
    ],
)
def test_folders_that_cannot_be_opened_safely_are_refused_before_any_work(
    tmp_path: Path, damage: Callable[[Path], None], error: type[Exception], message: str
) -> None:
    folder = write_tiny_sd(tmp_path / "sd")
    damage(folder)
    with pytest.raises(error, match=message):
        check_inpainter(settings(folder))


def test_weights_of_another_model_are_refused_when_they_are_read(tmp_path: Path, folders: dict[str, Path]) -> None:
    folder = write_tiny_sd(tmp_path / "sd")
    weights = "unet/diffusion_pytorch_model.safetensors"
    (folder / weights).write_bytes((folders["XL"] / weights).read_bytes())
    with pytest.raises(ConfigError, match="expected an inpainting pipeline that diffusers"):
        open_inpainter(settings(folder))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"scheduler": "NoScheduler"}, r"can take the place of PNDMScheduler \(.*DDIMScheduler.*found 'NoScheduler'"),
        ({"scheduler": "DPMSolverSDEScheduler"}, "found 'DPMSolverSDEScheduler'"),
        ({"strength": 0.1}, r"strength = 0\.1 of inpaint\.steps = 2: expected one step"),
        ({"device": "nonsense"}, "expected auto, cpu, cuda"),
        ({"revision": "main"}, "expected inpaint.model to be the id"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_before_any_work(sd: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_inpainter(settings(sd, **more))


@pytest.mark.parametrize("name", ["safety_checker", "watermark"])
def test_a_checker_or_watermark_that_the_pipeline_has_not_is_refused(sd: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"inpaint\.{name} = true: expected a pipeline that has one"):
        open_inpainter(settings(sd, **{name: True}))


# ---- the safety checker


def test_the_safety_checker_is_off_unless_asked_for_and_recorded(sd: Path, tmp_path: Path) -> None:
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPTextConfig, CLIPVisionConfig

    checker: Any = importlib.import_module("diffusers.pipelines.stable_diffusion").StableDiffusionSafetyChecker
    small: dict[str, Any] = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    vision = CLIPVisionConfig(**small, image_size=32, patch_size=16)
    config = CLIPConfig(text_config=CLIPTextConfig(**small).to_dict(), vision_config=vision.to_dict(), projection_dim=8)
    made = checker(config)
    made.concept_embeds.data.fill_(1)
    made.concept_embeds_weights.data.fill_(-2)  # a threshold that everything is above
    with_checker = write_tiny_sd(
        tmp_path / "checked", safety_checker=made, feature_extractor=CLIPImageProcessor(size=32, crop_size=32)
    )
    off, on = (open_inpainter(settings(with_checker, safety_checker=checked)) for checked in (False, True))
    assert (off.provenance()["safety_checker"], on.provenance()["safety_checker"]) == (False, True)
    masks_BHW: Sequence[NDArray[np.bool_]] = list(pictures()[1])
    assert np.array([image[mask].max() for image, mask in zip(on(*pictures()), masks_BHW, strict=True)]).max() == 0
    np.testing.assert_array_equal(off(*pictures()), paint(sd))
    assert declared_settings(settings(with_checker)) != declared_settings(settings(with_checker, safety_checker=True))
