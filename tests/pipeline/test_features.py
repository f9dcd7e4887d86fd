"""Every frame gets one embedding, by whichever CLIP image tower a folder holds, of the whole frame or its middle."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchvision.transforms import v2
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer, CLIPVisionConfig, CLIPVisionModelWithProjection

from pipeline.config import Config, ConfigError, FeaturesSettings
from pipeline.contract import Array, Inputs, Labels, Shard, Split, Video, VideoRecord
from pipeline.models.clip_folder import IMAGENET_MEAN, IMAGENET_STD, encoder_folder, feature_length
from pipeline.models.clip_pictures import centre_crop, letterbox
from pipeline.models.encoders import open_encoder
from pipeline.models.weights import EMBEDDED
from pipeline.stages.features import FeaturesNormalStage, FeaturesStage

SIZE, LENGTH = 32, 12
VISION: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIZE,
    "patch_size": 8,
    "projection_dim": LENGTH,
}
FILL_3 = torch.tensor(IMAGENET_MEAN)


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an image tower of random weights."""
    folder = tmp_path_factory.mktemp("tower")
    torch.manual_seed(0)
    CLIPVisionModelWithProjection(CLIPVisionConfig(**VISION)).save_pretrained(folder)
    return folder


@pytest.fixture
def frames_THWC() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (7, 24, 40, 3), dtype=np.uint8)


def settings(folder: Path, **changed: Any) -> FeaturesSettings:
    return FeaturesSettings(model=str(folder), device="cpu", **changed)


def normalised(pixel_BCHW: torch.Tensor) -> torch.Tensor:
    return (pixel_BCHW - FILL_3[:, None, None]) / torch.tensor(IMAGENET_STD)[:, None, None]


def test_the_embedding_is_what_transformers_makes_of_the_prepared_frame(tower: Path, frames_THWC: NDArray[np.uint8]) -> None:
    encode = open_encoder(settings(tower))
    found = encode(frames_THWC)
    pixel_BCHW = torch.from_numpy(frames_THWC).permute(0, 3, 1, 2) / 255
    model = CLIPVisionModelWithProjection.from_pretrained(tower)
    with torch.no_grad():
        expected = model(pixel_values=normalised(letterbox(pixel_BCHW, SIZE, FILL_3))).image_embeds.numpy()
    assert found.shape == (7, LENGTH)
    assert found.dtype == np.float32
    assert encode.length == LENGTH
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_embeddings_do_not_depend_on_how_many_frames_are_encoded_at_once(
    tower: Path, frames_THWC: NDArray[np.uint8]
) -> None:
    one, three = (open_encoder(settings(tower, batch_size=size))(frames_THWC) for size in (1, 3))
    np.testing.assert_allclose(one, three, atol=2e-6)
    np.testing.assert_array_equal(one, open_encoder(settings(tower, batch_size=1))(frames_THWC))
    assert np.ptp(one, axis=0).max() > 0.01  # the frames are told apart


def test_a_grey_frame_is_encoded_like_its_three_equal_channels(tower: Path, frames_THWC: NDArray[np.uint8]) -> None:
    encode = open_encoder(settings(tower))
    grey_THWC = frames_THWC[..., :1]
    np.testing.assert_array_equal(encode(grey_THWC), encode(np.repeat(grey_THWC, 3, axis=-1)))


def test_no_frames_give_no_embeddings(tower: Path) -> None:
    assert open_encoder(settings(tower))(np.zeros((0, 24, 40, 3), np.uint8)).shape == (0, LENGTH)


