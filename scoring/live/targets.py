"""What was named on the command line, as sources; and the names of what is written about them."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pipeline.config import ConfigError
from pipeline.contract import DataError, Video
from pipeline.datasets.folder import find_videos
from pipeline.datasets.listing import VIDEO_SUFFIXES, entries, frame_folder, is_folder, printable, suffix
from scoring.live.sources import Source, StoredVideo
from scoring.live.streams import Stream, StreamSettings, is_stream
from scoring.region_store import file_name

SUFFIXES = (".csv", ".parquet", ".jsonl", ".json", ".mp4")


def find_sources(texts: Sequence[str], settings: StreamSettings, say: Callable[[str], None]) -> list[Source]:
    """Return the sources in the order in which they were named, each with a name of its own.

    Raises
    ------
    DataError
        There is nothing at a path, or no video in a folder.
    """
    sources: list[Source] = []
    for text in texts:
        if is_stream(text) or (text.isdecimal() and not Path(text).exists()):
            stream = Stream(int(text) if text.isdecimal() else text, settings, say)
            stream.name = f"{stream.name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"  # a camera is scored again and again
            sources.append(stream)
            continue
        sources += [StoredVideo(video, file_name(video.id)) for video in videos_at(Path(text))]
    taken: set[str] = set()
    for source in sources:
        source.name = free_name(source, taken)
        taken.add(source.name.casefold())
    return sources


def videos_at(path: Path) -> list[Video]:
    """Return the video at a path: a file, a folder of frames, or all videos below a folder."""
    if path.is_file():
        return [Video(id=printable(path.stem), split="test", files=(path,))]
    if not path.is_dir():
        raise DataError(
            f"{path}: expected a video, a folder of videos or of frames, the address of a stream or the number of a camera, "
            "found nothing there"
        )
    if not any(suffix(entry.name) in VIDEO_SUFFIXES and not is_folder(entry) for entry in entries(path)):
        frames = frame_folder(path, path.resolve().name, "test")
        if frames.files:
            return [frames]
    videos = list(find_videos(path, "test"))
    if not any(video.files for video in videos):
        raise DataError(
            f"{path}: expected videos or folders of frames, found none; known are {' '.join(sorted(VIDEO_SUFFIXES))}"
        )
    return videos


def free_name(source: Source, taken: set[str]) -> str:
    """Return the source's name, or with its suffix or a number where another one is called the same."""
    return next(name for name in _names(source) if name.casefold() not in taken)


def _names(source: Source) -> Iterator[str]:
    yield source.name
    ending = Path(source.shown).suffix.removeprefix(".")
    if ending.isalnum():
        yield f"{source.name}.{ending}"
    number = 2
    while True:
        yield f"{source.name}-{number}"
        number += 1


def check_free(out: Path, sources: Sequence[Source]) -> None:
    """Raise ConfigError if results of one of the sources are there already."""
    there = [path for source in sources for path in (out / f"{source.name}{end}" for end in SUFFIXES) if path.exists()]
    if there:
        raise ConfigError(
            f"{there[0]} is there already ({len(there)} such file(s)); choose another folder with -o, or add --overwrite"
        )
