"""Stored flow as files of other programs' formats."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.artifacts.files import safe_name
from pipeline.artifacts.workspace import Workspace
from pipeline.config import ConfigError
from pipeline.contract import Report, VideoRecord
from pipeline.execution.inputs import StoredInputs
from pipeline.models.flow_files import FORMATS


def export_flows(
    workspace: Workspace, records: Sequence[VideoRecord], folder: Path, format_name: str, report: Report
) -> int:
    """Write the flow of each video into ``folder``/SPLIT-VIDEO/NUMBER.flo (or .png); return the number of files.

    Number i, from 000000, is the flow from frame i to i+1 at the size of the stored frames. Files that are there are
    replaced. A shard at a time is held in memory.

    Raises
    ------
    ConfigError
        The format cannot hold these vectors.
    MissingShardError
        The flow of a video is not complete.
    """
    inputs, step = StoredInputs(workspace), workspace.config.run.shard_frames
    suffix, write, _ = FORMATS[format_name]
    total, written = sum(record.num_frames - 1 for record in records), 0
    for record in records:
        target = folder / safe_name(record.split, record.id)
        target.mkdir(parents=True, exist_ok=True)
        for start in range(0, record.num_frames - 1, step):
            stop = min(start + step, record.num_frames - 1)
            for i, flow_2HW in enumerate(inputs.read("flows", "flow", record, start, stop), start):
                try:
                    write(target / f"{i:06d}{suffix}", flow_2HW)
                except ValueError as error:
                    raise ConfigError(f"--format {format_name}: {error}") from error
            written += stop - start
            report("flow files", written, total)
    return written
