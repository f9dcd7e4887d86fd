"""What a training shows of itself: curves for TensorBoard, pictures of reconstructions, a model card."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from squares import HEIGHT, WIDTH, make_training, silent, small_settings

from pipeline.config import parse_config
from pipeline.contract import Aside
from trainer.boards import Board
from trainer.bundle import Bundle
from trainer.card import write_card
from trainer.clips import load_training_data
from trainer.pictures import FULL_ERROR, as_png, reconstructions
from trainer.together import make_signals
from trainer.training import fit_networks

CPU = torch.device("cpu")


class Perfect(torch.nn.Module):
    """Returns what it is shown."""

    def forward(self, clip_BCTHW: torch.Tensor) -> torch.Tensor:
        return clip_BCTHW


def draw(network: Any, name: Any = "spatial", **changes: Any) -> np.ndarray:
    settings = small_settings(**changes)
    data = load_training_data(make_training(1, masked=changes.get("p_s", 1) > 0), settings, CPU, silent)
    return reconstructions(network, make_signals(data, settings)[name], data, settings)


def columns(picture_HWC: np.ndarray) -> list[np.ndarray]:
    """Return the six pictures of the first row."""
    factor = round(200 / HEIGHT)
    top, width = 20 + 8 + 20, factor * WIDTH
    return [picture_HWC[top : top + factor * HEIGHT, 8 + i * (width + 8) :][:, :width] for i in range(6)]


@pytest.mark.parametrize("name", ["spatial", "temporal"])
def test_a_network_that_returns_what_it_sees_has_an_error_where_the_pseudo_anomaly_is_and_nowhere_else(name: str) -> None:
    normal, returned, error, pseudo, again, off = columns(draw(Perfect(), name, temporal_pa="motion"))
    black = cv2.applyColorMap(np.zeros((1, 1), np.uint8), cv2.COLORMAP_INFERNO)[0, 0, ::-1]
    np.testing.assert_array_equal(returned, normal)
    np.testing.assert_array_equal(again, pseudo)
    assert (error == black).all()
    changed_HW = (pseudo != normal).any(-1)
    assert changed_HW.any()
    assert (off[~changed_HW] == black).mean() > 0.99
    assert (off[changed_HW] != black).any()
    assert FULL_ERROR == 1.0


def test_a_clip_without_object_has_no_pseudo_anomaly_to_show() -> None:
    assert (columns(draw(Perfect(), p_s=0, p_t=0))[3] == 255).all()


def test_a_picture_is_kept_as_png_without_loss() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (5, 7, 3), np.uint8)
    decoded = cv2.imdecode(np.frombuffer(as_png(picture), np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    np.testing.assert_array_equal(decoded[..., ::-1], picture)


def test_curves_and_pictures_are_written_beside_the_artifact(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    aside = Aside(scratch=tmp_path / "scratch", logs=tmp_path / "logs")
    settings = small_settings(epochs=2.0, objects=False, discriminator_epochs=0)
    fit_networks(make_training(1), settings, silent, aside)
    for name in ("spatial", "temporal"):
        found = EventAccumulator(str(tmp_path / "logs" / name)).Reload()
        losses = found.Scalars("loss")
        assert [event.step for event in losses] == [7, 10, 12] or [event.step for event in losses] == [10, 12]
        assert losses[-1].value < losses[0].value
        assert {"learning rate", "clips per second"} <= set(found.Tags()["scalars"])
        assert found.Tags()["images"] == ["reconstructions"]


def test_without_a_folder_nothing_is_shown_and_nothing_fails() -> None:
    board = Board()
    board.scalars({"loss": 1.0}, 1)
    board.picture("p", np.zeros((4, 4, 3), np.uint8), 1)
    board.close()
    assert not board.live


def test_drawing_in_the_middle_of_a_training_changes_nothing_of_it(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    settings = small_settings(epochs=1.2, objects=False, discriminator_epochs=0)
    weights = []
    for shown in (False, True):
        chosen = settings.model_copy(update={"tensorboard": shown})
        aside = Aside(scratch=tmp_path / f"{shown}", logs=tmp_path / f"logs-{shown}")
        networks = fit_networks(make_training(1), chosen, silent, aside)
        assert networks is not None
        weights.append(networks.fitted.fits["spatial"].network.state_dict())
    assert (tmp_path / "logs-True").exists()
    assert not (tmp_path / "logs-False").exists()
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())


def test_the_card_tells_data_settings_losses_use_and_limits(trained: Bundle, tmp_path: Path) -> None:
    config = parse_config({"dataset": {"name": "squares"}, "train": trained.info.settings.model_dump(mode="json")})
    records = make_training().videos("train")
    write_card(tmp_path, trained, records, config)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert card.startswith("# squares: a model of normal video")
    assert "3 videos that show only normal behaviour" in card
    assert "`street-1`: 40 frames" in card
    assert "| train.temporal_pa | motion |" in card
    losses = trained.info.losses["temporal"]
    assert f"| temporal | 8 | {losses[0]:.5f} | {losses[-1]:.5f} |" in card
    assert f"| spatial | {trained.calibration.separation['centre', 'spatial']:.3f} |" in card
    for title in ("## Intended use", "## Limits", "## Provenance"):
        assert title in card
    assert "the last epoch; nothing was selected" in card
    write_card(tmp_path, trained, records, config)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == card
