"""The latent diffusion model follows the published conventions, and its folder is read as it was written."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_ldm import tiny_unet, tiny_vqvae, write_tiny_ldm
from torch import Tensor, nn

from pipeline.models.inpainting_ldm import INDEX, WEIGHTS
from pipeline.models.ldm import LatentInpainter, Part, ddim_timesteps, load_ldm, make_scheduler

Images = NDArray[np.uint8]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LatentInpainter:
    return load_ldm(write_tiny_ldm(tmp_path_factory.mktemp("ldm")), precision="fp32")


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def hole(height: int = 32, width: int = 64) -> Tensor:
    mask_B1HW = torch.zeros(1, 1, height, width)
    mask_B1HW[..., 8:20, 16:40] = 1
    return mask_B1HW


def test_times_are_those_of_the_published_program() -> None:
    assert ddim_timesteps(8) == [876, 751, 626, 501, 376, 251, 126, 1]
    assert ddim_timesteps(30)[0] == 991  # range(0, 1000, 33) has 31 elements
    assert max(ddim_timesteps(1000)) < 1000


def test_betas_are_linear_in_their_square_roots() -> None:
    expected = np.linspace(0.0015**0.5, 0.0205**0.5, 1000) ** 2
    np.testing.assert_allclose(make_scheduler().betas.numpy(), expected, rtol=1e-5)


class Knowing(nn.Module):
    """A network that knows the latent and so predicts noise, or velocity, without error."""

    def __init__(self, latent_B3hw: Tensor, scheduler: Part) -> None:
        super().__init__()
        self.latent, self.scheduler = latent_B3hw, scheduler

    def forward(self, given_B7hw: Tensor, time_B: Tensor) -> SimpleNamespace:
        kept = self.scheduler.alphas_cumprod[int(time_B[0])]
        noise_B3hw = (given_B7hw[:, :3] - kept.sqrt() * self.latent) / (1 - kept).sqrt()
        velocity_B3hw = kept.sqrt() * noise_B3hw - (1 - kept).sqrt() * self.latent
        return SimpleNamespace(sample=noise_B3hw if self.scheduler.config.prediction_type == "epsilon" else velocity_B3hw)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_sampling_arrives_at_the_latent_that_the_network_predicts(prediction: str) -> None:
    model = LatentInpainter(tiny_vqvae(), tiny_unet(), make_scheduler(prediction), precision="fp32")
    latent_B3hw, start_B3hw = noise(2, 3, 8, 16), noise(2, 3, 8, 16, seed=1)
    model.unet = Knowing(latent_B3hw, model.scheduler)
    found_B3hw = model.sample(noise(2, 4, 8, 16, seed=2), start_B3hw, steps=10)
    # DDIM ends at the first time, where a thousandth of the variance is still noise: the noise that it began with.
    last = model.scheduler.alphas_cumprod[0]
    noise_B3hw = (start_B3hw - model.scheduler.alphas_cumprod[901].sqrt() * latent_B3hw) / (
        1 - model.scheduler.alphas_cumprod[901]
    ).sqrt()
    torch.testing.assert_close(
        found_B3hw, last.sqrt() * latent_B3hw + (1 - last).sqrt() * noise_B3hw, atol=1e-3, rtol=1e-3
    )


def test_the_condition_marks_the_hole_and_hides_what_was_in_it(model: LatentInpainter) -> None:
    image_B3HW, mask_B1HW = noise(1, 3, 32, 64).clamp(-1, 1), hole()
    condition_B4hw = model.condition(image_B3HW, mask_B1HW)
    assert condition_B4hw.shape == (1, 4, 8, 16)
    expected = torch.full((8, 16), -1.0)
    expected[2:5, 4:10] = 1
    torch.testing.assert_close(condition_B4hw[0, 3], expected)
    changed_B3HW = torch.where(mask_B1HW > 0, image_B3HW.neg(), image_B3HW)
    torch.testing.assert_close(model.condition(changed_B3HW, mask_B1HW), condition_B4hw)
    black_B3HW = torch.where(mask_B1HW > 0, -1.0, image_B3HW)
    torch.testing.assert_close(model.encode(black_B3HW), condition_B4hw[:, :3])


def test_encoding_does_not_quantise_and_decoding_does(model: LatentInpainter) -> None:
    latent_B3hw = model.encode(noise(1, 3, 32, 64).clamp(-1, 1))
    code_K3 = model.vqvae.quantize.embedding.weight * model.vqvae.config.scaling_factor
    point_N3 = latent_B3hw.permute(0, 2, 3, 1).reshape(-1, 3)
    nearest_N3 = code_K3[torch.cdist(point_N3, code_K3).argmin(1)]
    assert not torch.allclose(nearest_N3, point_N3, atol=1e-3)
    quantised_B3hw = nearest_N3.reshape(1, 8, 16, 3).permute(0, 3, 1, 2)
    torch.testing.assert_close(model.decode(quantised_B3hw), model.decode(latent_B3hw))


def paint(model: LatentInpainter, seeds: list[int], size: tuple[int, int] = (32, 64), eta: float = 0.0) -> Images:
    images_BHWC = np.random.default_rng(3).integers(0, 256, (len(seeds), *size, 3), np.uint8)
    masks_BHW = np.zeros(images_BHWC.shape[:3], np.bool_)
    masks_BHW[:, 8:24, 8:24] = True
    return model.paint(images_BHWC, masks_BHW, seeds, steps=3, eta=eta)


def test_sizes_that_the_network_cannot_halve_are_painted_too(model: LatentInpainter) -> None:
    assert model.multiple == 32
    painted_BHWC = paint(model, [1, 2], size=(48, 80))
    assert (painted_BHWC.shape, painted_BHWC.dtype) == ((2, 48, 80, 3), np.uint8)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_a_seed_gives_its_picture_again_and_another_seed_another(model: LatentInpainter, eta: float) -> None:
    first = paint(model, [1, 2], eta=eta)
    np.testing.assert_array_equal(paint(model, [1, 2], eta=eta), first)
    assert (paint(model, [5, 2], eta=eta)[0] != first[0]).any()


def test_noise_on_the_way_changes_the_picture(model: LatentInpainter) -> None:
    assert (paint(model, [1], eta=1.0) != paint(model, [1])).any()


def test_a_picture_does_not_depend_on_the_seeds_of_its_neighbours(model: LatentInpainter) -> None:
    difference = paint(model, [1, 2])[0].astype(int) - paint(model, [1, 9])[0].astype(int)
    assert not difference.any()


def test_a_folder_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = write_tiny_ldm(tmp_path / "a", seed=4)
    model = load_ldm(folder)
    torch.manual_seed(4)
    made = tiny_vqvae()
    read = dict(model.vqvae.named_parameters())
    for name, parameter in made.named_parameters():
        if "quantize" not in name:
            torch.testing.assert_close(read[name].float(), parameter, atol=4e-3, rtol=8e-3)  # bfloat16 in use
    assert model.vqvae.config.scaling_factor == 0.5
    assert model.scheduler.config.prediction_type == "epsilon"


def test_other_kinds_of_model_and_weights_of_another_one_are_refused(tmp_path: Path) -> None:
    folder = write_tiny_ldm(tmp_path / "a")
    weights = folder / "unet" / WEIGHTS
    weights.write_bytes((folder / "vqvae" / WEIGHTS).read_bytes())
    with pytest.raises(ValueError, match=r"expected weights that fit config\.json"):
        load_ldm(folder)
    (folder / INDEX).write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    with pytest.raises(ValueError, match="expected _class_name 'LatentInpainting', found 'StableDiffusionPipeline'"):
        load_ldm(folder)


def test_networks_of_another_task_are_refused() -> None:
    with pytest.raises(ValueError, match="7 channels in"):
        LatentInpainter(tiny_vqvae(), unet_with_channels(3), make_scheduler())


def unet_with_channels(channels: int) -> Part:
    return SimpleNamespace(config=SimpleNamespace(in_channels=channels, out_channels=3))
