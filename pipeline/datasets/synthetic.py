"""What ``stpa data synth`` writes: a folder dataset with complete labels.

::

    root/
        dataset.json             settings with their seed, versions, codec; kinds of anomaly by test video; written last
        train/*.mp4  test/*.mp4
        labels/frames/ID.npy     (T,) bool
        labels/masks/ID.npz      mask_bits, shape
        labels/tracks/ID.txt     track,frame,x1,y1,x2,y2: boxes of anomalous actors from 0, both corners inside
"""

from collections.abc import Sequence

from pipeline.contract import DataError, Labels, Video
from pipeline.datasets.folder import FolderDataset


class SyntheticDataset(FolderDataset):
    """The procedural street scene, read back through the ordinary path."""

    kind = "synthetic"

    def videos(self) -> Sequence[Video]:
        """See :meth:`Dataset.videos`."""
        if not (self.root / "dataset.json").is_file():
            raise DataError(
                f"{self.root}: expected dataset.json of a synthetic dataset, found none; "
                f"write one with: stpa data synth --set dataset.root={self.root}"
            )
        return super().videos()

    def labels(self, video: Video, num_frames: int) -> Labels | None:
        """See :meth:`Dataset.labels`; every test video has labels."""
        found = super().labels(video, num_frames)
        if found is None and video.split == "test":
            path = self.root / "labels" / "frames" / f"{video.id}.npy"
            raise DataError(f"{path}: expected the labels of {video.id}, found none; write the dataset anew")
        return found
