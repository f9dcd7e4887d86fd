"""Why a stage is not complete, in one line per cause: which setting, which video, which upstream stage."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pipeline.artifacts.place import Place
from pipeline.artifacts.receipts import label_of, parse_receipt_name, video_name
from pipeline.artifacts.store import Artifact
from pipeline.artifacts.workspace import Workspace
from pipeline.config import Config
from pipeline.contract import FolderStage, Shard, VideoRecord

State = Literal["fresh", "partial", "stale", "absent"]

MOST_CHARACTERS = 60  # of a value in a reason


def explain_shards(receipts: Iterable[str], missing: Iterable[Shard], present: Iterable[VideoRecord]) -> tuple[str, ...]:
    """Say per cause which videos lack shards: replaced, renamed, added, or simply not finished.

    ``present`` are the videos that the stage covers now: the content of one that is there no longer was renamed.
    """
    digests: dict[str, set[str]] = {}
    for name in receipts:
        video, digest = parse_receipt_name(name)
        digests.setdefault(video, set()).add(digest)
    names = {video_name(record).rpartition("@")[0] for record in present}
    gone = {digest: label_of(video) for video, found in digests.items() if video not in names for digest in found}
    groups: dict[str, dict[str, int]] = {"changed": {}, "renamed": {}, "new": {}, "unfinished": {}}
    for shard in missing:
        video, _, digest = video_name(shard.record).rpartition("@")
        known = digests.get(video, set())
        cause = "unfinished" if digest in known else "changed" if known else "renamed" if digest in gone else "new"
        label = f"{shard.record.split}/{shard.record.id}"
        label = _renamed(label, gone[digest]) if cause == "renamed" else label
        groups[cause][label] = groups[cause].get(label, 0) + 1
    texts = {
        "changed": "the content of {videos} changed ({n} shards)",
        "renamed": "{videos} ({n} shards)",
        "new": "{videos} not made yet ({n} shards)",
        "unfinished": "{videos} unfinished ({n} shards)",
    }
    return tuple(
        texts[cause].format(videos=_name_some(list(videos)), n=sum(videos.values()))
        for cause, videos in groups.items()
        if videos
    )


def _renamed(label: str, before: str) -> str:
    return f"{label} has the content of {before}, renamed"


def explain_inputs(workspace: Workspace, stage: FolderStage) -> tuple[str, ...]:
    """Say what changed since the last run of a whole-split stage under these settings, as its receipt tells."""
    before = _last_inputs(workspace.artifact(stage.name))
    after = workspace.inputs_of(stage)
    if before is None:
        return ("videos or labels were added, removed or replaced",)
    if before == after:
        return ("its files are gone",)
    gone = {digest: name for name, digest in before.items() if name not in after}
    renamed = {name: gone.pop(digest) for name, digest in after.items() if name not in before and digest in gone}
    causes = {
        "added": [name for name in after if name not in before and name not in renamed],
        "removed": [name for name in before if name not in after and name not in renamed.values()],
        "changed": [name for name in after if before.get(name, after[name]) != after[name]],
    }
    lines = [f"{_name_some(names)} {cause}" for cause, names in causes.items() if names]
    if renamed:
        lines.append(_name_some([_renamed(name, old) for name, old in renamed.items()]))
    return tuple(lines)


def _last_inputs(artifact: Artifact) -> Mapping[str, str] | None:
    receipts = [entry for entry in artifact.place.tree("receipts") if entry.name.endswith(".json")]
    newest = max(receipts, key=lambda entry: entry.modified, default=None)
    inputs = (artifact.read_receipt(newest.name) or {}).get("inputs") if newest else None
    return inputs if isinstance(inputs, dict) else None


def _name_some(labels: Sequence[str], most: int = 3) -> str:
    shown = ", ".join(labels[:most])
    return shown if len(labels) <= most else f"{shown} and {len(labels) - most} more"


def explain_absence(workspace: Workspace, name: str) -> tuple[State, tuple[str, ...]]:
    """Compare with the newest artifact of the same stage under another key in which anything was finished."""
    declared = workspace.declared(name)
    for place in workspace.others(name):
        artifact = _artifact_at(place, name)
        manifest = artifact.manifest()
        if manifest is not None and artifact.receipts():
            return "stale", tuple(differences(name, manifest, declared)) or ("made by another version",)
    return "absent", ("never made",)


def _artifact_at(place: Place, name: str) -> Artifact:
    return Artifact(place, stage=name, key=place.name.rpartition("-")[2], shard_frames=1)


def differences(stage: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return one line for each cause for which two artifacts of a stage have different keys."""
    lines = []
    if old.get("version") != new["version"]:
        lines.append(f"stage version {old.get('version')} -> {new['version']}")
    before, after = _mapping(old.get("settings")), new["settings"]
    for name in sorted({*before, *after}):
        if name not in before or name not in after or before[name] != after[name]:
            changed = f"{_short(before.get(name, 'unset'))} -> {_short(after.get(name, 'unset'))}"
            lines.append(f"{setting_name(stage, name)} {changed}")
    keys_before, keys_after = _mapping(old.get("upstream")), new["upstream"]
    names = dict.fromkeys([*keys_after, *keys_before])
    lines += [f"upstream {name} changed" for name in names if keys_before.get(name) != keys_after.get(name)]
    return lines


def setting_name(stage: str, name: str) -> str:
    """Return a setting as ``--set`` takes it, such as inpaint.steps; the bare name of what is no setting."""
    for section in (stage, stage.partition("-")[0], "run"):  # features-normal reads [features]; shards are cut by [run]
        field = Config.model_fields.get(section)
        if field is not None and name in getattr(field.annotation, "model_fields", {}):
            return f"{section}.{name}"
    return name


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}  # a manifest may have been edited


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 3]}..."
