"""Names that cannot leave their folder, and files that are whole or absent."""

from urllib.parse import quote

from pipeline.artifacts.keys import digest_text
from pipeline.files import write_atomically, write_json

__all__ = ["LONGEST_NAME", "safe_name", "write_atomically", "write_json"]

LONGEST_NAME = 120  # bytes; file systems allow 255 and a receipt's name adds digest and numbers


def safe_name(split: str, video_id: str) -> str:
    """Return a file name for any video id, however odd: never ``..``, never a separator, never too long.

    Different ids have different names: quoting can be undone, and a name that was cut carries a hash behind ``+``, which
    quoting never leaves.
    """
    name = f"{split}-{quote(video_id, safe=' ', errors='surrogatepass')}"
    if len(name) > LONGEST_NAME:
        name = f"{name[: LONGEST_NAME - 17]}+{digest_text(video_id)}"
    return name
