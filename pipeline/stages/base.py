"""Re-export of the contract."""

from pipeline.contract import (
    Array,
    ArraySpec,
    FolderStage,
    Inputs,
    Report,
    Shard,
    ShardStage,
    ShardWorker,
    Stage,
    VideoRecord,
)

__all__ = [
    "Array",
    "ArraySpec",
    "FolderStage",
    "Inputs",
    "Report",
    "Shard",
    "ShardStage",
    "ShardWorker",
    "Stage",
    "VideoRecord",
]
