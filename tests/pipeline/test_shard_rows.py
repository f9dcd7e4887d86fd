"""Rows read past Zarr's machinery are those that Zarr reads, and no damage is read as data."""

import os
from pathlib import Path

import numpy as np
import pytest
import zarr

from pipeline.artifacts.place import LocalPlace
from pipeline.artifacts.receipts import receipt_name, video_name
from pipeline.artifacts.store import Artifact, DamagedShardError
from pipeline.contract import Array, ArraySpec, Video, VideoRecord

FRAMES, STEP = 37, 16
RECORD = VideoRecord(
    video=Video(id="a", split="train", files=()), num_frames=FRAMES, height=8, width=8, fps=25, digest="ab" * 16
)
SHAPES = {"frames": (64, 96, 3), "flow": (2, 64, 96), "mask": (160, 128), "feature": (24,), "object": ()}
DTYPES = {"frames": "uint8", "flow": "float16", "mask": "bool", "feature": "float16", "object": "int32"}
NAMES = list(SHAPES)


def spec_of(name: str) -> ArraySpec:
    shape = (FRAMES, *SHAPES[name])
    return ArraySpec(name=name, shape=shape, dtype=DTYPES[name], dimension_names=tuple(f"d{i}" for i in range(len(shape))))


def write(folder: Path, name: str) -> tuple[Artifact, Array]:
    spec = spec_of(name)
    artifact = Artifact(LocalPlace(folder), stage="some", key="0" * 16, shard_frames=STEP)
    artifact.begin({})
    artifact.prepare(RECORD, (spec,))
    values = np.random.default_rng(0).integers(0, 2 if spec.dtype == "bool" else 50, spec.shape).astype(spec.dtype)
    for shard in artifact.shards(RECORD, FRAMES):
        artifact.write(shard, {name: values[shard.start : shard.stop]}, (spec,))
        artifact.write_receipt(receipt_name(RECORD, shard.index, 3), {})
    return artifact, values


@pytest.mark.parametrize("name", NAMES)
def test_every_range_is_what_zarr_reads(tmp_path: Path, name: str) -> None:
    artifact, values = write(tmp_path, name)
    by_zarr = zarr.open_array(tmp_path / "data" / video_name(RECORD) / name, mode="r")
    for start, stop in [(0, FRAMES), (0, 1), (15, 17), (16, 32), (3, 36), (36, 37), (20, 20), (0, 0)]:
        found = artifact.read(RECORD, spec_of(name), start, stop)
        assert found.dtype == by_zarr.dtype
        assert found.flags.writeable
        np.testing.assert_array_equal(found, by_zarr[start:stop])
        np.testing.assert_array_equal(found, values[start:stop])


@pytest.mark.parametrize("name", NAMES)
def test_every_byte_is_what_zarr_writes(tmp_path: Path, name: str) -> None:
    _, values = write(tmp_path, name)
    folder = tmp_path / "data" / video_name(RECORD) / name
    by_zarr = zarr.create_array(
        tmp_path / "zarr",
        shape=values.shape,
        chunks=zarr.open_array(folder, mode="r").chunks,
        shards=(STEP, *values.shape[1:]),
        dtype=values.dtype,
        compressors=zarr.codecs.ZstdCodec(level=1, checksum=True),
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


@pytest.mark.parametrize("name", ["frames", "feature"])
def test_no_flipped_bit_cut_or_empty_file_is_read_as_data(tmp_path: Path, name: str) -> None:
    artifact, _ = write(tmp_path, name)
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
            artifact.read(RECORD, spec_of(name), STEP, 2 * STEP)
    for other in (b"", whole[:-1], whole[1:], whole[: len(whole) // 2], os.urandom(len(whole))):
        path.write_bytes(other)
        with pytest.raises(DamagedShardError):
            artifact.read(RECORD, spec_of(name), STEP, 2 * STEP)
    path.write_bytes(whole)
    artifact.read(RECORD, spec_of(name), STEP, 2 * STEP)
