"""The inpaint stage repaints objects and nothing else, the same way every time."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inpaint_run import FRAMES, open_workspace, read, run, street
from numpy.typing import NDArray
from tiny_ldm import write_tiny_ldm

from pipeline.config import Config, InpaintSettings, parse_config
from pipeline.models.inpainting import frame_seed, open_inpainter
from pipeline.models.inpainting_windows import window_around
from pipeline.stages.inpaint import InpaintStage


@pytest.mark.parametrize("colour", ["rgb", "grey"])
def test_only_the_masked_region_of_frames_with_an_object_changes(tmp_path: Path, colour: str) -> None:
    inputs = run(open_workspace(tmp_path, f"frames.colour={colour}"))
    for video in (0, 1):
        frames_THWC, image_THWC = read(inputs, "frames", "frames", video), read(inputs, "inpaint", "image", video)
        mask_THW = read(inputs, "masks", "mask", video)
        assert image_THWC.shape == (FRAMES, 32, 48, 3 if colour == "rgb" else 1)
        changed_THW = (image_THWC != frames_THWC).any(axis=-1)
        assert not changed_THW[~mask_THW].any()
        assert not changed_THW[::3].any()
        assert changed_THW[mask_THW].mean() > 0.9


def test_the_window_holds_the_hole_with_its_surroundings_and_stays_in_the_picture() -> None:
    for context, wide in ((16, 160), (0, 128)):
        for top, left, height, width in ((0, 0, 5, 5), (60, 100, 30, 8), (127, 159, 1, 1), (20, 30, 90, 100)):
            mask_HW = np.zeros((128, 160), np.bool_)
            mask_HW[top : top + height, left : left + width] = True
            rows, columns = window_around(mask_HW, smallest=64, multiple=32, context=context)
            side = 64 if max(height, width) + 2 * context <= 64 else wide
            assert (rows.stop - rows.start, columns.stop - columns.start) == (min(side, 128), side)
            assert mask_HW[rows, columns].sum() == mask_HW.sum()
            assert 0 <= rows.start < rows.stop <= 128
            assert 0 <= columns.start < columns.stop <= 160
            assert top - rows.start >= context or rows.start == 0
            assert columns.stop - left - width >= context or columns.stop == 160


def test_the_model_sees_only_a_window_unless_the_whole_frame_is_asked_for(tmp_path: Path) -> None:
    folder = write_tiny_ldm(tmp_path / "ldm")
    frame_HWC = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    mask_HW = np.zeros((96, 128), np.bool_)
    mask_HW[4:8, 4:8] = True
    seen = {}
    for view in ("hole", "frame"):
        settings = parse_config({"inpaint": {"model": str(folder), "view": view, "composite": False, "device": "cpu"}})
        painted_BHWC = open_inpainter(settings.inpaint)(frame_HWC[None], mask_HW[None], [0])
        seen[view] = (painted_BHWC[0] != frame_HWC).any(axis=-1)
    assert not seen["hole"][64:].any()
    assert not seen["hole"][:, 64:].any()
    assert seen["hole"][:64, :64].mean() > 0.9 < seen["frame"].mean()


def test_pictures_with_holes_of_different_sizes_each_get_their_own_fill(tmp_path: Path) -> None:
    paint = open_inpainter(InpaintSettings(model=str(write_tiny_ldm(tmp_path / "ldm")), steps=2, device="cpu"))
    images_BHWC = np.random.default_rng(0).integers(0, 256, (3, 96, 128, 3), np.uint8)
    masks_BHW = np.zeros((3, 96, 128), np.bool_)
    masks_BHW[0, 4:8, 4:8] = masks_BHW[1, 10:90, 20:30] = masks_BHW[2, 50:60, 100:110] = True
    together_BHWC = paint(images_BHWC, masks_BHW, [7, 8, 9])
    for i in range(3):
        alone_HWC = paint(images_BHWC[i : i + 1], masks_BHW[i : i + 1], [7 + i])[0]
        assert (together_BHWC[i] != images_BHWC[i]).any(axis=-1)[masks_BHW[i]].mean() > 0.9
        assert np.abs(together_BHWC[i].astype(int) - alone_HWC).mean() < 0.5


def test_without_compositing_the_autoencoder_shows_around_the_mask(tmp_path: Path) -> None:
    inputs = run(open_workspace(tmp_path, "inpaint.composite=false"))
    changed_THW = (read(inputs, "inpaint", "image") != read(inputs, "frames", "frames")).any(axis=-1)
    assert changed_THW[1::3].mean() > 0.9
    assert not changed_THW[::3].any()


def test_the_same_settings_give_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    first = read(run(open_workspace(tmp_path)), "inpaint", "image")
    again = read(run(open_workspace(tmp_path, f"run.cache='{tmp_path / 'other'}'")), "inpaint", "image")
    np.testing.assert_array_equal(again, first)
    other = read(run(open_workspace(tmp_path, "inpaint.seed=1")), "inpaint", "image")
    assert (other[1::3] != first[1::3]).any()


def test_how_frames_are_cut_into_shards_and_batches_hardly_changes_a_pixel(tmp_path: Path) -> None:
    first = read(run(open_workspace(tmp_path)), "inpaint", "image")
    cut = ("run.shard_frames=17", "inpaint.batch_size=3")  # other neighbours in every batch
    other = read(run(open_workspace(tmp_path, *cut)), "inpaint", "image")
    assert (first != read(run(open_workspace(tmp_path)), "frames", "frames")).any()
    assert np.abs(other.astype(int) - first).mean() < 0.5


def declared(**inpaint: Any) -> dict[str, Any]:
    return InpaintStage(parse_config({"inpaint": inpaint})).settings()


def test_other_weights_give_another_key_and_the_place_of_the_folder_does_not_hide_it(tmp_path: Path) -> None:
    folder = write_tiny_ldm(tmp_path / "ldm", seed=0)
    first = declared(model=str(folder))
    write_tiny_ldm(folder, seed=1)
    second = declared(model=str(folder))
    assert first["model"] == second["model"]
    assert first["model_identity"] != second["model_identity"]


def test_what_decides_pixels_is_declared_and_what_does_not_is_not() -> None:
    settings = declared(seed=3, batch_size=2, device="cpu")
    assert {"steps", "eta", "seed", "view", "composite", "model_identity", "precision", "dataset"} <= set(settings)
    assert not {"batch_size", "device"} & set(settings)


def test_missing_weights_are_refused_before_any_work_with_the_remedy(tmp_path: Path) -> None:
    stage = InpaintStage(parse_config({"inpaint": {"model": str(tmp_path / "nowhere")}}))
    assert stage.settings()["model_identity"] == "missing"  # status must still be able to speak of the stage
    with pytest.raises(FileNotFoundError, match='give an existing folder, or "embedded"'):
        stage.check()
    folder = write_tiny_ldm(tmp_path / "ldm")
    (folder / "unet" / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"unet/config\.json"):
        InpaintStage(parse_config({"inpaint": {"model": str(folder)}})).check()


def test_declaring_the_stage_loads_no_torch() -> None:
    code = (
        "import sys; from pipeline.config import Config; from pipeline.stages.inpaint import InpaintStage;"
        "stage = InpaintStage(Config()); stage.settings(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_seeds_differ_by_dataset_video_frame_and_seed() -> None:
    seeds = {frame_seed(d, v, f, s) for d in ("x", "y") for v in ("1", "11") for f in (1, 11) for s in (0, 1)}
    assert len(seeds) == 16
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize(
    ("images", "masks", "seeds", "message"),
    [
        (np.zeros((2, 32, 32, 1), np.uint8), np.zeros((2, 32, 32), np.bool_), [1, 2], "expected images"),
        (np.zeros((2, 32, 32, 3), np.uint8), np.zeros((2, 32, 16), np.bool_), [1, 2], "expected masks"),
        (np.zeros((2, 32, 32, 3), np.uint8), np.zeros((2, 32, 32), np.bool_), [1], "one seed for each"),
    ],
)
def test_batches_that_break_the_contract_are_refused(
    tmp_path: Path, images: NDArray[Any], masks: NDArray[Any], seeds: list[int], message: str
) -> None:
    paint = open_inpainter(InpaintSettings(model=str(write_tiny_ldm(tmp_path / "ldm")), device="cpu"))
    with pytest.raises(ValueError, match=message):
        paint(images, masks, seeds)


def test_the_embedded_model_fills_with_structure_not_with_one_colour() -> None:
    frame_HWC, mask_HW = street()
    assert mask_HW.sum() > 60
    seeds = list(range(4))
    paint = open_inpainter(InpaintSettings(device="cpu"))
    painted_BHWC = paint(np.stack([frame_HWC] * 4), np.stack([mask_HW] * 4), seeds)
    assert not (painted_BHWC[0] != frame_HWC)[~mask_HW].any()
    fill_BN = painted_BHWC[:, mask_HW].astype(float).mean(axis=-1)
    assert fill_BN.std(axis=1).min() > 8  # grey levels; a flat colour has 0
    assert np.abs(fill_BN[0] - fill_BN[1]).mean() > 2  # another seed paints another thing


def test_a_grey_picture_stays_grey() -> None:
    frame_HWC, mask_HW = street()
    grey_HWC = np.repeat(frame_HWC[..., 1:2], 3, axis=-1)
    painted_HWC = open_inpainter(InpaintSettings(device="cpu", steps=2))(grey_HWC[None], mask_HW[None], [0])[0]
    assert (painted_HWC == painted_HWC[..., :1]).all()
    assert (painted_HWC != grey_HWC)[mask_HW].any()


def test_the_default_configuration_names_the_embedded_weights() -> None:
    InpaintStage(Config()).check()
