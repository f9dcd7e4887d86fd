"""Artifacts as one HDF5 file: the same names, shapes, types and attributes, for programs that do not read Zarr.

    /                           format, dataset
    /STAGE                      stage, version, key, settings, upstream, provenance: JSON, but for text and numbers
    /STAGE/SPLIT-VIDEO          id, split, digest, num_frames, fps, height, width
    /STAGE/SPLIT-VIDEO/ARRAY    dimension_names, units, description
    /STAGE/...                  of a stage over whole splits: its Zarr groups with their attributes, other files as bytes

Groups of videos are named by :func:`pipeline.models.feature_files.group_name`; that module reads features back in.
"""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.layout import SMALL_ROW_BYTES
from pipeline.artifacts.plan import make_plan
from pipeline.artifacts.receipts import folder_receipt_name, receipt_names
from pipeline.artifacts.store import MissingShardError
from pipeline.artifacts.workspace import Workspace
from pipeline.contract import ArraySpec, FolderStage, Report, ShardStage, VideoRecord
from pipeline.execution.inputs import StoredInputs
from pipeline.hdf5 import copy_folder, create_array, new_file, set_attributes
from pipeline.models.feature_files import group_name

FORMAT = "stpa artifacts 1"


def export_artifacts(
    workspace: Workspace, names: Sequence[str], videos: Collection[VideoRecord], path: Path, report: Report
) -> int:
    """Write the artifacts of these stages, of these videos, to ``path``, which is there whole or as it was.

    One shard is held in memory. Equal artifacts make equal files. Returns how many arrays and files were written.

    Raises
    ------
    MissingShardError
        Something of a stage was never completed; nothing was written.
    DamagedShardError, OSError
        Something cannot be read, or the file cannot be written.
    """
    for name in names:
        _require(workspace, name, videos)
    with new_file(path) as file:
        set_attributes(file, {"format": FORMAT, "dataset": workspace.config.dataset.name})
        return sum(_write_stage(workspace, name, videos, file.create_group(name), report) for name in names)


def _require(workspace: Workspace, name: str, videos: Collection[VideoRecord]) -> None:
    plan = make_plan(workspace, name)
    if plan.folder_missing or any(shard.record in videos for shard in plan.missing):
        command = workspace.stages[name].made_by
        raise MissingShardError(
            f"{name}: expected a complete artifact, found {plan.state} ({plan.why}); run: stpa {command}"
        )


def _write_stage(workspace: Workspace, name: str, videos: Collection[VideoRecord], group: Any, report: Report) -> int:
    stage = workspace.stages[name]
    set_attributes(group, {"stage": name, "key": workspace.key(name), **workspace.declared(name)})
    if isinstance(stage, FolderStage):
        receipt = workspace.artifact(name).read_receipt(folder_receipt_name(workspace.input_digest(stage))) or {}
        set_attributes(group, {"provenance": [receipt.get("provenance")], "inputs": receipt.get("inputs")})
        return copy_folder(StoredInputs(workspace).folder(name), group)
    assert isinstance(stage, ShardStage)
    records = [record for record in workspace.records_of(name) if record in videos]
    provenance: dict[str, Any] = {}
    written = 0
    for done, record in enumerate(records, 1):
        written += _write_video(workspace, stage, record, group.create_group(group_name(record.split, record.id)))
        provenance |= {json.dumps(told, sort_keys=True): told for told in _provenance(workspace, stage, record)}
        report(f"{name}: videos written", done, len(records))
    set_attributes(group, {"provenance": [provenance[text] for text in sorted(provenance)]})
    return written


def _provenance(workspace: Workspace, stage: ShardStage, record: VideoRecord) -> list[Any]:
    artifact = workspace.artifact(stage.name)
    names = receipt_names(record, len(artifact.shards(record, stage.length(record))))
    return [(artifact.read_receipt(name) or {}).get("provenance") for name in names]


def _write_video(workspace: Workspace, stage: ShardStage, record: VideoRecord, group: Any) -> int:
    names = ("id", "split", "digest", "num_frames", "fps", "height", "width")
    values = {name: getattr(record, name) for name in names}
    values["id"] = record.id.encode(errors="surrogateescape").decode(errors="replace")  # HDF5 has UTF-8 only
    set_attributes(group, values)
    specs = stage.arrays(record)
    for spec in specs:
        _write_array(workspace, stage.name, record, spec, group)
    return len(specs)


def _write_array(workspace: Workspace, name: str, record: VideoRecord, spec: ArraySpec, group: Any) -> None:
    step, inputs = workspace.config.run.shard_frames, StoredInputs(workspace)
    row_bytes = int(np.prod(spec.shape[1:], dtype=np.int64)) * np.dtype(spec.dtype).itemsize
    rows = 1 if row_bytes >= SMALL_ROW_BYTES else step  # as in the store
    array = create_array(group, spec.name, spec.shape, spec.dtype, rows, spec.dimension_names)
    set_attributes(array, {"units": spec.units, "description": spec.description})
    for start in range(0, spec.shape[0], step):
        stop = min(start + step, spec.shape[0])
        array[start:stop] = inputs.read(name, spec.name, record, start, stop)
