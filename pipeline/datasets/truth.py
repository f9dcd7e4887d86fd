"""Reading label files of others: arrays, never pickles, and never of another length than the video."""

import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import DataError, Labels, Masks
from pipeline.datasets.remote import fetch

Bools = NDArray[np.bool_]

MOST_LABEL_BYTES = 1 << 30  # a long video has a few megabytes of labels


def load_npy(path: Path) -> NDArray[Any]:
    """Read the array of a .npy file.

    Raises
    ------
    DataError
        The file is missing, damaged, or holds a pickle, which could run code and is therefore never loaded.
    """
    try:
        return np.array(np.lib.format.open_memmap(fetch(path), mode="r"))  # a copy; refuses more than there is, and objects
    except (OSError, EOFError, ValueError) as error:
        raise _not_an_array(path, error) from error


def load_npz(path: Path, *keys: str) -> tuple[NDArray[Any], ...]:
    """Read the named arrays of an .npz file; raises DataError as :func:`load_npy` does, or if one is missing."""
    try:
        # Given a path, NumPy may leave the file open.
        with fetch(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            size = sum(entry.file_size for entry in archive.zip.infolist())  # of which no more than this is unpacked
            if size > MOST_LABEL_BYTES:
                raise ValueError(f"{size:,} bytes when unpacked, more than any labels have")
            return tuple(np.asarray(archive[key]) for key in keys)
    except KeyError as error:
        raise DataError(f"{path}: expected the arrays {', '.join(keys)}, found: {error.args[0]}") from error
    except (OSError, EOFError, ValueError, TypeError, AttributeError, MemoryError, zlib.error, zipfile.BadZipFile) as error:
        raise _not_an_array(path, error) from error


def _not_an_array(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path}: expected NumPy data without Python objects (pickles are never loaded), found: {error}; write it anew"
    )


def as_labels(values: NDArray[Any], path: Path) -> Bools:
    """Return (N,) bool of an (N,), (1, N) or (N, 1) array of 0 and 1; raises DataError for any other."""
    if values.ndim not in (1, 2) or values.size != max(values.shape):
        raise DataError(f"{path}: expected one label per frame, (N,) or (1, N), found shape {values.shape}")
    if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
        raise DataError(f"{path}: expected labels 0 (normal) and 1 (anomalous), found other {values.dtype} values")
    return np.asarray(values.reshape(-1), dtype=np.bool_)


def check_length(
    found: int,
    num_frames: int,
    video_id: str,
    path: Path,
    *,
    remedy: str = "labels and frames must come from the same release of the dataset",
) -> None:
    """Raise DataError, with the remedy, unless there is one label per frame."""
    if found != num_frames:
        raise DataError(f"{path}: expected labels of {num_frames} frames (video {video_id}), found {found}; {remedy}")


def check_size(mask_THW: Bools, size: tuple[int, int], path: Path) -> None:
    """Raise DataError unless masks have the native (height, width) of the frames."""
    _check_mask_size(mask_THW.shape[1:], size, path)


def _check_mask_size(found_size: tuple[int, ...], size: tuple[int, int], path: Path) -> None:
    if found_size != size:
        found = " x ".join(map(str, found_size))
        raise DataError(f"{path}: expected masks of {size[0]} x {size[1]} pixels like the frames, found {found}")


def mark_intervals(intervals: Iterable[tuple[int, int]], num_frames: int, video_id: str, path: Path) -> Bools:
    """Return (num_frames,) bool, True inside half-open 0-based intervals.

    Raises
    ------
    DataError
        An interval is empty, starts before the video or ends after it.
    """
    frame_T = np.zeros(num_frames, np.bool_)
    for start, stop in intervals:
        if not 0 <= start < stop <= num_frames:
            raise DataError(
                f"{path}: expected anomalous intervals within the {num_frames} frames of video {video_id}, found "
                f"frames {start} to {stop - 1} (counted from 0); labels and frames must come from the same release"
            )
        frame_T[start:stop] = True
    return frame_T


def load_masks(path: Path) -> Bools:
    """Read (T, H, W) bool from an .npz with ``mask_bits`` (np.packbits along the last axis) and ``shape``.

    Raises
    ------
    DataError
        The file is damaged.
    """
    bits, shape = load_npz(path, "mask_bits", "shape")
    if shape.shape != (3,) or shape.dtype.kind not in "iu":
        raise DataError(f"{path}: expected shape to hold frames, height and width, found {shape!r}")
    frames, height, width = (int(length) for length in shape)
    if bits.dtype != np.uint8 or bits.shape != (frames, height, -(-width // 8)):
        raise DataError(
            f"{path}: expected mask_bits uint8 {(frames, height, -(-width // 8))} for masks of shape "
            f"{(frames, height, width)}, found {bits.dtype} {bits.shape}"
        )
    return np.unpackbits(bits, axis=-1, count=width).astype(np.bool_)


class MaskFiles:
    """The (T, H, W) masks of a video, each read when it is asked for: those of a long video do not fit into memory."""

    def __init__(self, shape: tuple[int, int, int], read: Callable[[int], Bools]) -> None:
        self._shape = shape
        self._read = read

    @property
    def shape(self) -> tuple[int, ...]:
        """Frames, height and width."""
        return self._shape

    def __len__(self) -> int:
        return self._shape[0]

    def __getitem__(self, index: int, /) -> Bools:
        if not 0 <= index < len(self):
            raise IndexError(f"expected a frame from 0 to {len(self) - 1}, found {index}")
        return self._read(index)

    def __iter__(self) -> Iterator[Bools]:
        return map(self.__getitem__, range(len(self)))


def load_npy_masks(path: Path, num_frames: int, size: tuple[int, int], video_id: str) -> Masks:
    """Open (T, H, W) masks in a .npy file, any value but 0 being anomalous; only what is asked for is read.

    Raises
    ------
    DataError
        The file is damaged or holds objects, or the masks are of another number or size than the frames.
    """
    try:
        stored_THW = np.lib.format.open_memmap(fetch(path), mode="r")  # refuses arrays of objects, which may be pickles
    except (OSError, EOFError, ValueError) as error:
        raise _not_an_array(path, error) from error
    if stored_THW.ndim != 3 or stored_THW.dtype.kind not in "biuf":
        raise DataError(f"{path}: expected masks (frames, height, width), found {stored_THW.dtype} {stored_THW.shape}")
    check_length(len(stored_THW), num_frames, video_id, path)
    _check_mask_size(stored_THW.shape[1:], size, path)
    return MaskFiles((num_frames, *size), lambda index: np.asarray(stored_THW[index] != 0))


def labels_from_masks(mask_THW: Bools, source: str) -> Labels:
    """Return labels by which a frame is anomalous where any of its pixels is."""
    frame_T = np.asarray(mask_THW.any(axis=(1, 2)), np.bool_)
    return Labels(frame_T=frame_T, source=source, pixel_mask_THW=mask_THW)
