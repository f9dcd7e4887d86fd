"""`stpa import-weights`: what it writes answers as the published networks do."""

import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from compvis_reference import ddim
from published import (
    CONTENTS,
    USAGE,
    imported,
    made_image_encoder,
    made_ldm,
    made_raft,
    publish,
    raft_content,
    refused,
)
from torch import Tensor, nn
from torchvision.models.optical_flow import raft_large, raft_small
from transformers import CLIPVisionModelWithProjection

from pipeline.config import Config, ConfigError, FeaturesSettings, FlowsSettings, InpaintSettings
from pipeline.models.clip_folder import IMAGENET_MEAN, IMAGENET_STD
from pipeline.models.encoders import open_encoder
from pipeline.models.flow_raft import open_raft
from pipeline.models.importing.compvis_names import UNetSizes, VQSizes, unet_modules, vq_modules
from pipeline.models.importing.raft import torchvision_name
from pipeline.models.inpainting import open_inpainter
from pipeline.models.ldm import UNet2DModel, VQModel, load_ldm
from pipeline.models.weights import content_identity, load_weights
from pipeline.stages.features import FeaturesStage
from pipeline.stages.inpaint import InpaintStage

GOLDEN = Path(__file__).parents[3] / "shared" / "golden"
KINDS = tuple(CONTENTS)
needs_golden = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason="../shared/golden, answers of the published programs, is absent"
)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return checkpoints by kind, made once."""
    folder = tmp_path_factory.mktemp("published")
    return lambda kind: path if (path := folder / f"{kind}.pth").exists() else publish(path, kind)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


# What is written answers as the published networks do.


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("legacy", [False, True])
def test_raft_has_the_networks_of_its_authors(tmp_path: Path, large: bool, legacy: bool) -> None:
    theirs = made_raft(large=large)
    torch.save(raft_content(theirs), tmp_path / "raft.pth", _use_new_zipfile_serialization=not legacy)
    out = imported("raft", tmp_path / "raft.pth", tmp_path / "out")
    ours = (raft_large if large else raft_small)(weights=None).eval()
    ours.load_state_dict(load_weights(out / "model.safetensors"))
    image = random(2, 3, 64, 96)
    torch.testing.assert_close(ours.feature_encoder(image), theirs.fnet(image), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours.context_encoder(image), theirs.cnet(image), atol=1e-4, rtol=1e-4)
    hidden, context, corr = (128, 128, 324) if large else (96, 64, 196)
    given = [random(1, width, 8, 12, seed=width) for width in (hidden, context, corr, 2)]
    new_hidden, delta, mask = theirs.update_block(*given)
    found_hidden, found_delta = ours.update_block(*given)
    torch.testing.assert_close((found_hidden, found_delta), (new_hidden, delta), atol=1e-5, rtol=1e-4)
    if mask is not None:
        torch.testing.assert_close(ours.mask_predictor(new_hidden), mask, atol=1e-5, rtol=1e-4)
    assert json.loads((out / "config.json").read_text())["model"] == ("raft_large" if large else "raft_small")


def test_vifi_clip_opens_in_transformers_without_a_missing_weight(tmp_path: Path, published: Callable[[str], Path]) -> None:
    out = imported("vifi-clip", published("vifi-clip"), tmp_path / "out")
    opened: Any = CLIPVisionModelWithProjection.from_pretrained(out, output_loading_info=True)
    model, report = opened
    assert not any(report.values()), report
    pixel_BCHW = random(3, 3, 32, 32)
    found_BD = model(pixel_values=pixel_BCHW).image_embeds
    torch.testing.assert_close(found_BD, made_image_encoder()(pixel_BCHW), atol=1e-4, rtol=1e-4)


def test_ldm_inpainting_paints_with_the_averaged_weights(tmp_path: Path, published: Callable[[str], Path]) -> None:
    model = load_ldm(imported("ldm-inpainting", published("ldm-inpainting"), tmp_path / "out"), precision="fp32")
    unet, vq = made_ldm()
    image_B3HW, mask_B1HW = random(2, 3, 64, 32).clamp(-1, 1), torch.zeros(2, 1, 64, 32)
    mask_B1HW[..., 8:33, 5:20] = 1
    masked_B3hw = vq.encode(image_B3HW * (1 - mask_B1HW) - mask_B1HW)
    small_B1hw = mask_B1HW[..., ::4, ::4] * 2 - 1
    condition_B4hw = model.condition(image_B3HW, mask_B1HW)
    torch.testing.assert_close(condition_B4hw, torch.cat([masked_B3hw, small_B1hw], 1), atol=1e-4, rtol=1e-4)
    start_B3hw = random(2, 3, 16, 8, seed=1)
    expected_B3hw = ddim(unet, start_B3hw, condition_B4hw, steps=4)
    found_B3hw = model.sample(condition_B4hw, start_B3hw, steps=4)
    scale = float(expected_B3hw.abs().max())
    torch.testing.assert_close(found_B3hw / scale, expected_B3hw / scale, atol=1e-4, rtol=0)
    torch.testing.assert_close(model.decode(expected_B3hw), vq.decode(expected_B3hw).clamp(-1, 1), atol=1e-3, rtol=1e-3)


def test_painting_begins_with_latents_that_are_given(tmp_path: Path, published: Callable[[str], Path]) -> None:
    model = load_ldm(imported("ldm-inpainting", published("ldm-inpainting"), tmp_path / "out"), precision="fp32")
    images_BHWC, masks_BHW = np.full((1, 32, 32, 3), 90, np.uint8), np.ones((1, 32, 32), np.bool_)
    drawn = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    given = model.paint(images_BHWC, masks_BHW, [1], steps=2, latents=drawn)
    np.testing.assert_array_equal(given, model.paint(images_BHWC, masks_BHW, [5], steps=2))
    assert (given != model.paint(images_BHWC, masks_BHW, [1], steps=2)).any()
    with pytest.raises(ValueError, match=r"expected latents \(1, 3, 8, 8\), found \(1, 3, 8, 4\)"):
        model.paint(images_BHWC, masks_BHW, [1], steps=2, latents=drawn[..., :4])


@needs_golden
def test_raft_agrees_with_the_golden_flow(tmp_path: Path) -> None:
    out = imported("raft", GOLDEN / "raft_small_princeton.pth", tmp_path / "out")
    with np.load(GOLDEN / "raft_small_princeton.npz") as golden:
        updates = int(golden["num_flow_updates"])
        estimate = open_raft(FlowsSettings(estimator="raft-small", weights=str(out), updates=updates, device="cpu"))
        for first_CHW, second_CHW, flow_2HW in zip(golden["image1"], golden["image2"], golden["flow"], strict=True):
            found_T2HW = estimate(np.stack([first_CHW, second_CHW]).transpose(0, 2, 3, 1))
            np.testing.assert_allclose(found_T2HW[0], flow_2HW, rtol=0, atol=1e-3)


@needs_golden
def test_vifi_clip_agrees_with_the_golden_embeddings(tmp_path: Path) -> None:
    out = imported("vifi-clip", GOLDEN / "vifi_clip_tiny.pth", tmp_path / "out")
    model: Any = CLIPVisionModelWithProjection.from_pretrained(out)
    with np.load(GOLDEN / "vifi_clip_tiny.npz") as golden:
        found_BD = model(pixel_values=torch.from_numpy(golden["pixel_values"])).image_embeds
        np.testing.assert_allclose(found_BD.numpy(), golden["image_embeds"], rtol=0, atol=1e-4)


@needs_golden
def test_ldm_inpainting_agrees_with_the_golden_pictures(tmp_path: Path) -> None:
    model = load_ldm(imported("ldm-inpainting", GOLDEN / "ldm_inpainting_tiny.ckpt", tmp_path / "out"), precision="fp32")
    with np.load(GOLDEN / "ldm_inpainting_tiny.npz") as file:
        golden = {name: torch.from_numpy(file[name]) for name in file.files}
    condition_B4hw = model.condition(golden["image"] * 2 - 1, golden["mask"])
    torch.testing.assert_close(condition_B4hw[:, :3], golden["masked_latent"], atol=1e-3, rtol=0)
    final_B3hw = model.sample(condition_B4hw, golden["initial_latent"], steps=len(golden["ddim_timesteps"]))
    difference = (final_B3hw - golden["final_latent"]).abs().max() / golden["final_latent"].abs().max()
    assert difference <= 1e-2
    inpainted = torch.where(golden["mask"] > 0.5, model.decode(final_B3hw) / 2 + 0.5, golden["image"])
    assert ((inpainted - golden["inpainted"]).abs() <= 2 / 255).float().mean() >= 0.99


# The names cover the published sizes, of which no checkpoint fits a test.


def test_the_names_are_those_of_the_published_sizes() -> None:
    sizes = UNetSizes((256, 512, 768, 1024), 2, (False, True, True, True))
    with torch.device("meta"):
        unet = UNet2DModel(
            in_channels=7,
            out_channels=3,
            block_out_channels=sizes.channels,
            down_block_types=("ResnetDownsampleBlock2D", *["AttnDownBlock2D"] * 3),
            up_block_types=(*["AttnUpBlock2D"] * 3, "ResnetUpsampleBlock2D"),
            downsample_type="resnet",
            upsample_type="resnet",
        )
    ours = {name.rpartition(".")[0] for name in unet.state_dict()}
    named = {module.replace(".qkv", f".to_{letter}") for module in unet_modules(sizes).values() for letter in "qkv"}
    assert ours <= named
    vq_sizes = VQSizes((128, 256, 512), 2, 8192, 3)
    with torch.device("meta"):
        vqvae = VQModel(
            block_out_channels=vq_sizes.channels,
            layers_per_block=2,
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            mid_block_add_attention=False,
        )
    assert {name.rpartition(".")[0] for name in vqvae.state_dict()} <= set(vq_modules(vq_sizes).values())


def test_an_unknown_name_of_raft_stays_as_it_is() -> None:
    assert torchvision_name("module.head.weight") == "head.weight"


# Stages take the folders.


def test_flow_takes_an_imported_folder_of_its_own_size_only(tmp_path: Path, published: Callable[[str], Path]) -> None:
    out = imported("raft", published("raft"), tmp_path / "out")
    frames_THWC = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), np.uint8)
    settings = FlowsSettings(estimator="raft-small", weights=str(out), updates=1, device="cpu")
    assert open_raft(settings)(frames_THWC).shape == (1, 2, 128, 128)
    with pytest.raises(ConfigError, match="expected the weights of raft-large"):
        open_raft(settings.model_copy(update={"estimator": "raft-large"}))


def test_the_features_stage_takes_an_imported_folder_at_its_own_size(
    tmp_path: Path, published: Callable[[str], Path]
) -> None:
    out = imported("vifi-clip", published("vifi-clip"), tmp_path / "out")
    settings = FeaturesSettings(model=str(out), device="cpu", preprocessing="centre-crop")
    FeaturesStage(Config(features=settings)).check()
    image_BHWC = np.random.default_rng(0).integers(0, 256, (2, 36, 36, 3), np.uint8)
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    middle_BCHW = torch.from_numpy(image_BHWC)[:, 2:34, 2:34].permute(0, 3, 1, 2) / 255  # 36 = 256/224 of the model's 32
    expected_BD = made_image_encoder()((middle_BCHW - mean) / std)
    found_BD = open_encoder(settings)(image_BHWC)
    np.testing.assert_allclose(found_BD, expected_BD.numpy(), rtol=1e-4, atol=1e-4)


def test_the_inpaint_stage_takes_an_imported_folder(tmp_path: Path, published: Callable[[str], Path]) -> None:
    out = imported("ldm-inpainting", published("ldm-inpainting"), tmp_path / "out")
    settings = InpaintSettings(model=str(out), device="cpu", steps=2)
    InpaintStage(Config(inpaint=settings)).check()
    images_BHWC = np.random.default_rng(0).integers(0, 256, (1, 32, 48, 3), np.uint8)
    masks_BHW = np.zeros((1, 32, 48), np.bool_)
    masks_BHW[:, 8:24, 8:24] = True
    painted_BHWC = open_inpainter(settings)(images_BHWC, masks_BHW, [1])
    np.testing.assert_array_equal(painted_BHWC[~masks_BHW], images_BHWC[~masks_BHW])
    assert (painted_BHWC[masks_BHW] != images_BHWC[masks_BHW]).mean() > 0.5


# What is written beside the weights.


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_says_where_it_came_from_and_holds_no_pickle(
    tmp_path: Path, published: Callable[[str], Path], kind: str
) -> None:
    out = imported(kind, published(kind), tmp_path / "new" / "out")
    provenance = json.loads((out / "provenance.json").read_text())
    assert provenance["kind"] == kind
    assert provenance["source"]["sha256"] == sha256(published(kind).read_bytes()).hexdigest()
    assert provenance["versions"]["torch"] == torch.__version__.partition("+")[0]
    files = [path for path in out.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in files)
    assert list(out.parent.iterdir()) == [out]


def test_what_identifies_weights_are_the_weights_and_not_their_origin(
    tmp_path: Path, published: Callable[[str], Path]
) -> None:
    first = imported("raft", published("raft"), tmp_path / "a")
    again = imported("raft", publish(tmp_path / "old.pth", "raft", legacy=True), tmp_path / "b")
    other = imported(
        "raft", publish(tmp_path / "other.pth", "raft", lambda t: t["module.fnet.conv2.bias"].add_(1)), tmp_path / "c"
    )
    assert (first / "provenance.json").read_text() != (again / "provenance.json").read_text()
    assert content_identity(first) == content_identity(again) != content_identity(other)


def test_an_empty_folder_is_filled(tmp_path: Path, published: Callable[[str], Path]) -> None:
    (tmp_path / "out").mkdir()
    assert (imported("raft", published("raft"), tmp_path / "out") / "model.safetensors").is_file()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_import_that_does_not_end_leaves_nothing_and_can_be_repeated(
    tmp_path: Path, published: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    source, out = published("raft"), tmp_path / "new" / "out"

    def stop(folder: Path) -> None:
        assert (folder / "model.safetensors").is_file()  # all but the name is there
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.models.importing.run._flush", stop)
        assert "nothing was written" in refused("raft", source, out, 1)
    assert list(tmp_path.iterdir()) == []
    assert (imported("raft", source, out) / "model.safetensors").is_file()


@pytest.mark.parametrize("folder", [True, False])
def test_what_is_there_already_is_left_alone(tmp_path: Path, published: Callable[[str], Path], folder: bool) -> None:
    precious = tmp_path / "out" / "precious" if folder else tmp_path / "out"
    precious.parent.mkdir(exist_ok=True)
    precious.write_text("mine")
    assert "expected a new or empty folder" in refused("raft", published("raft"), tmp_path / "out", USAGE)
    assert precious.read_text() == "mine"


def test_no_tensor_of_the_made_checkpoints_is_constant() -> None:
    networks: list[nn.Module] = [*made_ldm(), made_image_encoder(), made_raft(large=True)]
    for tensor in (tensor for network in networks for tensor in network.state_dict().values()):
        assert tensor.numel() == 1 or float(tensor.std()) > 0
