"""Rows that lie in memory as in their file are written to the same bytes as any others."""

import numpy as np
import pytest

from pipeline.artifacts import checked_rows
from pipeline.artifacts.checked_rows import CheckedRows, RoomForRows
from pipeline.artifacts.layout import Layout
from pipeline.artifacts.shard_rows import pack_rows
from pipeline.contract import ArraySpec
from pipeline.direct import ALIGNED

SHAPE = (80, 96, 3)


@pytest.fixture(autouse=True)
def no_memory_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checked_rows, "_free", [])


def filled(values: np.ndarray) -> CheckedRows:
    room = RoomForRows(len(values), values.shape[1:])
    for row, value in enumerate(values):
        room.rows[row] = value
        room.done(row)
    return room.finished()


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE)).astype(np.uint8)


@pytest.mark.parametrize("count", [1, 15, 16])
@pytest.mark.parametrize("packed", [False, True])
def test_a_shard_is_the_same_bytes_with_the_same_checksum(count: int, packed: bool) -> None:
    spec = ArraySpec(name="frames", shape=(40, *SHAPE), dtype="uint8", dimension_names=tuple("tyxc"), packed=packed)
    values = pictures(count)
    rows = filled(values)
    np.testing.assert_array_equal(rows, values)
    layout = Layout(spec, 16, packed)
    (expected, checksum), (found, same) = pack_rows(values, layout), pack_rows(rows, layout)
    assert b"".join(found) == b"".join(expected)
    assert same == checksum
    if not packed:  # and none was copied
        assert np.shares_memory(np.frombuffer(found[0], np.uint8), rows)


def test_rows_of_which_a_chunk_holds_several_are_stored_like_others() -> None:
    values = pictures(3)[:, :8, :8].copy()
    spec = ArraySpec(name="frames", shape=(3, 8, 8, 3), dtype="uint8", dimension_names=tuple("tyxc"), packed=False)
    layout = Layout(spec, 16, packed=False)
    assert b"".join(pack_rows(filled(values), layout)[0]) == b"".join(pack_rows(values, layout)[0])


def test_what_was_checked_cannot_be_changed_and_a_part_of_it_claims_nothing() -> None:
    rows = filled(pictures(4))
    with pytest.raises(ValueError, match="read-only"):
        rows[0] = 0
    for other in (rows[1:], rows.copy(), rows.astype(np.float32)):
        assert getattr(other, "stored", None) is None


def test_memory_is_aligned_and_used_again_only_when_nothing_refers_to_it() -> None:
    first = filled(pictures(4, 1))
    place, part = first.ctypes.data, first[3]
    assert place % ALIGNED == 0
    del first
    second = filled(pictures(4, 2))
    np.testing.assert_array_equal(part, pictures(4, 1)[3])
    del part
    third = filled(pictures(3, 3))
    assert third.ctypes.data == place
    np.testing.assert_array_equal(second, pictures(4, 2))
    for count in (5, 6, 7):
        filled(pictures(count))
    assert sorted(len(held) // np.prod(SHAPE) for held in checked_rows._free) == [6, 7]  # the largest
