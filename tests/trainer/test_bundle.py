"""A bundle measures the same after it was stored, and is refused when it is not whole."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from squares import FEATURES, HEIGHT, WIDTH, Street, make_street

from pipeline.contract import Array, DataError
from trainer.bundle import Bundle, BundleError, load_bundle, save_bundle

CPU = torch.device("cpu")
FILES = (
    "bundle.json",
    "spatial.safetensors",
    "temporal.safetensors",
    "discriminator.safetensors",
    "objects.safetensors",
    "calibration.safetensors",
)
WINDOWS = "windows.safetensors"  # a bundle from elsewhere has none: no thresholds then


def stored(street: Street) -> tuple[Array, Array, Array]:
    names = (("frames", "frames"), ("flows", "flow"), ("features-normal", "normal"))
    frames, flow, features = (street.arrays[name] for name in names)
    return frames, flow, features


@pytest.fixture
def folder(trained: Bundle, tmp_path: Path) -> Path:
    save_bundle(tmp_path, trained)
    return tmp_path


def test_a_stored_bundle_measures_bit_for_bit_the_same(trained: Bundle, folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted([*FILES, WINDOWS])
    video = stored(make_street("test", frames=24, seed=5))
    before, after = trained.measure(*video), load_bundle(folder, CPU).measure(*video)
    for tap, found in before.taps.items():
        assert set(found.values) == {"spatial", "spatial_frame_mse", "temporal", "temporal_frame_mse", "semantic", "objects"}
        again = after.taps[tap]
        for name, values in found.values.items():
            np.testing.assert_array_equal(again.values[name], values)
        np.testing.assert_array_equal(again.maps["spatial"], found.maps["spatial"])
        np.testing.assert_array_equal(again.maps["temporal"], found.maps["temporal"])


def test_a_stored_bundle_keeps_what_is_known_of_it(trained: Bundle, folder: Path) -> None:
    again = load_bundle(folder, CPU)
    assert again.info == trained.info
    assert again.indicators == ("spatial", "temporal", "semantic", "objects")
    for name in again.indicators:
        assert again.fusion_weight("centre", name) == trained.fusion_weight("centre", name)


def test_every_scored_frame_has_finite_values_and_maps(trained: Bundle) -> None:
    measured = trained.measure(*stored(make_street("test", frames=20, seed=5)), batch_size=3)
    for tap, frames in (("centre", range(8, 13)), ("last", range(20))):
        found = measured.taps[tap]  # type: ignore[index]
        assert found.frame_index_N.tolist() == list(frames)
        for values in found.values.values():
            assert values.shape == (len(frames),)
            assert values.dtype == np.float64
            assert np.isfinite(values).all()
        assert found.maps["spatial"].shape == found.maps["temporal"].shape == (len(frames), HEIGHT // 4, WIDTH // 4)
        np.testing.assert_allclose(found.values["temporal"], found.maps["temporal"].max((1, 2)), rtol=1e-3)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match=name):
        load_bundle(folder, CPU)


@pytest.mark.parametrize("name", [*FILES, WINDOWS])
@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"\xff" + data[1:]])
def test_a_damaged_file_is_named(folder: Path, name: str, damage: Callable[[bytes], bytes]) -> None:
    (folder / name).write_bytes(damage((folder / name).read_bytes()))
    with pytest.raises(BundleError, match=name):
        load_bundle(folder, CPU)


def edit(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    content = json.loads((folder / "bundle.json").read_text())
    change(content)
    (folder / "bundle.json").write_text(json.dumps(content))


def test_a_bundle_of_another_format_says_so(folder: Path) -> None:
    edit(folder, lambda content: content.update(format=99))
    with pytest.raises(BundleError, match=r"bundle\.json: expected bundle format \d+, found 99; train again"):
        load_bundle(folder, CPU)


def test_a_description_without_its_settings_is_refused(folder: Path) -> None:
    edit(folder, lambda content: content.pop("settings"))
    with pytest.raises(BundleError, match=r"bundle\.json: .*settings"):
        load_bundle(folder, CPU)


def test_weights_of_other_settings_are_refused(folder: Path) -> None:
    edit(folder, lambda content: content["settings"].update(width=0.2))  # type: ignore[attr-defined]
    with pytest.raises(BundleError, match=r"spatial\.safetensors: weights do not fit the settings"):
        load_bundle(folder, CPU)


def cut(array: NDArray[np.float16]) -> NDArray[np.float16]:
    return array[:-1]


def test_video_that_does_not_fit_the_bundle_is_refused_with_both_sizes(trained: Bundle) -> None:
    frames, flow, features = stored(make_street("test", frames=20))
    with pytest.raises(DataError, match=r"at least 16 frames \(one clip\), found 15"):
        trained.measure(frames[:15], flow[:14], features[:15])
    with pytest.raises(DataError, match=rf"{HEIGHT} x {WIDTH} pixels .* found uint8 of shape \(20, 16, {WIDTH}, 3\)"):
        trained.measure(frames[:, :16], flow[:, :, :16], features)
    with pytest.raises(DataError, match=r"expected flow of shape \(19, 2, .* found \(18, 2, "):
        trained.measure(frames, cut(flow), features)
    with pytest.raises(DataError, match=rf"expected features of shape \(20, {FEATURES}\), found \(19, {FEATURES}\)"):
        trained.measure(frames, flow, cut(features))
    with pytest.raises(DataError, match="found None"):
        trained.measure(frames, flow)
