"""The bundle that ``stpa score`` was given, and everything that depends on it."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.cli import begin
from pipeline.config import Config, ConfigError, load_config
from pipeline.contract import DataError
from pipeline.progress import Progress
from scoring.live.scorer import LiveScorer, Preparation
from scoring.live.watch import Watch
from scoring.protocols import DEPLOYMENT
from trainer.bundle import BundleError, load_bundle
from trainer.devices import pick_device
from trainer.inputs import MOVABLE, load_inputs


@dataclass(frozen=True, kw_only=True)
class Model:
    """A scorer that is ready, what times it, and what it was made of."""

    scorer: LiveScorer
    watch: Watch
    folder: Path
    config: Config
    device: str
    fps: float | None = None
    """Frames per second that it was trained on, if recordings were thinned out to them."""

    def facts(self) -> dict[str, Any]:
        """Return what results should be traced back to, plain JSON."""
        return {
            "model": self.folder.parent.name if self.folder.name.startswith("data-") else self.folder.name,
            "model_identity": identity(self.folder),
            "protocol": DEPLOYMENT.name,
            "pooling": self.config.eval.pooling,
            "indicators": list(self.scorer.names[:-1]),
            "false_alarm_rate": self.config.eval.false_alarm_rate,
            "threshold": self.scorer.threshold,
            "region_threshold": self.scorer.region_threshold,
            "device": self.device,
        }


def open_model(path: Path, overrides: tuple[str, ...], progress: Progress) -> Model:
    """Load the bundle in a folder, or that of the project whose settings file this is.

    Raises
    ------
    ConfigError
        There is nothing at the path, a setting is refused, or weights are not those of the training.
    DataError
        The folder holds no complete bundle of this version.
    MissingShardError
        The project's train stage is not complete.
    """
    if re.match(r"[a-z0-9+]+:/", str(path)):
        raise ConfigError(
            f"--model: expected the folder of a bundle or a settings file on this machine, found the URL {path}; give the "
            "settings file of its project, whose run.cache may be a URL, or copy the folder here"
        )
    if not path.exists():
        raise ConfigError(f"--model: expected the folder of a bundle or a settings file, found nothing at {path}")
    if path.is_dir():
        moved = check_overrides(overrides)
        folder, config = bundle_folder(path), load_config(None, overrides)
    else:
        moved = MOVABLE
        folder, config = trained_folder(path, overrides, progress)
    try:
        device = pick_device(config.eval.device)
    except ValueError as error:
        raise ConfigError(f"eval.{error}") from error
    try:
        bundle = load_bundle(folder, device)
    except BundleError as error:
        raise DataError(str(error)) from error
    inputs, watch = load_inputs(folder).moved(config, moved), Watch()
    preparation = Preparation(inputs, config.eval.device, semantic="semantic" in bundle.indicators)
    scorer = LiveScorer(bundle, preparation, config.eval, watch)
    return Model(scorer=scorer, watch=watch, folder=folder, config=config, device=str(device), fps=inputs.fps)


def check_overrides(overrides: Iterable[str]) -> tuple[str, ...]:
    """Return which movable settings are overridden; ConfigError for a setting that belongs to the training."""
    names = [override.partition("=")[0].strip() for override in overrides]
    for name in names:
        if not name.startswith("eval.") and name not in MOVABLE:
            raise ConfigError(
                f"--set {name}: expected a setting of [eval], or one of {', '.join(MOVABLE)}; how frames, flow and features "
                "are made comes from the bundle"
            )
    return tuple(name for name in names if name in MOVABLE)


def bundle_folder(path: Path) -> Path:
    """Return the folder of the bundle's files: the one that was given, or the only one in the artifact of a train stage."""
    inside = sorted(path.glob("data-*/bundle.json"))
    if (path / "bundle.json").is_file() or not inside:
        return path
    if len(inside) > 1:
        names = ", ".join(file.parent.name for file in inside)
        raise ConfigError(f"--model: expected one bundle in {path}, found {len(inside)} ({names}); name one of them")
    return inside[0].parent


def trained_folder(config_file: Path, overrides: tuple[str, ...], progress: Progress) -> tuple[Path, Config]:
    """Return the bundle that a project's train stage left behind, and the project's settings."""
    from pipeline.execution.inputs import StoredInputs

    session = begin(config_file, overrides, progress)
    return StoredInputs(session.workspace).folder("train"), session.workspace.config


def identity(folder: Path) -> str:
    """Return the hash of a bundle's files, 32 hex digits."""
    total = hashlib.sha256()
    for path in sorted(folder.glob("*")):
        if path.suffix in (".json", ".safetensors"):
            with path.open("rb") as file:
                total.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()[:32]
