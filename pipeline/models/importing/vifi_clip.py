"""ViFi-CLIP's published checkpoint -> the image tower in the layout of ``transformers``."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.contract import DataError
from pipeline.files import write_json
from pipeline.models.importing.checkpoint import Checkpoint
from pipeline.models.importing.fitting import by_new_names, require_fit
from pipeline.models.importing.unpickle import StoredTensor
from pipeline.models.weights import save_weights

if TYPE_CHECKING:
    from torch import Tensor

TOWER = "module.image_encoder."
BESIDE = ("module.text_encoder.", "module.prompt_learner.complete_text_embeddings", "module.logit_scale")
"""What belongs to ViFi-CLIP and not to its image tower: the text tower, embeddings of class names, the temperature."""
PROMPTS = re.compile(r"VPT|prompt_learner\.ctx|compound_prompt", re.IGNORECASE)
HEAD = 64
"""Width of an attention head of every CLIP vision transformer; it cannot be read off the tensors."""
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
RENAMED = {
    "class_embedding": "vision_model.embeddings.class_embedding",
    "positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "ln_post.weight": "vision_model.post_layernorm.weight",
    "ln_post.bias": "vision_model.post_layernorm.bias",
    "proj": "visual_projection.weight",
}
LAYER = re.compile(r"^transformer\.resblocks\.(\d+)\.(.+)\.(weight|bias)$")
IN_PROJECTION = re.compile(r"^transformer\.resblocks\.(\d+)\.(attn)\.in_proj_(weight|bias)$")
PARTS = {
    "attn.out_proj": "self_attn.out_proj",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}


def import_vifi_clip(checkpoint: Checkpoint, folder: Path) -> dict[str, Any]:
    """Write what ``CLIPVisionModelWithProjection.from_pretrained`` opens, and how ViFi-CLIP prepares pictures.

    Returns the sizes, which are read off the tensors.

    Raises
    ------
    DataError
        The checkpoint is of another model, such as a prompted ViFi-CLIP.
    """
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    tower = _tower(checkpoint)
    config = _config(checkpoint.path, tower)
    tensors = by_new_names(checkpoint.path, _renamed(checkpoint, tower))
    with torch.device("meta"):
        model = CLIPVisionModelWithProjection(CLIPVisionConfig(**config))
    described = f"ViFi-CLIP's image tower ({config['num_hidden_layers']} layers of {config['hidden_size']})"
    require_fit(checkpoint.path, {name: tensor.shape for name, tensor in tensors.items()}, model, described)
    save_weights(tensors, folder / "model.safetensors", torch.float32)
    facts = {"architectures": ["CLIPVisionModelWithProjection"], "model_type": "clip_vision_model", "dtype": "float32"}
    write_json(folder / "config.json", {**facts, **config})
    write_json(folder / "preprocessor_config.json", _preprocessing(config["image_size"]))
    return {**config, "parameters": sum(parameter.numel() for parameter in model.parameters())}


def _tower(checkpoint: Checkpoint) -> dict[str, StoredTensor]:
    stored = checkpoint.state_dict("model")
    prompts = [name for name in stored if PROMPTS.search(name)]
    if prompts:
        raise DataError(
            f"{checkpoint.path}: expected a fully fine-tuned ViFi-CLIP, found learnt prompts ({prompts[0]} and "
            f"{len(prompts) - 1} more): a prompted model (VPT) is another one, whose features differ; take the checkpoint "
            "without prompting"
        )
    other = [name for name in stored if not name.startswith((TOWER, *BESIDE))]
    if other:
        raise DataError(
            f"{checkpoint.path}: expected ViFi-CLIP, whose names begin with {TOWER} or {', '.join(BESIDE)}; "
            f"found {len(other)} unknown, such as {other[0]}"
        )
    return {name.removeprefix(TOWER): value for name, value in stored.items() if name.startswith(TOWER)}


def _config(path: Path, tower: dict[str, StoredTensor]) -> dict[str, Any]:
    try:
        width, channels, patch, _ = tower["conv1.weight"].shape
        places, _ = tower["positional_embedding"].shape
        _, length = tower["proj"].shape
        inner = tower["transformer.resblocks.0.mlp.c_fc.weight"].shape[0]
    except KeyError as error:
        raise DataError(f"{path}: expected {TOWER}{error.args[0]} in the checkpoint, found none; is it whole?") from None
    except (ValueError, IndexError) as error:
        raise DataError(f"{path}: expected the image tower of a vision transformer, found other shapes ({error})") from None
    grid = math.isqrt(max(places - 1, 0))
    layers = {int(match[1]) for name in tower if (match := LAYER.match(name))}
    if grid * grid + 1 != places or width % HEAD or not grid:
        raise DataError(
            f"{path}: expected a square grid of patches and one place more, and a width of a multiple of {HEAD}; "
            f"found {places} places and a width of {width}"
        )
    return {
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": len(layers),
        "num_attention_heads": width // HEAD,
        "num_channels": channels,
        "patch_size": patch,
        "image_size": grid * patch,
        "projection_dim": length,
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
    }


def _renamed(checkpoint: Checkpoint, tower: dict[str, StoredTensor]) -> "Iterator[tuple[str, Tensor]]":
    """Yield the tower under the names of transformers; unknown names stay, and are refused later."""
    for name, stored in tower.items():
        tensor = checkpoint.tensor(stored)
        match = LAYER.match(name) or IN_PROJECTION.match(name)
        layer = f"vision_model.encoder.layers.{match[1]}" if match else ""
        if name == "proj":
            yield RENAMED[name], tensor.T.contiguous()
        elif match and match[2] == "attn" and stored.shape:
            for letter, part in zip("qkv", tensor.tensor_split(3), strict=True):
                yield f"{layer}.self_attn.{letter}_proj.{match[3]}", part.contiguous()
        elif match and match[2] in PARTS:
            yield f"{layer}.{PARTS[match[2]]}.{match[3]}", tensor
        else:
            yield RENAMED.get(name, name), tensor


def _preprocessing(size: int) -> dict[str, Any]:
    """Return ViFi-CLIP's own: short side 256 for pictures of 224, bilinear, centre crop, ImageNet's mean and spread."""
    return {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": 256 * size // 224},
        "crop_size": {"height": size, "width": size},
        "resample": 2,
        "rescale_factor": 1 / 255,
        **IMAGENET,
    }
