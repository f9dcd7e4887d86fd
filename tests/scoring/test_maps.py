"""Error maps of every frame, as the evaluation keeps them for the report."""

from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import zarr
from made_detector import MadeDetector, MadeInputs, make_config, silent

from scoring.evaluate import evaluate
from scoring.maps import MapWriter, from_bytes, read_maps, to_bytes

ORIGIN = {"artifact": "eval-0123", "model": "train-4567", "seed": 3, "device": "cpu"}


def test_a_byte_counts_doublings_of_the_error_and_is_zero_where_training_shows_as_much() -> None:
    ratio = np.array([0.0, 0.3, 1.0, 2.0, 4.0, 250.0, 60000.0], np.float16)
    assert to_bytes(ratio).tolist() == [0, 0, 0, 32, 64, 255, 255]


def test_a_byte_tells_a_ratio_to_two_percent() -> None:
    ratio = np.geomspace(1, 200, 500)
    assert np.abs(2 ** (to_bytes(ratio) / 32.0) / ratio - 1).max() < 0.02


def test_a_byte_read_back_is_the_ratio_it_was_made_of() -> None:
    ratio = np.geomspace(1, 200, 500)
    assert np.abs(from_bytes(to_bytes(ratio)).astype(float) / ratio - 1).max() < 0.02


def test_maps_written_in_pieces_are_the_ones_written_at_once(tmp_path: Path) -> None:
    ratio_Nhw = np.random.default_rng(0).uniform(1, 9, (300, 3, 4))
    whole, parts = MapWriter(tmp_path / "whole", "paper"), MapWriter(tmp_path / "parts", "paper")
    for video in ("a", "b"):
        whole.write(video, np.arange(300), {"spatial": ratio_Nhw})
        for start, stop in ((0, 140), (140, 150), (150, 300)):
            parts.write(video, np.arange(start, stop), {"spatial": ratio_Nhw[start:stop]})
    for video in ("a", "b"):
        (frame_N, maps), (expected_N, expected) = (read_maps(tmp_path / name, video) for name in ("parts", "whole"))
        np.testing.assert_array_equal(frame_N, expected_N)
        np.testing.assert_array_equal(maps["spatial"], expected["spatial"])
    np.testing.assert_array_equal(parts.read(145)["spatial"], from_bytes(to_bytes(ratio_Nhw[145])))


@pytest.mark.parametrize("names", [("spatial", "temporal", "objects"), ("temporal", "objects", "spatial")])
def test_maps_come_back_in_the_order_in_which_they_were_written_whatever_the_disk_lists_first(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    writer = MapWriter(tmp_path, "deployment")
    writer.write("a", np.arange(3), dict.fromkeys(names, np.ones((3, 2, 4))))
    listed = zarr.Group.arrays
    for turned in (False, True):
        order = sorted if turned else lambda found: sorted(found, reverse=True)
        with patch.object(zarr.Group, "arrays", lambda group, order=order: iter(order(listed(group)))):
            assert tuple(writer.read(0)) == names
            assert tuple(read_maps(tmp_path, "a")[1]) == names


def test_maps_come_back_by_the_name_of_the_video_whatever_that_is(tmp_path: Path) -> None:
    writer = MapWriter(tmp_path, "deployment")
    for number, video in enumerate(("../a", "<b>/c")):
        writer.write(video, np.arange(3) + number, {"spatial": np.full((3, 2, 4), 2.0**number)})
    frame_N, maps = read_maps(tmp_path, "<b>/c")
    assert frame_N.tolist() == [1, 2, 3]
    assert maps["spatial"].tolist() == np.full((3, 2, 4), 32).tolist()
    with pytest.raises(KeyError, match="no error maps of test video nowhere"):
        read_maps(tmp_path, "nowhere")


def test_an_evaluation_keeps_the_maps_of_every_frame_that_the_shown_protocol_scores(tmp_path: Path) -> None:
    inputs = MadeInputs({"a": 40, "b": 20}, {"a": range(20, 30), "b": None})
    with patch("scoring.evaluate.draw_picture"):
        evaluate(MadeDetector(), inputs, make_config(), tmp_path, silent, ORIGIN)
    frame_N, maps = read_maps(tmp_path, "a")
    assert frame_N.tolist() == list(range(40))
    assert {name: map_Nhw.shape for name, map_Nhw in maps.items()} == {"spatial": (40, 8, 12), "temporal": (40, 8, 12)}
    assert (maps["temporal"][:, 2:4, 3:6] > maps["spatial"][:, 2:4, 3:6]).all()
