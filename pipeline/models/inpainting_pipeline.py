"""Inpainting pipelines of ``diffusers``: what a folder of one must hold before it is opened. Imports no torch.

Nothing in such a folder is executed: its parts are classes of ``diffusers`` and ``transformers``, named in model_index.json,
and its weights are safetensors. :mod:`pipeline.models.inpainting_diffusers` opens it.
"""

import importlib.util
import json
from pathlib import Path
from typing import Any, ClassVar

from pipeline.config import ConfigError, InpaintSettings
from pipeline.models.hub import HubModel, find_hub_model, is_hub_id
from pipeline.models.inpainting_contract import MISSING, Inpainter, InpainterKind
from pipeline.models.inpainting_ldm import CLASS as LDM_CLASS
from pipeline.models.inpainting_ldm import INDEX
from pipeline.models.variants import HALF, has_weights, listed_files
from pipeline.models.weights import content_identity

SETTING = "inpaint.model"
WEIGHTS = ("diffusion_pytorch_model.safetensors", "model.safetensors")
SHARDS = tuple(f"{name}.index.json" for name in WEIGHTS)
"""Lists of the files over which large weights are spread."""
WANTED = ("*.json", "*.txt", "*.model", *(f"*/{name}" for name in WEIGHTS), "*/*model-*-of-*.safetensors")
"""What of a repository is needed: neither weights in other formats nor in half precision beside the whole ones."""
HALVES = (f"*/*.{HALF}*.safetensors",)
"""What is needed of one that has weights of half precision alone."""
IDENTIFYING = (".json", ".safetensors", ".txt", ".model")  # a tokenizer's merges.txt, a sentencepiece .model
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle")
LIBRARIES = ("diffusers", "transformers")
WITHOUT_WEIGHTS = ("Scheduler", "Tokenizer", "TokenizerFast", "Processor", "FeatureExtractor")
"""How the names of classes end whose parts have settings only."""


class DiffusersPipeline(InpainterKind):
    """What ``AutoPipelineForInpainting`` opens: a folder, or the id of a model of the hub that was fetched before."""

    reads: ClassVar[tuple[str, ...]] = (
        *("steps", "eta", "seed", "view", "context", "composite", "prompt", "negative_prompt", "guidance_scale"),
        *("strength", "scheduler", "size", "safety_checker", "watermark", "precision"),
    )

    def owns(self, settings: InpaintSettings) -> bool:
        """Own ids of the hub, and folders whose index names another class than the LDM's."""
        if is_hub_id(settings.model, settings.revision, setting=SETTING):
            return True
        path = Path(settings.model).expanduser() / INDEX
        return settings.model != "embedded" and path.is_file() and _read(path).get("_class_name") != LDM_CLASS

    def identity(self, settings: InpaintSettings) -> dict[str, Any]:
        """Return id and commit, or the sha256 of all in the folder; and what is used in half precision, if anything is."""
        try:
            if is_hub_id(settings.model, settings.revision, setting=SETTING):
                found = _hub_model(settings)
                return {"model": found.id, "model_identity": found.identity, **_told(found.folder, settings)}
            folder = Path(settings.model).expanduser()
            identity = content_identity(folder, IDENTIFYING)
            return {"model": "folder", "model_identity": identity, **_told(folder, settings)}
        except FileNotFoundError:
            return {"model": settings.model, "model_identity": MISSING}

    def check(self, settings: InpaintSettings) -> None:
        """Look at names, formats and settings; then at what only ``diffusers`` knows, which takes seconds to import."""
        if settings.strength * settings.steps < 1:
            raise ConfigError(
                f"inpaint.strength = {settings.strength} of inpaint.steps = {settings.steps}: expected one step at least, "
                "found none; give more of either"
            )
        folder = pipeline_folder(settings)
        from pipeline.models.inpainting_diffusers import check_classes

        check_classes(folder, settings)

    def open(self, settings: InpaintSettings) -> Inpainter:
        """Load the weights."""
        from pipeline.models.inpainting_diffusers import PipelinePainter
        from pipeline.models.inpainting_windows import WindowInpainter

        return WindowInpainter(PipelinePainter(pipeline_folder(settings), settings), settings)


def pipeline_folder(settings: InpaintSettings) -> Path:
    """Return the folder of a pipeline in which nothing is missing.

    Raises
    ------
    FileNotFoundError
        A file is missing; the command that fetches it is named.
    ConfigError
        Weights are pickled, or parts are no classes of ``diffusers`` or ``transformers``.
    """
    if is_hub_id(settings.model, settings.revision, setting=SETTING):
        hub = _hub_model(settings)
        folder = hub.require([INDEX])
        hub.require(_missing(folder, settings))
        return folder
    folder = Path(settings.model).expanduser()
    missing = _missing(folder, settings)
    if missing:
        names = ", ".join(" or ".join(choice) for choice in missing)
        raise FileNotFoundError(f"{SETTING}: expected {names} in {folder}, found none; copy the whole folder again")
    return folder


