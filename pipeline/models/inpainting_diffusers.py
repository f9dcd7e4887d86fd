"""Any inpainting pipeline of ``diffusers`` behind one :class:`pipeline.models.inpainting_windows.Painter`.

The result is that of the library's own call, picture by picture, within rounding: the same noise (a generator per picture,
on the CPU), the same schedule, the same mask. Faster are: several pictures at once, half precision on a GPU and convolutions
with channels last; the prompt is read once; and no guidance is computed where it would change nothing.
"""

import inspect
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers.pipelines.auto_pipeline import AUTO_INPAINT_PIPELINES_MAPPING, _get_task_class
from torch import Tensor

from pipeline.config import ConfigError, InpaintSettings
from pipeline.models.devices import describe_device, keep_freed_memory, pick_device
from pipeline.models.inpainting_contract import Holes, Images
from pipeline.models.inpainting_ldm import INDEX
from pipeline.models.inpainting_pipeline import half_parts, parts, read_index
from pipeline.models.variants import HALF

Part = Any
"""A pipeline, a model or a schedule of diffusers, whose classes are not typed."""
AutoPipelineForInpainting: Part = diffusers.AutoPipelineForInpainting
TYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
BATCH_NOISE = ("DPMSolverSDEScheduler",)
"""Schedules that draw noise for a whole batch: what they paint would depend on how pictures are batched."""
EMBEDDINGS = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
"""What Stable Diffusion (the first two) and its larger successors (all four) make of a prompt, in the order in which
``encode_prompt`` returns it; their calls take it under these names."""