@pytest.mark.parametrize("shape", [(24, 40, 3), (2, 24, 40, 2)])
def test_what_is_no_batch_of_images_is_refused(tower: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected images"):
        open_encoder(settings(tower))(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(("height", "width"), [(24, 40), (40, 24), (64, 64), (15, 90)])
def test_letterbox_keeps_the_whole_frame_and_its_proportions(height: int, width: int) -> None:
    frame = torch.ones(1, 3, height, width)
    boxed = letterbox(frame, SIZE, FILL_3)[0]
    inside = (boxed > 0.99).all(0)
    rows, columns = int(inside.any(1).sum()), int(inside.any(0).sum())
    assert max(rows, columns) == SIZE
    assert rows == pytest.approx(SIZE * min(1, height / width), abs=0.51)
    assert columns == pytest.approx(SIZE * min(1, width / height), abs=0.51)
    torch.testing.assert_close(boxed[:, ~inside], FILL_3[:, None].expand(3, int((~inside).sum())))


def test_letterbox_shows_what_the_centre_crop_cuts_off() -> None:
    frame = torch.zeros(1, 3, 32, 96)
    frame[..., :6] = 1  # something at the left edge
    assert letterbox(frame, SIZE, torch.zeros(3)).max() > 0.9
    assert centre_crop(frame, SIZE, 36).max() == 0


@pytest.mark.parametrize(("height", "width"), [(128, 160), (128, 192), (90, 40), (32, 32)])
def test_the_centre_crop_is_that_of_torchvision(height: int, width: int) -> None:
    frame = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    by_torchvision = v2.Compose([v2.Resize(int(SIZE * 256 / 224), antialias=True), v2.CenterCrop(SIZE)])(frame)
    torch.testing.assert_close(centre_crop(frame, SIZE, int(SIZE * 256 / 224)), by_torchvision, atol=1e-5, rtol=0)


def test_preprocessing_is_a_choice_that_changes_the_embedding(tower: Path, frames_THWC: NDArray[np.uint8]) -> None:
    whole, cropped = (open_encoder(settings(tower, preprocessing=p))(frames_THWC) for p in ("letterbox", "centre-crop"))
    assert np.abs(whole - cropped).max() > 0.01


def test_a_folder_may_say_by_what_its_pictures_are_normalised(tower: Path, tmp_path: Path) -> None:
    model = CLIPVisionModelWithProjection.from_pretrained(tower)
    model.save_pretrained(tmp_path)
    frames = np.full((1, SIZE, SIZE, 3), 128, np.uint8)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.25] * 3}))
    value = (128 / 255 - 0.5) / 0.25
    with torch.no_grad():
        expected = model(pixel_values=torch.full((1, 3, SIZE, SIZE), value)).image_embeds.numpy()
    np.testing.assert_allclose(open_encoder(settings(tmp_path))(frames), expected, atol=1e-5)


