"""An evaluation without networks, and the report of it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from made_detector import MadeDetector, silent
from squares import MadeInputs, Street, make_street

from pipeline.artifacts.workspace import Workspace
from pipeline.config import Config
from pipeline.contract import Labels, VideoRecord
from scoring.evaluate import evaluate
from scoring.report.write import make_page
from stpa import STAGES, load

FRAMES = 40
LEVEL, STEP = 20, 5
"""Grey of frame 0, and how much lighter each further frame is: a picture tells which frame it is."""
ORIGIN = {"artifact": "eval-0123", "model": "train-4567", "seed": 3, "device": "cpu"}


class ReportInputs(MadeInputs):
    """Streets with labels, and the evaluation of them."""

    def __init__(self, streets: Iterable[Street], anomalous: Mapping[str, range | None], evaluation: Path) -> None:
        super().__init__(list(streets))
        self.anomalous = anomalous
        self.evaluation = evaluation

    def labels(self, record: VideoRecord) -> Labels | None:
        found = self.anomalous.get(record.id)
        return Labels(frame_T=np.isin(np.arange(record.num_frames), found), source="made") if found is not None else None

    def folder(self, stage: str) -> Path:
        assert stage == "eval"
        return self.evaluation


def make_inputs(
    folder: Path, anomalous: Mapping[str, range | None], *, frames: int = FRAMES, training: int = 2, **train: Any
) -> tuple[ReportInputs, Workspace]:
    """Evaluate made-up test videos, named by the keys; the values are their anomalous frames, None = no label."""
    streets = [make_street(f"train-{seed}", seed=seed) for seed in range(training)]
    for seed, name in enumerate(anomalous):
        street = make_street(name, frames=frames, seed=10 + seed, split="test")
        level_T = np.minimum(LEVEL + STEP * np.arange(frames), 255).astype(np.uint8)
        street.arrays["frames", "frames"][:] = level_T[:, None, None, None]
        streets.append(street)
    inputs = ReportInputs(streets, anomalous, folder)
    config = make_config(**train)
    folder.mkdir(parents=True, exist_ok=True)
    with patch("scoring.evaluate.draw_picture"):
        evaluate(MadeDetector(), inputs, config, folder, silent, ORIGIN)
    return inputs, Workspace(config, map(load, STAGES), list(inputs.videos()))


def make_config(**train: Any) -> Config:
    sections = {"dataset": {"name": "made-up"}, "frames": {"height": 32, "width": 48}}
    return Config.model_validate({**sections, "train": {"p_s": 1, "p_t": 1, **train}})


def make_report(inputs: ReportInputs, workspace: Workspace, budget: int = 10_000_000) -> str:
    """Return the page."""
    return make_page(inputs, workspace, budget=budget, progress=silent)[0]
