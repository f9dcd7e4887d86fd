"""RAFT over a video agrees with torchvision's model called pair by pair. Weights are random: what is tested is the way."""

import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from flow_run import stored, write_coloured
from motion import TURNS_AND_ZOOMS, end_point_error, mean_error, moving, true_flow, warped
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torchvision.models.optical_flow import RAFT, Raft_Large_Weights, Raft_Small_Weights

from pipeline.config import ConfigError, FlowsSettings, load_config
from pipeline.models.flow import NETWORKS, FlowEstimator, check_flow_estimator, open_flow_estimator, resize_flow
from pipeline.models.flow_raft import MODELS, RaftFlow
from pipeline.models.flow_weights import DEFAULT
from pipeline.models.importing.run import import_weights
from pipeline.models.torch_hub import HUB
from pipeline.stages.flows import FlowsStage

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT.parent / "shared" / "golden"
Frames = NDArray[np.uint8]


@cache
def random_raft(name: str) -> RAFT:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MODELS[name](weights=None).eval()


@pytest.fixture
def weights(tmp_path: Path) -> Callable[[str], Path]:
    """Write random weights as ``stpa import-weights raft`` would, and return the folder."""

    def write(name: str) -> Path:
        (tmp_path / name).mkdir()
        save_file(random_raft(name).state_dict(), tmp_path / name / "model.safetensors")
        return tmp_path / name

    return write


def one_by_one(name: str, frames_THWC: Frames, updates: int) -> NDArray[np.float32]:
    """Return what torchvision's model answers when it is asked for one pair after another."""
    image_TCHW = torch.from_numpy(frames_THWC).permute(0, 3, 1, 2).float() / 127.5 - 1
    image_TCHW = image_TCHW.expand(-1, 3, -1, -1)
    with torch.inference_mode():
        flows = [
            random_raft(name)(image_TCHW[i : i + 1], image_TCHW[i + 1 : i + 2], num_flow_updates=updates)[-1]
            for i in range(len(frames_THWC) - 1)
        ]
    return np.asarray(torch.cat(flows).numpy())


def coloured(count: int, height: int, width: int) -> Frames:
    """Return frames (T, H, W, 3) whose channels move differently."""
    return np.stack([moving(count, *step, height, width) for step in ((2, -1), (0, 1), (-1, 0))], axis=-1)


@pytest.mark.parametrize("name", NETWORKS)
def test_frames_at_a_multiple_of_eight_have_the_flow_of_torchvisions_model(name: str) -> None:
    frames_THWC = coloured(4, 128, 136)
    flow_T2HW = RaftFlow(random_raft(name), updates=3, batch_size=2)(frames_THWC)
    expected_T2HW = one_by_one(name, frames_THWC, 3)
    assert flow_T2HW.dtype == np.float32
    assert np.abs(expected_T2HW).max() > 0.5
    np.testing.assert_allclose(flow_T2HW, expected_T2HW, atol=1e-3)


def test_flow_i_is_that_from_frame_i_to_the_next() -> None:
    frames_THWC = coloured(6, 128, 128)
    raft = RaftFlow(random_raft("raft-small"), updates=2, batch_size=3)
    flow_T2HW = raft(frames_THWC)
    assert flow_T2HW.shape == (5, 2, 128, 128)
    for i in range(5):
        np.testing.assert_allclose(flow_T2HW[i], raft(frames_THWC[i : i + 2])[0], atol=1e-3)
    assert np.abs(flow_T2HW[2] - flow_T2HW[3]).max() > 0.01  # or the comparison would say nothing


def test_the_number_of_pairs_at_once_changes_no_more_than_rounding() -> None:
    frames_THWC = coloured(6, 128, 128)
    flows = [RaftFlow(random_raft("raft-small"), updates=2, batch_size=size)(frames_THWC) for size in (1, 2, 4, 8)]
    for flow_T2HW in flows[1:]:
        np.testing.assert_allclose(flow_T2HW, flows[0], atol=1e-3)


