"""Files that ``torch.save`` wrote: the zip archives of today and the plain format before torch 1.6."""

import errno
import struct
import zipfile
import zlib
from collections.abc import Mapping
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pipeline.contract import DataError
from pipeline.models.importing.unpickle import ELEMENT_BYTES, ForbiddenImportError, Storage, StoredTensor, read_pickle

if TYPE_CHECKING:
    from torch import Tensor

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_VERSION = 1001
LOCAL_HEADER = struct.Struct("<26xHH")  # lengths of name and extra field, after which the content begins
LENGTH = struct.Struct("<q")


class Place(NamedTuple):
    """Where the numbers of a storage lie in the file."""

    start: int
    size: int  # bytes
    crc: int | None


class Checkpoint:
    """A checkpoint of which only the structure was read. Tensors are read one by one, when asked for.

    ``content`` is what was saved, in plain dicts and lists, with a :class:`StoredTensor` for each tensor.

    Raises
    ------
    DataError
        The file is none of torch's, is damaged, or would execute something.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[str, Place] = {}
        try:
            self.content = self._read()
        except ForbiddenImportError as error:
            raise DataError(
                f"{path}: expected tensors and plain data, found a checkpoint that imports {error} when it is opened; it "
                "may execute anything, and is refused"
            ) from None
        except DataError:
            raise
        except OSError as error:
            if error.errno == errno.EINVAL:  # it tells of places before its own beginning
                raise self._damaged("impossible places of its numbers") from error
            raise OSError(error.errno, f"cannot be read: {error.strerror}", str(path)) from error
        except Exception as error:  # a damaged pickle raises nearly anything
            raise self._damaged(f"{type(error).__name__}: {error}") from error

    def state_dict(self, *keys: str) -> dict[str, StoredTensor]:
        """Return tensors by name: those of the whole file, or of the dict found below ``keys``.

        Raises
        ------
        DataError
            There is no such dict, or something else than tensors in it.
        """
        found, where = self.content, ""
        for key in keys:
            if not isinstance(found, Mapping) or key not in found:
                names = ", ".join(map(str, list(found)[:5])) if isinstance(found, Mapping) else type(found).__name__
                raise DataError(
                    f"{self.path}: expected {key!r} in the checkpoint{where}, found {names}; is it of another model?"
                )
            found, where = found[key], f"{where}[{key!r}]"
        if not isinstance(found, Mapping) or not found:
            raise DataError(f"{self.path}: expected tensors by name{where}, found {type(found).__name__}")
        for name, value in found.items():
            if not isinstance(name, str) or not isinstance(value, StoredTensor):
                found_instead = "names and values" if isinstance(value, Mapping) else type(value).__name__
                raise DataError(
                    f"{self.path}: expected a tensor for {name!r}{where}, found {found_instead}; is it of another model?"
                )
        return dict(found)

    def tensor(self, stored: StoredTensor) -> "Tensor":
        """Read one tensor; what it says of itself is checked against the file.

        Raises
        ------
        DataError
            It reaches beyond its storage, the storage is cut off or damaged, or numbers are not finite.
        """
        import torch

        storage, offset, shape, strides = stored
        place = self._places.get(storage.key)
        if place is None or place.size != storage.length * ELEMENT_BYTES[storage.dtype]:
            raise self._damaged(f"no storage {storage.key} of {storage.length} numbers of {storage.dtype}")
        self._require_inside(stored)
        if not storage.length:
            return torch.empty(shape, dtype=getattr(torch, storage.dtype))
        numbers = torch.frombuffer(self._bytes(place), dtype=getattr(torch, storage.dtype))
        tensor = numbers.as_strided(shape, strides, offset).contiguous()
        if not bool(torch.isfinite(tensor).all()):
            raise DataError(
                f"{self.path}: expected finite weights, found infinite ones or none; training went wrong, or the file"
            )
        return tensor

    def _require_inside(self, stored: StoredTensor) -> None:
        storage, offset, shape, strides = stored
        numbers = (offset, *shape, *strides)
        inside = len(shape) == len(strides) and all(type(n) is int and n >= 0 for n in numbers)
        count = int(np.prod(shape, dtype=object)) if inside else 0
        if count:
            last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
            inside = last < storage.length and count <= storage.length
        if not inside:
            raise self._damaged(f"a tensor {shape} with strides {strides} from {offset} of {storage.length} numbers")

    def _bytes(self, place: Place) -> bytearray:
        with self.path.open("rb") as file:
            file.seek(place.start)
            data = bytearray(file.read(place.size))
        if len(data) != place.size or (place.crc is not None and zlib.crc32(data) != place.crc):
            raise self._damaged("numbers that are not those that were saved")
        return data

    def _read(self) -> Any:
        with self.path.open("rb") as file:
            start = file.read(512)
            file.seek(0)
            if start.startswith(b"PK\x03\x04"):
                return self._read_archive(file)
            if start[257:262] == b"ustar":
                raise DataError(
                    f"{self.path}: expected a checkpoint of torch 0.1.10 or newer, found an older tar archive; open it with "
                    "torch where you trust it, and save it again"
                )
            if start.startswith(b"\x80"):
                return self._read_legacy(file)
        raise DataError(f"{self.path}: expected a file that torch.save wrote, found another (it begins with {start[:8]!r})")

    def _read_archive(self, file: BufferedReader) -> Any:
        with zipfile.ZipFile(file) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            pickles = [name for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
            if len(pickles) != 1 or any(name.endswith("/constants.pkl") for name in entries):
                raise DataError(
                    f"{self.path}: expected a checkpoint with one data.pkl, found another zip archive "
                    "(a compiled program of TorchScript is refused too)"
                )
            folder = pickles[0].partition("/")[0]
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
                raise self._damaged("compressed entries, which torch does not write")
            if (order := f"{folder}/byteorder") in entries and archive.read(order) != b"little":
                raise DataError(f"{self.path}: expected little-endian numbers, found {archive.read(order)!r}")
            content = read_pickle(BytesIO(archive.read(pickles[0])))
        for name, entry in entries.items():
            if name.startswith(f"{folder}/data/"):
                file.seek(entry.header_offset)
                name_length, extra_length = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
                start = entry.header_offset + LOCAL_HEADER.size + name_length + extra_length
                self._places[name.rpartition("/")[2]] = Place(start, entry.file_size, entry.CRC)
        return content

    def _read_legacy(self, file: BufferedReader) -> Any:
        if read_pickle(file) != LEGACY_MAGIC or read_pickle(file) != LEGACY_VERSION:
            raise DataError(f"{self.path}: expected a file that torch.save wrote, found another pickle, which is refused")
        if not read_pickle(file)["little_endian"]:
            raise DataError(f"{self.path}: expected little-endian numbers, found big-endian ones")
        storages: dict[str, Storage] = {}
        content = read_pickle(file, storages)
        for key in read_pickle(file):
            (length,) = LENGTH.unpack(file.read(LENGTH.size))
            size = length * ELEMENT_BYTES[storages[key].dtype]
            self._places[key] = Place(file.tell(), size, None)
            file.seek(size, 1)
        return content

    def _damaged(self, found: str) -> DataError:
        return DataError(
            f"{self.path}: expected a whole checkpoint, found {found}; it is cut off or damaged: fetch it again"
        )
