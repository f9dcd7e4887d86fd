"""Inpainting pipelines of ``diffusers``: what a folder of one must hold before it is opened. Imports no torch.

Nothing in such a folder is executed: its parts are classes of ``diffusers`` and ``transformers``, named in model_index.json,
and its weights are safetensors. :mod:`pipeline.models.inpainting_diffusers` opens it.
"""

import importlib.util
import json
from pathlib import Path
from typing import Any, ClassVar

from pipeline.config import ConfigError, InpaintSettings
from pipeline.models.hub import find_hub_model, is_hub_id
from pipeline.models.inpainting_contract import MISSING, Inpainter, InpainterKind
from pipeline.models.inpainting_ldm import CLASS as LDM_CLASS
from pipeline.models.inpainting_ldm import INDEX
from pipeline.models.weights import content_identity

SETTING = "inpaint.model"
WEIGHTS = ("diffusion_pytorch_model.safetensors", "model.safetensors")
SHARDS = tuple(f"{name}.index.json" for name in WEIGHTS)
"""Lists of the files over which large weights are spread."""
WANTED = ("*.json", "*.txt", "*.model", *(f"*/{name}" for name in WEIGHTS), "*/*model-*-of-*.safetensors")
"""What of a repository is needed: neither weights in other formats nor in half precision beside the whole ones."""
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
        """Return id and commit, or the sha256 of all that is in the folder."""
        try:
            if is_hub_id(settings.model, settings.revision, setting=SETTING):
                found = find_hub_model(settings.model, settings.revision, setting=SETTING, include=WANTED)
                return {"model": found.id, "model_identity": found.identity}
            folder = Path(settings.model).expanduser()
            return {"model": "folder", "model_identity": content_identity(folder, IDENTIFYING)}
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
        hub = find_hub_model(settings.model, settings.revision, setting=SETTING, include=WANTED)
        folder = hub.require([INDEX])
        hub.require(_missing(folder, settings))
        return folder
    folder = Path(settings.model).expanduser()
    missing = _missing(folder, settings)
    if missing:
        names = ", ".join(" or ".join(choice) for choice in missing)
        raise FileNotFoundError(f"{SETTING}: expected {names} in {folder}, found none; copy the whole folder again")
    return folder


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


def _missing(folder: Path, settings: InpaintSettings) -> list[tuple[str, ...]]:
    """Return which files are missing, one of several each; ConfigError if they are there as pickles only."""
    missing: list[tuple[str, ...]] = []
    for name, (_, class_name) in parts(read_index(folder)).items():
        if name == "safety_checker" and not settings.safety_checker:
            continue
        part = folder / name
        if not part.is_dir():
            missing.append((f"{name}/config.json",))
            continue
        pickled = [path.name for path in sorted(part.iterdir()) if path.suffix in PICKLES]
        if class_name.endswith(WITHOUT_WEIGHTS):
            continue
        found = any((part / file).is_file() for file in (*WEIGHTS, *SHARDS))
        if pickled and not found:
            raise ConfigError(
                f"{part}: expected safetensors, found {pickled[0]}, a pickle, which can run any code when it is opened; "
                "choose a model or a revision with safetensors"
            )
        if not found:
            missing.append(tuple(f"{name}/{file}" for file in WEIGHTS))
        missing += [(f"{name}/{file}",) for file in _shards(part) if not (part / file).is_file()]
    return missing


def _shards(part: Path) -> list[str]:
    """Return the files over which weights are spread, if they are."""
    lists = [part / name for name in SHARDS if (part / name).is_file()]
    return sorted({str(file) for path in lists for file in _read(path).get("weight_map", {}).values()})


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
