"""What every command begins with: settings read, dataset opened, videos counted and hashed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.place import local_copy, open_place
from pipeline.artifacts.workspace import Workspace
from pipeline.config import load_config
from pipeline.contract import Labels, Report, Stage, VideoRecord
from pipeline.datasets.base import Dataset
from pipeline.datasets.inventory import take_inventory
from pipeline.datasets.registry import open_dataset


@dataclass(frozen=True, kw_only=True)
class Session:
    """One dataset under one configuration."""

    workspace: Workspace
    dataset: Dataset
    problems: tuple[str, ...]
    """What is wrong with videos that cannot be used."""
    remarks: tuple[str, ...] = ()
    """What is worth knowing of videos that can be used."""

    def labels(self, record: VideoRecord) -> Labels | None:
        """Return the ground truth of a test video, or None where the dataset has none."""
        return self.dataset.labels(record.video, record.num_frames)


def open_session(
    config_file: Path | None, overrides: Iterable[str], stages: Sequence[type[Stage]], report: Report | None = None
) -> Session:
    """Read the settings and take stock of the dataset.

    Raises
    ------
    ConfigError
        A setting is refused.
    DataError
        The dataset is not laid out as expected.
    """
    config = load_config(config_file, overrides)
    dataset = open_dataset(config.dataset)
    with local_copy(open_place(config.run.cache) / config.dataset.name, "inventory.json") as cache_file:
        inventory = take_inventory(dataset, cache_file, report)
    return Session(
        workspace=Workspace(config, stages, inventory.records, label_digest=inventory.label_digest),
        dataset=dataset,
        problems=tuple(str(problem) for problem in inventory.problems),
        remarks=inventory.remarks,
    )
