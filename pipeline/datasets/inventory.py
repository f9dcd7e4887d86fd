"""Which videos there are and what they hold: exact frame counts, sizes and content hashes, each file read once.

A cache file keeps the findings by name, size and date of the files. A file of which these changed is read again; since
digests depend on content only, a touched file leads to no work downstream.
"""

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from hashlib import blake2b, file_digest
from pathlib import Path
from stat import S_ISREG

from pipeline.config import CLIP_FRAMES
from pipeline.contract import DataError, Report, Split, Video, VideoRecord
from pipeline.datasets.base import Dataset
from pipeline.datasets.cuts import describe, goes_by_time
from pipeline.datasets.known_files import Finding, KnownFiles
from pipeline.datasets.listing import ImageFiles, printable
from pipeline.datasets.probe import Content, content_of_part, probe
from pipeline.datasets.remainders import is_left_aside, remark_on_remainder, too_short
from pipeline.datasets.remote import fetch, is_listed

MOST_READERS = 8  # videos read at once: decoding takes the cores, but a disk has only one head


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
    remarks: tuple[str, ...] = ()
    """What is worth knowing and keeps nothing from being used, such as that a video was cut off."""


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
    known = KnownFiles.load(cache_file)
    findings = _examine(videos, known, on_progress)
    label_digest = _digest_labels(dataset, videos, known)
    known.keep(map(_name, videos))
    known.save()
    records: list[VideoRecord] = []
    problems: list[Problem] = []
    remarks = [found.remark for found in findings.values() if isinstance(found, Content) and found.remark]
    for video in videos:
        finding = findings[_name(video)]
        if isinstance(finding, Content) and is_left_aside(video, finding.num_frames):
            remarks.append(remark_on_remainder(video, finding.num_frames))
        else:
            _add(video, finding, known.signature(_name(video)), records, problems)
    return Inventory(
        records=tuple(records),
        problems=tuple(problems),
        label_digest=label_digest,
        remarks=tuple(map(printable, dict.fromkeys(remarks))),
    )


def label_problems(dataset: Dataset, records: Iterable[VideoRecord]) -> tuple[Problem, ...]:
    """Read the labels of all test videos and say which do not fit: before the costly work, not after it."""
    problems = []
    for record in records:
        try:
            dataset.labels(record.video, record.num_frames)
        except DataError as error:
            problems.append(_problem(record.video, str(error)))
    return tuple(problems)


def _examine(videos: Sequence[Video], known: KnownFiles, on_progress: Report | None) -> dict[str, Finding]:
    findings: dict[str, Finding] = {}
    pending: list[tuple[Video, str]] = []
    for video in videos:
        try:
            signature = sign(video.files, folder=video.is_folder) + _selection(video)
        except OSError as error:
            findings[_name(video)] = f"{error.filename}: cannot be read ({error.strerror}); restore the file"
            continue
        finding = known.find(_name(video), signature)
        if finding is None:
            pending.append((video, signature))
        else:
            findings[_name(video)] = finding
    for done, (video, signature, finding, lasts) in enumerate(_read(pending, known)):
        findings[_name(video)] = finding
        if lasts:
            known.remember(_name(video), signature, finding)
        if on_progress:
            on_progress("inventory", done + 1, len(pending))
    return findings


def _selection(video: Video) -> str:
    """Return what is added to the signature of a file of which not all counts, or which may be damaged."""
    if video.cut is None:
        return ""
    by_times = " by times" if goes_by_time(video.cut) else ""  # what earlier versions found went by the claimed rate
    return f" {describe(video.cut)} {video.cut.damaged}{by_times}"


