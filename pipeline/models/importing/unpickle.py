"""Reading the pickles of torch checkpoints without executing anything in them, and without torch.

A pickle is a program: whatever it imports, it may call. Here an import yields one of the objects below or is refused by
name. None of them does anything, and none has attributes that the pickle could change (``BUILD``), so that nothing outside
of what is returned is touched.
"""

import pickle
from typing import IO, Any, NamedTuple

ELEMENT_BYTES = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
}
"""Names of torch's types and the size of an element."""
STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
FOREIGN = ("yacs", "pytorch_lightning")
"""Packages whose objects lie beside the tensors of published checkpoints (settings, callbacks): read as nothing."""


class ForbiddenImportError(pickle.UnpicklingError):
    """The pickle wants to import what is neither a tensor nor plain data."""


class Storage(NamedTuple):
    """Where numbers lie: name, type and count of elements."""

    key: str
    dtype: str
    length: int


class StoredTensor(NamedTuple):
    """A tensor that was not read yet: a view of a storage. Nothing in it was checked."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class StorageType(NamedTuple):
    """What ``torch.FloatStorage`` and its like become."""

    dtype: str


class PlainDict(dict[Any, Any]):
    """What an ``OrderedDict`` becomes: a dict that ignores the attributes it was stored with."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """Ignore the attributes."""


class Inert(dict[Any, Any]):
    """What an object of a foreign package becomes, whatever it was made of: nothing."""

    __slots__ = ()

    def __new__(cls, *arguments: Any, **named: Any) -> "Inert":
        """Ignore what the object is made of."""
        return super().__new__(cls)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """Ignore what the object is made of."""

    def __setstate__(self, state: Any) -> None:
        """Ignore the attributes."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Ignore an element."""


class _BuildTensor:
    """What ``torch._utils._rebuild_tensor_v2`` becomes; a function would have attributes to set."""

    __slots__ = ()

    def __call__(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> StoredTensor:
        if not isinstance(storage, Storage):
            raise pickle.UnpicklingError(f"a tensor of a {type(storage).__name__}")
        return StoredTensor(storage, offset, tuple(shape), tuple(strides))


class _BuildParameter:
    """What ``torch._utils._rebuild_parameter`` becomes."""

    __slots__ = ()

    def __call__(self, data: Any, *_: Any) -> Any:
        return data


_NAMES: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): PlainDict,
    ("torch._utils", "_rebuild_tensor_v2"): _BuildTensor(),
    ("torch._utils", "_rebuild_parameter"): _BuildParameter(),
    **{(module, name): kind for module in ("__builtin__", "builtins") for name, kind in (("set", set), ("dict", PlainDict))},
    **{("torch", name): StorageType(dtype) for name, dtype in STORAGES.items()},
}


class _RestrictedUnpickler(pickle.Unpickler):
    def __init__(self, stream: IO[bytes], storages: dict[str, Storage]) -> None:
        super().__init__(stream)
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _NAMES:
            return _NAMES[module, name]
        if module.partition(".")[0] in FOREIGN:
            return Inert
        raise ForbiddenImportError(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Storage:
        # ("storage", type, key, device, elements), and in the old format a view of another storage
        kind, storage_type, key, _, length, *view = pid
        if kind != "storage" or not isinstance(storage_type, StorageType) or any(view):
            raise pickle.UnpicklingError(f"a storage of the kind {kind!r}, {storage_type!r}, {view!r}")
        return self._storages.setdefault(str(key), Storage(str(key), storage_type.dtype, int(length)))


def read_pickle(stream: IO[bytes], storages: dict[str, Storage] | None = None) -> Any:
    """Read one pickle: dicts, lists, tuples, sets, strings, numbers, and :class:`StoredTensor` where a tensor was.

    ``storages`` is filled with all storages that it names, by key.

    Raises
    ------
    ForbiddenImportError
        It wants to import something else; the message is what, as ``module.name``. Nothing was imported.
    Exception
        Of almost any kind: it is damaged.
    """
    return _RestrictedUnpickler(stream, {} if storages is None else storages).load()
