"""Files in an artifact that nothing vouches for: judged by their names alone."""

import json
import re
from collections.abc import Iterator
from typing import Any

from pipeline.artifacts.place import Place
from pipeline.artifacts.receipts import FOLDER_RECEIPT, SHARD_RECEIPT
from pipeline.artifacts.seals import seal_problem
from pipeline.artifacts.subject import Subject
from pipeline.files import PARTIAL

SHARD_FILE = re.compile(r"data/(?P<video>[^/]+)/(?P<array>[^/]+)/c/(?P<index>\d+)(?P<zeros>(?:/0)*)", re.DOTALL)
ARRAY_FILE = re.compile(r"data/(?P<video>[^/]+)/(?:(?P<array>[^/]+)/)?zarr\.json", re.DOTALL)

VIDEO = re.compile(r".+@[0-9a-f]+", re.DOTALL)
"""The folder of a video: where nothing is known of the videos, one that was begun, though no shard of it was finished."""


def find_strays(subject: Subject, receipts: set[str]) -> Iterator[tuple[str, str]]:
    """Return place and nature of what does not belong to an artifact; of a folder of which nothing does, its name only."""
    belongs = _Belonging(subject, receipts)
    told = "\0"
    for entry in subject.artifact.place.tree():
        if entry.name.startswith(told):
            continue
        parts = entry.name.split("/")
        partial = next((i for i, part in enumerate(parts) if part.startswith(PARTIAL)), None)
        within = len(parts) > 1 or entry.kind == "folder"
        if entry.kind == "link":
            yield entry.name, "a symbolic link"
        elif partial is not None:
            stray = "/".join(parts[: partial + 1])
            told = f"{stray}/"
            yield stray, "what an interrupted run left"
        elif within and not belongs.has_folder(parts[0]):
            told = f"{parts[0]}/"
            yield parts[0], "a folder that no receipt vouches for"
        elif entry.kind == "file" and not belongs(entry.name):
            shard = SHARD_FILE.fullmatch(entry.name)
            yield entry.name, "a shard without its receipt" if shard else "a file that nothing vouches for"


class _Belonging:
    def __init__(self, subject: Subject, receipts: set[str]) -> None:
        self._videos = subject.videos
        self._receipts = receipts
        matches = [match for match in map(SHARD_RECEIPT.fullmatch, receipts) if match]
        self._shards = {(match["video"], int(match["index"])) for match in matches}
        self._names = {match["video"] for match in matches} | set(subject.videos)
        digests = [match["digest"] for match in map(FOLDER_RECEIPT.fullmatch, receipts) if match]
        self._folders = {digest: _listed(subject.artifact.place, f"receipts/all@{digest}.json") for digest in digests}

    def has_folder(self, name: str) -> bool:
        """Return whether a folder right below the artifact may be there."""
        return name in {"data", "receipts"} or name.removeprefix("data-") in self._folders

    def __call__(self, place: str) -> bool:
        head, _, rest = place.partition("/")
        if head == "receipts":
            return rest in self._receipts
        if head.startswith("data-"):
            files = self._folders.get(head.removeprefix("data-"), ())
            return files is None or rest in files
        if match := SHARD_FILE.fullmatch(place):
            rank = 1 + match["zeros"].count("/")
            return (match["video"], int(match["index"])) in self._shards and self._has_array(match, rank)
        if match := ARRAY_FILE.fullmatch(place):
            begun = match["video"] in self._names or (not self._videos and VIDEO.fullmatch(match["video"]) is not None)
            return begun and (match["array"] is None or self._has_array(match))
        return place in {"manifest.json", "data/zarr.json"}

    def _has_array(self, match: re.Match[str], rank: int | None = None) -> bool:
        known = self._videos.get(match["video"])
        if known is None:
            return True
        return any(spec.name == match["array"] and rank in (None, len(spec.shape)) for spec in known.specs)


def _listed(place: Place, receipt: str) -> set[str] | None:
    """Return the files in the receipt of a whole-split stage; None where it does not say, or is not to be believed."""
    try:
        data = place.read(receipt)
        files: Any = None if seal_problem(data) else json.loads(data).get("files")
    except OSError:
        return None
    return set(files) if isinstance(files, dict) else None
