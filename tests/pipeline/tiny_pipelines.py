"""Inpainting pipelines of diffusers in the production classes, small enough for a test; their weights are random."""

import json
from pathlib import Path
from typing import Any

import diffusers
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

Part = Any
"""Classes of diffusers are not typed."""
AutoencoderKL: Part = diffusers.AutoencoderKL
UNet: Part = diffusers.UNet2DConditionModel
SIZE = 32
"""Pixels of the pictures that they say they were trained with: 16 latents of two pixels each."""


def tokenizer(folder: Path) -> Part:
    """Return a tokenizer that knows single letters, and some pairs of them."""
    marks = ["<|startoftext|>", "<|endoftext|>"]
    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "th", "the</w>", *marks]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\nt h\nth e</w>\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)


def text_config(words: int, width: int = 16) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=words, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=16, projection_dim=width, bos_token_id=words - 2, eos_token_id=words - 1,
        pad_token_id=words - 1,
    )  # fmt: skip


def autoencoder(channels: int = 4, **more: Any) -> Part:
    return AutoencoderKL(
        block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=channels, norm_num_groups=4, sample_size=SIZE, **more,
    )  # fmt: skip


def unet(channels: int, **more: Any) -> Part:
    settings = {
        "sample_size": SIZE // 2, "in_channels": channels, "out_channels": 4, "block_out_channels": (8, 16),
        "layers_per_block": 1, "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "norm_num_groups": 4,
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"), "cross_attention_dim": 16, "attention_head_dim": 4,
    }  # fmt: skip
    return UNet(**{**settings, **more})


def schedule(name: str = "PNDMScheduler") -> Part:
    made: Part = getattr(diffusers, name)
    more = {"skip_prk_steps": True} if name == "PNDMScheduler" else {}
    return made(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, **more)


def write_tiny_sd(folder: Path, seed: int = 0, *, channels: int = 9, half: bool = False, **changed: Any) -> Path:
    """Write a Stable Diffusion (inpainting: 9 channels) pipeline; ``changed`` are parts to use instead."""
    torch.manual_seed(seed)
    words = tokenizer(folder.parent / f"{folder.name}-words")
    made: Part = diffusers.StableDiffusionInpaintPipeline if channels == 9 else diffusers.StableDiffusionPipeline
    parts: dict[str, Any] = {
        "vae": autoencoder(), "text_encoder": CLIPTextModel(text_config(len(words))), "tokenizer": words,
        "unet": unet(channels), "scheduler": schedule(), "safety_checker": None, "feature_extractor": None,
    }  # fmt: skip
    if half:
        for part in (parts["vae"], parts["text_encoder"], parts["unet"]):
            part.half()
    made(**{**parts, **changed}, requires_safety_checker=False).save_pretrained(folder)
    return folder


def write_tiny_sdxl(folder: Path, seed: int = 0) -> Path:
    """Write a Stable Diffusion XL pipeline, as its base model is: four channels, two text encoders."""
    torch.manual_seed(seed)
    words = tokenizer(folder.parent / f"{folder.name}-words")
    made: Part = diffusers.StableDiffusionXLPipeline
    pipeline = made(
        vae=autoencoder(),
        text_encoder=CLIPTextModel(text_config(len(words))),
        text_encoder_2=CLIPTextModelWithProjection(text_config(len(words))),
        tokenizer=words,
        tokenizer_2=words,
        unet=unet(
            4, cross_attention_dim=32, addition_embed_type="text_time", addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 16, transformer_layers_per_block=(1, 1),
        ),
        scheduler=schedule("EulerDiscreteScheduler"),
        add_watermarker=False,
    )  # fmt: skip
    pipeline.save_pretrained(folder)
    return folder


def write_tiny_sd3(folder: Path, seed: int = 0) -> Path:
    """Write a Stable Diffusion 3 pipeline: a transformer, matched flows, and no T5, which it can do without."""
    torch.manual_seed(seed)
    words = tokenizer(folder.parent / f"{folder.name}-words")
    made: Part = diffusers.StableDiffusion3Pipeline
    transformer: Part = diffusers.SD3Transformer2DModel
    flow: Part = diffusers.FlowMatchEulerDiscreteScheduler
    pipeline = made(
        vae=autoencoder(16, shift_factor=0.06, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=CLIPTextModelWithProjection(text_config(len(words))),
        text_encoder_2=CLIPTextModelWithProjection(text_config(len(words))),
        text_encoder_3=None,
        tokenizer=words,
        tokenizer_2=words,
        tokenizer_3=None,
        transformer=transformer(
            sample_size=SIZE // 2, patch_size=2, in_channels=16, out_channels=16, num_layers=1, attention_head_dim=8,
            num_attention_heads=4, joint_attention_dim=32, caption_projection_dim=32, pooled_projection_dim=32,
            pos_embed_max_size=32,
        ),
        scheduler=flow(),
    )  # fmt: skip
    pipeline.save_pretrained(folder)
    return folder
