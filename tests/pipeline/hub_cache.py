"""Puts a model into a cache of the hub, as ``hf download`` leaves it."""

import hashlib
import re
from pathlib import Path

COMMIT = "0123456789abcdef" * 2 + "01234567"


def put_into_cache(cache: Path, model: str, files: Path, *, revision: str, commit: str = COMMIT) -> Path:
    """Copy the files below ``files`` into ``cache`` as one commit of ``model`` (OWNER/NAME); return the snapshot's folder.

    Files are blobs by their content, a snapshot links to them, and a branch or tag is a file that holds the commit.
    """
    repository = cache / f"models--{model.replace('/', '--')}"
    snapshot = repository / "snapshots" / commit
    (repository / "blobs").mkdir(parents=True, exist_ok=True)
    for path in filter(Path.is_file, files.rglob("*")):
        blob = repository / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest()
        blob.write_bytes(path.read_bytes())
        link = snapshot / path.relative_to(files)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(blob)
    if not re.fullmatch("[0-9a-f]{40}", revision):
        reference = repository / "refs" / revision
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(commit)
    return snapshot
