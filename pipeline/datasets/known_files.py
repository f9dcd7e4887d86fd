"""What earlier inventories found in files, kept on disk by name, size and date of the files.

A damaged cache file counts as none: everything in it can be found again.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import cv2

from pipeline.datasets.probe import Content
from pipeline.files import write_json

CACHE_VERSION = 4  # raised when probing would give other results for the same files
SAVE_SECONDS = 10.0  # a first inventory of a large dataset takes long: an interruption loses no more than this

Finding = Content | str
"""What a video holds, or why it cannot be used."""


class KnownFiles:
    """Findings by video, each with the signature of the files in which they were made."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.by_digest: dict[str, Content] = {}
        self._videos: dict[str, tuple[str, Finding]] = {}
        self._labels = ("", "")
        self._changed = False
        self._saved_at = time.monotonic()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the cache file, if there is one and it is whole."""
        known = cls(path)
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data["version"] == CACHE_VERSION:
                known._videos = {str(name): _from_row(row) for name, row in data["videos"].items()}
                if data["opencv"] != cv2.__version__:  # another one may read what this one could not
                    known._videos = {name: row for name, row in known._videos.items() if isinstance(row[1], Content)}
                known._labels = str(data["labels"][0]), str(data["labels"][1])
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            known = cls(path)
        known.by_digest = {found.digest: found for _, found in known._videos.values() if isinstance(found, Content)}
        return known

    def find(self, name: str, signature: str) -> Finding | None:
        """Return what was found in these very files, or None."""
        known, finding = self._videos.get(name, ("", None))
        return finding if known == signature else None

    def signature(self, name: str) -> str:
        """Return the signature of the files in which the last finding of this name was made; empty where there is none."""
        return self._videos.get(name, ("", None))[0]

    def remember(self, name: str, signature: str, finding: Finding) -> None:
        """Note a finding; every few seconds all of them are saved."""
        self._videos[name] = signature, finding
        self._changed = True
        if time.monotonic() - self._saved_at > SAVE_SECONDS:
            self.save()

    def labels(self, signature: str) -> str | None:
        """Return the digest of the label files, if these have not changed."""
        return self._labels[1] if self._labels[0] == signature else None

    def remember_labels(self, signature: str, digest: str) -> None:
        """Note the digest of the label files."""
        self._labels = signature, digest
        self._changed = True

    def keep(self, names: Iterable[str]) -> None:
        """Forget the videos that are gone."""
        gone = self._videos.keys() - set(names)
        for name in gone:
            del self._videos[name]
        self._changed = self._changed or bool(gone)

    def save(self) -> None:
        """Write the cache file, whole or not at all.

        Raises
        ------
        OSError
            It cannot be written.
        """
        if not self._changed:
            return
        videos = {name: _to_row(*known) for name, known in self._videos.items()}
        data = {"version": CACHE_VERSION, "opencv": cv2.__version__, "videos": videos, "labels": self._labels}
        write_json(self.path, data)
        self._changed = False
        self._saved_at = time.monotonic()


def _to_row(signature: str, finding: Finding) -> dict[str, Any]:
    found = asdict(finding) if isinstance(finding, Content) else {"problem": finding}
    return {"signature": signature, **found}


def _from_row(row: dict[str, Any]) -> tuple[str, Finding]:
    signature = str(row["signature"])
    if "problem" in row:
        return signature, str(row["problem"])
    return signature, Content(
        num_frames=int(row["num_frames"]),
        height=int(row["height"]),
        width=int(row["width"]),
        fps=float(row["fps"]),
        digest=str(row["digest"]),
        remark=str(row.get("remark", "")),
        timed=bool(row.get("timed", True)),
    )
