"""Checkpoints in the layouts in which others publish theirs, with small or random networks, and what the networks answer."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import torch
from click.testing import CliRunner, Result
from compvis_reference import UNet, VQModel, betas
from raft_reference import RAFT
from torch import nn
from vifi_clip_reference import ImageEncoder

from stpa import main

Model = TypeVar("Model", bound=nn.Module)
Content = dict[str, Any]
USAGE, BAD_DATA = 2, 3  # exit codes


def varied(model: Model, seed: int) -> Model:
    """Give every vector random values too: as made, norms and biases are ones and noughts, and mix-ups go unseen."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.ndim == 1:
                noise = torch.rand(tensor.shape, generator=generator) - 0.5
                tensor.copy_(noise + (0 if name.endswith("bias") else 1))
    return model.eval().requires_grad_(False)


def made_raft(*, large: bool, seed: int = 0) -> RAFT:
    torch.manual_seed(seed)
    return varied(RAFT(large=large), seed)


def made_image_encoder(seed: int = 0) -> ImageEncoder:
    """Return a tower for pictures of 32 x 32 in patches of 16: width 128, two layers, 24 dimensions."""
    torch.manual_seed(seed)
    return varied(ImageEncoder(32, 16, 128, 2, 24), seed)


def made_ldm(seed: int = 0, inputs: int = 7) -> tuple[UNet, VQModel]:
    """Return networks whose attention has another width at each level, as the published ones."""
    torch.manual_seed(seed)
    unet = varied(UNet((32, 64, 96), 2, (False, True, True), inputs), seed)
    vq = varied(VQModel((32, 32, 64), 1, 16), seed)
    vq.quantize.get_parameter("embedding.weight").normal_()
    return unet, vq


def raft_content(model: RAFT) -> Content:
    """Return what RAFT's authors save: the networks inside ``DataParallel``."""
    return prefixed("module.", model)


def vifi_clip_content(encoder: ImageEncoder) -> Content:
    """Return what ViFi-CLIP's authors save; without a network, as a ``CfgNode``, only within :func:`foreign_packages`."""
    text = {
        "module.logit_scale": torch.tensor(4.6),
        "module.prompt_learner.complete_text_embeddings": torch.randn(3, 7, 16),
        "module.text_encoder.positional_embedding": torch.randn(7, 16),
    }
    config = sys.modules["yacs.config"].CfgNode(DATA={"NUM_FRAMES": 16})
    config.frozen = True
    return {
        "model": prefixed("module.image_encoder.", encoder) | text,
        "optimizer": {"state": {0: {"exp_avg": torch.randn(3)}}, "param_groups": [{"lr": 1e-5}]},
        "max_accuracy": 83.9,
        "epoch": 9,
        "config": config,
    }


def ldm_content(unet: UNet, vq: VQModel) -> Content:
    """Return what CompVis saves: raw weights, averaged ones (those of ``unet``), first stage twice, schedule, callbacks."""
    raw, _ = made_ldm(seed=99, inputs=unet.input_blocks[0].get_parameter("0.weight").shape[1])
    averaged = {"model_ema.diffusion_model" + name.replace(".", ""): value for name, value in unet.state_dict().items()}
    tensors = prefixed("model.diffusion_model.", raw) | averaged
    tensors |= {"model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(9, dtype=torch.int32)}
    tensors |= prefixed("first_stage_model.", vq) | prefixed("cond_stage_model.", vq)
    kept = torch.cumprod(1 - betas(), 0)
    tensors |= {"betas": betas().float(), "alphas_cumprod": kept.float(), "sqrt_one_minus_alphas_cumprod": (1 - kept).sqrt()}
    callback = sys.modules["pytorch_lightning.callbacks"].ModelCheckpoint
    return {"epoch": 3, "global_step": 9, "state_dict": tensors, "callbacks": {callback: {"best_model_score": None}}}


def prefixed(prefix: str, model: nn.Module) -> Content:
    return {prefix + name: value for name, value in model.state_dict().items()}


class CfgNode(dict[str, Any]):
    """As yacs has it: a dict with attributes."""


class ModelCheckpoint:
    """As pytorch_lightning has it: checkpoints hold the class itself."""


@contextmanager
def foreign_packages() -> Iterator[None]:
    """Pretend, while something is saved, that the packages are installed whose objects lie in published checkpoints."""
    for package, kind in (("yacs.config", CfgNode), ("pytorch_lightning.callbacks", ModelCheckpoint)):
        module = ModuleType(package)
        kind.__module__ = package
        setattr(module, kind.__name__, kind)
        sys.modules[package] = module
        sys.modules[package.partition(".")[0]] = ModuleType(package.partition(".")[0])
    try:
        yield
    finally:
        for package in ("yacs.config", "yacs", "pytorch_lightning.callbacks", "pytorch_lightning"):
            del sys.modules[package]


CONTENTS: dict[str, Callable[[], Content]] = {
    "raft": lambda: raft_content(made_raft(large=False)),
    "vifi-clip": lambda: vifi_clip_content(made_image_encoder()),
    "ldm-inpainting": lambda: ldm_content(*made_ldm()),
}
TENSORS = {"raft": (), "vifi-clip": ("model",), "ldm-inpainting": ("state_dict",)}
"""Below which keys the tensors lie."""


def publish(
    path: Path, kind: str, change: Callable[[Content], object] = lambda tensors: None, *, legacy: bool = False
) -> Path:
    """Save a checkpoint of a kind, after ``change`` was made to its tensors."""
    with foreign_packages():
        content = CONTENTS[kind]()
        tensors = content
        for key in TENSORS[kind]:
            tensors = tensors[key]
        change(tensors)
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def run(kind: str, checkpoint: Path, out: Path) -> Result:
    return CliRunner().invoke(main, ["import-weights", kind, str(checkpoint), str(out)])


def imported(kind: str, checkpoint: Path, out: Path) -> Path:
    result = run(kind, checkpoint, out)
    assert result.exit_code == 0, result.output
    return out


def refused(kind: str, checkpoint: Path, out: Path, code: int = BAD_DATA) -> str:
    """Return the message of an import that must fail and leave everything as it was."""
    before = sorted(out.parent.rglob("*")) if out.parent.exists() else None
    result = run(kind, checkpoint, out)
    assert result.exit_code == code, result.output
    assert (sorted(out.parent.rglob("*")) if out.parent.exists() else None) == before
    return result.output
