"""What the modes of scoring do to the AUC, on a dataset that was trained on.

    python benchmarks/scoring_modes.py --config configs/ped2.toml [--set SECTION.NAME=VALUE] [--modes exact-fp32 dense]

After `stpa train` with the same settings: the bundle in the cache is evaluated in a temporary folder, once per mode. Prints
the micro-AUC of every score under both protocols, how far it is from the exact evaluation, and how long each took.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from pipeline.config import Config
from pipeline.contract import Inputs
from pipeline.execution.inputs import StoredInputs
from pipeline.session import open_session
from scoring.detectors import choose_detector
from scoring.evaluate import evaluate
from stpa import STAGES, load
from trainer.bundle import Bundle, load_bundle

MODES: dict[str, dict[str, Any]] = {
    "exact": {},
    "exact-bf16": {"precision": "bf16"},
    "exact-fp32": {"precision": "fp32"},
    "dense": {"mode": "dense"},
    "dense-2": {"mode": "dense", "phases": 2},
    "dense-4": {"mode": "dense", "phases": 4},
    "dense-8": {"mode": "dense", "phases": 8},
    "dense-centre": {"mode": "dense", "phases": "centre"},
}


DEFAULT = ["exact", "exact-fp32", "dense", "dense-2", "dense-8", "dense-centre"]
Aucs = dict[str, dict[str, float]]


def aucs(bundle: Bundle, inputs: Inputs, config: Config, chosen: dict[str, Any]) -> tuple[Aucs, float]:
    """Return protocol -> score -> micro-AUC of one mode, and the seconds that it took."""
    settings = config.model_copy(update={"eval": config.eval.model_copy(update={"bootstrap": 0, **chosen})})
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, patch("scoring.evaluate.draw_picture"):
        metrics = evaluate(choose_detector(bundle, settings.eval), inputs, settings, Path(folder), lambda *_: None, {})
    found = {
        protocol: {
            name: score["micro_auc"] for name, score in content.items() if isinstance(score, dict) and "per_video" in score
        }
        for protocol, content in metrics["protocols"].items()
    }
    return found, time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("configs/demo.toml"))
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.NAME=VALUE")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=DEFAULT)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    session = open_session(arguments.config, arguments.set, tuple(load(place) for place in STAGES))
    inputs = StoredInputs(session.workspace, session.labels)
    bundle = load_bundle(inputs.folder("train"), torch.device(arguments.device))
    first: Aucs = {}
    for mode in dict.fromkeys(["exact", *arguments.modes]):
        found, seconds = aucs(bundle, inputs, session.workspace.config, MODES[mode])
        first = first or found
        for protocol, scores in found.items():
            cells = (f"{name} {auc:.4f} ({auc - first[protocol][name]:+.4f})" for name, auc in scores.items())
            print(f"{mode:11} {protocol:11} {'  '.join(cells)}")
        print(f"{mode:11} {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
