"""What ``stpa verify --repair`` does: untrue receipts and strays go, and what they stood for is made again."""

import time
from collections.abc import Iterable
from dataclasses import replace

from pipeline.artifacts.garbage import DAY
from pipeline.artifacts.plan import Plan, make_plan
from pipeline.artifacts.receipts import folder_receipt_name, receipt_names
from pipeline.artifacts.use import alone, in_use
from pipeline.artifacts.verify import Finding, Verdict, find_unvouched
from pipeline.artifacts.workspace import Workspace
from pipeline.contract import FolderStage, Report, Shard, ShardStage
from pipeline.execution.inputs import LabelReader
from pipeline.execution.runner import Outcome, run_folder, run_shards

YOUNG = "written less than a day ago: without locks a run may be about to vouch for it"


def clean(verdict: Verdict) -> list[Finding] | None:
    """Remove untrue receipts and strays, and write what is known anew; return what cannot be mended so.

    Receipts go first: interrupted at any moment, nothing untrue is vouched for that was not before. Strays are looked for
    again once the artifact is locked, since a run may have written the receipt that one lacked; where there are no locks
    only old ones go. A symbolic link is not touched: what it was put there for is not known. None means that a run uses
    the artifact: it is left as it is.
    """
    artifact = verdict.subject.artifact
    place = artifact.place
    with alone(place) as free:
        if not free:
            return None
        for receipt in {name for finding in verdict.wrong if finding.kind == "damaged" for name in finding.receipts}:
            artifact.remove_receipt(receipt)
        still = {finding.place for finding in find_unvouched(verdict.subject) if finding.kind == "stray"}
        left = []
        for finding in verdict.wrong:
            link = place.link(finding.place) == finding.place
            if finding.content is not None and not link:
                place.write(finding.place, finding.content)
            elif finding.kind == "stray" and not link:
                if finding.place in still and not place.locks and time.time() - place.modified(finding.place) < DAY:
                    left.append(replace(finding, found=f"{finding.found}, {YOUNG}"))
                elif finding.place in still:
                    place.remove(finding.place)
            elif not finding.receipts:
                left.append(finding)
    return left


def remake(
    workspace: Workspace,
    name: str,
    receipts: Iterable[str],
    *,
    upstream: bool,
    labels: LabelReader | None,
    report: Report,
) -> Outcome | None:
    """Make again what these receipts of a stage stood for, and nothing else.

    None means that it was not made: the stage is costly and ``upstream`` false, or what it reads is not complete.
    """
    stage, plan, wanted = workspace.stages[name], make_plan(workspace, name), set(receipts)
    shards = [shard for shard in plan.missing if _receipt_of(workspace, stage, shard) in wanted]
    whole = isinstance(stage, FolderStage) and plan.folder_missing
    whole = whole and folder_receipt_name(workspace.input_digest(stage)) in wanted  # type: ignore[arg-type]
    if not shards and not whole:
        return Outcome(stage=name)
    if (stage.costly and not upstream) or not _readable(workspace, name, plan, shards):
        return None
    stage.check()
    with in_use(workspace.artifact(used).place for used in (name, *stage.upstream)):
        return run_folder(workspace, plan, labels, report) if whole else run_shards(workspace, plan, shards, report)


def _receipt_of(workspace: Workspace, stage: object, shard: Shard) -> str:
    assert isinstance(stage, ShardStage)
    total = len(workspace.artifact(stage.name).shards(shard.record, stage.length(shard.record)))
    return receipt_names(shard.record, total)[shard.index]


def _readable(workspace: Workspace, name: str, plan: Plan, shards: Iterable[Shard]) -> bool:
    """Return whether everything that these shards, or a whole-split stage, read is there."""
    records = {shard.record for shard in shards}
    for upstream in workspace.stages[name].upstream:
        found = make_plan(workspace, upstream)
        if found.folder_missing or any(plan.folder_missing or shard.record in records for shard in found.missing):
            return False
    return True