class PipelinePainter:
    """A pipeline, ready to paint on one device.

    Parameters
    ----------
    folder
        As :func:`pipeline.models.inpainting_pipeline.pipeline_folder` found it.
    settings
        Those of the inpaint stage.

    Raises
    ------
    ConfigError
        ``diffusers`` cannot open the folder, or the pipeline does not know what a setting asks for.
    """

    def __init__(self, folder: Path, settings: InpaintSettings) -> None:
        self._device = pick_device(settings.device)
        if self._device.type == "cpu":
            keep_freed_memory()
        self.precision = _precision(settings, self._device)
        self._pipe = _open(folder, settings, TYPES[self.precision]).to(self._device)
        for name in ("unet", "vae"):
            if isinstance(part := getattr(self._pipe, name, None), torch.nn.Module):
                part.to(memory_format=torch.channels_last)
        transformer = getattr(self._pipe, "transformer", None) is not None
        self.multiple = _pixels_per_latent(self._pipe) * (2 if transformer else 1)  # transformers see 2 x 2 latents as one
        self.size = settings.size or native_size(self._pipe)
        self.always_resized = True
        self._settings = settings
        self._halves = half_parts(folder, settings)
        self._call = _call_settings(self._pipe, settings)
        self._embeddings = _encode(self._pipe, settings, self._device)
        if "guidance_scale" in self._call and self._guides_nowhere():
            self._call["guidance_scale"] = 1.0

    def paint(self, images_BHWC: Images, masks_BHW: Holes, seeds: Sequence[int]) -> Images:
        """Return pictures of the same size; those of the library's call with one generator each, on the CPU."""
        image_B3HW = torch.from_numpy(np.ascontiguousarray(images_BHWC)).permute(0, 3, 1, 2).float() / 255
        mask_B1HW = torch.from_numpy(np.ascontiguousarray(masks_BHW))[:, None].float()
        with _quiet():
            painted = self._pipe(
                image=image_B3HW,
                mask_image=mask_B1HW,
                height=image_B3HW.shape[2],
                width=image_B3HW.shape[3],
                generator=[torch.Generator().manual_seed(seed) for seed in seeds],
                output_type="pt",
                **self._call,
                **self._prompts(len(seeds)),
            ).images
        made_BHWC: Tensor = (painted.float().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
        return np.asarray(made_BHWC.cpu().numpy(), np.uint8)

    def provenance(self) -> dict[str, Any]:
        """Return where and how it computes."""
        return {
            "device": describe_device(self._device),
            "precision": self.precision,
            "pipeline": type(self._pipe).__name__,
            "scheduler": type(self._pipe.scheduler).__name__,
            "safety_checker": getattr(self._pipe, "safety_checker", None) is not None,
            "watermark": getattr(self._pipe, "watermark", None) is not None,
            **({"variant": {HALF: self._halves}} if self._halves else {}),
        }

    def _guides_nowhere(self) -> bool:
        """Say whether guidance leads from the prompt to itself, which takes twice the time and changes nothing."""
        prompt, negative, pooled, pooled_negative = (self._embeddings.get(name) for name in EMBEDDINGS)
        told_the_scale = getattr(getattr(getattr(self._pipe, "unet", None), "config", None), "time_cond_proj_dim", None)
        if prompt is None or negative is None or told_the_scale is not None:  # a distilled UNet takes it as an input
            return False
        both_pooled = pooled is None or (pooled_negative is not None and torch.equal(pooled, pooled_negative))
        return both_pooled and torch.equal(prompt, negative)

    def _prompts(self, count: int) -> dict[str, Any]:
        if self._embeddings:
            return {name: value.repeat(count, *[1] * (value.ndim - 1)) for name, value in self._embeddings.items()}
        words = {"prompt": self._settings.prompt, "negative_prompt": self._settings.negative_prompt}
        return {name: [text] * count for name, text in words.items() if name in _parameters(self._pipe)}


def check_classes(folder: Path, settings: InpaintSettings) -> None:
    """Refuse pipelines that cannot inpaint, schedules that do not suit them, and devices that are none; reads no weights.

    Raises
    ------
    ConfigError
        One of these.
    """
    pick_device(settings.device)
    index = read_index(folder)
    if _get_task_class(AUTO_INPAINT_PIPELINES_MAPPING, index["_class_name"], throw_error_if_not_exist=False) is None:
        known = ", ".join(sorted(made.__name__ for made in AUTO_INPAINT_PIPELINES_MAPPING.values()))
        raise ConfigError(
            f"{folder / INDEX}: expected a pipeline that AutoPipelineForInpainting of diffusers {diffusers.__version__} "
            f"knows ({known}, or one of the same family), found {index['_class_name']!r}"
        )
    current: Part = getattr(diffusers, parts(index).get("scheduler", ("", ""))[1], None)
    if hasattr(current, "_get_compatibles"):
        _scheduler_class(current, settings.scheduler or current.__name__)


def native_size(pipe: Part) -> int:
    """Return the side, in pixels, of the pictures that a pipeline was trained with: its latents' times their size.

    Raises
    ------
    ConfigError
        It does not say.
    """
    found = getattr(pipe, "default_sample_size", None)
    for name in ("unet", "transformer"):
        config = getattr(getattr(pipe, name, None), "config", None)
        found = found if isinstance(found, int) else getattr(config, "sample_size", None)
    if not isinstance(found, int):
        raise ConfigError(
            f"inpaint.size: expected a number, as {type(pipe).__name__} does not say with what size it was trained; see its "
            "card"
        )
    return found * _pixels_per_latent(pipe)


def _pixels_per_latent(pipe: Part) -> int:
    return int(getattr(pipe, "vae_scale_factor", None) or getattr(pipe, "movq_scale_factor", None) or 1)


def _open(folder: Path, settings: InpaintSettings, dtype: torch.dtype) -> Part:
    index = read_index(folder)
    # What a pipeline was saved without (the largest text encoder, for one) it must be told to do without.
    without: dict[str, Any] = {name: None for name, part in index.items() if isinstance(part, list) and part[:1] == [None]}
    if "safety_checker" in index and not settings.safety_checker:
        without |= {"safety_checker": None, "requires_safety_checker": False}
    if half_parts(folder, settings):
        without["variant"] = HALF
    try:
        with _quiet():
            pipe = AutoPipelineForInpainting.from_pretrained(
                folder, dtype=dtype, use_safetensors=True, local_files_only=True, trust_remote_code=False, **without
            )
    except (OSError, ValueError, RuntimeError, TypeError, AttributeError, ImportError) as error:
        raise ConfigError(
            f"{folder}: expected an inpainting pipeline that diffusers {diffusers.__version__} opens, found: {error}; "
            "copy or fetch it again, or choose another"
        ) from error
    pipe.set_progress_bar_config(disable=True)
    if settings.scheduler:
        pipe.scheduler = _scheduler_class(type(pipe.scheduler), settings.scheduler).from_config(pipe.scheduler.config)
    if not settings.watermark and hasattr(pipe, "watermark"):
        pipe.watermark = None
    for name in ("safety_checker", "watermark"):
        if getattr(settings, name) and getattr(pipe, name, None) is None:
            needs = " with the package invisible-watermark installed" if name == "watermark" else ""
            raise ConfigError(
                f"inpaint.{name} = true: expected a pipeline that has one{needs}, found {type(pipe).__name__} without"
            )
    return pipe


def _scheduler_class(current: Part, name: str) -> type[Any]:
    """Return the class of a schedule by its name, if it takes the settings of the ``current`` one."""
    classes = {made.__name__: made for made in (current, *current._get_compatibles())}
    fitting: dict[str, type[Any]] = {known: made for known, made in classes.items() if known not in BATCH_NOISE}
    if name not in fitting:
        raise ConfigError(
            f"inpaint.scheduler: expected one that can take the place of {current.__name__} "
            f"({', '.join(sorted(fitting))}), found {name!r}"
        )
    return fitting[name]


def _call_settings(pipe: Part, settings: InpaintSettings) -> dict[str, Any]:
    """Return what goes with every call; ConfigError if a setting was changed that the pipeline does not know."""
    known = _parameters(pipe)
    for name in ("prompt", "negative_prompt", "guidance_scale", "strength", "eta"):
        if name not in known and getattr(settings, name) != InpaintSettings.model_fields[name].default:
            raise ConfigError(f"inpaint.{name}: {type(pipe).__name__} has no such setting; leave it out")
    wanted = {
        "num_inference_steps": settings.steps,
        "guidance_scale": settings.guidance_scale,
        "strength": settings.strength,
        "eta": settings.eta,
    }
    return {name: value for name, value in wanted.items() if name in known}


def _encode(pipe: Part, settings: InpaintSettings, device: torch.device) -> dict[str, Tensor]:
    """Return what the pipeline makes of the prompt (1, ...), or nothing if it is of a family that keeps it otherwise."""
    names = [name for name in EMBEDDINGS if name in _parameters(pipe)]
    accepted = inspect.signature(pipe.encode_prompt).parameters if hasattr(pipe, "encode_prompt") else {}
    if len(names) not in (2, 4) or not {"do_classifier_free_guidance", "negative_prompt"} <= set(accepted):
        return {}
    given: Mapping[str, Any] = {
        **{name: None for name in ("prompt_2", "prompt_3") if name in accepted},
        "prompt": settings.prompt,
        "negative_prompt": settings.negative_prompt or None,  # None is "" or, where a pipeline was trained so, nothing
        "device": device,
        "num_images_per_prompt": 1,
        "do_classifier_free_guidance": settings.guidance_scale > 1,
    }
    with torch.no_grad():
        made = pipe.encode_prompt(**{name: value for name, value in given.items() if name in accepted})
    if len(made) != len(names) or not all(value is None or isinstance(value, Tensor) for value in made):
        return {}
    return {name: value for name, value in zip(names, made, strict=True) if value is not None}


def _parameters(pipe: Part) -> Mapping[str, Any]:
    return inspect.signature(type(pipe).__call__).parameters


def _precision(settings: InpaintSettings, device: torch.device) -> str:
    if settings.precision != "auto":
        return settings.precision
    return "fp16" if device.type == "cuda" else "fp32"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep both libraries from progress bars of their own and from advice on what is done on purpose."""
    import transformers.utils.logging as transformers_logging

    libraries: tuple[Any, Any] = (diffusers.utils.logging, transformers_logging)
    before = [(library.get_verbosity(), library.is_progress_bar_enabled()) for library in libraries]
    for library in libraries:
        library.set_verbosity(logging.ERROR)
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library, (level, bars) in zip(libraries, before, strict=True):
            library.set_verbosity(level)
            if bars:
                library.enable_progress_bar()
