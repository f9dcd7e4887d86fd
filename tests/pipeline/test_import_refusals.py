"""Checkpoints that are not exactly what was asked for are refused with the reason, and nothing is written."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from published import CONTENTS, Content, foreign_packages, ldm_content, made_ldm, made_raft, publish, raft_content, refused

KINDS = tuple(CONTENTS)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return checkpoints by kind, made once."""
    folder = tmp_path_factory.mktemp("published")
    return lambda kind: path if (path := folder / f"{kind}.pth").exists() else publish(path, kind)


def drop(name: str) -> Callable[[Content], None]:
    return lambda tensors: tensors.pop(name)


def add(name: str) -> Callable[[Content], None]:
    return lambda tensors: tensors.update({name: torch.zeros(3)})


def cut(name: str) -> Callable[[Content], None]:
    return lambda tensors: tensors.update({name: tensors[name][:-2].clone()})


OTHERS: dict[str, tuple[str, Callable[[Content], object], str]] = {
    "raft lacks one": ("raft", drop("module.cnet.conv1.bias"), "1 missing.*context_encoder.convnormrelu.0.bias"),
    "raft has one more": ("raft", add("module.cnet.norm1.weight"), "1 unknown.*context_encoder.convnormrelu.1.weight"),
    "raft has another size": (
        "raft",
        cut("module.fnet.conv2.bias"),
        r"another size, such as feature_encoder.conv.bias \(126,\)",
    ),
    "raft has one twice": (
        "raft",
        lambda tensors: tensors.update({"fnet.conv2.bias": tensors["module.fnet.conv2.bias"]}),
        "one tensor to become feature_encoder.conv.bias, found two",
    ),
    "raft of both sizes": ("raft", add("module.update_block.mask.0.bias"), "RAFT large, found .* missing"),
    "vifi-clip lacks one": ("vifi-clip", drop("module.image_encoder.ln_pre.bias"), "1 missing.*pre_layrnorm.bias"),
    "vifi-clip lacks its sizes": (
        "vifi-clip",
        drop("module.image_encoder.conv1.weight"),
        "module.image_encoder.conv1.weight",
    ),
    "vifi-clip has one more": ("vifi-clip", add("module.image_encoder.extra"), r"1 unknown \(extra\)"),
    "vifi-clip has another tower": (
        "vifi-clip",
        add("module.audio_encoder.proj"),
        "1 unknown, such as module.audio_encoder",
    ),
    "vifi-clip with prompts": (
        "vifi-clip",
        add("module.image_encoder.transformer.resblocks.0.VPT_shallow"),
        r"prompted model \(VPT\) is another one",
    ),
    "ldm lacks one": (
        "ldm-inpainting",
        lambda tensors: [tensors.pop(name) for name in list(tensors) if name.endswith(("out.2.bias", "out2bias"))],
        "1 missing.*conv_out.bias",
    ),
    "ldm lacks an averaged weight": ("ldm-inpainting", drop("model_ema.diffusion_modelout2bias"), "EMA.*1 missing"),
    "ldm has one twice": (
        "ldm-inpainting",
        lambda tensors: tensors.update({"first_stage_model.encoder.conv_norm_out.bias": torch.zeros(64)}),
        "one tensor to become encoder.conv_norm_out.bias, found two",
    ),
    "ldm has one more": ("ldm-inpainting", add("first_stage_model.encoder.mid.attn_1.norm.weight"), "1 unknown.*attn_1"),
    "ldm has a text encoder": ("ldm-inpainting", add("cond_stage_model.transformer.x"), "which is another network"),
    "ldm of another schedule": (
        "ldm-inpainting",
        lambda tensors: tensors["betas"].mul_(0.5),
        "another schedule and is another model",
    ),
    "ldm with infinite weights": (
        "ldm-inpainting",
        lambda tensors: tensors["first_stage_model.quant_conv.bias"].fill_(float("nan")),
        "expected finite weights",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_checkpoint_that_is_not_exactly_the_model_is_refused_with_the_reason(tmp_path: Path, name: str) -> None:
    kind, change, reason = OTHERS[name]
    message = refused(kind, publish(tmp_path / "other.pth", kind, change), tmp_path / "new" / "out")
    assert re.search(reason, message.replace("\n", " ")), message


def test_a_network_that_sees_other_channels_is_refused(tmp_path: Path) -> None:
    with foreign_packages():
        torch.save(ldm_content(*made_ldm(inputs=4)), tmp_path / "other.ckpt")
    assert "7 channels" in refused("ldm-inpainting", tmp_path / "other.ckpt", tmp_path / "out")


@pytest.mark.parametrize(("kind", "other"), [(kind, other) for kind in KINDS for other in KINDS if kind != other])
def test_a_checkpoint_of_another_kind_is_refused(
    tmp_path: Path, published: Callable[[str], Path], kind: str, other: str
) -> None:
    assert "expected" in refused(kind, published(other), tmp_path / "out")


def test_a_second_name_for_other_numbers_is_refused(tmp_path: Path) -> None:
    content = raft_content(made_raft(large=True))
    name = "module.cnet.layer2.0.norm3.weight"
    content[name] = content[name] + 1
    torch.save(content, tmp_path / "raft.pth")
    assert f"expected {name} to be" in refused("raft", tmp_path / "raft.pth", tmp_path / "out")
