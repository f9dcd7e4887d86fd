"""Whether tensors are those of a model: the same names, each of the same shape, none missing and none left over."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.contract import DataError

SHOWN = 3


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
