"""Inpainters behind one small interface: pictures and holes in, pictures without holes out. Imports no torch by itself.

What ``inpaint.model`` names is opened by the first of :data:`KINDS` that owns it.
"""

import hashlib
from typing import Any

from pipeline.config import InpaintSettings
from pipeline.models.inpainting_contract import Inpainter, InpainterKind
from pipeline.models.inpainting_ldm import LatentDiffusion
from pipeline.models.inpainting_opencv import Classical
from pipeline.models.inpainting_pipeline import DiffusersPipeline

KINDS: tuple[InpainterKind, ...] = (
    Classical(),
    DiffusersPipeline(),
    LatentDiffusion(),  # owns what is left, so that its messages say what a model may be
)


def kind_of(settings: InpaintSettings) -> InpainterKind:
    """Return the kind of the model that the settings name."""
    return next(kind for kind in KINDS if kind.owns(settings))


def declared_settings(settings: InpaintSettings) -> dict[str, Any]:
    """Return what determines the pixels: the settings that this kind of model reads, and what identifies the model."""
    kind = kind_of(settings)
    values = settings.determining()
    read = {name: values[name] for name in kind.reads}
    if read.get("context") == InpaintSettings.model_fields["context"].default:
        del read["context"]  # it was 16 before it was a setting: what was made then is still what it would be
    return {**read, **kind.identity(settings)}


def check_inpainter(settings: InpaintSettings) -> None:
    """Raise what :func:`open_inpainter` would, without reading weights."""
    kind_of(settings).check(settings)


def open_inpainter(settings: InpaintSettings) -> Inpainter:
    """Return the inpainter that the settings name, ready to use on their device.

    Raises
    ------
    FileNotFoundError
        The model, or a file of it, is missing; the remedy is named.
    ValueError
        The folder holds another kind of model, damaged weights, or the device is none.
    """
    kind = kind_of(settings)
    kind.check(settings)
    return kind.open(settings)


def frame_seed(dataset: str, video: str, frame: int, seed: int) -> int:
    """Return the seed (63 bits) of one frame: the same in every run, machine, batch and order."""
    text = "\0".join((dataset, video, str(frame), str(seed)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
