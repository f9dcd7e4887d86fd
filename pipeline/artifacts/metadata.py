"""Metadata of Zarr, checked: what its files should hold, and what they do."""

from collections.abc import Iterable, Iterator
from typing import Any

from pipeline.artifacts.place import Place
from pipeline.artifacts.receipts import SHARD_RECEIPT
from pipeline.artifacts.subject import Subject
from pipeline.contract import ArraySpec

_UNREADABLE: dict[str, Any] = {"shape": (16,), "dtype": "bool", "dimension_names": ("",)}
"""No array of any stage: what cannot be read is compared with it, and differs."""


def spec_on_disk(place: Place, folder: str, least: int = 0) -> ArraySpec | None:
    """Return an array as its own metadata describe it; None where they are damaged or it has less than ``least`` rows."""
    try:
        array = place.array(folder)
        names = array.metadata.dimension_names  # type: ignore[union-attr]  # of format 3, which has them
        spec = ArraySpec(
            name=folder.rpartition("/")[2],
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
        specs = known.specs if known else _specs_on_disk(subject.artifact.place, f"data/{video}")
        for file, content in subject.artifact.metadata(video, specs).items():
            if file not in seen and (found := _difference(subject.artifact.place, file, content)):
                certain = known is not None or file.count("/") < 3  # groups are all alike
                yield file, found, content if certain else None
            seen.add(file)


def _specs_on_disk(place: Place, folder: str) -> tuple[ArraySpec, ...]:
    names = [name for name in sorted(place.names(folder)) if place.is_folder(f"{folder}/{name}")]
    return tuple(spec_on_disk(place, f"{folder}/{name}") or ArraySpec(name=name, **_UNREADABLE) for name in names)


def _difference(place: Place, file: str, content: bytes) -> str:
    if place.link(file) == file:
        return "a symbolic link"
    try:
        data = place.read(file)
    except OSError as error:
        return f"no file that can be read ({error.strerror or error})"
    return "" if data == content else f"{len(data)} bytes that differ"
