"""How much disk the stages take, from the settings and the number of frames alone."""

from collections.abc import Iterable, Mapping

import click
import numpy as np

from pipeline.config import Config, ConfigError
from pipeline.contract import ShardStage, Split, Stage, Video, VideoRecord


def disk_needed(stages: Iterable[type[Stage]], config: Config, frames: Mapping[Split, int]) -> dict[str, int | None]:
    """Return bytes before compression by stage, of so many frames per split; None where weights are missing that tell it."""
    return {stage.name: _bytes(stage(config), frames) for stage in stages if issubclass(stage, ShardStage)}


def _bytes(stage: Stage, frames: Mapping[Split, int]) -> int | None:
    assert isinstance(stage, ShardStage)  # the caller chose
    total = 0
    for split in stage.splits:
        video = Video(id="all", split=split, files=())
        record = VideoRecord(video=video, num_frames=frames.get(split, 0), height=0, width=0, fps=0, digest="")
        if not record.num_frames:
            continue
        try:
            specs = stage.arrays(record)
        except (OSError, ConfigError):
            return None
        total += sum(int(np.prod(spec.shape, dtype=np.int64)) * np.dtype(spec.dtype).itemsize for spec in specs)
    return total


def print_disk(needed: Mapping[str, int | None]) -> None:
    """Print one line per stage and their sum."""
    click.echo("disk before compression, under these settings:")
    for stage, size in needed.items():
        click.echo(f"  {stage:16} {_shown(size)}")
    click.echo(f"  {'together':16} {_shown(sum(filter(None, needed.values())))}")
    click.echo("frames, flows and inpaint take all of it unless run.compress=true; the others are always compressed")


def _shown(size: int | None) -> str:
    if size is None:
        return "not known: its weights are missing"
    return f"{size / 1e9:9.1f} GB" if size >= 1e9 else f"{size / 1e6:9.1f} MB"
