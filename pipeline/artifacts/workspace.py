"""The artifacts of one dataset under one configuration: keys, folders, and who depends on whom."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.artifacts.keys import artifact_key, digest_inputs
from pipeline.artifacts.place import LocalPlace, Place, open_place
from pipeline.artifacts.store import Artifact
from pipeline.config import Config
from pipeline.contract import FolderStage, ShardStage, Stage, VideoRecord


class Workspace:
    """Resolves stages to artifacts. Opens no array and makes nothing.

    Parameters
    ----------
    config
        All settings.
    stages
        Stage classes in an order in which every stage comes after its upstream stages.
    records
        The readable videos of the dataset.
    label_digest
        Digest of the label files, which is part of the input of stages that need labels.
    """

    def __init__(
        self,
        config: Config,
        stages: Iterable[type[Stage]],
        records: Sequence[VideoRecord],
        *,
        label_digest: str = "",
    ) -> None:
        self.config = config
        self.stages: dict[str, Stage] = {stage.name: stage(config) for stage in stages}
        self.records = tuple(records)
        self.label_digest = label_digest
        self._keys: dict[str, str] = {}
        self._artifacts: dict[str, Artifact] = {}

    @cached_property
    def place(self) -> Place:
        """Where the artifacts of this dataset lie: below the cache."""
        return open_place(self.config.run.cache) / self.config.dataset.name

    @property
    def folder(self) -> Path:
        """The folder of this dataset, where the cache is one of this machine; a TypeError where it is not."""
        if not isinstance(self.place, LocalPlace):
            raise TypeError(f"{self.place}: expected a cache on this machine")
        return self.place.path

    def key(self, name: str) -> str:
        """Return the key of a stage's artifact under these settings."""
        if name not in self._keys:
            declared = self.declared(name)
            self._keys[name] = artifact_key(name, declared["version"], declared["settings"], declared["upstream"])
        return self._keys[name]

    def declared(self, name: str) -> dict[str, Any]:
        """Return what the key is made of: version, settings, upstream keys."""
        stage = self.stages[name]
        settings = dict(stage.settings())
        if isinstance(stage, ShardStage):
            settings["shard_frames"] = self.config.run.shard_frames  # decides how the arrays are cut on disk
        return {
            "version": stage.version,
            "settings": settings,
            "upstream": {upstream: self.key(upstream) for upstream in stage.upstream},
        }

    def artifact(self, name: str) -> Artifact:
        """Return the artifact of a stage, made or not."""
        if name not in self._artifacts:
            self._artifacts[name] = Artifact(
                self.place / self._name(name),
                stage=name,
                key=self.key(name),
                shard_frames=self.config.run.shard_frames,
                made_by=self.stages[name].made_by,
            )
        return self._artifacts[name]

    def others(self, name: str) -> list[Place]:
        """Return the places of the same stage under other keys, the one to which most lately something was added first."""
        names = [other for other in self._names if other.rpartition("-")[0] == name and other != self._name(name)]
        places = [place for place in map(self.place.__truediv__, names) if place.is_folder()]
        return sorted(places, key=lambda place: place.modified("receipts") or place.modified(), reverse=True)

    def _name(self, name: str) -> str:
        return f"{name}-{self.key(name)}"

    @cached_property
    def _names(self) -> list[str]:
        return self.place.names()

    def records_of(self, name: str) -> tuple[VideoRecord, ...]:
        """Return the videos that a stage covers."""
        splits = self.stages[name].splits
        return tuple(record for record in self.records if record.split in splits)

    def inputs_of(self, stage: FolderStage) -> dict[str, str]:
        """Return everything a whole-split stage reads that is not in its key: videos, labels, other such stages' input.

        Returns
        -------
        dict
            What -> digest of its content; recorded in the receipt, so that a change can be named.
        """
        inputs = {f"{record.split}/{record.id}": record.digest for record in self.records_of(stage.name)}
        if stage.needs_labels:
            inputs["labels"] = self.label_digest
        for upstream in map(self.stages.__getitem__, self.upstream_of(stage.name)):
            if isinstance(upstream, FolderStage):
                inputs[upstream.name] = self.input_digest(upstream)
        return inputs

    def input_digest(self, stage: FolderStage) -> str:
        """Return one digest of :meth:`inputs_of`: the videos may change although the key, which is of settings, does not."""
        return digest_inputs(self.inputs_of(stage))

    def upstream_of(self, name: str) -> list[str]:
        """Return all stages that this one depends on, directly or not, in an order that can be run."""
        wanted: set[str] = set()
        waiting = list(self.stages[name].upstream)
        while waiting:
            upstream = waiting.pop()
            if upstream not in wanted:
                wanted.add(upstream)
                waiting.extend(self.stages[upstream].upstream)
        return [stage for stage in self.stages if stage in wanted]
