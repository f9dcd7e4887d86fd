"""The plan: what of a stage is there, what is missing, and why. Lists names and opens nothing but manifests."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pipeline.artifacts.reasons import State, explain_absence, explain_inputs, explain_shards
from pipeline.artifacts.receipts import folder_receipt_name, receipt_names
from pipeline.artifacts.workspace import Workspace
from pipeline.contract import FolderStage, Shard, ShardStage


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run of one stage would do."""

    stage: str
    key: str
    state: State
    causes: tuple[str, ...]
    """Why it is so, one line per cause."""
    shards: int
    """All shards of the stage."""
    missing: tuple[Shard, ...] = field(default=(), repr=False)
    """Shards to make; empty for a whole-split stage, whose single piece of work is the stage itself."""
    folder_missing: bool = False

    @property
    def why(self) -> str:
        """All causes in one line."""
        return "; ".join(self.causes)

    @property
    def shards_done(self) -> int:
        """How many shards are there; of a whole-split stage 0 or 1."""
        return self.shards - len(self.missing) - int(self.folder_missing)

    @property
    def complete(self) -> bool:
        """True when nothing is left to do."""
        return self.state == "fresh"

    def to_dict(self) -> dict[str, Any]:
        """Return the row of ``stpa status --json``."""
        names = ("stage", "state", "key", "shards_done", "shards", "why", "causes")
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
        names = receipt_names(record, len(pieces))
        missing += [piece for piece, name in zip(pieces, names, strict=True) if name not in receipts]
    state, causes = _explain(workspace, stage, receipts, missing, shards)
    return Plan(stage=stage.name, key=artifact.key, state=state, causes=causes, shards=shards, missing=tuple(missing))


def _explain(
    workspace: Workspace, stage: ShardStage, receipts: Iterable[str], missing: list[Shard], shards: int
) -> tuple[State, tuple[str, ...]]:
    if not shards:
        return "fresh", (f"nothing to do: the dataset has no {' or '.join(stage.splits)} video",)
    if not missing:
        return "fresh", ("complete",)
    if not receipts:
        return explain_absence(workspace, stage.name)
    causes = explain_shards(receipts, missing, workspace.records_of(stage.name))
    return "partial" if len(missing) < shards else "stale", causes


def _plan_folder(workspace: Workspace, stage: FolderStage) -> Plan:
    artifact = workspace.artifact(stage.name)
    receipts = artifact.receipts()
    digest = workspace.input_digest(stage)
    done = folder_receipt_name(digest) in receipts and artifact.place.is_folder(f"data-{digest}")
    if done:
        state: State = "fresh"
        causes: tuple[str, ...] = ("complete",)
    elif receipts:
        state, causes = "stale", explain_inputs(workspace, stage)
    else:
        state, causes = explain_absence(workspace, stage.name)
    return Plan(stage=stage.name, key=artifact.key, state=state, causes=causes, shards=1, folder_missing=not done)
