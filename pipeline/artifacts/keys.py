"""Keys and digests: what determines an artifact, as a short hash."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.contract import VideoRecord

KEY_CHARACTERS = 16


def artifact_key(stage: str, version: int, settings: Mapping[str, Any], upstream: Mapping[str, str]) -> str:
    """Return the key of an artifact: a hash of everything declared to determine it.

    Source text, dates and paths are no part of it: moving a cache or reformatting code makes no work.
    """
    declared = {"stage": stage, "version": version, "settings": settings, "upstream": upstream}
    return digest_text(json.dumps(declared, sort_keys=True, separators=(",", ":"), allow_nan=False))


def digest_text(text: str) -> str:
    """Return a short hex digest of a text."""
    return hashlib.blake2b(text.encode(), digest_size=KEY_CHARACTERS // 2).hexdigest()


def digest_bytes(data: bytes) -> str:
    """Return the checksum that receipts hold: 128 bits of BLAKE2b, hex."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def digest_records(records: Iterable[VideoRecord], extra: Iterable[str] = ()) -> str:
    """Return one digest for the content of several videos, and of further files such as labels."""
    parts = [f"{record.split}/{record.id}={record.digest}" for record in records]
    return digest_text("\n".join([*parts, *extra]))
