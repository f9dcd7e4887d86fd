"""The inpainting model of Rombach et al. (CompVis latent-diffusion, inpainting_big) -> a folder for ``inpaint.model``."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.contract import DataError
from pipeline.models.importing.checkpoint import Checkpoint
from pipeline.models.importing.compvis_names import UNetSizes, VQSizes, unet_modules, vq_modules
from pipeline.models.importing.fitting import by_new_names, require_fit, require_names
from pipeline.models.importing.unpickle import StoredTensor

if TYPE_CHECKING:
    from torch import Tensor

HEADS = 8
"""Attention heads at every width (num_heads of the published settings); they cannot be read off the tensors."""
GROUPS = 32
"""Of every group norm, in both networks."""
LATENT_SIZE = 64
"""Side of the latents it was trained with (image_size of the published settings): pictures of 256 x 256."""
UNET, EMA, FIRST_STAGE, COND_STAGE = "model.diffusion_model.", "model_ema.", "first_stage_model.", "cond_stage_model."
SCHEDULE = re.compile(
    r"^(betas|(sqrt_|log_)?(one_minus_|recip_|recipm1_)?alphas_cumprod(_prev)?|posterior_\w+|lvlb_weights|logvar|scale_factor)$"
)
Stored = dict[str, StoredTensor]


def import_ldm_inpainting(checkpoint: Checkpoint, folder: Path) -> dict[str, Any]:
    """Write vqvae/, unet/ and scheduler/ as :func:`pipeline.models.ldm.load_ldm` reads them. The EMA weights are taken.

    Returns the sizes, which are read off the tensors.

    Raises
    ------
    DataError
        The checkpoint is not of this model, or lacks EMA weights, or was trained with another schedule.
    """
    import torch

    from pipeline.models.ldm import UNet2DModel, VQModel, make_scheduler, save_ldm

    path, stored = checkpoint.path, checkpoint.state_dict("state_dict")
    unet_stored, vq_stored = _ema_weights(path, stored), _first_stage(checkpoint, stored)
    _require_known(path, stored)
    scheduler = make_scheduler()
    _require_schedule(checkpoint, stored, scheduler.betas)
    unet_sizes, vq_sizes = read_unet_sizes(path, unet_stored), read_vq_sizes(path, vq_stored)
    with torch.device("meta"):
        unet = UNet2DModel(**_unet_config(path, unet_stored, unet_sizes))
        vqvae = VQModel(**_vq_config(vq_sizes), scaling_factor=_scale(checkpoint, stored))
    for model, part, modules, described in (
        (unet, unet_stored, unet_modules(unet_sizes), "the UNet of LDM inpainting (EMA)"),
        (vqvae, vq_stored, vq_modules(vq_sizes), "the VQ autoencoder of LDM inpainting"),
    ):
        tensors = by_new_names(path, _renamed(checkpoint, part, modules))
        require_fit(path, {name: tensor.shape for name, tensor in tensors.items()}, model, described)
        model.load_state_dict(tensors, assign=True)
    save_ldm(folder, vqvae, unet, scheduler, heads=HEADS, dtype=torch.float32)
    return {
        "unet": vars(unet_sizes) | {"heads": HEADS, "weights": "EMA"},
        "vqvae": vars(vq_sizes),
        "parameters": sum(parameter.numel() for model in (unet, vqvae) for parameter in model.parameters()),
    }


def read_unet_sizes(path: Path, unet: Mapping[str, StoredTensor]) -> UNetSizes:
    """Return levels, channels and where attention is, from which blocks there are and their shapes."""
    inputs = 1 + max((int(name.split(".")[1]) for name in unet if name.startswith("input_blocks.")), default=-1)
    doubling = {name for name in unet if re.match(r"^output_blocks\.\d+\.[12]\.in_layers\.0\.weight$", name)}
    levels = 1 + len(doubling)
    blocks = inputs // levels - 1
    if not inputs or inputs % levels or blocks < 1:
        raise DataError(
            f"{path}: expected a UNet of equally many residual blocks at each level, halved and doubled by such blocks "
            f"(resblock_updown), found {inputs} input blocks and {len(doubling)} that double; it is another model"
        )
    firsts = [1 + level * (blocks + 1) for level in range(levels)]
    return UNetSizes(
        channels=tuple(_shape(path, unet, f"input_blocks.{first}.0.out_layers.3.weight")[0] for first in firsts),
        blocks=blocks,
        attention=tuple(f"input_blocks.{first}.1.qkv.weight" in unet for first in firsts),
    )


def read_vq_sizes(path: Path, vq: Mapping[str, StoredTensor]) -> VQSizes:
    """Return levels, channels and codes of the autoencoder."""
    found = [re.match(r"^encoder\.down\.(\d+)\.block\.(\d+)\.", name) for name in vq]
    places = [(int(match[1]), int(match[2])) for match in found if match]
    if not places:
        raise DataError(f"{path}: expected a VQ autoencoder below {FIRST_STAGE}, found none")
    levels, blocks = (1 + max(numbers) for numbers in zip(*places, strict=True))
    codes, code_length = (*_shape(path, vq, "quantize.embedding.weight"), 0)[:2]
    channels = tuple(_shape(path, vq, f"encoder.down.{level}.block.0.conv1.weight")[0] for level in range(levels))
    return VQSizes(channels=channels, blocks=blocks, codes=codes, code_length=code_length)


def _ema_weights(path: Path, stored: Stored) -> Stored:
    """Return the averaged weights under the names of the raw ones: their own have no dots and cannot be told apart."""
    names = [name.removeprefix(UNET) for name in stored if name.startswith(UNET)]
    if not names:
        raise DataError(f"{path}: expected a latent diffusion model with {UNET}*, found {', '.join(list(stored)[:3])} ...")
    dotless = {name: EMA + (UNET + name).removeprefix("model.").replace(".", "") for name in names}
    found = {name for name in stored if name.startswith(EMA)} - {EMA + "decay", EMA + "num_updates"}
    require_names(path, found, dotless.values(), "the averaged (EMA) UNet, which is the one that paints")
    return {name: stored[averaged] for name, averaged in dotless.items()}


def _first_stage(checkpoint: Checkpoint, stored: Stored) -> Stored:
    """Return the autoencoder; the second copy, by which the condition is encoded, must be the same one."""
    import torch

    first = {name.removeprefix(FIRST_STAGE): value for name, value in stored.items() if name.startswith(FIRST_STAGE)}
    for name, value in stored.items():
        if name.startswith(COND_STAGE):
            twin = first.get(name.removeprefix(COND_STAGE))
            if twin is None or (twin != value and not torch.equal(checkpoint.tensor(twin), checkpoint.tensor(value))):
                raise DataError(
                    f"{checkpoint.path}: expected the masked picture to be encoded by the first stage, found {name}, which "
                    "is another network; it is a checkpoint of another model"
                )
    return {name: value for name, value in first.items() if not name.startswith("loss.")}


def _require_known(path: Path, stored: Stored) -> None:
    known = (UNET, EMA, FIRST_STAGE, COND_STAGE)
    other = [name for name in stored if not name.startswith(known) and not SCHEDULE.match(name)]
    if other:
        raise DataError(f"{path}: expected LDM inpainting, found {len(other)} unknown tensors, such as {other[0]}")


def _require_schedule(checkpoint: Checkpoint, stored: Stored, betas_T: "Tensor") -> None:
    import torch

    if "betas" not in stored:
        raise DataError(f"{checkpoint.path}: expected the schedule's betas in the checkpoint, found none; is it whole?")
    found_T = checkpoint.tensor(stored["betas"]).double().flatten()
    if found_T.shape != betas_T.shape or not torch.allclose(found_T, betas_T.double(), rtol=1e-4):
        raise DataError(
            f"{checkpoint.path}: expected {len(betas_T)} betas from {betas_T[0]:.4f} to {betas_T[-1]:.4f}, linear in their "
            f"square roots, found {len(found_T)}; it was trained with another schedule and is another model"
        )


def _scale(checkpoint: Checkpoint, stored: Stored) -> float:
    return float(checkpoint.tensor(stored["scale_factor"])) if "scale_factor" in stored else 1.0


def _unet_config(path: Path, unet: Stored, sizes: UNetSizes) -> dict[str, Any]:
    channels_in, channels_out = (_shape(path, unet, f"{name}.weight") for name in ("input_blocks.0.0", "out.2"))
    if (channels_in[1:2], channels_out[:1]) != ((7,), (3,)):
        raise DataError(
            f"{path}: expected a UNet that sees 7 channels (noisy latent, masked latent, mask) and returns 3, found kernels "
            f"{channels_in} and {channels_out}; it is a checkpoint of another model"
        )
    _require_groups(path, sizes.channels)
    down = tuple("AttnDownBlock2D" if attention else "ResnetDownsampleBlock2D" for attention in sizes.attention)
    up = tuple("AttnUpBlock2D" if attention else "ResnetUpsampleBlock2D" for attention in reversed(sizes.attention))
    return {
        "sample_size": LATENT_SIZE,
        "in_channels": 7,
        "out_channels": 3,
        "block_out_channels": sizes.channels,
        "layers_per_block": sizes.blocks,
        "down_block_types": down,
        "up_block_types": up,
        "downsample_type": "resnet",
        "upsample_type": "resnet",
        "attention_head_dim": sizes.channels[0] // HEADS,  # diffusers asks for a width; load_ldm sets the number of heads
        "norm_num_groups": GROUPS,
        "norm_eps": 1e-5,
    }


def _vq_config(sizes: VQSizes) -> dict[str, Any]:
    levels = len(sizes.channels)
    return {
        "block_out_channels": sizes.channels,
        "layers_per_block": sizes.blocks,
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "latent_channels": sizes.code_length,
        "num_vq_embeddings": sizes.codes,
        "norm_num_groups": GROUPS,
        "mid_block_add_attention": False,
        "sample_size": LATENT_SIZE * 2 ** (levels - 1),
    }


def _require_groups(path: Path, channels: tuple[int, ...]) -> None:
    if any(width % GROUPS or width % HEADS for width in channels):
        raise DataError(f"{path}: expected widths that {GROUPS} groups and {HEADS} heads divide, found {channels}")


def _renamed(checkpoint: Checkpoint, part: Stored, modules: Mapping[str, str]) -> "Iterator[tuple[str, Tensor]]":
    for name, stored in part.items():
        module, _, kind = name.rpartition(".")
        ours, tensor = modules.get(module, module), checkpoint.tensor(stored)
        if ours.endswith(".qkv"):
            for letter, piece in zip("qkv", _split_heads(tensor), strict=True):
                yield f"{ours.removesuffix('qkv')}to_{letter}.{kind}", piece
        elif ours.endswith(".to_out.0") and tensor.ndim > 1:
            yield f"{ours}.{kind}", tensor.flatten(1)  # a convolution of one place, here a product
        else:
            yield f"{ours}.{kind}", tensor


def _split_heads(qkv: "Tensor") -> "list[Tensor]":
    """Return q, k and v of a convolution whose outputs are ordered by head first, then q, k, v (QKVAttentionLegacy)."""
    if not qkv.ndim or qkv.shape[0] % (3 * HEADS):
        return [qkv] * 3  # of no possible size, so that it is refused
    by_head = qkv.reshape(HEADS, 3, -1, *qkv.shape[1:2])
    return [by_head[:, i].flatten(0, 1).contiguous() for i in range(3)]


def _shape(path: Path, tensors: Mapping[str, StoredTensor], name: str) -> tuple[int, ...]:
    if name not in tensors or not tensors[name].shape:
        raise DataError(f"{path}: expected {name} in the checkpoint, found none; it is of another model, or not whole")
    return tensors[name].shape
