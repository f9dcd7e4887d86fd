"""Dataset kinds by name. A new layout is one file and one line here."""

import difflib
from collections.abc import Callable, Mapping
from types import MappingProxyType

from pipeline.config import ConfigError, DatasetSettings
from pipeline.datasets.avenue import AvenueDataset
from pipeline.datasets.base import Dataset
from pipeline.datasets.folder import FolderDataset
from pipeline.datasets.frames_layout import FramesDataset
from pipeline.datasets.shanghaitech import ShanghaiTechDataset
from pipeline.datasets.synthetic import SyntheticDataset
from pipeline.datasets.ubnormal import UbnormalDataset
from pipeline.datasets.ucsd import UcsdDataset

DATASETS: Mapping[str, Callable[[DatasetSettings], Dataset]] = MappingProxyType(
    {
        "ucsd": lambda settings: UcsdDataset(settings.root, part=settings.part),
        "avenue": lambda settings: AvenueDataset(settings.root, label_set=settings.labels),
        "shanghaitech": lambda settings: ShanghaiTechDataset(settings.root),
        "ubnormal": lambda settings: UbnormalDataset(settings.root),
        "frames": lambda settings: FramesDataset(settings.root),
        "folder": lambda settings: FolderDataset(settings.root),
        "synthetic": lambda settings: SyntheticDataset(settings.root),
    }
)


def open_dataset(settings: DatasetSettings) -> Dataset:
    """Return the dataset that the settings describe; nothing on disk is looked at yet.

    Raises
    ------
    ConfigError
        ``dataset.kind`` is unknown; the nearest and the known kinds are named.
    """
    make = DATASETS.get(settings.kind)
    if make is None:
        close = difflib.get_close_matches(settings.kind, DATASETS, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ConfigError(f"dataset.kind: unknown kind {settings.kind!r}; {hint}known are {', '.join(DATASETS)}")
    return make(settings)
