"""How an evaluation uses a model: some of its indicators, exact or dense, and whatever the length of a video."""

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from made_detector import MadeDetector, make_config, silent
from made_detector import MadeInputs as MadeTest
from squares import MadeInputs, make_street, make_training, small_settings

from pipeline.contract import DataError
from scoring.detectors import Chosen, choose_detector
from scoring.evaluate import evaluate
from scoring.maps import read_maps
from scoring.region_store import read_regions
from scoring.store import read_scores
from trainer.bundle import Bundle
from trainer.training import train

ORIGIN = {"artifact": "eval-0123", "model": "train-4567", "seed": 3, "device": "cpu"}


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return train(make_training(2), small_settings(epochs=0.3), silent)


def run(detector: Any, out: Path, inputs: Any = None, **settings: Any) -> dict[str, Any]:
    out.mkdir()
    streets = [make_street(f"s{seed}", frames=30, seed=seed, split="test") for seed in (7, 8)]
    with patch("scoring.evaluate.draw_picture"):
        evaluate(detector, inputs or MadeInputs(streets), make_config(**settings), out, silent, ORIGIN)
    metrics: dict[str, Any] = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    return metrics


def chosen(bundle: Bundle, **settings: Any) -> Any:
    return choose_detector(bundle, make_config(**settings).eval)


@pytest.mark.parametrize("names", [("spatial",), ("temporal", "objects"), ("spatial", "temporal", "semantic")])
def test_only_chosen_indicators_are_fused_and_make_regions(bundle: Bundle, tmp_path: Path, names: tuple[str, ...]) -> None:
    metrics = run(chosen(bundle, indicators=names), tmp_path / "out", indicators=names)
    for protocol in ("paper", "deployment"):
        assert tuple(metrics["protocols"][protocol]["fusion_weights"]) == names
    mapped = {name for name in names if name != "semantic"}
    assert set(metrics["protocols"]["deployment"]["region_rule"]["weights"]) == mapped


def test_a_chosen_indicator_scores_what_it_scores_in_company(bundle: Bundle, tmp_path: Path) -> None:
    run(bundle, tmp_path / "all")
    run(chosen(bundle, indicators=("temporal",)), tmp_path / "one", indicators=("temporal",))
    everything, alone = (read_scores(tmp_path / name, "deployment") for name in ("all", "one"))
    for video, table in alone.items():
        np.testing.assert_array_equal(table["z.temporal_region"], everything[video]["z.temporal_region"])


def test_an_indicator_that_the_model_has_not_is_refused_by_name() -> None:
    bundle = train(make_training(2), small_settings(epochs=0.1, objects=False, discriminator_epochs=0), silent)
    with pytest.raises(DataError, match=r"eval\.indicators: expected some of spatial, temporal, .*found objects"):
        chosen(bundle, indicators=("spatial", "objects"))


def test_a_dense_evaluation_scores_the_same_frames_and_says_that_it_is_not_causal(bundle: Bundle, tmp_path: Path) -> None:
    exact = run(bundle, tmp_path / "exact")
    dense = run(chosen(bundle, mode="dense"), tmp_path / "dense", mode="dense")
    for protocol, found in dense["protocols"].items():
        assert found["frames"] == exact["protocols"][protocol]["frames"]
        assert found["rules"]["mode"] == "dense"
        assert not found["rules"]["causal"]
        assert "mode" not in exact["protocols"][protocol]["rules"]
    assert exact["protocols"]["deployment"]["rules"]["causal"]
    assert "dense" in dense["protocols"]["deployment"]["summary"]
    tables = read_scores(tmp_path / "dense", "paper"), read_scores(tmp_path / "dense", "deployment")
    for video, table in tables[0].items():  # a frame has one dense error, whatever the protocol
        np.testing.assert_array_equal(table["z.temporal_region"], tables[1][video]["z.temporal_region"][8:-7])


def test_precision_may_be_another_than_in_training(bundle: Bundle) -> None:
    assert chosen(bundle, precision="fp32").precision == "fp32"
    assert chosen(bundle) is bundle


@pytest.mark.parametrize("protocols", [("paper",), ("deployment",)])
def test_a_video_measured_in_pieces_leaves_what_it_leaves_at_once(tmp_path: Path, protocols: tuple[str, ...]) -> None:
    inputs = MadeTest({"a": 60, "b": 17}, {"a": range(20, 30), "b": None})
    run(MadeDetector(), tmp_path / "whole", inputs, protocols=protocols)
    with patch("scoring.measure.measure_video.__kwdefaults__", {"piece_frames": 20, "mapped": (), "take": None}):
        run(MadeDetector(), tmp_path / "pieces", inputs, protocols=protocols)
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    assert (pieces / "metrics.json").read_text() == (whole / "metrics.json").read_text()
    for video in ("a", "b"):
        (frame_N, maps), (expected_N, expected) = (read_maps(folder, video) for folder in (pieces, whole))
        np.testing.assert_array_equal(frame_N, expected_N)
        for name, map_Nhw in expected.items():
            np.testing.assert_array_equal(maps[name], map_Nhw)
    if protocols == ("deployment",):
        found, expected_regions = read_regions(pieces), read_regions(whole)
        assert found is not None
        assert expected_regions is not None
        for video, table in expected_regions[0].items():
            for name, column_R in table.items():
                np.testing.assert_array_equal(found[0][video][name], column_R)


def test_only_one_piece_of_maps_is_in_memory_at_a_time(tmp_path: Path) -> None:
    """Counted, not weighed: when a piece is measured, the maps of those before it are gone."""
    import gc
    import weakref

    alive: list[Any] = []
    counts = []

    class Watched(MadeDetector):
        def measure(self, *arguments: Any, **named: Any) -> Any:
            gc.collect()
            counts.append(sum(reference() is not None for reference in alive))
            measurement = super().measure(*arguments, **named)
            alive.append(weakref.ref(measurement.taps["last"].maps["spatial"]))
            return measurement

    run(Watched(), tmp_path / "out", MadeTest({"a": 256 * 5}, {"a": range(20, 30)}), bootstrap=0)
    assert len(counts) == 5
    assert max(counts) <= 1


def test_parts_of_a_model_that_are_not_asked_for_cost_nothing(bundle: Bundle) -> None:
    detector = chosen(bundle, indicators=("spatial",))
    assert isinstance(detector, Chosen)
    street = make_street("t", frames=20, seed=5)
    with patch.object(torch.nn.Linear, "forward", side_effect=AssertionError("the discriminator was asked")):
        found = detector.measure(street.arrays["frames", "frames"], street.arrays["flows", "flow"]).taps["last"]
    assert "semantic" not in found.values
    assert "objects" not in found.maps
