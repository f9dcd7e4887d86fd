"""The words that datasets, stages and the engine share. A stage never schedules, names a path or writes a receipt."""

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Config

Array = NDArray[Any]
Split = Literal["train", "test"]


class DataError(ValueError):
    """The data on disk are not what the layout promises (exit code 3)."""


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A place in a recording: a number of frames as they were recorded, counted from 0, or of seconds."""

    value: float
    unit: Literal["frames", "seconds"] = "frames"


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The part of a recording that counts as one video, and at which rate."""

    recording: str
    """Id of the whole recording, to which its labels belong."""
    start: Moment = Moment(value=0)
    stop: Moment | None = None
    """First moment that counts no more; None: up to the end."""
    fps: float | None = None
    """Frames per second to which it is thinned out; None: as recorded."""
    damaged: bool = False
    """Use what can be decoded of a file that was cut off."""

    @property
    def selects(self) -> bool:
        """Whether other frames count than all of those that can be decoded."""
        return self.start.value > 0 or self.stop is not None or self.fps is not None


@dataclass(frozen=True, kw_only=True)
class Video:
    """One sequence of frames of one camera, as found on disk. Nothing has been decoded yet.

    ``files`` is a single video file, or one image file per frame in temporal order.
    ``id`` is unique within the dataset and printable; it is never used as a path without quoting.
    """

    id: str
    split: Split
    files: Sequence[Path]
    is_folder: bool = False
    """True when ``files`` are one image per frame."""
    cut: Cut | None = None
    """Which of the frames of a recording count; None: all of them."""
    timed: bool = True
    """False when it was read, and its frames are neither at a constant rate nor at the times that its packets tell."""

    def __hash__(self) -> int:
        return hash((self.split, self.id))  # not of a thousand paths: the engine looks records up for every shard


class Masks(Protocol):
    """(T, H, W) bool, True = anomalous: an array, or what reads a frame's mask from disk when it is asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Frames, height and width."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> NDArray[np.bool_]: ...

    def __iter__(self) -> Iterator[NDArray[np.bool_]]: ...


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Ground truth of one test video.

    ``frame_T`` (T,) bool, True = anomalous. ``source`` names the label set and file, for the results.
    ``pixel_mask_THW`` (T, H, W) bool at native size, where the dataset has it; perhaps read frame by frame.
    """

    frame_T: NDArray[np.bool_]
    source: str
    pixel_mask_THW: Masks | None = field(default=None, repr=False)
    read_tracks: Callable[[], NDArray[np.float64]] | None = field(default=None, repr=False)
    """Returns the true regions (R, 6), rows ``track, frame, x1, y1, x2, y2``: frames from 0, native pixels from 0, the last
    row and column included. None where the dataset has no tracks. They are read when asked for."""
    track_source: str = ""
    """Names the tracks, for the results."""


@dataclass(frozen=True, kw_only=True)
class VideoRecord:
    """A video whose content is known: it was counted and hashed."""

    video: Video
    num_frames: int
    height: int
    """Pixels, native."""
    width: int
    fps: float
    """Frames per second; 0 where the files do not say (image folders)."""
    digest: str
    """Hex hash of the content of the files, independent of their dates."""
    signature: str = field(default="", compare=False, repr=False)
    """Hash of names, sizes and dates of the files when that was found; empty: not known."""

    @property
    def id(self) -> str:
        """The id of the video."""
        return self.video.id

    @property
    def split(self) -> Split:
        """The split of the video."""
        return self.video.split


