"""What artifacts that are kept hold of videos that are gone or were replaced, and of inputs that are no more."""

from collections.abc import Iterable, Iterator

from pipeline.artifacts.garbage import DAY, Garbage
from pipeline.artifacts.place import Place
from pipeline.artifacts.receipts import FOLDER_RECEIPT, SHARD_RECEIPT, folder_receipt_name, video_name
from pipeline.artifacts.use import last_used, used_now
from pipeline.artifacts.workspace import Workspace
from pipeline.contract import FolderStage


def find_gone(workspaces: Iterable[Workspace], now: float) -> Iterator[Garbage]:
    """Return the parts of artifacts that none of these workspaces refers to, each of which knows the videos as they are."""
    known: dict[Place, set[str]] = {}
    for workspace in workspaces:
        for name, stage in workspace.stages.items():
            place = workspace.place.resolved() / workspace.artifact(name).name
            wanted = known.setdefault(place, set())
            if isinstance(stage, FolderStage):
                wanted.add(f"data-{workspace.input_digest(stage)}")
            else:
                wanted |= {f"data/{video_name(record)}" for record in workspace.records_of(name)}
    for place, wanted in known.items():
        for part, receipts in _parts(place).items():
            if part not in wanted:
                yield _describe(place, part, receipts, now)


def _parts(place: Place) -> dict[str, list[str]]:
    """Return the folders of videos and of inputs in an artifact, each with the receipts of what lies in it."""
    found: dict[str, list[str]] = {f"data/{name}": [] for name in place.names("data") if "@" in name}
    found |= {name: [] for name in place.names() if name.startswith("data-")}
    for receipt in place.names("receipts"):
        if match := SHARD_RECEIPT.fullmatch(receipt):
            found.setdefault(f"data/{match['video']}", []).append(receipt)
        elif match := FOLDER_RECEIPT.fullmatch(receipt):
            found.setdefault(f"data-{match['digest']}", []).append(folder_receipt_name(match["digest"]))
    return {part: receipts for part, receipts in found.items() if not place.link(part)}


def _describe(place: Place, part: str, receipts: list[str], now: float) -> Garbage:
    stage, _, key = place.name.rpartition("-")
    entries = [entry for entry in place.tree(part) if entry.kind != "folder"]
    written = max((entry.modified for entry in entries), default=place.modified("receipts"))
    return Garbage(
        place=place / part,
        kind="gone",
        artifact=place,
        first=tuple(receipts),
        stage=stage,
        key=key,
        size=sum(entry.size for entry in entries),
        receipts=len(receipts),
        written=written,
        used=last_used(place),
        in_use=used_now(place) or not (place.locks or now - place.modified("receipts") > DAY),
    )