def half_parts(folder: Path, settings: InpaintSettings) -> list[str]:
    """Return the parts of which weights of half precision are used: none unless a part has no others.

    Where one has no others, ``diffusers`` takes those of half precision of all parts that have them.
    """
    if not (folder / INDEX).is_file():
        return []
    weighty = [folder / name for name in _weighty_parts(folder, settings)]
    if all(has_weights(part, WEIGHTS, SHARDS) or not has_weights(part, WEIGHTS, SHARDS, HALF) for part in weighty):
        return []
    return sorted(part.name for part in weighty if has_weights(part, WEIGHTS, SHARDS, HALF))


def _told(folder: Path, settings: InpaintSettings) -> dict[str, Any]:
    halves = half_parts(folder, settings)
    return {"variant": {HALF: halves}} if halves else {}


def _hub_model(settings: InpaintSettings) -> HubModel:
    return find_hub_model(settings.model, settings.revision, setting=SETTING, include=WANTED, halves=HALVES)


def read_index(folder: Path) -> dict[str, Any]:
    """Return model_index.json; ConfigError if it names code that is not in the two libraries."""
    path = folder / INDEX
    index = _read(path)
    if not isinstance(index.get("_class_name"), str):
        raise ConfigError(
            f"{path}: expected _class_name to be a pipeline of diffusers, found {index.get('_class_name')!r}; pipelines "
            "that bring their own code are not run"
        )
    for name, (library, class_name) in parts(index).items():
        if library not in LIBRARIES and not _is_of_diffusers(library):
            raise ConfigError(
                f"{path}: expected {name} to be a class of diffusers or transformers, found {library}.{class_name}; models "
                "that bring their own code are not run"
            )
    return index


def parts(index: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Return the parts that a pipeline has: name -> library and class."""
    listed = {name: value for name, value in index.items() if isinstance(value, list) and not name.startswith("_")}
    return {name: (str(value[0]), str(value[-1])) for name, value in listed.items() if value and value[0] is not None}


def _weighty_parts(folder: Path, settings: InpaintSettings) -> list[str]:
    """Return the names of parts that must have weights."""
    named = parts(read_index(folder)).items()
    wanted = [(name, class_name) for name, (_, class_name) in named if name != "safety_checker" or settings.safety_checker]
    return [name for name, class_name in wanted if not class_name.endswith(WITHOUT_WEIGHTS)]


def _missing(folder: Path, settings: InpaintSettings) -> list[tuple[str, ...]]:
    """Return which files are missing, one of several each; ConfigError if they are there as pickles only."""
    weighty, missing = _weighty_parts(folder, settings), list[tuple[str, ...]]()
    for name in parts(read_index(folder)):
        if name == "safety_checker" and not settings.safety_checker:
            continue
        part = folder / name
        if not part.is_dir():
            missing.append((f"{name}/config.json",))
        elif name in weighty and not any(has_weights(part, WEIGHTS, SHARDS, variant) for variant in ("", HALF)):
            missing += _missing_weights(part)
    return missing


def _missing_weights(part: Path) -> list[tuple[str, ...]]:
    """Return which files a part lacks that has weights neither whole nor of half precision."""
    spread = listed_files(part, SHARDS)
    pickled = [path.name for path in sorted(part.iterdir()) if path.suffix in PICKLES]
    if pickled and not spread:
        raise ConfigError(
            f"{part}: expected safetensors, found {pickled[0]}, a pickle, which can run any code when it is opened; "
            "choose a model or a revision with safetensors"
        )
    if not spread:
        return [tuple(f"{part.name}/{file}" for file in WEIGHTS)]
    return [(f"{part.name}/{file}",) for file in spread if not (part / file).is_file()]


def _read(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as JSON: {error}; copy it again") from error
    if not isinstance(read, dict):
        raise ConfigError(f"{path}: expected a JSON object, found {type(read).__name__}; copy it again")
    return read


def _is_of_diffusers(library: str) -> bool:
    """Say whether this is the name of a family of pipelines, which may have parts of its own (safety checkers)."""
    spec = importlib.util.find_spec("diffusers")
    roots = [] if spec is None else spec.submodule_search_locations or []
    return library.isidentifier() and any((Path(root) / "pipelines" / library).is_dir() for root in roots)
