"""Frames are prepared for the image tower as torch does it, only sooner, and each on its own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pipeline.models.bilinear import resize_part
from pipeline.models.clip_folder import Preparation
from pipeline.models.clip_pictures import PicturePreparer, centre_crop

CPU = torch.device("cpu")
SIZES = [(128, 192), (90, 40), (224, 224), (301, 97), (33, 64)]


def frames(height: int, width: int, channels: int = 3, count: int = 3) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, channels), np.uint8)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("factor", [0.5, 0.83, 1.0, 1.42, 3.1])
def test_a_part_of_a_resized_picture_is_that_of_torch_to_the_last_bit_but_one(
    height: int, width: int, factor: float
) -> None:
    image_BCHW = torch.from_numpy(frames(height, width)).permute(0, 3, 1, 2) / 255
    rows, columns = round(height * factor + 0.49), round(width * factor + 0.49)
    whole_BCHW = F.interpolate(image_BCHW, (rows, columns), mode="bilinear", align_corners=False, antialias=True)
    part = slice(3, rows - 2), slice(1, columns - 6)
    found_BCHW = resize_part(image_BCHW, rows, columns, part)
    torch.testing.assert_close(found_BCHW, whole_BCHW[:, :, *part], atol=2e-7, rtol=0)


@pytest.mark.parametrize("bicubic", [True, False])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_a_centre_crop_is_cut_out_of_what_torch_resizes_and_stays_in_range(height: int, width: int, bicubic: bool) -> None:
    image_BCHW = (torch.from_numpy(frames(height, width)).permute(0, 3, 1, 2) > 127).float()  # cubic curves overshoot here
    rows, columns = (40 * side // min(height, width) for side in (height, width))
    mode = "bicubic" if bicubic else "bilinear"
    whole_BCHW = F.interpolate(image_BCHW, (rows, columns), mode=mode, align_corners=False, antialias=True).clamp(0, 1)
    top, left = round((rows - 32) / 2), round((columns - 32) / 2)
    expected_BCHW = whole_BCHW[:, :, top : top + 32, left : left + 32]
    torch.testing.assert_close(centre_crop(image_BCHW, 32, 40, bicubic=bicubic), expected_BCHW, atol=1e-6, rtol=0)


@pytest.mark.parametrize("keep_all", [True, False])
@pytest.mark.parametrize("own", [Preparation(), Preparation(bicubic=True), Preparation(squash=True)])
def test_a_picture_does_not_depend_on_those_beside_it_nor_grey_on_how_it_is_stored(own: Preparation, keep_all: bool) -> None:
    prepare = PicturePreparer(own, 32, keep_all=keep_all, device=CPU, dtype=torch.float32)
    colour_BHWC, grey_BHWC = frames(48, 60), frames(48, 60, channels=1)
    together_BCHW = prepare(np.concatenate([colour_BHWC, np.repeat(grey_BHWC, 3, axis=-1)]))
    alone_BCHW = torch.cat([prepare(picture_HWC[None]) for picture_HWC in colour_BHWC])
    assert torch.equal(together_BCHW, torch.cat([alone_BCHW, prepare(grey_BHWC)]))
    assert together_BCHW.shape == (6, 3, 32, 32)
    assert together_BCHW.std() > 0.1


def test_a_frame_of_one_colour_is_that_colour_normalised_by_the_folders_statistics_in_the_models_type() -> None:
    own = Preparation(mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 1.0))
    prepare = PicturePreparer(own, 16, keep_all=False, device=CPU, dtype=torch.bfloat16)
    picture_CHW = prepare(np.full((1, 20, 30, 3), (255, 0, 51), np.uint8))[0]
    assert picture_CHW.dtype == torch.bfloat16
    expected_3 = torch.tensor([1.0, -1.0, 0.2]).bfloat16()
    assert torch.equal(picture_CHW, expected_3[:, None, None].expand(3, 16, 16))


PAGES = """
import resource, sys
from pipeline.config import FeaturesSettings
from pipeline.models.encoders import open_encoder
if sys.argv[1] == "encoder":
    open_encoder(FeaturesSettings(device="cpu"))
import torch
torch.zeros(25_000_000)  # 100 MB, freed at once
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.zeros(25_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the C library of Linux")
def test_an_encoder_on_a_processor_keeps_the_memory_that_a_batch_leaves_for_the_next_one() -> None:
    told = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    def new_pages(what: str) -> int:
        done = subprocess.run([sys.executable, "-c", PAGES, what], env=told, capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert new_pages("nothing") > 100
    # where the system puts something behind the heap, which is left to chance, the heap cannot grow by so much at once
    assert any(new_pages("encoder") < 100 for _ in range(4))
