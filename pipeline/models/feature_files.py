"""Features in HDF5: what `stpa export features` writes, and what others may write to have their features used.

    /features-normal/SPLIT-VIDEO/normal     (T, D) float, one embedding per frame
    /features/train-VIDEO/spatial_pa        (T, D) float, of the frames with one object inpainted

Groups of videos are named by :func:`group_name`. Attributes are read where there are any: ``digest`` of a video's group (of
the content of the video; features of other content are refused), and those of the stage's group, which tell how the features
were made. Nothing is followed out of the file: no external or soft links, no virtual datasets, no raw files.
"""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import DataError, VideoRecord
from pipeline.models.digests import file_digest

LONGEST_FEATURE = 65_536  # numbers; a longer one is no embedding of a frame
LARGEST_CHUNK = 2**28  # bytes that a damaged or hostile file may make us unpack at once
_NAMED = 5  # videos shown of those that a file has


def group_name(split: str, video_id: str) -> str:
    """Return the name of a video's group: SPLIT-ID, the id quoted as in URLs but for spaces, so that none has a slash."""
    return f"{split}-{quote(video_id, safe=' ', errors='surrogatepass')}"


def file_identity(path: Path) -> str:
    """Return the sha256 (hex) of a file of features: part of the key of what is made of it.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    """
    path = path.expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"features.file: expected an HDF5 file at {path}, found none; see docs/architecture.md")
    return file_digest(path)


class FeatureFile:
    """The features of one stage in an HDF5 file.

    Parameters
    ----------
    path
        The file.
    stage, array
        Which features: ``features-normal`` and ``normal``, or ``features`` and ``spatial_pa``.

    Raises
    ------
    FileNotFoundError, DataError
        There is no such file, it is no HDF5 file, or it has no such features, or of several lengths.
    """

    def __init__(self, path: Path, stage: str, array: str) -> None:
        import h5py

        self.path = path.expanduser()
        self.stage, self.array = stage, array
        file_identity(self.path)
        try:
            self._file = h5py.File(self.path, "r")
        except OSError as error:
            raise DataError(
                f"{self.path}: expected an HDF5 file of features, found none that can be read: {error}"
            ) from error
        self._videos = tuple(self._file[stage]) if self._is_group(stage) else ()
        first = next((name for name in self._videos if self._is_group(f"{stage}/{name}")), None)
        if first is None:
            raise DataError(
                f"{self.path}: expected /{stage}/SPLIT-VIDEO/{array}, found no such group; see docs/architecture.md"
            )
        self.length = int(self._dataset(first).shape[1])
        """D."""

    def read(self, record: VideoRecord, start: int, stop: int) -> NDArray[np.float16]:
        """Return the features (stop - start, D) float16 of some frames of a video.

        Raises
        ------
        DataError
            The video is not in the file, or of another content or length; or a feature is not finite as float16.
        """
        name = group_name(record.split, record.id)
        place = f"{self.path}: /{self.stage}/{name}"
        if name not in self._videos or not self._is_group(f"{self.stage}/{name}"):
            shown = ", ".join(self._videos[:_NAMED]) + (" ..." if len(self._videos) > _NAMED else "")
            raise DataError(f"{place}: expected features of {record.num_frames} frames, found none; there are {shown}")
        found = self._file[f"{self.stage}/{name}"].attrs.get("digest", record.digest)
        if found != record.digest:
            raise DataError(
                f"{place}: expected features of a video with digest {record.digest}, found those of one with {found}"
            )
        features = self._dataset(name)
        if features.shape != (record.num_frames, self.length):
            raise DataError(
                f"{place}/{self.array}: expected shape {(record.num_frames, self.length)}, found {features.shape}"
            )
        try:
            feature_TD = features[start:stop]
        except OSError as error:
            raise DataError(f"{place}/{self.array}: frames {start} to {stop - 1} cannot be read: {error}") from error
        with np.errstate(over="ignore"):
            half_TD: NDArray[np.float16] = feature_TD.astype(np.float16)
        if not np.isfinite(half_TD).all():
            frame = start + int(np.flatnonzero(~np.isfinite(half_TD).all(axis=1))[0])
            raise DataError(f"{place}/{self.array}: expected finite numbers below 65504, found others in frame {frame}")
        return half_TD

    def told(self) -> dict[str, Any]:
        """Return what a receipt records of where the features came from: the file, and what it says of itself."""
        attributes = self._file[self.stage].attrs
        texts = {str(name): _json(value) for name, value in attributes.items() if isinstance(value, str)}
        return {"file": self.path.name, "sha256": file_identity(self.path), "says": texts}

    def _is_group(self, name: str) -> bool:
        import h5py

        return self._hard(name) and self._file.get(name, getclass=True) is h5py.Group

    def _hard(self, name: str) -> bool:
        """Return whether something lies in the file itself, and not behind a link of any sort."""
        import h5py

        parts = name.split("/")
        paths = ["/".join(parts[: i + 1]) for i in range(len(parts))]
        return all(isinstance(self._file.get(path, getlink=True), h5py.HardLink) for path in paths)

    def _dataset(self, video: str) -> Any:
        import h5py

        name = f"{self.stage}/{video}/{self.array}"
        place = f"{self.path}: /{name}"
        if not self._hard(name) or self._file.get(name, getclass=True) is not h5py.Dataset:
            raise DataError(f"{place}: expected an array (T, D), found none")
        found = self._file[name]
        if found.is_virtual or found.external:
            raise DataError(f"{place}: expected an array in the file itself, found one whose numbers lie elsewhere")
        if found.ndim != 2 or found.dtype.kind != "f" or not 0 < found.shape[1] <= LONGEST_FEATURE:
            raise DataError(f"{place}: expected floats of shape (T, D), found {found.dtype} {found.shape}")
        if found.chunks and np.prod(found.chunks, dtype=float) * found.dtype.itemsize > LARGEST_CHUNK:
            raise DataError(f"{place}: expected chunks of at most {LARGEST_CHUNK:,} bytes, found chunks of {found.chunks}")
        return found


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
