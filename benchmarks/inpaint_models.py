"""Inpainting pipelines of published sizes with random weights: the arithmetic does not depend on what was learnt."""

import json
from pathlib import Path
from typing import Any

import diffusers
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

Part = Any
"""Classes of diffusers are not typed."""
SIZES: dict[str, dict[str, Any]] = {
    # The sizes of stable-diffusion-v1-5/stable-diffusion-inpainting: 860 M, 84 M and 123 M parameters, pictures of 512.
    "sd": {"unet": (320, 640, 1280, 1280), "vae": (128, 256, 512, 512), "text": (768, 12, 12), "sample": 64},
    # A fifth of the channels and a quarter of the side, for processors.
    "sd-small": {"unet": (64, 128, 256, 256), "vae": (32, 64, 128, 128), "text": (128, 2, 2), "sample": 16},
}


def write_pipeline(folder: Path, size: str) -> Path:
    """Write a Stable Diffusion inpainting pipeline of a size in :data:`SIZES`, in half precision as they are published."""
    torch.manual_seed(0)
    settings = SIZES[size]
    width, layers, heads = settings["text"]
    text = CLIPTextConfig(
        vocab_size=49408, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers,
        num_attention_heads=heads, max_position_embeddings=77, projection_dim=width,
    )  # fmt: skip
    unet: Part = diffusers.UNet2DConditionModel(
        sample_size=settings["sample"], in_channels=9, out_channels=4, block_out_channels=settings["unet"],
        cross_attention_dim=width, attention_head_dim=8,
    )  # fmt: skip
    vae: Part = diffusers.AutoencoderKL(
        block_out_channels=settings["vae"], layers_per_block=2, latent_channels=4, sample_size=8 * settings["sample"],
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    )  # fmt: skip
    schedule: Part = diffusers.PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
    )
    made: Part = diffusers.StableDiffusionInpaintPipeline
    parts = {"vae": vae, "unet": unet, "text_encoder": CLIPTextModel(text)}
    for part in parts.values():
        part.half()
    pipeline = made(
        **parts, tokenizer=_letters(folder.parent / "words"), scheduler=schedule, safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.save_pretrained(folder)
    return folder


def _letters(folder: Path) -> Part:
    """Return a tokenizer that knows letters; the encoder works on 77 tokens whatever they are."""
    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)
