"""What workers read: upstream artifacts by stage and name, never by path."""

from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.artifacts.folders import open_folder
from pipeline.artifacts.plan import make_plan
from pipeline.artifacts.store import MissingShardError
from pipeline.artifacts.workspace import Workspace
from pipeline.config import Config
from pipeline.contract import Array, ArraySpec, FolderStage, Labels, ShardStage, Split, Stage, VideoRecord

LabelReader = Callable[[VideoRecord], Labels | None]


class StoredInputs:
    """The :class:`pipeline.contract.Inputs` of a run: reads what is receipted, refuses what is not."""

    def __init__(self, workspace: Workspace, labels: LabelReader | None = None) -> None:
        self._workspace = workspace
        self._labels = labels
        self._folders: dict[str, Path] = {}  # of whole-split stages
        self._specs: dict[tuple[str, VideoRecord], tuple[ArraySpec, ...]] = {}

    def __reduce__(self) -> tuple[Callable[..., "StoredInputs"], tuple[object, ...]]:
        """For processes that read on their own (the loaders of the training): they open everything anew, without labels."""
        stages = [type(stage) for stage in self._workspace.stages.values()]
        return _reopen, (self._workspace.config, stages, self._workspace.records)

    def videos(self, split: Split | None = None) -> Sequence[VideoRecord]:
        """Return the readable videos of one split, or of both."""
        return [record for record in self._workspace.records if split in (None, record.split)]

    def read(self, stage: str, name: str, record: VideoRecord, start: int = 0, stop: int | None = None) -> Array:
        """Return elements ``start`` to ``stop`` along time of one upstream array.

        Raises
        ------
        MissingShardError, DamagedShardError
            The range was never completed, or fails its checksum.
        """
        source = self._workspace.stages[stage]
        if not isinstance(source, ShardStage):
            raise TypeError(f"{stage}: expected a stage that writes arrays, found {type(source).__name__}")
        if (stage, record) not in self._specs:
            self._specs[stage, record] = source.arrays(record)
        spec = next(spec for spec in self._specs[stage, record] if spec.name == name)
        return self._workspace.artifact(stage).read(record, spec, start, spec.shape[0] if stop is None else stop)

    def labels(self, record: VideoRecord) -> Labels | None:
        """Return the ground truth of a test video, or None where there is none."""
        return self._labels(record) if self._labels else None

    def folder(self, stage: str) -> Path:
        """Return the complete folder that a whole-split stage left behind; its files are compared with its receipt once.

        Raises
        ------
        MissingShardError, DamagedShardError
            It was never completed, or holds other files than were written.
        """
        source = self._workspace.stages[stage]
        if not isinstance(source, FolderStage) or not make_plan(self._workspace, stage).complete:
            raise MissingShardError(f"{stage}: expected a complete artifact, found none; run: stpa {source.made_by}")
        if stage not in self._folders:
            self._folders[stage] = open_folder(self._workspace.artifact(stage), self._workspace.input_digest(source))
        return self._folders[stage]


def _reopen(config: Config, stages: list[type[Stage]], records: tuple[VideoRecord, ...]) -> StoredInputs:
    return StoredInputs(Workspace(config, stages, records))