def test_other_sizes_are_padded_by_their_edges_on_both_ends_and_cut_again() -> None:
    frames_THWC = coloured(3, 131, 140)
    padded_THWC = np.pad(frames_THWC, ((0, 0), (2, 3), (2, 2), (0, 0)), mode="edge")
    flow_T2HW = RaftFlow(random_raft("raft-small"), updates=2, batch_size=8)(frames_THWC)
    expected_T2HW = one_by_one("raft-small", padded_THWC, 2)[:, :, 2:-3, 2:-2]
    np.testing.assert_allclose(flow_T2HW, expected_T2HW, atol=1e-3)


def test_small_frames_are_enlarged_and_their_vectors_scaled_back() -> None:
    small_THWC = coloured(3, 64, 80)
    raft = RaftFlow(random_raft("raft-small"), updates=2, batch_size=8)
    flow_T2HW = raft(small_THWC)
    assert flow_T2HW.shape == (2, 2, 64, 80)
    image_TCHW = torch.from_numpy(small_THWC).permute(0, 3, 1, 2).float()
    large_TCHW = torch.nn.functional.interpolate(image_TCHW, (128, 160), mode="bilinear", align_corners=False)
    large_THWC = large_TCHW.permute(0, 2, 3, 1).round().to(torch.uint8).numpy()
    large_T2HW = raft(large_THWC).reshape(2, 2, 64, 2, 80, 2).mean(axis=(3, 5))
    np.testing.assert_allclose(flow_T2HW, large_T2HW / 2, atol=0.05)  # here the large frames were rounded to 8 bits
    assert np.abs(flow_T2HW).mean() > 0.2


def test_grey_frames_have_the_flow_of_three_equal_channels() -> None:
    grey_THW1 = moving(3, 2, 1, 128, 128)[..., None]
    raft = RaftFlow(random_raft("raft-small"), updates=2, batch_size=8)
    np.testing.assert_array_equal(raft(grey_THW1), raft(np.repeat(grey_THW1, 3, axis=-1)))


def test_half_precision_changes_the_flow_a_little() -> None:
    frames_THWC = coloured(2, 128, 128)
    flows = [
        RaftFlow(random_raft("raft-small"), updates=3, batch_size=1, half=half)(frames_THWC)
        for half in (None, torch.bfloat16)  # a processor takes minutes over float16, which a GPU uses
    ]
    difference_T2HW = np.abs(flows[0] - flows[1])
    assert 0 < difference_T2HW.mean() < 0.02 * np.abs(flows[0]).mean()


def test_bf16_is_a_choice_that_a_processor_takes_too_and_mixed_is_not(weights: Callable[[str], Path]) -> None:
    frames_THWC, path = coloured(2, 128, 128), str(weights("raft-small"))
    mixed, full, half = (
        open_flow_estimator(
            FlowsSettings.model_validate(
                {"estimator": "raft-small", "weights": path, "updates": 2, "device": "cpu", "precision": precision}
            )
        )(frames_THWC)
        for precision in ("mixed", "fp32", "bf16")
    )
    np.testing.assert_array_equal(mixed, full)
    assert 0 < np.abs(half - full).mean() < 0.02 * np.abs(full).mean()


@pytest.mark.parametrize("wrong", [np.zeros((3, 128, 128), np.uint8), np.zeros((3, 128, 128, 1), np.float32)])
def test_what_is_no_video_is_refused(wrong: Frames) -> None:
    with pytest.raises(ValueError, match=r"expected frames \(T, H, W, 1 or 3\) uint8, found \(3, 128, 128"):
        RaftFlow(random_raft("raft-small"), updates=1, batch_size=1)(wrong)


@pytest.mark.parametrize("form", ["folder", "file", "pth"])
def test_weights_are_taken_from_a_folder_or_a_file(weights: Callable[[str], Path], form: str) -> None:
    path = weights("raft-small")
    if form == "pth":
        path = path / "raft.pth"
        torch.save(random_raft("raft-small").state_dict(), path)
    elif form == "file":
        path = path / "model.safetensors"
    settings = FlowsSettings(estimator="raft-small", weights=str(path), updates=2, device="cpu")
    check_flow_estimator(settings)
    frames_THWC = coloured(2, 128, 128)
    flow_T2HW = open_flow_estimator(settings)(frames_THWC)
    np.testing.assert_allclose(flow_T2HW, one_by_one("raft-small", frames_THWC, 2), atol=1e-3)


