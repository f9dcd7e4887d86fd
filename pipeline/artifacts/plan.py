"""The plan: what of a stage is there, what is missing, and why. Lists names and opens nothing but manifests."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipeline.artifacts.receipts import parse_receipt_name, receipt_name, video_name
from pipeline.artifacts.store import Artifact
from pipeline.artifacts.workspace import Workspace
from pipeline.contract import FolderStage, Shard, ShardStage

State = Literal["fresh", "partial", "stale", "absent"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run of one stage would do."""

    stage: str
    key: str
    state: State
    why: str
    shards: int
    """All shards of the stage."""
    missing: tuple[Shard, ...] = field(default=(), repr=False)
    """Shards to make; empty for a whole-split stage, whose single piece of work is the stage itself."""
    folder_missing: bool = False

    @property
    def shards_done(self) -> int:
        return self.shards - len(self.missing) - int(self.folder_missing)

    @property
    def complete(self) -> bool:
        return self.state == "fresh"

    def to_dict(self) -> dict[str, Any]:
        """Return the row of ``stpa status --json``."""
        names = ("stage", "state", "key", "shards_done", "shards", "why")
        return {name: getattr(self, name) for name in names}


def make_plan(workspace: Workspace, name: str) -> Plan:
    """Compare what a stage should leave behind with the receipts that are there."""
    stage = workspace.stages[name]
    if isinstance(stage, FolderStage):
        return _plan_folder(workspace, stage)
    if isinstance(stage, ShardStage):
        return _plan_shards(workspace, stage)
    raise TypeError(f"{name}: expected a ShardStage or a FolderStage, found {type(stage).__name__}")


def _plan_shards(workspace: Workspace, stage: ShardStage) -> Plan:
    artifact = workspace.artifact(stage.name)
    receipts = artifact.receipts()
    shards = 0
    missing: list[Shard] = []
    for record in workspace.records_of(stage.name):
        pieces = artifact.shards(record, stage.length(record))
        shards += len(pieces)
        missing += [piece for piece in pieces if receipt_name(record, piece.index, len(pieces)) not in receipts]
    state, why = _explain_shards(workspace, artifact, receipts, missing, shards)
    return Plan(stage=stage.name, key=artifact.key, state=state, why=why, shards=shards, missing=tuple(missing))


def _explain_shards(
    workspace: Workspace, artifact: Artifact, receipts: set[str], missing: list[Shard], shards: int
) -> tuple[State, str]:
    if not missing:
        return "fresh", "complete"
    if not receipts:
        return explain_absence(workspace, artifact.stage)
    causes = _causes(receipts, missing)
    if len(missing) < shards:
        return "partial", causes
    return "stale", causes


def _causes(receipts: Iterable[str], missing: list[Shard]) -> str:
    """Say per cause which videos lack shards: replaced, added, or simply not finished."""
    digests: dict[str, set[str]] = {}
    for name in receipts:
        video, digest = parse_receipt_name(name)
        digests.setdefault(video, set()).add(digest)
    groups: dict[str, dict[str, int]] = {"changed": {}, "new": {}, "unfinished": {}}
    for shard in missing:
        video, _, digest = video_name(shard.record).rpartition("@")
        known = digests.get(video, set())
        cause = "unfinished" if digest in known else "changed" if known else "new"
        label = f"{shard.record.split}/{shard.record.id}"
        groups[cause][label] = groups[cause].get(label, 0) + 1
    texts = {
        "changed": "the content of {videos} changed ({n} shards)",
        "new": "{videos} not made yet ({n} shards)",
        "unfinished": "{videos} unfinished ({n} shards)",
    }
    return "; ".join(
        texts[cause].format(videos=_name_some(list(videos)), n=sum(videos.values()))
        for cause, videos in groups.items()
        if videos
    )


def _name_some(labels: list[str], most: int = 3) -> str:
    shown = ", ".join(labels[:most])
    return shown if len(labels) <= most else f"{shown} and {len(labels) - most} more videos"


def folder_receipt_name(digest: str) -> str:
    """Return the receipt's name of a whole-split stage for this input."""
    return f"all@{digest}.json"


def _plan_folder(workspace: Workspace, stage: FolderStage) -> Plan:
    artifact = workspace.artifact(stage.name)
    receipts = artifact.receipts()
    digest = workspace.input_digest(stage)
    done = folder_receipt_name(digest) in receipts and (artifact.folder / f"data-{digest}").is_dir()
    if done:
        state: State = "fresh"
        why = "complete"
    elif receipts:
        state, why = "stale", f"videos{' or labels' if stage.needs_labels else ''} were added, removed or replaced"
    else:
        state, why = explain_absence(workspace, stage.name)
    return Plan(stage=stage.name, key=artifact.key, state=state, why=why, shards=1, folder_missing=not done)


def explain_absence(workspace: Workspace, name: str) -> tuple[State, str]:
    """Compare with the newest artifact of the same stage under another key."""
    declared = workspace.declared(name)
    for folder in workspace.others(name):
        manifest = _artifact_at(folder, name).manifest()
        if manifest is not None:
            return "stale", "; ".join(differences(manifest, declared)) or "other settings"
    return "absent", "never made"


def _artifact_at(folder: Path, name: str) -> Artifact:
    return Artifact(folder, stage=name, key=folder.name.rpartition("-")[2], shard_frames=1)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return one line for each cause for which two artifacts of a stage have different keys."""
    lines = []
    if old.get("version") != new["version"]:
        lines.append(f"stage version {old.get('version')} -> {new['version']}")
    before, after = old.get("settings", {}), new["settings"]
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            lines.append(f"{name} {before.get(name)} -> {after.get(name)}")
    upstream_before = old.get("upstream", {})
    lines += [f"upstream {name} changed" for name, key in new["upstream"].items() if upstream_before.get(name) != key]
    return lines
