"""Writing a file so that it is whole or absent, and names that cannot leave their folder."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.artifacts.keys import digest_text

LONGEST_NAME = 120  # bytes; file systems allow 255 and a receipt's name adds digest and numbers


def write_atomically(path: Path, data: bytes) -> None:
    """Write to a side name, flush to disk, then rename: a reader sees the old file, the new one, or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, side_name = tempfile.mkstemp(dir=path.parent, prefix=".partial-")
    side = Path(side_name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        side.chmod(0o644)
        side.replace(path)
    except BaseException:
        side.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically; NaN is refused, since it is not JSON."""
    write_atomically(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def safe_name(split: str, video_id: str) -> str:
    """Return a file name for any video id, however odd: never ``..``, never a separator, never too long."""
    name = f"{split}-{quote(video_id, safe=' ')}"
    if len(name) > LONGEST_NAME:
        name = f"{name[:LONGEST_NAME - 17]}-{digest_text(video_id)}"
    return name