def test_weights_of_the_other_size_are_refused_by_name(weights: Callable[[str], Path]) -> None:
    settings = FlowsSettings(estimator="raft-large", weights=str(weights("raft-small")), device="cpu")
    for refuse in (check_flow_estimator, open_flow_estimator):
        with pytest.raises(ConfigError, match=r"expected the weights of raft-large .* found \d+ tensors that differ"):
            refuse(settings)


def test_a_device_that_is_none_is_refused_before_anything_is_read(weights: Callable[[str], Path]) -> None:
    settings = FlowsSettings(estimator="raft-small", weights=str(weights("raft-small")), device="gpu0")
    with pytest.raises(ConfigError, match="device 'gpu0': expected auto, cpu, cuda or cuda:N"):
        check_flow_estimator(settings)


def test_a_pickle_that_runs_code_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (tmp_path / "ran",)

    torch.save({"weights": Trap()}, tmp_path / "trap.pth")
    settings = FlowsSettings(estimator="raft-small", weights=str(tmp_path / "trap.pth"), device="cpu")
    with pytest.raises(ConfigError, match="expected tensors as torchvision keeps them"):
        open_flow_estimator(settings)
    assert not (tmp_path / "ran").exists()


def test_the_key_knows_the_content_of_weights_and_not_their_place(weights: Callable[[str], Path], tmp_path: Path) -> None:
    path = weights("raft-small") / "model.safetensors"
    elsewhere = tmp_path / "moved.safetensors"
    elsewhere.write_bytes(path.read_bytes())
    first = stage_settings(path)
    assert first == stage_settings(elsewhere) == stage_settings(path.parent)
    assert first == stage_settings(path, "flows.batch_size=1", "flows.device=cpu")
    tensors = load_file(path)
    tensors["update_block.flow_head.conv2.bias"][0] += 1
    save_file(tensors, path)
    changed = stage_settings(path)
    assert changed["weights"] != first["weights"]
    assert {name for name in first if first[name] != changed[name]} == {"weights"}
    for override in ("flows.updates=4", "flows.precision=fp32", "flows.estimator=raft-large"):
        assert stage_settings(path, override) != changed


def stage_settings(path: Path, *overrides: str) -> dict[str, object]:
    return FlowsStage(load_config(None, ["flows.estimator=raft-small", f"flows.weights={path}", *overrides])).settings()


