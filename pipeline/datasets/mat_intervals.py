"""Anomalous intervals from ``ped2.mat`` and its like, which were saved by several programs in several nestings."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import DataError
from pipeline.datasets.remote import fetch

_DEEPEST = 4  # cells within cells; a damaged file could hold one that contains itself


def read_mat_intervals(path: Path, *, num_videos: int) -> list[list[tuple[int, int]]]:
    """Read ``gt``: per test video a 2 x N array of first and last anomalous frame, 1-based, inclusive.

    Understood are a cell row or column of such arrays (each perhaps wrapped in a further cell), N x 2 arrays, a plain
    array with one row (or column) of start and end per video, and a stack of videos x 2 x N. A 2 x 2 array is read as
    starts over ends, unless these would overlap and start-end rows would not. MATLAB formats 4 to 7.2 and 7.3 (HDF5).

    Returns
    -------
    list
        Per video its intervals, 0-based and half-open.

    Raises
    ------
    DataError
        The file has no ``gt``, is of another form, or has entries for another number of videos.
    """
    gt = load_variable(path, "gt")
    if gt is None:
        raise DataError(f"{path}: expected the variable gt (intervals per test video), found none of this name")
    if num_videos == 2 and gt.dtype != object and gt.shape == (2, 2):
        raise DataError(f"{path}: expected a cell with one 2 x N array per video, found 2 x 2 numbers; see docs/datasets.md")
    entries = _per_video(gt, num_videos)
    if len(entries) != num_videos:
        raise DataError(
            f"{path}: expected intervals of {num_videos} test videos, found {len(entries)} entries; "
            "labels and frames must come from the same release: look for missing videos"
        )
    return [_intervals(entry, path, number) for number, entry in enumerate(entries, start=1)]


def load_variable(path: Path, name: str) -> NDArray[Any] | None:
    """Return a variable of a MATLAB file of any format up to 7.3, cells as arrays of objects; None where there is none.

    Raises
    ------
    DataError
        The file cannot be read, or is no MATLAB file.
    """
    return _load_hdf5(path, name) if _is_hdf5(path) else _load_mat(path, name)


def _is_hdf5(path: Path) -> bool:
    """Say whether a file is of format 7.3: HDF5 behind 512 bytes of MATLAB's own."""
    try:
        with fetch(path).open("rb") as file:
            head = file.read(520)
    except OSError as error:
        raise DataError(f"{path}: expected a readable file, found: {error.strerror}") from error
    return b"\x89HDF\r\n\x1a\n" in (head[:8], head[512:])


def _load_mat(path: Path, name: str) -> NDArray[Any] | None:
    import scipy.io  # a tenth of a second for every command, and few layouts need it

    try:
        content = scipy.io.loadmat(str(fetch(path)), variable_names=[name])
    except Exception as error:  # scipy raises whatever its parser stumbles over: ValueError, TypeError, struct, zlib ...
        raise _not_mat(path, name, error) from error
    return np.asarray(content[name]) if name in content else None


def _load_hdf5(path: Path, name: str) -> NDArray[Any] | None:
    import h5py  # here, because hardly any dataset needs it

    try:
        with h5py.File(fetch(path), "r") as file:
            return _from_hdf5(file, file[name], _DEEPEST) if name in file else None
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise _not_mat(path, name, error) from error


def _from_hdf5(file: Any, dataset: Any, depth: int) -> NDArray[Any]:
    """Return a MATLAB variable as scipy would: HDF5 holds axes in reverse, and a cell as references."""
    if dataset.attrs.get("MATLAB_empty", 0):
        return np.empty((0, 0))
    values = np.asarray(dataset[()]).T
    if values.dtype != object:
        return values
    if depth == 0:
        raise ValueError(f"cells nested more than {_DEEPEST} deep")
    cells = np.empty(values.shape, object)
    for index in np.ndindex(values.shape):
        cells[index] = _from_hdf5(file, file[values[index]], depth - 1)
    return cells


def _not_mat(path: Path, name: str, error: Exception) -> DataError:
    return DataError(f"{path}: expected a MATLAB file with {name}, found: {error}; copy it anew")


def _per_video(gt: NDArray[Any], num_videos: int) -> list[NDArray[Any]]:
    """Split ``gt`` into one array per video, whatever way it is nested."""
    gt = _unwrap(gt) if num_videos > 1 else gt
    if gt.dtype == object:
        return [np.asarray(entry) for entry in gt.reshape(-1)]
    if gt.ndim == 3 and len(gt) == num_videos:
        return list(gt)
    if num_videos == 1:
        return [gt]
    if gt.shape == (num_videos, 2):
        return [row[:, None] for row in gt]
    if gt.shape == (2, num_videos):
        return [column[:, None] for column in gt.T]
    return [gt]


def _unwrap(array: NDArray[Any]) -> NDArray[Any]:
    while array.dtype == object and array.size == 1:
        array = np.asarray(array.reshape(-1)[0])
    return array


def _intervals(entry: NDArray[Any], path: Path, number: int) -> list[tuple[int, int]]:
    pairs = _unwrap(entry)
    if pairs.size == 0:
        return []
    if pairs.dtype.kind in "iuf" and pairs.size == 2:
        pairs = pairs.reshape(2, 1)
    elif pairs.ndim == 2 and 2 in pairs.shape and pairs.dtype.kind in "iuf":
        pairs = pairs.T if pairs.shape[0] != 2 or _has_rows_of_pairs(pairs) else pairs
    else:
        raise DataError(
            f"{path}: expected 2 x N starts and ends for test video {number}, found {pairs.dtype} {pairs.shape}"
        )
    if not np.array_equal(pairs, np.floor(pairs)):
        raise DataError(f"{path}: expected whole frame numbers for test video {number}, found {pairs.tolist()}")
    return [(int(start) - 1, int(end)) for start, end in pairs.T]


def _has_rows_of_pairs(pairs: NDArray[Any]) -> bool:
    """Say whether a 2 x 2 array can only be start-end rows: sorted intervals that do not overlap fit one reading."""
    first, last = pairs[0], pairs[-1]
    return pairs.shape == (2, 2) and bool(first[0] <= first[1] < last[0] <= last[1])
