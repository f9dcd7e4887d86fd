"""Read an artifact again and compare all of it with what its receipts, its key and its stage say.

What is looked at, and against what:
* the manifest: the key in the folder's name is the hash of its content;
* receipts: their own seal, and that they say the same as their name;
* files of shards and of whole-split stages: the checksum in the receipt;
* what shards hold: shape and dtype as declared, and no NaN, which is what a lost chunk reads as;
* Zarr's metadata: what this program would write;
* whatever else lies in the folder: an interrupted run left it, or it does not belong there.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.artifacts.keys import artifact_key
from pipeline.artifacts.metadata import check_metadata
from pipeline.artifacts.receipts import FOLDER_RECEIPT, SHARD_RECEIPT, receipt_names
from pipeline.artifacts.seals import seal_problem
from pipeline.artifacts.shard_check import ReceiptError, check_folder, check_shard
from pipeline.artifacts.store import Artifact
from pipeline.artifacts.strays import find_strays
from pipeline.artifacts.subject import Subject
from pipeline.files import json_bytes

MOST_READERS = 4  # each holds one shard, packed and unpacked

Kind = Literal["damaged", "missing", "stray", "unchecked"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is not as it should be."""

    kind: Kind
    """damaged: not what was written; missing: a shard that its video lacks; stray: a file that nothing vouches for;
    unchecked: the receipt is of a version that wrote no checksums, so that nothing can be said."""
    place: str
    """Relative to the artifact."""
    expected: str
    found: str
    receipts: tuple[str, ...] = ()
    """Receipts that are untrue, or not there: what they stand for must be made again."""
    content: bytes | None = field(default=None, repr=False)
    """What the file should hold, where that is known without making anything."""


@dataclass(kw_only=True)
class Verdict:
    """What was found in one artifact."""

    subject: Subject
    checked: int = 0
    """Receipts that were compared with their files."""
    findings: list[Finding] = field(default_factory=list)

    @property
    def wrong(self) -> list[Finding]:
        """What must be seen to."""
        return [finding for finding in self.findings if finding.kind != "unchecked"]


def verify(
    subject: Subject, *, deep: bool = True, tick: Callable[[int, int], None] = lambda done, total: None
) -> Verdict:
    """Check one artifact; shards are read in parallel, a few at a time.

    With ``deep`` every shard is unpacked too and its values looked at, without it bytes are compared only. ``tick`` hears
    how many receipts of how many were checked.
    """
    receipts = sorted(subject.artifact.receipts())
    verdict = Verdict(subject=subject, checked=len(receipts))
    if not subject.artifact.place.is_folder():
        return verdict
    verdict.findings += _check_manifest(subject)
    if verdict.findings and subject.declared is None:
        return verdict  # how its shards are cut is not known: nothing that follows could be believed
    with ThreadPoolExecutor(min(MOST_READERS, os.cpu_count() or 1)) as pool:
        for done, findings in enumerate(pool.map(lambda name: _check_receipt(subject, name, deep), receipts), 1):
            verdict.findings += findings
            tick(done, len(receipts))
    verdict.findings += (
        Finding(kind="damaged", place=place, expected="metadata as Zarr writes them", found=found, content=content)
        for place, found, content in check_metadata(subject, receipts)
    )
    verdict.findings += find_unvouched(subject)
    return verdict


def find_unvouched(subject: Subject) -> list[Finding]:
    """Return what changes while a run is writing: shards without receipt, and files that nothing vouches for."""
    receipts = subject.artifact.receipts()
    strays = [
        Finding(kind="stray", place=place, expected="nothing there", found=found)
        for place, found in find_strays(subject, receipts)
    ]
    return [*_find_holes(subject, receipts), *strays]


def _check_manifest(subject: Subject) -> Iterator[Finding]:
    artifact = subject.artifact
    try:
        data = artifact.place.read("manifest.json")
        problem = seal_problem(data) or _key_problem(artifact, json.loads(data))
    except OSError as error:
        problem = f"no file that can be read ({error.strerror or error})"
    if problem:
        content = None if subject.declared is None else json_bytes(dict(subject.declared))
        expected = f"settings whose hash is {artifact.key}"
        yield Finding(kind="damaged", place="manifest.json", expected=expected, found=problem, content=content)


def _key_problem(artifact: Artifact, manifest: Mapping[str, Any]) -> str:
    if sorted(manifest) != ["settings", "upstream", "version"]:
        return f"entries {', '.join(sorted(manifest))}"
    key = artifact_key(artifact.stage, manifest["version"], manifest["settings"], manifest["upstream"])
    return "" if key == artifact.key else f"settings whose hash is {key}"


def _check_receipt(subject: Subject, name: str, deep: bool) -> list[Finding]:
    """Check a receipt and everything that it vouches for."""
    place, expected = f"receipts/{name}", "a receipt as it was written, of what its name says"
    try:
        data = subject.artifact.place.read(place)
        if problem := seal_problem(data):
            raise ReceiptError(problem)
        content = json.loads(data)
        if match := FOLDER_RECEIPT.fullmatch(name):
            if not isinstance(content.get("files"), dict):
                found = "a receipt of an earlier version, without checksums; --force makes it again, with them"
                return [Finding(kind="unchecked", place=place, expected="checksums of files", found=found)]
            problems = check_folder(subject.artifact.place, match["digest"], content)
        elif match := SHARD_RECEIPT.fullmatch(name):
            known = subject.videos.get(match["video"])
            problems = check_shard(subject.artifact, match, content, known, deep)
        else:
            raise ReceiptError("another name than any receipt has")
    except OSError as error:
        return [_damage(name, place, expected, f"nothing that can be read ({error.strerror or error})")]
    except ReceiptError as error:
        return [_damage(name, place, expected, str(error))]
    return [_damage(name, *problem) for problem in problems]


def _damage(receipt: str, place: str, expected: str, found: str) -> Finding:
    return Finding(kind="damaged", place=place, expected=expected, found=found, receipts=(receipt,))


def _find_holes(subject: Subject, receipts: set[str]) -> Iterator[Finding]:
    """Name the shards that a video lacks of which others are there."""
    for video, known in subject.videos.items():
        names = receipt_names(known.record, -(-known.length // subject.artifact.shard_frames))
        missing = [name for name in names if name not in receipts]
        if 0 < len(missing) < len(names):
            some = ", ".join(str(names.index(name) + 1) for name in missing[:9])
            found = f"no receipt of shard {some}{' and more' if len(missing) > 9 else ''}"
            yield Finding(
                kind="missing", place=f"data/{video}", expected=f"{len(names)} shards", found=found, receipts=tuple(missing)
            )