@dataclass(frozen=True, kw_only=True)
class ArraySpec:
    """One array that a stage writes for one video; the first axis is time."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    dimension_names: tuple[str, ...]
    units: str = ""
    description: str = ""
    packed: bool = True
    """Compressed. What hardly shrinks is better stored as it is; an array that was begun stays as it was begun."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """The unit of work: elements ``start`` to ``stop`` (exclusive) along time of one video."""

    record: VideoRecord
    index: int
    start: int
    stop: int


class Inputs(Protocol):
    """What a worker may read: upstream arrays, by stage and name; never paths."""

    def videos(self, split: Split | None = None) -> Sequence[VideoRecord]:
        """Return the videos that the run covers, sorted by split and id; whole-split stages only, like what follows read."""

    def read(self, stage: str, name: str, record: VideoRecord, start: int = 0, stop: int | None = None) -> Array:
        """Return elements ``start`` to ``stop`` along time; raises MissingShardError rather than return fill values."""

    def labels(self, record: VideoRecord) -> Labels | None:
        """Return the ground truth of a test video, or None where the dataset has none."""

    def folder(self, stage: str) -> Path:
        """Return the complete folder that a :class:`FolderStage` upstream left behind."""


ShardWorker = Callable[[Shard, Inputs], dict[str, Array]]
Report = Callable[[str, float, float], None]
"""``report(what, done, total)``: progress of a long step; the runner decides how to show it. Behind a tab, ``what`` may say
more, which may change from call to call."""


class Stage(ABC):
    """What the engine needs to know of a stage to plan, key and explain it."""

    name: ClassVar[str]
    version: ClassVar[int]
    """Raised when the output would change for the same settings."""
    upstream: ClassVar[tuple[str, ...]] = ()
    splits: ClassVar[tuple[Split, ...]] = ("train", "test")
    costly: ClassVar[bool] = False
    """A costly stage is never run for the sake of another one unless ``--upstream`` is given."""
    command: ClassVar[str] = ""
    """The subcommand that makes it, where that is not called like the stage."""

    def __init__(self, config: Config) -> None:
        self.config = config

    @property
    def made_by(self) -> str:
        """The subcommand that makes this stage."""
        return self.command or self.name

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return everything declared to determine the output (plain JSON), model revisions included."""

    def check(self) -> None:  # noqa: B027 - most stages need nothing
        """Fail early: raise FileNotFoundError or ConfigError if weights or other needs are missing."""

    def provenance(self) -> dict[str, Any]:
        """Return what a receipt records of how it was made and no key holds (plain JSON): device, batch size, precision.

        Asked for after each shard, in the process that made it: what the worker changed on its way may be told.
        """
        return {}


class ShardStage(Stage):
    """A stage that writes arrays, shard by shard. What a shard holds depends on its own video only."""

    @property
    def in_order(self) -> bool:
        """Whether shards of a video cost less one after another in one process: a file is then decoded once."""
        return True

    @property
    def together(self) -> int:
        """How many frames are worked out at once, whichever shard needs them; 0: no more than the shard's own.

        Work is cut into pieces of at least so many frames, since several pieces would work out the same.
        """
        return 0

    @abstractmethod
    def length(self, record: VideoRecord) -> int:
        """Return the number of elements along time for this video."""

    @abstractmethod
    def arrays(self, record: VideoRecord) -> tuple[ArraySpec, ...]:
        """Return the arrays written for this video, each ``length(record)`` long along its first axis."""

    @abstractmethod
    def worker(self) -> ShardWorker:
        """Load models and return the function that makes one shard; called once per process."""


class FolderStage(Stage):
    """A stage over whole splits that leaves files: training, evaluation."""

    needs_labels: ClassVar[bool] = False

    @abstractmethod
    def run(self, inputs: Inputs, out: Path, report: Report) -> None:
        """Write everything below ``out``, an empty folder that becomes the artifact once this returns."""


@dataclass(frozen=True, kw_only=True)
class Aside:
    """Two folders of this machine beside an artifact in the making; neither is there until somebody makes it."""

    scratch: Path
    """Kept across interrupted runs of the same key and input, removed once the artifact is complete."""
    logs: Path
    """For the reader, kept; part of no artifact."""


class ResumableStage(FolderStage):
    """A whole-split stage that can be stopped at any time and go on where it was."""

    def run(self, inputs: Inputs, out: Path, report: Report) -> None:
        """Write everything, keeping nothing to go on from."""
        with tempfile.TemporaryDirectory(prefix="stpa-") as folder:
            self.resume(inputs, out, report, Aside(scratch=Path(folder) / "scratch", logs=Path(folder) / "logs"))

    @abstractmethod
    def resume(self, inputs: Inputs, out: Path, report: Report, aside: Aside) -> None:
        """Write everything below ``out``, an empty folder, starting from what earlier runs left in ``aside.scratch``."""
