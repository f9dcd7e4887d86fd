"""Writing HDF5: files that are whole or absent, arrays as Zarr has them, attributes of plain JSON, folders of files."""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.files import PARTIAL

PIECE = 2**24
"""Bytes that are copied at once."""


@contextmanager
def new_file(path: Path) -> Iterator[Any]:
    """Open an HDF5 file under a side name; it gets its own, flushed to disk, once the block has ended well."""
    import h5py

    handle, side_name = tempfile.mkstemp(dir=path.parent, prefix=PARTIAL)
    os.close(handle)
    side = Path(side_name)
    try:
        with h5py.File(side, "w", libver=("v108", "v110")) as file:  # attributes may be long from 1.8 on
            yield file
        with side.open("rb") as whole:
            os.fsync(whole.fileno())
        side.chmod(0o644)
        side.replace(path)
    finally:
        side.unlink(missing_ok=True)


def create_array(
    group: Any, name: str, shape: tuple[int, ...], dtype: Any, rows: int, dimension_names: tuple[str, ...]
) -> Any:
    """Add an array in chunks of ``rows`` along its first axis: gzip, which every program reads, and a checksum per chunk."""
    how: dict[str, Any] = {}  # an array without elements has no chunks
    if min(shape) > 0:
        how = {"chunks": (min(rows, shape[0]), *shape[1:]), "compression": "gzip", "compression_opts": 1}
        how |= {"shuffle": True, "fletcher32": True}
    array = group.create_dataset(name, shape, dtype, **how)
    array.attrs["dimension_names"] = list(dimension_names)
    for axis, label in enumerate(dimension_names):
        array.dims[axis].label = label
    return array


def set_attributes(target: Any, values: Mapping[str, Any]) -> None:
    """Set attributes: text, numbers and lists of one of them as such, other JSON as its text."""
    for name, value in values.items():
        target.attrs[name] = value if _is_plain(value) else json.dumps(value, sort_keys=True)


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and any(all(isinstance(item, kind) for item in value) for kind in (str, int, float))
    return isinstance(value, str | bool | int | float)


def copy_folder(folder: Path, group: Any) -> int:
    """Copy a folder: Zarr groups (NAME.zarr) as groups NAME, other files as their bytes; return how many were written."""
    import zarr

    written = 0
    for path in sorted(folder.iterdir()):
        if path.suffix == ".zarr":
            written += _copy_zarr(zarr.open_group(path, mode="r"), group.create_group(path.stem))
        elif path.is_dir():
            written += copy_folder(path, group.create_group(path.name))
        else:
            _copy_file(path, group)
            written += 1
    return written


def _copy_zarr(source: Any, target: Any) -> int:
    set_attributes(target, dict(source.attrs))
    written = 0
    for name, array in sorted(source.arrays()):
        names = tuple(str(axis) for axis in array.metadata.dimension_names or ())
        copy = create_array(target, name, array.shape, array.dtype, array.chunks[0] if array.ndim else 1, names)
        set_attributes(copy, dict(array.attrs))
        step = max(1, PIECE // max(1, array.nbytes // max(1, array.shape[0])))
        for start in range(0, array.shape[0], step):
            copy[start : start + step] = array[start : start + step]
        written += 1
    return written + sum(_copy_zarr(child, target.create_group(name)) for name, child in sorted(source.groups()))


def _copy_file(path: Path, group: Any) -> None:
    size = path.stat().st_size
    copy = create_array(group, path.name, (size,), np.uint8, min(PIECE, max(1, size)), ("byte",))
    with path.open("rb") as file:
        for start in range(0, size, PIECE):
            copy[start : start + PIECE] = np.frombuffer(file.read(PIECE), np.uint8)