def _read(pending: Sequence[tuple[Video, str]], known: KnownFiles) -> Iterator[tuple[Video, str, Finding, bool]]:
    """Probe videos in threads, since OpenCV lets go of the interpreter while it decodes; parts of one file together.

    The last value says whether the finding stays true as long as the files do: a disk that failed to read may recover.
    """
    files: dict[Path, list[tuple[Video, str]]] = {}
    for video, signature in pending:
        files.setdefault(video.files[0] if video.files else Path(_name(video)), []).append((video, signature))

    def look(parts: list[tuple[Video, str]]) -> list[tuple[Video, str, Finding, bool]]:
        found = _try(lambda: probe(parts[0][0], known.by_digest))
        if not isinstance(found, Content):
            return [(*part, str(found), not isinstance(found.__cause__, OSError)) for part in parts]
        contents = [(part, _try(partial(content_of_part, found, part[0]))) for part in parts]
        return [(*part, content if isinstance(content, Content) else str(content), True) for part, content in contents]

    pool = ThreadPoolExecutor(min(MOST_READERS, os.cpu_count() or 1))
    try:
        for results in pool.map(look, files.values()):
            yield from results
    finally:
        pool.shutdown(cancel_futures=True)


def _try(read: Callable[[], Content]) -> Content | DataError:
    try:
        return read()
    except DataError as error:
        return error


def _add(
    video: Video, finding: Finding, signature: str, records: list[VideoRecord], problems: list[Problem]
) -> None:
    if isinstance(finding, str):
        problems.append(_problem(video, finding))
    elif finding.num_frames < CLIP_FRAMES:
        problems.append(_problem(video, too_short(video, finding.num_frames)))
    else:
        content = asdict(finding)
        del content["remark"], content["timed"]
        video = video if finding.timed else replace(video, timed=False)
        records.append(VideoRecord(video=video, signature=signature.partition(" ")[0], **content))


def _problem(video: Video, message: str) -> Problem:
    return Problem(split=video.split, id=video.id, message=printable(message))  # it may name a file in odd bytes


def _name(video: Video) -> str:
    return f"{video.split}/{video.id}"


def sign(files: Sequence[Path], *, folder: bool = False) -> str:
    """Return a short hash of names, sizes and dates; nothing is opened.

    Dates are that of the content and that of the entry itself: a file put in place of another one with its size and date,
    as ``cp -p`` and archives do, is read again.

    With ``folder`` the files are all images of one folder, which is listed once instead of asking file by file.
    """
    hasher = blake2b(digest_size=16)
    if folder and files:
        wanted = set(files.names) if isinstance(files, ImageFiles) else {path.name for path in files}
        with os.scandir(files[0].parent) as found:
            stats = [(entry.name, entry.stat()) for entry in found if entry.name in wanted]
    else:
        stats = [(path.name, path.stat()) for path in files]
    for name, stat in stats:
        if not S_ISREG(stat.st_mode):  # a pipe, for one, would be read for ever
            raise OSError(errno.EINVAL, "it is no file", str(files[0].with_name(name)))
    listed = bool(files) and is_listed(files[0])  # when it was listed here says nothing of its content
    lines = [f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\0{0 if listed else stat.st_ctime_ns}" for name, stat in stats]
    hasher.update("\n".join(sorted(lines)).encode(errors="surrogateescape"))
    return hasher.hexdigest()


def _digest_labels(dataset: Dataset, videos: Sequence[Video], known: KnownFiles) -> str:
    """Hash the label files, each read once; one that is missing counts as such: reading it will say more."""
    files = {_name(video): dataset.label_files(video) for video in videos if video.split == "test"}
    present: dict[Path, str] = {}
    for path in dict.fromkeys(path for paths in files.values() for path in paths):
        with suppress(OSError):
            present[path] = sign([path])
    signature = blake2b(repr([(name, list(map(str, paths))) for name, paths in files.items()]).encode())
    signature.update(repr(list(present.values())).encode())
    digest = known.labels(signature.hexdigest())
    if digest is None:
        digest = _read_labels(files, present)
        known.remember_labels(signature.hexdigest(), digest)
    return digest


def _read_labels(files: dict[str, Sequence[Path]], present: Iterable[Path]) -> str:
    contents = {}
    for path in present:
        with suppress(OSError), fetch(path).open("rb") as file:
            contents[path] = file_digest(file, lambda: blake2b(digest_size=16)).hexdigest()
    if not contents:
        return ""
    lines = [f"{name}={','.join(contents.get(path, '') for path in paths)}" for name, paths in files.items()]
    return blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()
