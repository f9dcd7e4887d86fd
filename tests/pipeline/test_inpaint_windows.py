"""Windows around holes are brought to the size that a model was trained with, painted in batches, and pasted back."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from inpaint_run import open_workspace, read, run, street
from numpy.typing import NDArray
from tiny_ldm import write_tiny_ldm

from pipeline.config import ConfigError, InpaintSettings
from pipeline.models.inpainting import check_inpainter, declared_settings, open_inpainter
from pipeline.models.inpainting_opencv import METHODS
from pipeline.models.inpainting_windows import WindowInpainter, resize_mask, resize_picture

Images = NDArray[np.uint8]
Holes = NDArray[np.bool_]
SIZE = 64
HOLES = ((4, 4, 6, 3), (20, 40, 30, 12), (70, 100, 15, 50), (90, 130, 38, 30))
"""Top, left, height and width in pictures of 128 x 160."""


class Copies:
    """A painter that paints what it sees, brighter by what the seed says, and has memory for so many pictures."""

    def __init__(self, memory: int = 100, always_resized: bool = True) -> None:
        self.size, self.multiple, self.always_resized, self.memory = SIZE, 8, always_resized, memory
        self.seen: list[tuple[int, ...]] = []

    def paint(self, images_BHWC: Images, masks_BHW: Holes, seeds: Sequence[int]) -> Images:
        self.seen.append(images_BHWC.shape[:3])
        if len(images_BHWC) > self.memory:
            raise torch.OutOfMemoryError("made up")
        assert masks_BHW.any(axis=(1, 2)).all()
        return images_BHWC + np.array(seeds, np.uint8)[:, None, None, None]

    def provenance(self) -> dict[str, Any]:
        return {"device": "paper"}


def pictures() -> tuple[Images, Holes]:
    """Return smooth pictures of different brightness, and a hole in each."""
    images_BHWC = np.empty((len(HOLES), 128, 160, 3), np.uint8)
    masks_BHW = np.zeros((len(HOLES), 128, 160), np.bool_)
    for i, (top, left, height, width) in enumerate(HOLES):
        y_H1, x_1W = np.mgrid[:128, :160]
        images_BHWC[i] = (40 + 10 * i + y_H1 / 2 + x_1W / 3)[..., None] + np.array([0, 5, 9])
        masks_BHW[i, top : top + height, left : left + width] = True
    return images_BHWC, masks_BHW


def windows(painter: Copies, **more: Any) -> WindowInpainter:
    return WindowInpainter(painter, InpaintSettings.model_validate({"device": "cpu", **more}))


@pytest.mark.parametrize("composite", [True, False])
@pytest.mark.parametrize("view", ["zoom", "hole", "frame"])
def test_every_window_comes_back_to_its_own_place(view: str, composite: bool) -> None:
    images_BHWC, masks_BHW = pictures()
    painted = windows(Copies(), view=view, composite=composite)(images_BHWC, masks_BHW, [20, 30, 40, 50]).astype(int)
    for i, seed in enumerate((20, 30, 40, 50)):
        gain_HWC = painted[i] - images_BHWC[i]
        assert np.abs(gain_HWC[masks_BHW[i]] - seed).max() <= 4  # resized to and fro
        if composite:
            assert not gain_HWC[~masks_BHW[i]].any()
        else:
            assert (gain_HWC != 0).any(axis=-1).sum() > masks_BHW[i].sum()


def test_holes_of_all_sizes_are_one_batch_at_the_size_of_the_model() -> None:
    for always in (True, False):
        painter = Copies(always_resized=always)
        windows(painter, view="zoom", context=8)(*pictures(), [1, 2, 3, 4])
        assert painter.seen == [(4, SIZE, SIZE)]


def test_a_frame_keeps_its_shape_and_has_the_model_s_size_on_its_short_side() -> None:
    painter = Copies()
    windows(painter, view="frame")(*pictures(), [1, 2, 3, 4])
    assert painter.seen == [(4, SIZE, 80)]
    as_they_are = Copies(always_resized=False)
    windows(as_they_are, view="frame")(*pictures(), [1, 2, 3, 4])
    assert as_they_are.seen == [(4, 128, 160)]


@pytest.mark.parametrize(("memory", "batches"), [(3, [4, 2, 2]), (2, [4, 2, 2]), (1, [4, 2, 1, 1, 1, 1])])
def test_where_memory_is_short_half_the_pictures_are_tried_and_the_result_is_the_same(
    memory: int, batches: list[int]
) -> None:
    seeds = [1, 2, 3, 4]
    painter, spacious = Copies(memory), Copies()
    inpainter = windows(painter, view="zoom", batch_size=4)
    painted = inpainter(*pictures(), seeds)
    assert [count for count, _, _ in painter.seen] == batches
    np.testing.assert_array_equal(painted, windows(spacious, view="zoom")(*pictures(), seeds))
    assert inpainter.provenance() == {"device": "paper", "batch_size": batches[-1], "batch_size_without_memory": 4}
    painter.seen.clear()
    inpainter(*pictures(), seeds)
    assert {count for count, _, _ in painter.seen} == {batches[-1]}  # once learnt, no more are tried


def test_a_picture_that_does_not_fit_alone_fails_with_the_remedy() -> None:
    with pytest.raises(RuntimeError, match=r"memory for one picture of 64 x 64 .* a smaller inpaint\.size"):
        windows(Copies(memory=0), view="zoom")(*pictures(), [1, 2, 3, 4])


def test_no_masked_pixel_is_lost_between_sizes() -> None:
    random = np.random.default_rng(0)
    for height, width in ((40, 60), (300, 200), (97, 513)):
        mask_HW = np.zeros((height, width), np.bool_)
        mask_HW[random.integers(height), random.integers(width)] = True
        small_HW = resize_mask(mask_HW, 32, 32)
        back_HW = cv2.resize(small_HW.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
        assert back_HW[mask_HW].all()
        large_HW = resize_mask(mask_HW, 4 * height, 4 * width)
        assert large_HW.sum() == 16


def test_a_picture_that_shrinks_is_averaged_and_one_that_has_its_size_is_left_alone() -> None:
    stripes_HWC = np.zeros((64, 64, 3), np.uint8)
    stripes_HWC[::2] = 200
    assert set(np.unique(resize_picture(stripes_HWC, 16, 16))) == {100}
    assert resize_picture(stripes_HWC, 64, 64) is stripes_HWC


def test_the_ldm_sees_more_of_a_small_hole_when_it_is_enlarged(tmp_path: Path) -> None:
    folder = write_tiny_ldm(tmp_path / "ldm")
    frame_HWC, mask_HW = street()
    painted = {}
    for view in ("hole", "zoom"):
        settings = InpaintSettings.model_validate({"model": str(folder), "view": view, "steps": 2, "device": "cpu"})
        painted[view] = open_inpainter(settings)(frame_HWC[None], mask_HW[None], [0])[0]
        assert not (painted[view] != frame_HWC)[~mask_HW].any()
    assert (painted["hole"] != painted["zoom"])[mask_HW].any()


def test_keys_of_the_ldm_know_nothing_of_settings_that_it_does_not_read() -> None:
    declared = declared_settings(InpaintSettings())
    assert set(declared) == {"model", "model_identity", "precision", "steps", "eta", "seed", "view", "composite"}
    others = {"prompt": "a", "guidance_scale": 1.0, "strength": 0.5, "scheduler": "x", "size": 64, "radius": 9.0}
    assert declared_settings(InpaintSettings.model_validate(others)) == declared
    assert declared_settings(InpaintSettings(context=20)) != declared
    assert declared_settings(InpaintSettings(precision="fp32")) != declared
    assert declared_settings(InpaintSettings(precision="bf16")) == declared
    with pytest.raises(ConfigError, match="expected auto, bf16 or fp32 for the LDM"):
        check_inpainter(InpaintSettings(precision="fp16"))


# ---- OpenCV


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("colour", ["rgb", "grey"])
def test_the_classical_control_closes_the_hole_alone_without_a_seed(tmp_path: Path, method: str, colour: str) -> None:
    settings = (f"inpaint.model={method}", f"frames.colour={colour}")
    inputs = run(open_workspace(tmp_path, *settings))
    other = read(run(open_workspace(tmp_path, *settings, f"run.cache='{tmp_path / 'other'}'")), "inpaint", "image")
    frames_THWC, image_THWC = read(inputs, "frames", "frames"), read(inputs, "inpaint", "image")
    changed_THW = (image_THWC != frames_THWC).any(axis=-1)
    mask_THW = read(inputs, "masks", "mask").astype(np.bool_)
    assert not changed_THW[~mask_THW].any()
    assert changed_THW[mask_THW].mean() > 0.9
    np.testing.assert_array_equal(image_THWC, other)


@pytest.mark.parametrize("method", METHODS)
def test_a_hole_in_a_slope_is_closed_by_the_slope(method: str) -> None:
    images_BHWC, masks_BHW = pictures()
    broken_BHWC = np.where(masks_BHW[..., None], np.uint8(255), images_BHWC)
    inpainter = open_inpainter(InpaintSettings(model=method))
    painted = inpainter(broken_BHWC, masks_BHW, [0] * len(HOLES))
    assert np.abs(painted[:2].astype(int) - images_BHWC[:2]).max() < 30  # the original has lost up to 190
    grey_BHWC = np.repeat(broken_BHWC[..., :1], 3, axis=-1)
    assert (inpainter(grey_BHWC, masks_BHW, [0] * 4) == inpainter(grey_BHWC, masks_BHW, [9] * 4)[..., :1]).all()


def test_methods_and_radius_are_the_key_of_the_control_and_other_names_are_refused() -> None:
    telea, ns = (InpaintSettings(model=name) for name in METHODS)
    assert declared_settings(telea) == {"model": "opencv-telea", "radius": 3.0}
    assert declared_settings(ns) != declared_settings(telea)
    assert declared_settings(telea.model_copy(update={"seed": 5, "steps": 9})) == declared_settings(telea)
    frame_HWC, mask_HW = street()
    first, second, wider = (
        open_inpainter(settings)(frame_HWC[None], mask_HW[None], [0])
        for settings in (telea, ns, telea.model_copy(update={"radius": 9.0}))
    )
    assert (first != second).any()
    assert (first != wider).any()
    with pytest.raises(ConfigError, match="expected one of opencv-telea, opencv-ns, found 'opencv-magic'"):
        check_inpainter(InpaintSettings(model="opencv-magic"))
    with pytest.raises(ConfigError, match="opencv-ns has none; leave it out"):
        check_inpainter(InpaintSettings(model="opencv-ns", revision="main"))
    with pytest.raises(ConfigError, match="changes nothing outside the mask"):
        check_inpainter(InpaintSettings(model="opencv-ns", composite=False))


def test_keys_of_no_model_need_torch(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionInpaintPipeline"}')
    code = (
        "import sys; from pipeline.config import InpaintSettings; from pipeline.models.inpainting import declared_settings\n"
        f"for model in ('embedded', 'opencv-ns', 'owner/name', {str(tmp_path)!r}):\n"
        "    declared_settings(InpaintSettings(model=model))\n"
        "assert not {'torch', 'diffusers', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
