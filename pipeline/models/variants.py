"""Which of the files of a model are its weights: whole ones, or those of half precision that some are published in alone."""

import json
from pathlib import Path

from pipeline.config import ConfigError

HALF = "fp16"
"""What both libraries call the variant of half precision."""


def with_variant(name: str, variant: str) -> str:
    """Return the name of weights, or of the list of their files, in a variant: model.fp16.safetensors."""
    stem, _, suffix = name.rpartition(".")
    return f"{stem}.{variant}.{suffix}" if variant else name


def listed_files(folder: Path, lists: tuple[str, ...], variant: str = "") -> list[str]:
    """Return the files over which the weights of a variant are spread; none where no list says so.

    Raises
    ------
    ConfigError
        A list is no JSON object.
    """
    found: set[str] = set()
    for path in (folder / with_variant(name, variant) for name in lists):
        if path.is_file():
            try:
                found |= {str(file) for file in json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()}
            except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
                raise ConfigError(
                    f"{path}: cannot be read as a list of files of weights: {error!r}; copy it again"
                ) from error
    return sorted(found)


def has_weights(folder: Path, files: tuple[str, ...], lists: tuple[str, ...], variant: str = "") -> bool:
    """Say whether weights of a variant lie in a folder: one of ``files``, or all that one of ``lists`` names."""
    if any((folder / with_variant(name, variant)).is_file() for name in files):
        return True
    spread = listed_files(folder, lists, variant)
    return bool(spread) and all((folder / name).is_file() for name in spread)
