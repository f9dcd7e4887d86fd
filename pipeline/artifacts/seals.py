"""Checksums of what no receipt of a shard covers: of receipts themselves, and of the files of a whole-split stage."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.artifacts.checksums import checksum_file
from pipeline.artifacts.keys import digest_bytes
from pipeline.files import json_bytes

SEAL = "seal"
"""Name under which a receipt holds the checksum of everything else in it."""


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a receipt's content with its own checksum as the last entry."""
    rest = {name: value for name, value in content.items() if name != SEAL}
    return {**rest, SEAL: _seal(rest)}


def seal_problem(data: bytes) -> str:
    """Say what is wrong with the bytes of a receipt; empty if nothing is.

    Receipts of before there were seals are checked for being JSON as it is written here, which most flipped bits spoil.
    """
    try:
        content = json.loads(data)
        again = json_bytes(content)
    except ValueError as error:
        return f"no JSON ({error})"
    if not isinstance(content, dict):
        return f"JSON of a {type(content).__name__}"
    if again != data:
        return "JSON that was written otherwise than by this program"
    rest = {name: value for name, value in content.items() if name != SEAL}
    if content.get(SEAL, _seal(rest)) != _seal(rest):
        return "content that fails its seal"
    return ""


def _seal(content: Mapping[str, Any]) -> str:
    return digest_bytes(json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode())


def digest_folder(folder: Path) -> dict[str, str]:
    """Return file, relative to ``folder`` -> checksum, for every file below it."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): checksum_file(path) for path in paths}
