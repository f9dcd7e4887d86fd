"""What lies beside an artifact, always on this machine: what an interrupted stage needs to go on, and logs.

    <cache>/<dataset>/.scratch/<stage>-<key>/<digest of the inputs>/    removed once the artifact is complete
    <cache>/<dataset>/logs/<stage>-<key>/<digest of the inputs>/        for the reader; part of no artifact

Neither is ever verified, as nothing vouches for it. ``stpa gc`` removes the scratch of artifacts that it would remove.
Where the cache is a URL, both lie below ``$XDG_CACHE_HOME/stpa`` (``~/.cache/stpa``), in a folder named by its hash.
"""

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from pipeline.artifacts.keys import digest_text
from pipeline.config import Config
from pipeline.contract import Aside

SCRATCH = ".scratch"
LOGS = "logs"


def aside_of(config: Config, artifact: str, digest: str) -> Aside:
    """Return the two folders of an artifact ``<stage>-<key>`` and its input; neither is made."""
    base = local_folder(config.run.cache) / config.dataset.name
    return Aside(scratch=base / SCRATCH / artifact / digest, logs=base / LOGS / artifact / digest)


def local_folder(cache: Path | str) -> Path:
    """Return the cache itself, or the folder of this machine that stands beside a cache which lies elsewhere."""
    if isinstance(cache, Path):
        return cache
    if cache.startswith("file://"):
        return Path(cache.removeprefix("file://"))
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "stpa" / digest_text(cache)


def remove_scratch(scratch: Path) -> None:
    """Remove what a stage kept to go on, now that it is complete, and folders that are empty then."""
    shutil.rmtree(scratch, ignore_errors=True)
    with suppress(OSError):  # another input's scratch lies there, too
        scratch.parent.rmdir()
        scratch.parent.parent.rmdir()


def scratch_folders(dataset: Path, kept: Collection[str]) -> Iterator[Path]:
    """Return the scratch of artifacts whose names (``<stage>-<key>``) are not among ``kept``: nobody will go on from it."""
    folder = dataset / SCRATCH
    if folder.is_dir() and not folder.is_symlink():
        yield from sorted(path for path in folder.iterdir() if path.name not in kept and not path.is_symlink())
