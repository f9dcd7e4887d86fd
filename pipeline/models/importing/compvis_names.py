"""Names of CompVis latent diffusion (openaimodel.UNetModel, VQModelInterface) -> names of ``diffusers``.

What is not known from the sizes stays under its own name, and is refused when names are compared.
"""

from dataclasses import dataclass

RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
ATTENTION = {"norm": "group_norm", "qkv": "qkv", "proj_out": "to_out.0"}
VQ_RESNET = {"norm1": "norm1", "conv1": "conv1", "norm2": "norm2", "conv2": "conv2", "nin_shortcut": "conv_shortcut"}


@dataclass(frozen=True)
class UNetSizes:
    """What can be read off the tensors of a UNet with ``resblock_updown``."""

    channels: tuple[int, ...]
    """Per level, finest first."""
    blocks: int
    """Residual blocks per level on the way down; one more on the way up."""
    attention: tuple[bool, ...]
    """Per level: is there attention after each block."""


@dataclass(frozen=True)
class VQSizes:
    """What can be read off the tensors of a VQ autoencoder without attention."""

    channels: tuple[int, ...]
    blocks: int
    codes: int
    code_length: int


def unet_modules(sizes: UNetSizes) -> dict[str, str]:
    """Return the modules that hold parameters, as CompVis calls them -> as UNet2DModel does; ``qkv`` stands for three."""
    levels, blocks = len(sizes.channels), sizes.blocks
    names = {
        "time_embed.0": "time_embedding.linear_1",
        "time_embed.2": "time_embedding.linear_2",
        "input_blocks.0.0": "conv_in",
        "out.0": "conv_norm_out",
        "out.2": "conv_out",
        **_inside("middle_block.0", "mid_block.resnets.0", RESNET),
        **_inside("middle_block.1", "mid_block.attentions.0", ATTENTION),
        **_inside("middle_block.2", "mid_block.resnets.1", RESNET),
    }
    for level in range(levels):
        first = 1 + level * (blocks + 1)  # blocks, and one that halves
        for block in range(blocks):
            names |= _block(f"input_blocks.{first + block}", f"down_blocks.{level}", block, sizes.attention[level])
        if level + 1 < levels:
            names |= _inside(f"input_blocks.{first + blocks}.0", f"down_blocks.{level}.downsamplers.0", RESNET)
    for up in range(levels):
        first, attention = up * (blocks + 1), sizes.attention[levels - 1 - up]
        for block in range(blocks + 1):
            names |= _block(f"output_blocks.{first + block}", f"up_blocks.{up}", block, attention)
        if up + 1 < levels:
            doubling = f"output_blocks.{first + blocks}.{2 if attention else 1}"
            names |= _inside(doubling, f"up_blocks.{up}.upsamplers.0", RESNET)
    return names


def vq_modules(sizes: VQSizes) -> dict[str, str]:
    """Return the modules that hold parameters, as CompVis calls them -> as VQModel does."""
    levels, blocks = len(sizes.channels), sizes.blocks
    names = {name: name for name in ("quantize.embedding", "quant_conv", "post_quant_conv")}
    for half in ("encoder", "decoder"):
        names |= {f"{half}.{name}": f"{half}.{name}" for name in ("conv_in", "conv_out")}
        names[f"{half}.norm_out"] = f"{half}.conv_norm_out"
        for block in (0, 1):
            names |= _inside(f"{half}.mid.block_{block + 1}", f"{half}.mid_block.resnets.{block}", VQ_RESNET)
    for level in range(levels):
        down, up = f"encoder.down_blocks.{level}", f"decoder.up_blocks.{levels - 1 - level}"  # CompVis counts both from fine
        for block in range(blocks):
            names |= _inside(f"encoder.down.{level}.block.{block}", f"{down}.resnets.{block}", VQ_RESNET)
        for block in range(blocks + 1):
            names |= _inside(f"decoder.up.{level}.block.{block}", f"{up}.resnets.{block}", VQ_RESNET)
        names[f"encoder.down.{level}.downsample.conv"] = f"{down}.downsamplers.0.conv"
        names[f"decoder.up.{level}.upsample.conv"] = f"{up}.upsamplers.0.conv"
    return names


def _block(theirs: str, ours: str, block: int, attention: bool) -> dict[str, str]:
    names = _inside(f"{theirs}.0", f"{ours}.resnets.{block}", RESNET)
    return names | (_inside(f"{theirs}.1", f"{ours}.attentions.{block}", ATTENTION) if attention else {})


def _inside(theirs: str, ours: str, parts: dict[str, str]) -> dict[str, str]:
    return {f"{theirs}.{their_part}": f"{ours}.{our_part}" for their_part, our_part in parts.items()}
