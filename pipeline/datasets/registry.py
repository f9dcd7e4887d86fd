"""Dataset kinds by name. A new layout is one file and one line here."""

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from pipeline.config import ConfigError, DatasetSettings
from pipeline.datasets.avenue import AvenueDataset
from pipeline.datasets.base import Dataset
from pipeline.datasets.folder import FolderDataset
from pipeline.datasets.frames_layout import FramesDataset
from pipeline.datasets.remote import local_root
from pipeline.datasets.shanghaitech import ShanghaiTechDataset
from pipeline.datasets.synthetic import SyntheticDataset
from pipeline.datasets.tracked import TrackedDataset
from pipeline.datasets.ubnormal import UbnormalDataset
from pipeline.datasets.ucsd import UcsdDataset

DATASETS: Mapping[str, Callable[[Path, DatasetSettings], Dataset]] = MappingProxyType(
    {
        "ucsd": lambda root, settings: UcsdDataset(root, part=settings.part),
        "avenue": lambda root, settings: AvenueDataset(root, label_set=settings.labels),
        "shanghaitech": lambda root, settings: ShanghaiTechDataset(root),
        "ubnormal": lambda root, settings: UbnormalDataset(root),
        "frames": lambda root, settings: FramesDataset(root, benchmark=settings.benchmark, label_set=settings.labels),
        "folder": lambda root, settings: FolderDataset(
            root, camera=settings.camera, fps=settings.fps, damaged=settings.damaged == "use"
        ),
        "synthetic": lambda root, settings: SyntheticDataset(root),
    }
)

_OF_FOLDERS = ("camera", "fps", "damaged")
"""Settings of your own recordings."""


def open_dataset(settings: DatasetSettings) -> Dataset:
    """Return the dataset that the settings describe; nothing on disk is looked at yet, what lies behind a URL is listed.

    Raises
    ------
    DataError, OSError
        Nothing lies behind the URL, or it cannot be reached.
    ConfigError
        ``dataset.kind`` is unknown; the nearest and the known kinds are named. Or a setting is not for this kind.
    """
    make = DATASETS.get(settings.kind)
    if make is None:
        close = difflib.get_close_matches(settings.kind, DATASETS, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ConfigError(f"dataset.kind: unknown kind {settings.kind!r}; {hint}known are {', '.join(DATASETS)}")
    default = DatasetSettings()
    changed = [name for name in _OF_FOLDERS if getattr(settings, name) != getattr(default, name)]
    if changed and settings.kind != "folder":
        raise ConfigError(
            f'dataset.{changed[0]}: expected dataset.kind = "folder" with it, found {settings.kind!r}: published datasets '
            "are taken as they are; leave it out"
        )
    if settings.benchmark and settings.kind != "frames":
        raise ConfigError(
            f'dataset.benchmark: expected dataset.kind = "frames" with it, found {settings.kind!r}, which says what it is; '
            "leave it out"
        )
    dataset = make(local_root(settings.root), settings)
    return dataset if settings.tracks is None else TrackedDataset(dataset, settings.tracks)
