"""What ``stpa data synth`` writes: a folder dataset with complete labels.

::

    root/
        dataset.json             settings with their seed, versions, codec; kinds of anomaly by test video; written last
        train/*.mp4  test/*.mp4
        labels/frames/ID.npy     (T,) bool
        labels/masks/ID.npz      mask_bits, shape
        labels/tracks/ID.txt     track,frame,x1,y1,x2,y2: boxes of anomalous actors from 0, both corners inside
"""

import json
from collections.abc import Iterator

from pipeline.contract import DataError, Labels, Video
from pipeline.datasets.base import Notes
from pipeline.datasets.folder import FolderDataset
from pipeline.datasets.remote import fetch


class SyntheticDataset(FolderDataset):
    """The procedural street scene, read back through the ordinary path."""

    kind = "synthetic"

    def find_videos(self, notes: Notes) -> Iterator[Video]:
        """See :meth:`Dataset.find_videos`; a dataset whose writing was interrupted is refused."""
        listed: set[str] = set()
        with notes.tolerant():
            listed = self._listed()
        found = list(super().find_videos(notes))
        if missing := sorted(listed - {video.id for video in found}):
            error = (
                f"{self.root}: expected the {len(listed)} videos that dataset.json lists, found no {missing[0]}; "
                f"write it anew with: stpa data synth --set dataset.root={self.root}"
            )
            notes.problems.append(DataError(error))
        yield from found

    def labels(self, video: Video, num_frames: int) -> Labels | None:
        """See :meth:`Dataset.labels`; every test video has labels."""
        found = super().labels(video, num_frames)
        if found is None and video.split == "test":
            path = self.root / "labels" / "frames" / f"{video.id}.npy"
            raise DataError(f"{path}: expected the labels of {video.id}, found none; write the dataset anew")
        return found

    def _listed(self) -> set[str]:
        """Return the ids in dataset.json, which is written last."""
        path = self.root / "dataset.json"
        remedy = f"write one with: stpa data synth --set dataset.root={self.root}"
        try:
            videos = json.loads(fetch(path).read_text(encoding="utf-8"))["videos"]
            return {str(video["id"]) for split in ("train", "test") for video in videos[split]}
        except FileNotFoundError:
            raise DataError(
                f"{self.root}: expected dataset.json of a synthetic dataset, found none; {remedy}"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}: expected the videos of a synthetic dataset, found: {error!r}; {remedy}"
            ) from error
