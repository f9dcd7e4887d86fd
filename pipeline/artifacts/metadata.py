"""Metadata of Zarr, checked: what its files should hold, and what they do."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pipeline.artifacts.receipts import SHARD_RECEIPT
from pipeline.artifacts.subject import Subject
from pipeline.contract import ArraySpec

_UNREADABLE: dict[str, Any] = {"shape": (16,), "dtype": "bool", "dimension_names": ("",)}
"""No array of any stage: what cannot be read is compared with it, and differs."""


def spec_on_disk(folder: Path, least: int = 0) -> ArraySpec | None:
    """Return an array as its own metadata describe it; None where they are damaged or it has less than ``least`` rows."""
    import zarr

    try:
        array = zarr.open_array(folder, mode="r")
        names = array.metadata.dimension_names  # type: ignore[union-attr]  # of format 3, which has them
        spec = ArraySpec(
            name=folder.name,
            shape=array.shape,
            dtype=str(array.dtype),
            dimension_names=tuple(str(name) for name in names or ()),
            units=str(array.attrs["units"]),
            description=str(array.attrs["description"]),
        )
    except Exception:  # zarr raises whatever it stumbles over
        return None
    return spec if spec.shape and spec.shape[0] >= least else None


def check_metadata(subject: Subject, receipts: Iterable[str]) -> Iterator[tuple[str, str, bytes | None]]:
    """Return place, what was found there, and what should be there if that is known, for all that differ.

    Of videos and artifacts that no present configuration refers to, metadata are compared with what this program would
    write for the array that they describe.
    """
    names = dict.fromkeys(match["video"] for match in map(SHARD_RECEIPT.fullmatch, receipts) if match)
    seen: set[str] = set()
    for video in names:
        known = subject.videos.get(video)
        specs = known.specs if known else _specs_on_disk(subject.artifact.folder / "data" / video)
        for file, content in subject.artifact.metadata(video, specs).items():
            if file not in seen and (found := _difference(subject.artifact.folder / file, content)):
                certain = known is not None or file.count("/") < 3  # groups are all alike
                yield file, found, content if certain else None
            seen.add(file)


def _specs_on_disk(folder: Path) -> tuple[ArraySpec, ...]:
    paths = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    return tuple(spec_on_disk(path) or ArraySpec(name=path.name, **_UNREADABLE) for path in paths)


def _difference(path: Path, content: bytes) -> str:
    if path.is_symlink():
        return "a symbolic link"
    try:
        data = path.read_bytes()
    except OSError as error:
        return f"no file that can be read ({error.strerror})"
    return "" if data == content else f"{len(data)} bytes that differ"
