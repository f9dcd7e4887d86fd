"""Rows read past Zarr's machinery are those that Zarr reads, and no damage is read as data."""

import os
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import zarr

from pipeline.artifacts.layout import Layout
from pipeline.artifacts.place import LocalPlace
from pipeline.artifacts.receipts import receipt_name, video_name
from pipeline.artifacts.shard_check import file_problem
from pipeline.artifacts.shard_rows import pack_rows
from pipeline.artifacts.store import Artifact, DamagedShardError
from pipeline.contract import Array, ArraySpec, Video, VideoRecord

FRAMES, STEP = 37, 16
RECORD = VideoRecord(
    video=Video(id="a", split="train", files=()), num_frames=FRAMES, height=8, width=8, fps=25, digest="ab" * 16
)
SHAPES = {"frames": (64, 96, 3), "flow": (2, 64, 96), "mask": (160, 128), "feature": (24,), "object": ()}
DTYPES = {"frames": "uint8", "flow": "float16", "mask": "bool", "feature": "float16", "object": "int32"}
of_every_kind = pytest.mark.parametrize(("name", "packed"), [(name, packed) for name in SHAPES for packed in (True, False)])


def spec_of(name: str, packed: bool) -> ArraySpec:
    shape = (FRAMES, *SHAPES[name])
    axes = tuple(f"d{i}" for i in range(len(shape)))
    return ArraySpec(name=name, shape=shape, dtype=DTYPES[name], dimension_names=axes, packed=packed)


def open_artifact(folder: Path) -> Artifact:
    return Artifact(LocalPlace(folder), stage="some", key="0" * 16, shard_frames=STEP)


def write(folder: Path, spec: ArraySpec, only: Iterable[int] = range(3)) -> tuple[Artifact, Array]:
    artifact = open_artifact(folder)
    artifact.begin({})
    artifact.prepare(RECORD, (spec,))
    values = np.random.default_rng(0).integers(0, 2 if spec.dtype == "bool" else 50, spec.shape).astype(spec.dtype)
    shards = artifact.shards(RECORD, FRAMES)
    for shard in map(shards.__getitem__, only):
        artifact.write(shard, {spec.name: values[shard.start : shard.stop]}, (spec,))
        artifact.write_receipt(receipt_name(RECORD, shard.index, 3), {})
    return artifact, values


@of_every_kind
def test_every_range_is_what_zarr_reads(tmp_path: Path, name: str, packed: bool) -> None:
    spec = spec_of(name, packed)
    artifact, values = write(tmp_path, spec)
    by_zarr = zarr.open_array(tmp_path / "data" / video_name(RECORD) / name, mode="r")
    for start, stop in [(0, FRAMES), (0, 1), (15, 17), (16, 32), (3, 36), (36, 37), (20, 20), (0, 0)]:
        found = artifact.read(RECORD, spec, start, stop)
        assert found.dtype == by_zarr.dtype
        assert found.flags.writeable
        np.testing.assert_array_equal(found, by_zarr[start:stop])
        np.testing.assert_array_equal(found, values[start:stop])


