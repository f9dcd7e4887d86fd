"""A latent diffusion model in the production classes, small enough for a test; its weights are random."""

from pathlib import Path

import torch

from pipeline.models.ldm import Part, UNet2DModel, VQModel, make_scheduler, save_ldm


def tiny_vqvae() -> Part:
    return VQModel(
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=3,
        num_vq_embeddings=32,
        norm_num_groups=4,
        mid_block_add_attention=False,
        scaling_factor=0.5,
    )


def tiny_unet() -> Part:
    return UNet2DModel(
        sample_size=8,
        in_channels=7,
        out_channels=3,
        block_out_channels=(8, 8, 16, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D",) * 3 + ("AttnDownBlock2D",),
        up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * 3,
        norm_num_groups=4,
    )


def write_tiny_ldm(folder: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    vqvae = tiny_vqvae()
    vqvae.quantize.embedding.weight.data.normal_()  # as made they lie so close together that all pictures are alike
    save_ldm(folder, vqvae, tiny_unet(), make_scheduler())
    return folder
