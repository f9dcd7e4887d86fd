"""Receipts: small files that prove that one shard is complete.

A receipt's name carries what planning needs (video, digest of its content, shard), so that planning lists one folder
and opens nothing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from pipeline.artifacts.files import safe_name
from pipeline.contract import Shard, VideoRecord

DIGEST_CHARACTERS = 12
SHARD_RECEIPT = re.compile(r"(?P<video>[^/]+@[0-9a-f]+)\.(?P<index>\d{5,})-of-(?P<total>\d{5,})\.json", re.DOTALL)
FOLDER_RECEIPT = re.compile(r"all@(?P<digest>[0-9a-f]+)\.json")


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What is recorded of one shard, next to its name."""

    video: str
    split: str
    digest: str
    shard: int
    start: int
    stop: int
    seconds: float
    """Time that the worker took, without waiting for work."""
    files: dict[str, str]
    """Stored file, relative to the artifact -> checksum of its bytes."""
    provenance: dict[str, Any]
    parts: dict[str, float] = field(default_factory=dict)
    """What took how many of the seconds: read, compute, write; older receipts do not say."""
    seal: str = ""
    """Checksum of all of the above; receipts of before there were seals have none."""


def video_name(record: VideoRecord) -> str:
    """Return the folder name of one video with this very content."""
    return f"{safe_name(record.split, record.id)}@{record.digest[:DIGEST_CHARACTERS]}"


def receipt_name(record: VideoRecord, shard: int, shards: int) -> str:
    """Return the name under which shard ``shard`` of ``shards`` of this video is receipted."""
    return f"{video_name(record)}.{shard:05d}-of-{shards:05d}.json"


def receipt_names(record: VideoRecord, shards: int) -> list[str]:
    """Return the names of the receipts of all shards of this video."""
    video = video_name(record)
    return [f"{video}.{shard:05d}-of-{shards:05d}.json" for shard in range(shards)]


def folder_receipt_name(digest: str) -> str:
    """Return the receipt's name of a whole-split stage for this input."""
    return f"all@{digest}.json"


def parse_receipt_name(name: str) -> tuple[str, str]:
    """Return the quoted video and the digest in a receipt's name."""
    video, _, rest = name.rpartition("@")
    return video, rest.partition(".")[0]


def label_of(video: str) -> str:
    """Return split/id of a quoted video; of an id that was cut for its length, as far as the name tells."""
    split, _, name = video.partition("-")
    return f"{split}/{unquote(name, errors='replace')}"


def make_receipt(
    shard: Shard,
    *,
    seconds: float,
    files: dict[str, str],
    provenance: dict[str, Any],
    parts: Mapping[str, float] | None = None,
) -> Receipt:
    """Return the receipt of a shard that was just written."""
    return Receipt(
        video=shard.record.id,
        split=shard.record.split,
        digest=shard.record.digest,
        shard=shard.index,
        start=shard.start,
        stop=shard.stop,
        seconds=round(seconds, 4),
        files=files,
        provenance=provenance,
        parts={name: round(value, 4) for name, value in (parts or {}).items()},
    )
