"""How much disk every stage takes for the published datasets under configs/, from published numbers of frames.

    python benchmarks/disk.py

Before compression; of a dataset that is there, `stpa data check --disk` says the same from what it holds.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from pipeline.config import load_config  # noqa: E402 - the path comes first
from pipeline.contract import Split  # noqa: E402
from pipeline.datasets.published import PUBLISHED  # noqa: E402
from pipeline.disk_needed import disk_needed  # noqa: E402
from stpa import STAGES, load  # noqa: E402


def main() -> None:
    """Print a line per settings file, in GB."""
    stages = tuple(load(place) for place in STAGES)
    header = ""
    for name, published in PUBLISHED.items():
        frames: dict[Split, int] = {split: totals.frames or 0 for split, totals in published.splits.items()}
        if not all(frames.values()):
            continue  # how many frames UBnormal's splits have was counted nowhere
        needed = disk_needed(stages, load_config(ROOT / "configs" / f"{name}.toml"), frames)
        if not header:
            header = "".join(f"{stage:>17}" for stage in (*needed, "together"))
            print(f"{'GB':14}{header}")
        sizes = [size or 0 for size in needed.values()]
        print(f"{name:14}" + "".join(f"{size / 1e9:17.2f}" for size in (*sizes, sum(sizes))))


if __name__ == "__main__":
    main()