@of_every_kind
def test_every_byte_is_what_zarr_writes(tmp_path: Path, name: str, packed: bool) -> None:
    _, values = write(tmp_path, spec_of(name, packed))
    folder = tmp_path / "data" / video_name(RECORD) / name
    by_zarr = zarr.create_array(
        tmp_path / "zarr",
        shape=values.shape,
        chunks=zarr.open_array(folder, mode="r").chunks,
        shards=(STEP, *values.shape[1:]),
        dtype=values.dtype,
        compressors=zarr.codecs.ZstdCodec(level=1, checksum=True) if packed else zarr.codecs.Crc32cCodec(),
        fill_value=np.nan if values.dtype.kind == "f" else 0,
        config={"write_empty_chunks": True},
    )
    by_zarr[:] = values
    files = [path.relative_to(folder) for path in sorted(folder.rglob("c/**/*")) if path.is_file()]
    assert len(files) == 3
    for file in files:
        assert (folder / file).read_bytes() == (tmp_path / "zarr" / file).read_bytes()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_what_is_not_finite_is_not_stored(tmp_path: Path, value: float, dtype: str) -> None:
    spec = ArraySpec(name="x", shape=(FRAMES, 9), dtype=dtype, dimension_names=("t", "d"))
    artifact = Artifact(LocalPlace(tmp_path), stage="some", key="0" * 16, shard_frames=STEP)
    (shard, *_) = artifact.shards(RECORD, FRAMES)
    values = np.full((STEP, 9), 65504, dtype)
    artifact.write(shard, {"x": values}, (spec,))
    values[3, 4] = value
    with pytest.raises(ValueError, match="returned 1 that are not"):
        artifact.write(shard, {"x": values}, (spec,))


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", ["frames", "feature"])
def test_no_flipped_bit_cut_or_empty_file_is_read_as_data(tmp_path: Path, name: str, packed: bool) -> None:
    spec = spec_of(name, packed)
    artifact, _ = write(tmp_path, spec)
    (path,) = (found for found in tmp_path.rglob("c/1/**/*") if found.is_file())
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    index = 8 * (len(whole) - 16 * STEP)
    bits = [*rng.choice(8 * len(whole), 40, replace=False), *rng.integers(index, 8 * len(whole), 40)]
    for bit in bits:
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        with pytest.raises(DamagedShardError):
            artifact.read(RECORD, spec, STEP, 2 * STEP)
    for other in (b"", whole[:-1], whole[1:], whole[: len(whole) // 2], os.urandom(len(whole))):
        path.write_bytes(other)
        with pytest.raises(DamagedShardError):
            artifact.read(RECORD, spec, STEP, 2 * STEP)
    path.write_bytes(whole)
    artifact.read(RECORD, spec, STEP, 2 * STEP)


def write_chunks(path: Path, chunks: Iterable[bytes], claimed: int | None = None) -> None:
    """Write a shard of these chunks, with a sound index that perhaps claims another size of the last one."""
    chunks = list(chunks)
    sizes = np.array([len(chunk) for chunk in chunks], "<u8")
    index_K2 = np.stack([np.cumsum(sizes) - sizes, sizes], axis=1)
    if claimed is not None:
        index_K2[-1, 1] = claimed
    index = index_K2.tobytes()
    path.write_bytes(b"".join(chunks) + index + google_crc32c.value(index).to_bytes(4, "little"))


def with_crc(data: bytes) -> bytes:
    return data + int(google_crc32c.value(data)).to_bytes(4, "little")


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    ("last", "claimed"),
    [
        *((with_crc(bytes(size)), None) for size in (0, 64 * 96 * 3 - 1, 64 * 96 * 3 + 1, 10**7)),
        *((b"", None), (b"abc", None), (b"", 2**40), (b"", 2**63)),
    ],
)
def test_a_chunk_of_another_size_is_refused_and_never_held(
    tmp_path: Path, last: bytes, claimed: int | None, packed: bool
) -> None:
    spec = spec_of("frames", packed)
    artifact, values = write(tmp_path, spec)
    good = [b"".join(pack_rows(row[None], Layout(spec, 1, packed))[0][:-2]) for row in values[:STEP]]
    path = next(found for found in tmp_path.rglob("c/0/**/*") if found.is_file())
    write_chunks(path, good)
    np.testing.assert_array_equal(artifact.read(RECORD, spec, 0, STEP), values[:STEP])
    write_chunks(path, [*good[:-1], last], claimed)
    tracemalloc.start()
    try:
        with pytest.raises(DamagedShardError):
            artifact.read(RECORD, spec, 0, STEP)
        assert tracemalloc.get_traced_memory()[1] < 2e6
    finally:
        tracemalloc.stop()


def metadata(folder: Path) -> Path:
    (path,) = folder.rglob("frames/zarr.json")
    return path


@pytest.mark.parametrize("packed", [True, False])
def test_an_array_goes_on_as_it_was_begun_whatever_is_asked_for_now(tmp_path: Path, packed: bool) -> None:
    write(tmp_path, spec_of("frames", packed), only=[1])
    before = metadata(tmp_path).read_bytes()
    artifact, values = write(tmp_path, spec_of("frames", not packed), only=[0, 2])
    assert metadata(tmp_path).read_bytes() == before
    by_zarr = zarr.open_array(metadata(tmp_path).parent, mode="r")
    for found in (artifact.read(RECORD, spec_of("frames", not packed), 0, FRAMES), by_zarr[:]):
        np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("damage", [b"", b"{}", None])
@pytest.mark.parametrize("packed", [True, False])
def test_lost_metadata_are_written_again_as_the_shards_lie(tmp_path: Path, packed: bool, damage: bytes | None) -> None:
    write(tmp_path, spec_of("frames", packed), only=[0, 1])
    before = metadata(tmp_path).read_bytes()
    if damage is None:
        metadata(tmp_path).unlink()
    else:
        metadata(tmp_path).write_bytes(damage)
    next(found for found in tmp_path.rglob("c/0/**/*") if found.is_file()).write_bytes(b"rubbish")  # the next one tells
    artifact, values = write(tmp_path, spec_of("frames", not packed), only=[0, 2])
    assert metadata(tmp_path).read_bytes() == before
    np.testing.assert_array_equal(artifact.read(RECORD, spec_of("frames", packed), 0, FRAMES), values)


def test_a_store_that_does_not_answer_for_metadata_is_no_reason_to_guess_how_an_array_was_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact, values = write(tmp_path, spec_of("frames", packed=True), only=[])
    shard = artifact.shards(RECORD, FRAMES)[0]

    def fail(self: LocalPlace, file: str, start: int | None = None, stop: int | None = None) -> bytes:
        raise OSError(5, "Input/output error", file)

    monkeypatch.setattr(LocalPlace, "read", fail)
    with pytest.raises(OSError, match="Input/output"):
        artifact.write(shard, {"frames": values[: shard.stop]}, (spec_of("frames", packed=False),))
    assert not [path for path in tmp_path.rglob("c/**/*") if path.is_file()]


def test_what_is_not_packed_is_checked_by_another_checksum_of_its_file(tmp_path: Path) -> None:
    for packed, start in ((True, ""), (False, f"crc32c/{64 * 96 * 3 + 4}:")):
        spec = spec_of("frames", packed)
        artifact, values = write(tmp_path / str(packed), spec)
        shard = artifact.shards(RECORD, FRAMES)[2]
        ((file, checksum),) = artifact.write(shard, {"frames": values[shard.start :]}, (spec,)).items()
        assert checksum.removeprefix(start).isalnum()
        assert len(checksum) == len(start) + 32
        assert file_problem(artifact.place, file, checksum) == ""
        path = artifact.folder / file
        whole = path.read_bytes()
        artifact.write(shard, {"frames": values[: shard.stop - shard.start]}, (spec,))
        assert "other bytes" in file_problem(artifact.place, file, checksum)  # as whole as the one that was written
        path.write_bytes(whole)
        data = bytearray(path.read_bytes())
        data[99] ^= 1
        path.write_bytes(data)
        assert "other bytes" in file_problem(artifact.place, file, checksum)
