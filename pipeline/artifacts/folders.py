"""What whole-split stages leave behind: a folder of files, written on this machine first, and a receipt that lists them.

1. The stage writes into a folder of its own, which nothing refers to.
2. That is put in place whole: renamed, or on an object store file by file.
3. The receipt, with the checksum of every file, is written last. Without it the folder does not exist.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pipeline.artifacts.place import LocalPlace
from pipeline.artifacts.receipts import folder_receipt_name
from pipeline.artifacts.seals import digest_folder
from pipeline.artifacts.shard_check import ReceiptError, check_folder, is_inside
from pipeline.artifacts.store import Artifact, DamagedShardError
from pipeline.files import PARTIAL

_REMEDY = "run: stpa verify --repair"
AT_ONCE = 8  # files copied to or from an object store

_fetched: dict[str, LocalPlace] = {}
"""Folders of object stores that this process has fetched; they go with it."""


@contextmanager
def new_folder(artifact: Artifact) -> Iterator[Path]:
    """Return an empty folder to write into, which goes away with all that was not committed.

    It lies in a folder called like the artifact, as it will in the end.
    """
    local = isinstance(artifact.place, LocalPlace)
    above = artifact.place.path if isinstance(artifact.place, LocalPlace) else _scratch(artifact).path
    folder = Path(tempfile.mkdtemp(dir=above, prefix=PARTIAL))
    try:
        yield folder
    finally:
        shutil.rmtree(folder if local else above.parent, ignore_errors=True)


def _scratch(artifact: Artifact) -> LocalPlace:
    """Return a new folder on this machine that is called like the artifact."""
    place = LocalPlace(Path(tempfile.mkdtemp(prefix="stpa-"))) / artifact.name
    place.path.mkdir()
    return place


def commit_folder(artifact: Artifact, digest: str, folder: Path, receipt: Mapping[str, Any]) -> None:
    """Put what was written into a new folder in place, for this input, and write its receipt.

    Raises
    ------
    OSError
        It cannot be written.
    """
    files = digest_folder(folder)
    name = f"data-{digest}"
    artifact.place.remove(name)  # it has no receipt, or was to be made again
    if isinstance(artifact.place, LocalPlace):
        for file in files:
            with (folder / file).open("rb") as written:
                os.fsync(written.fileno())
        folder.chmod(0o755)
        folder.replace(artifact.place.path / name)
    else:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda file: artifact.place.write(f"{name}/{file}", (folder / file).read_bytes()), files))
    artifact.write_receipt(folder_receipt_name(digest), {**receipt, "files": files})


def open_folder(artifact: Artifact, digest: str) -> Path:
    """Return the folder on this machine, its files compared with their receipt; from elsewhere it is fetched first.

    It is called ``data-<digest>`` in a folder called like the artifact.

    Raises
    ------
    DamagedShardError
        It holds other files than were written, or its receipt is damaged.
    """
    name = f"data-{digest}"
    content = artifact.read_receipt(folder_receipt_name(digest))
    try:
        if content is None:
            raise ReceiptError("nothing that can be read")
        place = artifact.place if isinstance(artifact.place, LocalPlace) else _fetch(artifact, name, content)
        problems = check_folder(place, digest, content) if content.get("files") is not None else []
    except ReceiptError as error:
        raise DamagedShardError(f"{artifact.place}: receipt of {digest}: found {error}; {_REMEDY}") from error
    for file, expected, found in problems:
        raise DamagedShardError(f"{artifact.place / file}: expected {expected}, found {found}; {_REMEDY}")
    return place.path / name


def kept_at(folder: Path) -> str:
    """Return where a folder that :func:`open_folder` gave lies once this process has ended: a path, or a URL."""
    fetched = (url for url, place in _fetched.items() if place.path / folder.name == folder)
    return next(fetched, str(folder))


def _fetch(artifact: Artifact, name: str, receipt: Mapping[str, Any]) -> LocalPlace:
    """Copy the files that a receipt lists, once for this process; what is not there or leads elsewhere is left out."""
    key = f"{artifact.place}/{name}"
    if key not in _fetched:
        files = [file for file in receipt.get("files") or {} if is_inside(file)]
        place = _scratch(artifact)
        atexit.register(shutil.rmtree, place.root, ignore_errors=True)

        def copy(file: str) -> None:
            with suppress(FileNotFoundError):
                place.write(f"{name}/{file}", artifact.place.read(f"{name}/{file}"))

        place.make(name)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(copy, files))
        _fetched[key] = place
    return _fetched[key]
