"""Whether tensors are those of a model: the same names, each of the same shape, none missing and none left over."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pipeline.contract import DataError

SHOWN = 3
T = TypeVar("T")


def by_new_names(path: Path, renamed: Iterable[tuple[str, T]]) -> dict[str, T]:
    """Return what was renamed by its new names.

    Raises
    ------
    DataError
        Two have one new name: one of them is too many.
    """
    found: dict[str, T] = {}
    for name, value in renamed:
        if name in found:
            raise DataError(f"{path}: expected one tensor to become {name}, found two; it is a checkpoint of another model")
        found[name] = value
    return found


def require_fit(path: Path, found: Mapping[str, Sequence[int]], model: Any, described: str) -> None:
    """Compare shapes by name with those of a module, which may lie on the device ``meta``.

    Raises
    ------
    DataError
        Names are missing, or too many, or shapes differ; the message tells which.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    require_names(path, found, expected, described)
    other = [name for name in expected if tuple(found[name]) != expected[name]]
    if other:
        name = other[0]
        raise DataError(
            f"{path}: expected the weights of {described}, found {len(other)} tensors of another size, such as {name} "
            f"{tuple(found[name])} (expected {expected[name]}); it is a checkpoint of another model"
        )


def require_names(path: Path, found: Iterable[str], expected: Iterable[str], described: str) -> None:
    """Refuse names that are missing or too many; see :func:`require_fit`."""
    found, expected = set(found), set(expected)
    wrong = [
        f"{len(names)} {what} ({', '.join(sorted(names)[:SHOWN])}{' ...' if len(names) > SHOWN else ''})"
        for what, names in (("missing", expected - found), ("unknown", found - expected))
        if names
    ]
    if wrong:
        raise DataError(
            f"{path}: expected exactly the weights of {described}, found {' and '.join(wrong)}; "
            "it is a checkpoint of another model, or not whole"
        )
