"""Which videos there are and what they hold: exact frame counts, sizes and content hashes, each file read once.

A cache file keeps the results by name, size and date of the files. A file of which these changed is read again; since
digests depend on content only, a touched file leads to no work downstream.
"""

import json
import os
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

from pipeline.config import CLIP_FRAMES
from pipeline.contract import DataError, Report, Split, Video, VideoRecord
from pipeline.datasets.base import Dataset
from pipeline.datasets.probe import Content, probe

CACHE_VERSION = 1  # raised when probing would give other results for the same files
SAVE_SECONDS = 10.0  # a first inventory of a large dataset takes long: an interruption loses no more than this


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A video that cannot be used, and why. The others can."""

    split: Split
    id: str
    message: str

    def __str__(self) -> str:
        return f"{self.split}/{self.id}: {self.message}"


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """The videos of a dataset as they are now, in the dataset's order."""

    records: tuple[VideoRecord, ...]
    problems: tuple[Problem, ...]
    label_digest: str
    """Hex hash of all label files and of which video each belongs to; empty where there are none."""


def take_inventory(dataset: Dataset, cache_file: Path, on_progress: Report | None = None) -> Inventory:
    """Count and hash the videos of a dataset, as far as ``cache_file`` does not know them yet.

    An unreadable video, or one with fewer frames than a clip, becomes a :class:`Problem` and stops no other.
    ``on_progress`` hears of the videos that must be read: name, number done, number in all.

    Raises
    ------
    DataError
        The dataset as a whole is not laid out as expected.
    OSError
        The cache file cannot be written.
    """
    videos = dataset.videos()
    cache = _Cache.load(cache_file)
    records, problems = _examine(videos, cache, on_progress)
    label_digest = _digest_labels(dataset, videos, cache)
    cache.save()
    order = {(video.split, video.id): i for i, video in enumerate(videos)}
    records.sort(key=lambda record: order[record.split, record.id])
    problems.sort(key=lambda problem: order[problem.split, problem.id])
    return Inventory(records=tuple(records), problems=tuple(problems), label_digest=label_digest)


def _examine(
    videos: Sequence[Video], cache: "_Cache", on_progress: Report | None
) -> tuple[list[VideoRecord], list[Problem]]:
    records: list[VideoRecord] = []
    problems: list[Problem] = []
    pending: list[tuple[Video, str]] = []
    for video in videos:
        try:
            signature = sign(video.files, folder=video.is_folder)
        except OSError as error:
            problems.append(_problem(video, f"{error.filename}: cannot be read ({error.strerror}); restore the file"))
            continue
        content = cache.known(_name(video), signature)
        if content is None:
            pending.append((video, signature))
        else:
            _add(video, content, records, problems)
    for done, (video, signature) in enumerate(pending):
        if on_progress:
            on_progress(_name(video), done, len(pending))
        try:
            content = probe(video, cache.by_digest)
        except DataError as error:
            problems.append(_problem(video, str(error)))
            continue
        cache.remember(_name(video), signature, content)
        _add(video, content, records, problems)
    if on_progress and pending:
        on_progress("inventory", len(pending), len(pending))
    cache.keep(map(_name, videos))
    return records, problems


def _add(video: Video, content: Content, records: list[VideoRecord], problems: list[Problem]) -> None:
    if content.num_frames < CLIP_FRAMES:
        path = video.files[0].parent if video.is_folder else video.files[0]
        message = f"{path}: expected at least {CLIP_FRAMES} frames (one clip), found {content.num_frames}; remove it"
        problems.append(_problem(video, message))
    else:
        records.append(VideoRecord(video=video, **asdict(content)))


def _problem(video: Video, message: str) -> Problem:
    return Problem(split=video.split, id=video.id, message=message)


def _name(video: Video) -> str:
    return f"{video.split}/{video.id}"


