"""What published datasets hold in all, to be compared with what lies on a disk.

Ped2 was counted here in a copy of it. Test frames and anomalous frames of Avenue and ShanghaiTech, and the numbers of videos
of Avenue, ShanghaiTech and UBnormal, are those that others' programs and label files agree on. Ped1's are from the table
of an article. Numbers marked ``recalled`` and the sizes of pictures were looked up nowhere: a difference from them is a
warning.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from pipeline.contract import Split


@dataclass(frozen=True, kw_only=True)
class Totals:
    """What one split of a published dataset holds; None = not known."""

    videos: int
    frames: int | None = None
    recalled: bool = False
    """Whether ``frames`` is not certain."""
    anomalous: Mapping[str, int] = field(default_factory=dict)
    """Anomalous frames by label set; a dataset with one set calls it ''."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published dataset."""

    title: str
    splits: Mapping[Split, Totals]
    size: tuple[int, int] | None = None
    """Height and width in pixels."""
    hint: str = ""
    """What is most often the matter where something is missing."""


PUBLISHED: Mapping[str, Published] = MappingProxyType(
    {
        "ped1": Published(
            title="UCSD Ped1",
            splits={
                "train": Totals(videos=34, frames=6800),
                "test": Totals(videos=36, frames=7200, anomalous={}),
            },
            size=(158, 238),
        ),
        "ped2": Published(
            title="UCSD Ped2",
            splits={
                "train": Totals(videos=16, frames=2550),
                "test": Totals(videos=12, frames=2010, anomalous={"": 1648}),
            },
            size=(240, 360),
            hint="some mirrors lack Test005",
        ),
        "avenue": Published(
            title="CUHK Avenue",
            splits={
                "train": Totals(videos=16, frames=15328, recalled=True),
                "test": Totals(videos=21, frames=15324, anomalous={"3712": 3712, "3867": 3867}),
            },
            size=(360, 640),
        ),
        "shanghaitech": Published(
            title="ShanghaiTech Campus",
            splits={
                "train": Totals(videos=330, frames=274_515, recalled=True),
                "test": Totals(videos=107, frames=40_791, anomalous={"": 17_326}),
            },
            size=(480, 856),
        ),
        "ubnormal": Published(
            title="UBnormal",
            splits={"train": Totals(videos=186), "test": Totals(videos=211, frames=92_640, recalled=True)},
        ),
    }
)
