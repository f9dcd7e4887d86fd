"""Mask R-CNN's weights: which file, and what identifies it. Imports no torch where it identifies only."""

from pipeline.config import MasksSettings
from pipeline.models.torch_hub import TorchWeights

DEFAULT = {
    "maskrcnn_resnet50_fpn": "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth",
    "maskrcnn_resnet50_fpn_v2": "maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth",
}
"""What torchvision calls DEFAULT. A name ends in the first digits of the sha256 of the file."""


def mask_rcnn_weights(settings: MasksSettings) -> TorchWeights:
    """Return where the weights are looked for."""
    return TorchWeights(
        setting="masks.weights",
        value=settings.weights,
        default=DEFAULT[settings.detector],
        remedy="a file with torchvision's tensors, a folder with model.safetensors",
    )