def sign(files: Sequence[Path], *, folder: bool = False) -> str:
    """Return a short hash of names, sizes and dates; nothing is opened.

    With ``folder`` the files are all images of one folder, which is listed once instead of asking file by file.
    """
    hasher = blake2b(digest_size=16)
    if folder and files:
        wanted = {path.name for path in files}
        with os.scandir(files[0].parent) as found:
            stats = [(entry.name, entry.stat()) for entry in found if entry.name in wanted]
    else:
        stats = [(path.name, path.stat()) for path in files]
    lines = [f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}" for name, stat in stats]
    hasher.update("\n".join(sorted(lines)).encode(errors="surrogateescape"))
    return hasher.hexdigest()


def _digest_labels(dataset: Dataset, videos: Sequence[Video], cache: "_Cache") -> str:
    """Hash the label files, each read once; one that is missing counts as such: reading it will say more."""
    files = {_name(video): dataset.label_files(video) for video in videos if video.split == "test"}
    present: dict[Path, str] = {}
    for path in dict.fromkeys(path for paths in files.values() for path in paths):
        with suppress(OSError):
            present[path] = sign([path])
    signature = blake2b(repr([(name, list(map(str, paths))) for name, paths in files.items()]).encode())
    signature.update(repr(list(present.values())).encode())
    if cache.labels.get("signature") != signature.hexdigest():
        cache.set_labels(signature.hexdigest(), _read_labels(files, present))
    return cache.labels["digest"]


def _read_labels(files: dict[str, Sequence[Path]], present: Iterable[Path]) -> str:
    contents = {}
    for path in present:
        with suppress(OSError):
            contents[path] = blake2b(path.read_bytes(), digest_size=16).hexdigest()
    if not contents:
        return ""
    lines = [f"{name}={','.join(contents.get(path, '') for path in paths)}" for name, paths in files.items()]
    return blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()


class _Cache:
    """What is known of files that were read before. A damaged cache file counts as none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.videos: dict[str, tuple[str, Content]] = {}
        self.by_digest: dict[str, Content] = {}
        self.labels: dict[str, str] = {}
        self._changed = False
        self._saved_at = time.monotonic()

    @classmethod
    def load(cls, path: Path) -> Self:
        cache = cls(path)
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data["version"] == CACHE_VERSION:
                cache.videos = {name: (str(row["signature"]), _content(row)) for name, row in data["videos"].items()}
                cache.labels = {name: str(data["labels"][name]) for name in ("signature", "digest")}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            cache = cls(path)
        cache.by_digest = {content.digest: content for _, content in cache.videos.values()}
        return cache

    def known(self, name: str, signature: str) -> Content | None:
        old_signature, content = self.videos.get(name, ("", None))
        return content if old_signature == signature else None

    def remember(self, name: str, signature: str, content: Content) -> None:
        self.videos[name] = signature, content
        self._changed = True
        if time.monotonic() - self._saved_at > SAVE_SECONDS:
            self.save()

    def set_labels(self, signature: str, digest: str) -> None:
        self.labels = {"signature": signature, "digest": digest}
        self._changed = True

    def keep(self, names: Iterable[str]) -> None:
        """Forget the videos that are gone."""
        gone = self.videos.keys() - set(names)
        for name in gone:
            del self.videos[name]
        self._changed = self._changed or bool(gone)

    def save(self) -> None:
        """Write beside, then rename: whoever reads meanwhile sees the old file or the new one."""
        if not self._changed:
            return
        videos = {
            name: {"signature": signature, **asdict(content)} for name, (signature, content) in self.videos.items()
        }
        labels = self.labels or {"signature": "", "digest": ""}
        text = json.dumps({"version": CACHE_VERSION, "videos": videos, "labels": labels}, indent=1)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle, side_name = tempfile.mkstemp(dir=self.path.parent, prefix=".partial-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(side_name).chmod(0o644)
            Path(side_name).replace(self.path)
        except BaseException:
            Path(side_name).unlink(missing_ok=True)
            raise
        self._changed = False
        self._saved_at = time.monotonic()


def _content(row: dict[str, Any]) -> Content:
    return Content(
        num_frames=int(row["num_frames"]),
        height=int(row["height"]),
        width=int(row["width"]),
        fps=float(row["fps"]),
        digest=str(row["digest"]),
    )