def test_the_key_is_computed_without_loading_torch() -> None:
    program = """if True:
        import sys
        from pipeline.config import load_config
        from pipeline.stages.flows import FlowsStage
        print(FlowsStage(load_config(None, ["flows.estimator=raft-large"])).settings()["weights"], "torch" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [DEFAULT["raft-large"], "False"]


def test_weights_that_are_missing_are_named_and_their_flow_has_a_key_of_its_own(tmp_path: Path) -> None:
    assert stage_settings(tmp_path / "gone")["weights"] == "missing"
    with pytest.raises(FileNotFoundError, match=r"expected weights at .*gone, found no file; .*import-weights"):
        check_flow_estimator(FlowsSettings(estimator="raft-small", weights=str(tmp_path / "gone")))


@pytest.mark.parametrize(("name", "default"), [("raft-small", Raft_Small_Weights), ("raft-large", Raft_Large_Weights)])
def test_the_default_weights_are_those_of_torchvision(name: str, default: type[Raft_Small_Weights]) -> None:
    assert HUB + DEFAULT[name] == default.DEFAULT.url


@pytest.mark.parametrize("offline", [True, False])
def test_default_weights_that_cannot_be_fetched_are_named_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: bool
) -> None:
    asked = []

    def no_network(url: str, path: str, **options: object) -> None:
        asked.append(url)
        raise OSError("no network here")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1" if offline else "0")
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    url, path = HUB + DEFAULT["raft-small"], tmp_path / "hub" / "checkpoints" / DEFAULT["raft-small"]
    with pytest.raises(FileNotFoundError, match="HF_HUB_OFFLINE is set" if offline else "no network here") as error:
        check_flow_estimator(FlowsSettings(estimator="raft-small"))
    assert str(error.value).endswith(f"curl -fL --create-dirs -o {path} {url}")
    assert asked == ([] if offline else [url])


def test_default_weights_are_the_file_that_their_name_promises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / "hub" / "checkpoints" / DEFAULT["raft-small"]
    path.parent.mkdir(parents=True)
    path.write_bytes(b"an error page")
    with pytest.raises(ConfigError, match="expected a file whose sha256 begins with 01064c6d"):
        check_flow_estimator(FlowsSettings(estimator="raft-small"))


@pytest.mark.parametrize("source", ["frames", "video"])
def test_the_stage_stores_raft_flow_in_pixels_of_the_stored_frames(
    weights: Callable[[str], Path], tmp_path: Path, source: str
) -> None:
    write_coloured(tmp_path / "data")  # 64 x 96, 18 frames: two shards
    network = ["flows.estimator=raft-small", f"flows.weights={weights('raft-small')}", "flows.updates=1", "flows.device=cpu"]
    frames_THWC, flow_T2HW = stored(
        tmp_path, "rgb", *network, f"flows.source={source}", "frames.height=32", "frames.width=64"
    )
    seen_THWC = frames_THWC
    if source == "video":
        seen_THWC = np.stack([read_rgb(path) for path in sorted((tmp_path / "data" / "rgb" / "train" / "a").iterdir())])
    expected_T2HW = resize_flow(RaftFlow(random_raft("raft-small"), updates=1, batch_size=8)(seen_THWC), 32, 64)
    assert flow_T2HW.shape == (17, 2, 32, 64)
    np.testing.assert_allclose(flow_T2HW, expected_T2HW, atol=2e-3)  # stored in half precision


def read_rgb(path: Path) -> Frames:
    return np.asarray(cv2.imread(str(path)), np.uint8)[..., ::-1]


@pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"{GOLDEN} is not here")
def test_imported_weights_give_the_flow_of_the_program_of_raft_s_authors(tmp_path: Path) -> None:
    import_weights("raft", GOLDEN / "raft_small_princeton.pth", tmp_path / "raft")
    golden = np.load(GOLDEN / "raft_small_princeton.npz")
    settings = FlowsSettings(estimator="raft-small", weights=str(tmp_path / "raft"), updates=6, device="cpu")
    estimate = open_flow_estimator(settings)
    for first_CHW, second_CHW, expected_2HW in zip(golden["image1"], golden["image2"], golden["flow"], strict=True):
        flow_12HW = estimate(np.stack([first_CHW, second_CHW]).transpose(0, 2, 3, 1))
        np.testing.assert_allclose(flow_12HW[0], expected_2HW, atol=1e-3)


def trained(**settings: Any) -> FlowEstimator:
    """Return RAFT with weights that know the motion of whole pictures (tools/make_test_raft.py)."""
    weights = str(Path(__file__).with_name("raft_small_global.safetensors"))
    return open_flow_estimator(FlowsSettings(estimator="raft-small", weights=weights, device="cpu", **settings))


@pytest.mark.parametrize(("size", "bound"), [((96, 128), 0.15), ((150, 201), 0.25)], ids=["enlarged", "padded"])
@pytest.mark.parametrize(("dx", "dy"), [(2, -1), (-1, 2), (0, 0)])
def test_a_trained_raft_finds_a_translation(dx: int, dy: int, size: tuple[int, int], bound: float) -> None:
    assert end_point_error(trained()(moving(4, dx, dy, *size)[..., None]), dx, dy) < bound


@pytest.mark.parametrize("matrix_22", TURNS_AND_ZOOMS.values(), ids=TURNS_AND_ZOOMS)
def test_a_trained_raft_finds_a_rotation_and_a_zoom(matrix_22: NDArray[np.float64]) -> None:
    assert mean_error(trained()(warped(3, matrix_22)[..., None]), true_flow(matrix_22)) < 0.1


def test_half_precision_moves_the_flow_of_a_trained_raft_by_hundredths_of_a_pixel() -> None:
    frames_THW1 = moving(4, 2, -1)[..., None]
    halves, whole = (trained(precision=precision)(frames_THW1) for precision in ("bf16", "fp32"))
    assert 0 < np.abs(halves - whole).mean() < 0.03
    assert end_point_error(halves, 2, -1) < 0.15