def test_a_folder_of_both_towers_gives_the_image_tower_without_a_word(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], frames_THWC: NDArray[np.uint8]
) -> None:
    torch.manual_seed(0)
    text = {"vocab_size": 20, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = CLIPModel(CLIPConfig(projection_dim=LENGTH, vision_config=VISION, text_config=text)).eval()
    model.save_pretrained(tmp_path)
    capfd.readouterr()
    encode = open_encoder(settings(tmp_path))
    assert capfd.readouterr() == ("", "")
    assert encode.length == feature_length(tmp_path) == LENGTH
    pixel_BCHW = normalised(letterbox(torch.from_numpy(frames_THWC).permute(0, 3, 1, 2) / 255, SIZE, FILL_3))
    with torch.no_grad():
        expected = model.get_image_features(pixel_values=pixel_BCHW).pooler_output.numpy()
    np.testing.assert_allclose(encode(frames_THWC), expected, atol=1e-5)


def test_a_missing_folder_is_named_with_a_remedy(tmp_path: Path) -> None:
    config = Config(features=settings(tmp_path / "absent"))
    with pytest.raises(FileNotFoundError, match=r"absent.*give an existing folder"):
        FeaturesStage(config).check()


def test_missing_weights_are_named(tower: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((tower / "config.json").read_bytes())
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        FeaturesNormalStage(Config(features=settings(tmp_path))).check()


def test_another_kind_of_model_is_refused_before_it_is_loaded(tower: Path, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes((tower / "model.safetensors").read_bytes())
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ConfigError, match=r"CLIP model.*bert"):
        FeaturesStage(Config(features=settings(tmp_path))).check()


@pytest.mark.parametrize("damage", ["truncated", "other sizes", "no projection"])
def test_weights_that_do_not_fit_are_refused(tower: Path, tmp_path: Path, damage: str) -> None:
    changed = {**VISION, "hidden_size": 8} if damage == "other sizes" else VISION
    CLIPVisionModelWithProjection(CLIPVisionConfig(**changed)).save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    if damage == "no projection":
        from safetensors.torch import load_file, save_file

        weights = {name: tensor for name, tensor in load_file(path).items() if "visual_projection" not in name}
        save_file(weights, path, metadata={"format": "pt"})
    (tmp_path / "config.json").write_bytes((tower / "config.json").read_bytes())
    with pytest.raises(ConfigError, match=r"model\.safetensors: expected"):
        open_encoder(settings(tmp_path))


RECORD = VideoRecord(
    video=Video(id="lobby", split="train", files=()), num_frames=7, height=24, width=40, fps=25.0, digest="0"
)


class GivenInputs:
    """Arrays by stage and name, cut to the span that is asked for."""

    def __init__(self, **arrays: Array) -> None:
        self.arrays = arrays
        self.asked: list[str] = []

    def videos(self, split: Split | None = None) -> Sequence[VideoRecord]:
        return [RECORD]

    def read(self, stage: str, name: str, record: VideoRecord, start: int = 0, stop: int | None = None) -> Array:
        self.asked.append(stage)
        return self.arrays[f"{stage}_{name}".replace("-", "_")][start:stop]

    def labels(self, record: VideoRecord) -> Labels | None:
        return None

    def folder(self, stage: str) -> Path:
        raise AssertionError(stage)


def make(stage: FeaturesNormalStage | FeaturesStage, inputs: Inputs, start: int, stop: int) -> dict[str, Array]:
    return stage.worker()(Shard(record=RECORD, index=0, start=start, stop=stop), inputs)


def test_the_stage_writes_what_it_declares(tower: Path, frames_THWC: NDArray[np.uint8]) -> None:
    stage = FeaturesNormalStage(Config(features=settings(tower)))
    made = make(stage, GivenInputs(frames_frames=frames_THWC), 2, 6)
    (declared,) = stage.arrays(RECORD)
    assert list(made) == [declared.name] == ["normal"]
    assert declared.shape == (stage.length(RECORD), LENGTH) == (7, LENGTH)
    assert made["normal"].dtype == declared.dtype == "float16"
    expected = open_encoder(settings(tower))(frames_THWC[2:6])
    np.testing.assert_allclose(made["normal"], expected, rtol=1e-3, atol=1e-3)


def test_only_inpainted_frames_are_encoded_again(tower: Path, frames_THWC: NDArray[np.uint8]) -> None:
    normal_TD = np.arange(7 * LENGTH, dtype=np.float16).reshape(7, LENGTH)
    object_T = np.array([-1, 0, 0, -1, 3, -1, -1], np.int32)
    inputs = GivenInputs(masks_object=object_T, inpaint_image=frames_THWC, features_normal_normal=normal_TD)
    stage = FeaturesStage(Config(features=settings(tower)))
    made = make(stage, inputs, 0, 7)["spatial_pa"]
    np.testing.assert_array_equal(made[object_T < 0], normal_TD[object_T < 0])
    expected = open_encoder(settings(tower))(frames_THWC[object_T >= 0])
    np.testing.assert_allclose(made[object_T >= 0], expected, rtol=1e-3, atol=1e-3)
    assert set(inputs.asked) == set(stage.upstream)
    assert normal_TD[1, 0] == LENGTH  # what was read is left as it was


def test_other_weights_make_another_artifact(tower: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    CLIPVisionModelWithProjection(CLIPVisionConfig(**VISION)).save_pretrained(tmp_path)
    first, second = (FeaturesStage(Config(features=settings(folder))).settings() for folder in (tower, tmp_path))
    assert first != second
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((tower / name).read_bytes())
    assert first == FeaturesStage(Config(features=settings(tmp_path))).settings()  # where they lie is no part of it


def test_how_many_frames_are_encoded_at_once_is_no_part_of_the_key(tower: Path) -> None:
    one, two = (FeaturesStage(Config(features=settings(tower, batch_size=size))).settings() for size in (1, 2))
    assert one == two


def test_the_stages_say_how_long_features_are_without_loading_torch() -> None:
    program = """
import sys
from pipeline.config import Config
from pipeline.stages.features import FeaturesStage
stage = FeaturesStage(Config())
stage.check(); stage.settings(); print(stage._feature_length(), sorted({"torch", "transformers"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=1) == [str(feature_length(EMBEDDED / "vifi_clip")), "[]\n"]


def test_the_embedded_weights_load_and_tell_frames_apart() -> None:
    encode = open_encoder(FeaturesSettings(device="cpu"))
    frames = np.random.default_rng(0).integers(0, 256, (3, 128, 160, 3), dtype=np.uint8)
    feature_TD = encode(frames)
    assert feature_TD.shape == (3, encode.length)
    assert np.isfinite(feature_TD.astype(np.float16)).all()
    assert np.ptp(feature_TD, axis=0).max() > 1e-3


def test_the_embedded_folder_is_small_and_opens_as_a_whole_clip() -> None:
    folder = encoder_folder("embedded")
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 6.5e6
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    model = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
    tokens = tokenizer(["a cyclist in red rides to the left", "an empty street"], padding=True, return_tensors="pt")
    assert tokens.input_ids.shape[1] == 10  # every word is one token, between a start and an end
    with torch.no_grad():
        assert model.get_text_features(**tokens).pooler_output.shape == (2, feature_length(folder))
    assert (model.config.vision_config.hidden_act, model.config.vision_config.layer_norm_eps) == ("quick_gelu", 1e-5)
