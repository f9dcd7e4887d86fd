"""How long ``stpa status`` takes, start-up aside, on a complete artifact of 300,000 frames (the size of ShanghaiTech).

    python benchmarks/plan_status.py [--videos 437] [--frames 300000] [--image-folders]

Writes the receipts of every stage and files to take stock of into a temporary folder, then times what ``status`` does: list
and recognise the videos, and plan all stages. With ``--image-folders`` a frame is a file of its own.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import stpa
from pipeline.artifacts.plan import make_plan
from pipeline.artifacts.receipts import folder_receipt_name, receipt_names
from pipeline.artifacts.workspace import Workspace
from pipeline.config import load_config
from pipeline.contract import FolderStage, ShardStage, Split, Video
from pipeline.datasets.folder import FolderDataset
from pipeline.datasets.inventory import Inventory, sign, take_inventory
from pipeline.datasets.known_files import KnownFiles
from pipeline.datasets.probe import Content
from pipeline.files import write_json

TRAIN_SHARE = 330 / 437


def timed(what: str, function: Callable[[], Any]) -> Any:
    """Call a function five times and print the least and the middle time."""
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - start)
    print(f"{what:40} {min(seconds):7.3f} s   (median of 5: {sorted(seconds)[2]:.3f} s)")
    return result


def write_videos(root: Path, videos: int, frames: int, *, image_folders: bool) -> None:
    """Write files that stand for videos; what is in them was noted already, so nothing opens them."""
    for number in range(videos):
        split: Split = "train" if number < TRAIN_SHARE * videos else "test"
        path = root / split / f"{number:03d}"
        if image_folders:
            path.mkdir(parents=True)
            for frame in range(frames):
                (path / f"{frame:06d}.jpg").touch()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".avi").touch()


def note_contents(videos: list[Video], cache_file: Path, frames: int) -> None:
    """Do as if an earlier inventory had read the videos."""
    known = KnownFiles.load(cache_file)
    for number, video in enumerate(videos):
        content = Content(num_frames=frames, height=480, width=856, fps=24.0, digest=f"{number:032x}")
        known.remember(f"{video.split}/{video.id}", sign(video.files, folder=video.is_folder), content)
    known.save()


def write_receipts(workspace: Workspace) -> None:
    """Leave behind the receipts of complete artifacts."""
    for stage in workspace.stages.values():
        artifact = workspace.artifact(stage.name)
        artifact.begin(workspace.declared(stage.name))
        if isinstance(stage, ShardStage):
            for record in workspace.records_of(stage.name):
                for name in receipt_names(record, len(artifact.shards(record, stage.length(record)))):
                    (artifact.receipts_folder / name).touch()
        elif isinstance(stage, FolderStage):
            digest = workspace.input_digest(stage)
            (artifact.folder / f"data-{digest}").mkdir()
            write_json(artifact.receipts_folder / folder_receipt_name(digest), {"inputs": workspace.inputs_of(stage)})


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=437)
    parser.add_argument("--frames", type=int, default=300_000)
    parser.add_argument("--image-folders", action="store_true")
    arguments = parser.parse_args()
    per_video = arguments.frames // arguments.videos
    stages = [stpa.load(place) for place in stpa.STAGES]
    with tempfile.TemporaryDirectory() as folder:
        root, cache_file = Path(folder) / "data", Path(folder) / "inventory.json"
        write_videos(root, arguments.videos, per_video, image_folders=arguments.image_folders)
        note_contents(list(FolderDataset(root).videos()), cache_file, per_video)
        config = load_config(None, [f"run.cache='{folder}/cache'"])

        def take() -> Inventory:
            return take_inventory(FolderDataset(root), cache_file)

        def plan(inventory: Inventory) -> int:
            workspace = Workspace(config, stages, inventory.records, label_digest=inventory.label_digest)
            plans = [make_plan(workspace, name) for name in workspace.stages]
            assert all(plan.complete for plan in plans), plans
            return sum(plan.shards for plan in plans)

        inventory = take()
        write_receipts(Workspace(config, stages, inventory.records, label_digest=inventory.label_digest))
        print(f"{len(inventory.records)} videos, {per_video * arguments.videos:,} frames, {len(stages)} stages")
        timed("taking stock of the videos", take)
        shards = timed("planning all stages", lambda: plan(inventory))
        timed(f"both: status of {shards:,} shards", lambda: plan(take()))


if __name__ == "__main__":
    main()
