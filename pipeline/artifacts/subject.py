"""What is verified: an artifact, and what is known of it besides what lies in its folder."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.artifacts.place import Place
from pipeline.artifacts.receipts import video_name
from pipeline.artifacts.store import Artifact
from pipeline.artifacts.workspace import Workspace
from pipeline.contract import ArraySpec, ShardStage, VideoRecord


@dataclass(frozen=True, kw_only=True)
class Known:
    """A video of the dataset as it is now, and what a stage writes for it."""

    record: VideoRecord
    length: int
    specs: tuple[ArraySpec, ...]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """An artifact to be verified, and what is known of it besides."""

    artifact: Artifact
    declared: Mapping[str, Any] | None = None
    """What its manifest should say; None where the present configuration does not refer to it."""
    videos: Mapping[str, Known] = field(default_factory=dict, repr=False)
    """Folder of a video -> the video, of those that are there now."""


def subject_of(workspace: Workspace, name: str) -> Subject:
    """Return the artifact of a stage under the present configuration."""
    stage, artifact = workspace.stages[name], workspace.artifact(name)
    videos = {}
    if isinstance(stage, ShardStage) and artifact.place.is_folder():
        for record in workspace.records_of(name):
            videos[video_name(record)] = Known(record=record, length=stage.length(record), specs=stage.arrays(record))
    return Subject(artifact=artifact, declared=workspace.declared(name), videos=videos)


def other_subject(place: Place) -> Subject:
    """Return an artifact of which nothing is known but what lies in its folder."""
    stage, _, key = place.name.rpartition("-")
    manifest = Artifact(place, stage=stage, key=key, shard_frames=1).manifest() or {}
    settings = manifest.get("settings")
    frames = settings.get("shard_frames", 1) if isinstance(settings, dict) else 1
    frames = frames if isinstance(frames, int) and frames > 0 else 1
    return Subject(artifact=Artifact(place, stage=stage, key=key, shard_frames=frames))
