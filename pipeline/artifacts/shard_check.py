"""What one receipt vouches for, compared with what lies on disk."""

import math
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from pipeline.artifacts.bounded import MOST_BYTES
from pipeline.artifacts.files import safe_name
from pipeline.artifacts.metadata import spec_on_disk
from pipeline.artifacts.place import Place
from pipeline.artifacts.receipts import DIGEST_CHARACTERS, Receipt
from pipeline.artifacts.seals import SEAL
from pipeline.artifacts.store import Artifact
from pipeline.artifacts.subject import Known
from pipeline.contract import ArraySpec, Shard, Video, VideoRecord

Problem = tuple[str, str, str]
"""Place relative to the artifact, expected, found."""


class ReceiptError(ValueError):
    """A receipt does not say what its name says; the message is what it says."""


def check_shard(
    artifact: Artifact, name: re.Match[str], content: Mapping[str, Any], known: Known | None, deep: bool
) -> list[Problem]:
    """Check the files of one shard.

    Raises
    ------
    ReceiptError
        The receipt contradicts its own name, or the video.
    """
    receipt = _read(artifact, name, content, known)
    record = known.record if known else _stand_in(receipt)
    shard = Shard(record=record, index=receipt.shard, start=receipt.start, stop=receipt.stop)
    specs = known.specs if known else _specs_on_disk(artifact, name["video"], receipt)
    expected = artifact.shard_files(shard, specs)
    if set(expected) != set(receipt.files):
        raise ReceiptError(f"one of {', '.join(sorted(receipt.files)) or 'no files'}")
    problems = []
    for file, checksum in receipt.files.items():
        if problem := file_problem(artifact.place, file, checksum):
            problems.append((file, f"a file with checksum {checksum}", problem))
        elif deep and (problem := _look_inside(artifact, file, shard, expected[file], declared=known is not None)):
            problems.append((file, f"{shard.stop - shard.start} finite elements {expected[file].dtype}", problem))
    return problems


def _read(artifact: Artifact, name: re.Match[str], content: Mapping[str, Any], known: Known | None) -> Receipt:
    try:
        receipt = Receipt(**content)
        video = f"{safe_name(receipt.split, receipt.video)}@{receipt.digest[:DIGEST_CHARACTERS]}"
        total, step, span = int(name["total"]), artifact.shard_frames, receipt.stop - receipt.start
        start = receipt.shard * step
        fits = (video, receipt.shard, receipt.start) == (name["video"], int(name["index"]), start) and receipt.shard < total
        if known:
            fits &= total == -(-known.length // step) and receipt.stop == min(start + step, known.length)
            fits &= receipt.digest == known.record.digest
        else:
            fits &= span == step or (0 < span < step and receipt.shard == total - 1)
        files = dict(receipt.files)
    except (TypeError, ValueError, AttributeError) as error:
        raise ReceiptError(f"one that cannot be understood ({error})") from error
    if not fits or not all(isinstance(checksum, str) for checksum in files.values()):
        raise ReceiptError(f"one of {video} shard {receipt.shard}, elements {receipt.start}:{receipt.stop}")
    return receipt


def _stand_in(receipt: Receipt) -> VideoRecord:
    """Return a record of a video that the dataset has no longer, as far as names need it."""
    video = Video(id=receipt.video, split="train" if receipt.split == "train" else "test", files=())
    return VideoRecord(video=video, num_frames=receipt.stop, height=0, width=0, fps=0, digest=receipt.digest)


def _specs_on_disk(artifact: Artifact, video: str, receipt: Receipt) -> tuple[ArraySpec, ...]:
    specs = []
    for file in receipt.files:
        parts = PurePosixPath(file).parts
        if parts[:2] != ("data", video) or len(parts) < 5 or ".." in parts:
            raise ReceiptError(f"one of {file}")
        spec = spec_on_disk(artifact.place, f"data/{video}/{parts[2]}", receipt.stop)
        # Damaged metadata are a finding of their own: here it is enough to find the file.
        rank = len(parts) - 4
        specs.append(spec or ArraySpec(name=parts[2], shape=(0,) * rank, dtype="", dimension_names=()))
    return tuple(specs)


def _look_inside(artifact: Artifact, file: str, shard: Shard, spec: ArraySpec, *, declared: bool) -> str:
    if not spec.dtype:
        return ""
    size = math.prod((shard.stop - shard.start, *spec.shape[1:])) * np.dtype(spec.dtype).itemsize
    if not declared and size > MOST_BYTES:
        return f"{size:,} bytes of them, which is more than is unpacked on their own word"
    try:
        values = artifact.decode(shard, spec, artifact.place.read(file))
    except MemoryError:
        raise
    except Exception as error:  # codecs and zarr raise whatever they stumble over
        return f"what cannot be unpacked as such ({type(error).__name__}: {error})"
    lost = int((~np.isfinite(values)).sum()) if values.dtype.kind == "f" else 0
    return f"{lost} values that are not finite" if lost else ""


def check_folder(place: Place, digest: str, content: Mapping[str, Any]) -> list[Problem]:
    """Check the files of a whole-split stage.

    Raises
    ------
    ReceiptError
        The receipt lacks its seal, or is of another input than its name says.
    """
    if SEAL not in content:
        raise ReceiptError("one without its seal")
    if content.get("digest") != digest:
        raise ReceiptError(f"one of {content.get('digest')}")
    files = {f"data-{digest}/{file}": checksum for file, checksum in content["files"].items()}
    found = {file: file_problem(place, file, checksum) for file, checksum in files.items()}
    return [(file, f"a file with checksum {files[file]}", problem) for file, problem in found.items() if problem]


def is_inside(file: str) -> bool:
    """Return whether a name that a receipt lists stays in the folder that it is relative to."""
    return not {"..", "/"} & set(PurePosixPath(file).parts)


def file_problem(place: Place, file: str, checksum: str) -> str:
    """Say what is found in place of a file with this checksum; empty if it is that file.

    No symbolic link is followed: what lies behind one is not in the cache.
    """
    if not is_inside(file):
        return "a name that leads out of the folder"
    if link := place.link(file):
        return f"a symbolic link, {link}"
    try:
        found = place.digest(file, checksum)
    except FileNotFoundError:
        return "no file"
    except OSError as error:
        return f"a file that cannot be read ({error.strerror or error})"
    return "" if found == checksum else f"other bytes, with checksum {found}"
