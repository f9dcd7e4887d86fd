"""The architecture of the small ViFi-CLIP, its tokenizer, and its folder on disk."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from pipeline.models.clip_folder import IMAGENET_MEAN, IMAGENET_STD
from pipeline.models.weights import save_weights
from pipeline.synthetic.captions import EMPTY, Sight, sentence
from pipeline.synthetic.person import CLOTHES

IMAGE_SIZE, PATCH = 160, 16
GRID = IMAGE_SIZE // PATCH
START, END = "<|startoftext|>", "<|endoftext|>"
MAX_TOKENS = 64
_FORMS = {
    "person": ("walks", "stands", "runs", "against", "lies", "falls"),
    "cyclist": ("rides",),
    "cart": ("drives",),
    "bag": ("left", "flies"),
}


def phrase_book() -> list[str]:
    """Return sentences that hold every word captions are made of, in a fixed order."""
    book = [EMPTY, "no two three four five six seven many people, cyclists, carts and bags"]
    for (noun, actions), colour in itertools.product(_FORMS.items(), CLOTHES):
        for action, direction, near in itertools.product(actions, (-1, 1), (False, True)):
            one = Sight(noun=noun, colour=colour, action=action, direction=direction, near=near, x=0.5)
            book += [sentence([one]), sentence([one, one]), sentence([one, one], colours=False)]
    return book


def make_tokenizer() -> CLIPTokenizer:
    """Return a CLIPTokenizer of which every caption word is one token; other words fall into pieces, down to bytes."""
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    trainer = trainers.BpeTrainer(vocab_size=4000, end_of_word_suffix="</w>", show_progress=False)
    learner.train_from_iterator(phrase_book(), trainer)
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges), START, END]
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(words))}
    pairs: Any = merges  # declared as list of str, passed on to tokenizers, which takes pairs
    return CLIPTokenizer(vocab=vocabulary, merges=pairs, model_max_length=MAX_TOKENS)


def make_model(tokenizer: CLIPTokenizer, width: int, layers: int) -> CLIPModel:
    """Return the untrained model; its random numbers come from torch's global generator."""
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    projection = 128
    config = CLIPConfig(
        projection_dim=projection,
        vision_config={
            "hidden_size": width,
            "intermediate_size": 512,
            "num_hidden_layers": layers,
            "num_attention_heads": width // 32,
            "image_size": IMAGE_SIZE,
            "patch_size": PATCH,
            "projection_dim": projection,
            "hidden_act": "quick_gelu",
            "layer_norm_eps": 1e-5,
        },
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "max_position_embeddings": MAX_TOKENS,
            "projection_dim": projection,
            "hidden_act": "quick_gelu",
            "layer_norm_eps": 1e-5,
            "pad_token_id": tokenizer.pad_token_id,
            **ends,
        },
    )
    model = CLIPModel(config)
    # Neighbouring patches start out alike: what is where need not be learnt from nothing.
    position_ND = model.vision_model.embeddings.position_embedding.weight
    with torch.no_grad():
        position_ND[1:] = 0.02 * _waves(width)
    return model


def _waves(width: int) -> Tensor:
    """Return sines and cosines of row and column at several wavelengths, (GRID * GRID, width)."""
    rate_K = 0.1 ** (torch.arange(width // 4) / (width // 4 - 1))
    row_N, column_N = (torch.arange(GRID * GRID) // GRID).float(), (torch.arange(GRID * GRID) % GRID).float()
    angle_NK = [place[:, None] * rate_K for place in (row_N, column_N)]
    return torch.cat([wave(angle) for angle in angle_NK for wave in (torch.sin, torch.cos)], 1)


def embed_windows(model: CLIPModel, pixel_BCHW: Tensor, corner_B2: Tensor) -> Tensor:
    """Return raw embeddings (B, D) of windows of the picture, as if the patches around them had been left out.

    ``pixel_BCHW`` holds whole patches, ``corner_B2`` the (row, column) of its first patch in the grid of patches.
    A window of the whole picture (corner 0, 0) gives what ``get_image_features`` gives.
    """
    vision = model.vision_model
    patch_BND = vision.embeddings.patch_embedding(pixel_BCHW).flatten(2).transpose(1, 2)
    rows, columns = pixel_BCHW.shape[2] // PATCH, pixel_BCHW.shape[3] // PATCH
    row_B1, column_B1 = corner_B2[:, :1], corner_B2[:, 1:]
    place_N = (torch.arange(rows)[:, None] * GRID + torch.arange(columns)).flatten()
    place_BN = 1 + place_N[None] + row_B1 * GRID + column_B1
    place_BN = torch.cat([torch.zeros_like(row_B1), place_BN], 1)
    class_B1D = vision.embeddings.class_embedding.expand(len(pixel_BCHW), 1, -1)
    hidden_BND = torch.cat([class_B1D, patch_BND], 1) + vision.embeddings.position_embedding(place_BN)
    hidden_BND = vision.encoder(inputs_embeds=vision.pre_layrnorm(hidden_BND)).last_hidden_state
    embedding_BD: Tensor = model.visual_projection(vision.post_layernorm(hidden_BND[:, 0]))
    return embedding_BD


def embed_texts(model: CLIPModel, tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Return raw embeddings (B, D) of sentences; those longer than 64 tokens are cut."""
    tokens = tokenizer(texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
    embedding_BD: Tensor = model.get_text_features(**tokens).pooler_output
    return embedding_BD


def save_model(model: CLIPModel, tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write settings, weights (half precision), tokenizer and what the pictures are prepared with."""
    folder.mkdir(parents=True, exist_ok=True)
    model.config.architectures = ["CLIPModel"]
    model.config.save_pretrained(folder)
    save_weights(dict(model.state_dict()), folder / "model.safetensors")
    (folder / "model.safetensors").chmod(0o644)
    tokenizer.save_pretrained(folder)
    facts = {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": IMAGE_SIZE * 256 // 224},
        "crop_size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        "resample": 2,
        "rescale_factor": 1 / 255,
        "image_mean": list(IMAGENET_MEAN),
        "image_std": list(IMAGENET_STD),
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
