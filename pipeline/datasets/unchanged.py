"""Whether a video is still the one that was counted and hashed: a run may take days, and files are replaced meanwhile.

Names, sizes and dates are compared, after frames were read: what is the same then was so while they were read. Only where
they differ the content is hashed again: dates change for other reasons, too (a touched file, a new hard link).
"""

from pathlib import Path

from pipeline.contract import DataError, VideoRecord
from pipeline.datasets.inventory import sign
from pipeline.datasets.listing import where
from pipeline.datasets.probe import Content, content_of_part, probe
from pipeline.datasets.remote import is_listed


class UnchangedVideo:
    """Remembers what was found of one video, so that a difference is looked into once."""

    def __init__(self, record: VideoRecord) -> None:
        self._record = record
        self._known = {record.signature: True}

    def require(self) -> None:
        """Refuse what was read since the last call if the files are not those of the record any more.

        A video behind a URL is compared when it is fetched (remote.py), and not here on machines that did not list it.

        Raises
        ------
        DataError
            They were replaced, changed or removed.
        """
        video = self._record.video
        if not self._record.signature or (is_listed(video.files[0]) and not Path(video.files[0]).exists()):
            return
        try:
            signature = sign(video.files, folder=video.is_folder)
            if signature not in self._known:
                self._known[signature] = self._has_content()
            same = self._known[signature]
        except (OSError, DataError):
            same = False
        if not same:
            raise DataError(
                f"{where(video)}: expected the content that it had when the command began, found it replaced or changed "
                "since (nothing was made of that); run the command again, which takes it as it is now"
            )

    def _has_content(self) -> bool:
        """Hash the files; only what is not the same at once is looked at frame by frame."""
        record, video = self._record, self._record.video
        same = Content(
            num_frames=record.num_frames, height=record.height, width=record.width, fps=record.fps, digest=record.digest
        )
        return content_of_part(probe(video, {record.digest: same}), video).digest == record.digest
