"""Flow files are laid out as their inventors' programs expect, to the byte."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.contract import DataError
from pipeline.models.flow_files import FORMATS, read_flo, read_kitti, write_flo, write_kitti


def some_flow() -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(-500, 500, (2, 5, 7)).astype(np.float32)


def test_a_flo_file_is_tag_width_height_and_interleaved_rows(tmp_path: Path) -> None:
    flow_2HW = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    write_flo(tmp_path / "a.flo", flow_2HW)
    rows = [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]
    assert (tmp_path / "a.flo").read_bytes() == struct.pack("<fii12f", 202021.25, 3, 2, *rows)


def test_opencv_reads_our_flo_and_we_read_its(tmp_path: Path) -> None:
    flow_2HW = some_flow()
    write_flo(tmp_path / "ours.flo", flow_2HW)
    np.testing.assert_array_equal(cv2.readOpticalFlow(str(tmp_path / "ours.flo")), flow_2HW.transpose(1, 2, 0))
    assert cv2.writeOpticalFlow(str(tmp_path / "theirs.flo"), np.ascontiguousarray(flow_2HW.transpose(1, 2, 0)))
    np.testing.assert_array_equal(read_flo(tmp_path / "theirs.flo"), flow_2HW)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_flo_keeps_stored_flow_exactly(tmp_path: Path, dtype: type[np.floating]) -> None:
    flow_2HW = some_flow().astype(dtype)
    write_flo(tmp_path / "a.flo", flow_2HW)
    np.testing.assert_array_equal(read_flo(tmp_path / "a.flo"), flow_2HW)


def test_kitti_has_x_in_red_y_in_green_and_what_is_known_in_blue(tmp_path: Path) -> None:
    flow_2HW = np.array([[[1.0, np.nan]], [[-2.5, 3.0]]])
    write_kitti(tmp_path / "a.png", flow_2HW)
    rgb_HWC = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)[..., ::-1]
    assert rgb_HWC.dtype == np.uint16
    assert rgb_HWC.tolist() == [[[32768 + 64, 32768 - 160, 1], [0, 0, 0]]]


def test_kitti_rounds_to_the_nearest_64th_of_a_pixel(tmp_path: Path) -> None:
    flow_2HW = some_flow()
    write_kitti(tmp_path / "a.png", flow_2HW)
    error_2HW = np.abs(read_kitti(tmp_path / "a.png") - flow_2HW)
    assert 1 / 256 < error_2HW.max() <= 1 / 128 + 1e-4
    write_kitti(tmp_path / "again.png", read_kitti(tmp_path / "a.png"))
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "a.png").read_bytes()


def test_kitti_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    for value, fits in ((-512, True), (511.98, True), (-512.02, False), (512, False)):
        flow_2HW = np.full((2, 1, 1), value)
        if fits:
            write_kitti(tmp_path / "a.png", flow_2HW)
            assert read_kitti(tmp_path / "a.png")[0, 0, 0] == pytest.approx(value, abs=1 / 128)
        else:
            with pytest.raises(ValueError, match="use flo"):
                write_kitti(tmp_path / "a.png", flow_2HW)


@pytest.mark.parametrize("kind", list(FORMATS))
def test_unknown_vectors_stay_unknown(tmp_path: Path, kind: str) -> None:
    flow_2HW = some_flow()
    flow_2HW[:, 2, 3] = np.nan
    path = tmp_path / f"a{FORMATS[kind].suffix}"
    FORMATS[kind].write(path, flow_2HW)
    np.testing.assert_array_equal(np.isnan(FORMATS[kind].read(path)), np.isnan(flow_2HW))


@pytest.mark.parametrize("kind", list(FORMATS))
def test_damaged_files_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a{FORMATS[kind].suffix}"
    FORMATS[kind].write(path, some_flow())
    whole = path.read_bytes()
    for damaged in (b"", whole[:20], whole[1:]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=rf"{path.name}: expected"):
            FORMATS[kind].read(path)


def test_an_ordinary_png_is_no_flow(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "a.png"), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(DataError, match=r"expected a PNG of three 16-bit channels, found uint8 \(4, 4, 3\)"):
        read_kitti(tmp_path / "a.png")
