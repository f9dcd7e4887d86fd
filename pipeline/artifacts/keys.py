"""Keys and digests: what determines an artifact, as a short hash."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

KEY_CHARACTERS = 16


def artifact_key(stage: str, version: int, settings: Mapping[str, Any], upstream: Mapping[str, str]) -> str:
    """Return the key of an artifact: a hash of everything declared to determine it.

    Source text, dates and paths are no part of it: moving a cache or reformatting code makes no work.
    """
    declared = {"stage": stage, "version": version, "settings": settings, "upstream": upstream}
    return digest_text(json.dumps(declared, sort_keys=True, separators=(",", ":"), allow_nan=False))


def digest_text(text: str) -> str:
    """Return a short hex digest of a text."""
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=KEY_CHARACTERS // 2).hexdigest()


def digest_bytes(data: bytes) -> str:
    """Return 128 bits of BLAKE2b, hex."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def digest_inputs(inputs: Mapping[str, str]) -> str:
    """Return one digest of what was read (videos, labels), given what -> digest of its content, in any order."""
    return digest_text(json.dumps(inputs, sort_keys=True))
