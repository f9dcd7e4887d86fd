"""Anomalous intervals from ``ped2.mat`` and its like, which were saved by several programs in several nestings."""

from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from numpy.typing import NDArray

from pipeline.contract import DataError


def read_mat_intervals(path: Path, *, num_videos: int) -> list[list[tuple[int, int]]]:
    """Read ``gt``: per test video a 2 x N array of first and last anomalous frame, 1-based, inclusive.

    Understood are a cell row or column of such arrays (each perhaps wrapped in a further cell), N x 2 arrays, a plain
    array with one row (or column) of start and end per video, and a stack of videos x 2 x N.

    Returns
    -------
    list
        Per video its intervals, 0-based and half-open.

    Raises
    ------
    DataError
        The file has no ``gt``, is of another form, or has entries for another number of videos.
    """
    try:
        content = scipy.io.loadmat(str(path), variable_names=["gt"])
    except NotImplementedError as error:
        raise DataError(f"{path}: expected MATLAB format 5 to 7.2, found 7.3 (HDF5); save it with -v7") from error
    except (
        Exception
    ) as error:  # scipy raises what its parser stumbles over: ValueError, TypeError, struct and zlib errors
        raise DataError(f"{path}: expected a MATLAB file with gt, found: {error}") from error
    if "gt" not in content:
        raise DataError(f"{path}: expected the variable gt (intervals per test video), found none of this name")
    entries = _per_video(np.asarray(content["gt"]), num_videos)
    if len(entries) != num_videos:
        raise DataError(
            f"{path}: expected intervals of {num_videos} test videos, found {len(entries)} entries; "
            "labels and frames must come from the same release: look for missing videos"
        )
    return [_intervals(entry, path, number) for number, entry in enumerate(entries, start=1)]


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
        pairs = pairs if pairs.shape[0] == 2 else pairs.T
    else:
        raise DataError(
            f"{path}: expected 2 x N starts and ends for test video {number}, found {pairs.dtype} {pairs.shape}"
        )
    if not np.array_equal(pairs, np.floor(pairs)):
        raise DataError(f"{path}: expected whole frame numbers for test video {number}, found {pairs.tolist()}")
    return [(int(start) - 1, int(end)) for start, end in pairs.T]
