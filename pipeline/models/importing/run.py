"""Importing a checkpoint: the kinds there are, and a folder that is whole or absent."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.config import ConfigError
from pipeline.files import write_json
from pipeline.models.importing.checkpoint import Checkpoint
from pipeline.models.importing.ldm_inpainting import import_ldm_inpainting
from pipeline.models.importing.raft import import_raft
from pipeline.models.importing.vifi_clip import import_vifi_clip
from pipeline.models.weights import PROVENANCE

KINDS: dict[str, Callable[[Checkpoint, Path], dict[str, Any]]] = {
    "raft": import_raft,
    "vifi-clip": import_vifi_clip,
    "ldm-inpainting": import_ldm_inpainting,
}
"""What writes the files of a model and returns what it found."""
LIBRARIES = ("stpa", "torch", "torchvision", "transformers", "diffusers", "safetensors")


def import_weights(kind: str, source: Path, out: Path) -> dict[str, Any]:
    """Write the folder ``out`` from a checkpoint of somebody else, and return what was found in it.

    It is written under a side name and renamed when it is whole, with provenance.json: kind, sha256 of the checkpoint,
    sizes, versions of the libraries.

    Raises
    ------
    DataError
        The checkpoint is damaged, of another model, or would execute something. Nothing is written.
    ConfigError
        ``out`` exists and is no empty folder.
    OSError
        It cannot be read or written.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ConfigError(f"{out}: expected a new or empty folder, found {'files in it' if out.is_dir() else 'a file'}")
    checkpoint = Checkpoint(source)
    existing = next(parent for parent in out.absolute().parents if parent.is_dir())  # others are made once all went well
    side = Path(tempfile.mkdtemp(dir=existing, prefix=f".partial-{out.name}-"))
    try:
        found = KINDS[kind](checkpoint, side)
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        origin = {"name": source.name, "bytes": source.stat().st_size, "sha256": digest}
        versions = {name: version(name) for name in LIBRARIES}
        write_json(side / PROVENANCE, {"kind": kind, "source": origin, "found": found, "versions": versions})
        _flush(side)
        side.chmod(0o755)
        out.parent.mkdir(parents=True, exist_ok=True)
        side.replace(out)
    except BaseException:
        shutil.rmtree(side, ignore_errors=True)
        raise
    return found


def _flush(folder: Path) -> None:
    """Have the disk hold all files, which everybody may read, before the folder gets its name."""
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)  # safetensors leaves its files to the owner alone
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
