"""Instances by Mask R-CNN (He et al., ICCV 2017), torchvision's, in the frames of a video."""

import re
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.models.detection import MaskRCNN, maskrcnn_resnet50_fpn_v2
from torchvision.models.detection._utils import overwrite_eps
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.models.detection.faster_rcnn import _default_anchorgen
from torchvision.models.resnet import resnet50
from torchvision.ops.misc import FrozenBatchNorm2d

from pipeline.config import MasksSettings
from pipeline.models.coco import class_numbers
from pipeline.models.devices import pick_device
from pipeline.models.foreground import Bytes
from pipeline.models.instances import Instance
from pipeline.models.mask_rcnn_weights import mask_rcnn_weights
from pipeline.models.torch_hub import check_tensors, load_tensors
from pipeline.models.tracking import Silhouette

CLASSES = 91  # numbers that the heads tell apart: COCO's, of which 80 are used, and 0 for the background
LONG_SIDE = 1333 / 800  # torchvision's limit on the long side, as a multiple of the short one
SURE = 0.5  # of a pixel, from which on it belongs to the object
_COUNTER = "num_batches_tracked"  # of batch norms, during training only; some files have it
_OLD_NAMES = (
    (r"(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)", r"\1.0.\2"),
    (r"(rpn\.head\.conv)\.(weight|bias)", r"\1.0.0.\2"),
    *((rf"(roi_heads\.mask_head)\.mask_fcn{n}\.(weight|bias)", rf"\1.{n - 1}.0.\2") for n in range(1, 5)),
)
"""Names in files from before torchvision 0.13, such as its own of the first model, and the present ones."""


class MaskRcnn:
    """Finds the instances of some classes: frames (T, H, W, C) uint8, C = 1 (grey) or 3 (RGB), in, a list for each out.

    Parameters
    ----------
    model
        In evaluation mode, on its device; it drops what it is less sure of than ``box_score_thresh``.
    labels
        Numbers of the classes that are wanted.
    batch_size
        Frames at once.
    half
        Type of the arithmetic under autocast; none = that of the weights.
    """

    def __init__(
        self, model: MaskRCNN, *, labels: Collection[int], batch_size: int, half: torch.dtype | None = None
    ) -> None:
        self._model: Any = model
        self._device = next(model.parameters()).device
        self._labels = torch.tensor(sorted(labels), device=self._device)
        self._batch_size = batch_size
        self._half = half

    def __call__(self, frames_THWC: Bytes) -> list[list[Instance]]:
        """Return what is found in each frame, the surest first.

        Raises
        ------
        ValueError
            These are no grey or RGB frames of type uint8.
        """
        if frames_THWC.ndim != 4 or frames_THWC.shape[-1] not in (1, 3) or frames_THWC.dtype != np.uint8:
            raise ValueError(f"expected frames (T, H, W, 1 or 3) uint8, found {frames_THWC.shape} {frames_THWC.dtype}")
        found: list[list[Instance]] = []
        with torch.inference_mode(), self._autocast():
            for start in range(0, len(frames_THWC), self._batch_size):
                answers = self._model(list(self._images(frames_THWC[start : start + self._batch_size])))
                found += [list(self._instances(answer)) for answer in answers]
        return found

    def _images(self, frames_BHWC: Bytes) -> Tensor:
        """Return images (B, 3, H, W) float 0..1."""
        frame_BCHW = torch.from_numpy(np.ascontiguousarray(frames_BHWC)).to(self._device).permute(0, 3, 1, 2)
        return frame_BCHW.float().div(255).expand(-1, 3, -1, -1)

    def _instances(self, answer: dict[str, Tensor]) -> Iterator[Instance]:
        """Yield those of the wanted classes that cover a pixel."""
        wanted_N = torch.isin(answer["labels"], self._labels)
        label_N = answer["labels"][wanted_N].cpu().numpy()
        mask_NHW: NDArray[np.bool_] = (answer["masks"][wanted_N, 0] >= SURE).cpu().numpy()
        for label, mask_HW in zip(label_N, mask_NHW, strict=True):
            rows, columns = mask_HW.any(axis=1).nonzero()[0], mask_HW.any(axis=0).nonzero()[0]
            if len(rows):
                pixels_HW = mask_HW[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()
                yield Instance(int(label), Silhouette(int(rows[0]), int(columns[0]), pixels_HW))

    def _autocast(self) -> AbstractContextManager[Any]:
        return nullcontext() if self._half is None else torch.autocast(self._device.type, self._half)


def open_mask_rcnn(settings: MasksSettings) -> MaskRcnn:
    """Return the detector with the weights that the settings name, on its device.

    Raises
    ------
    FileNotFoundError
        There are no weights.
    ConfigError
        The file holds no weights, or those of another model; or there is no such class or device.
    """
    labels, device = class_numbers(settings.classes), pick_device(settings.device)
    model = load_mask_rcnn(settings, mask_rcnn_weights(settings).require()).to(device)
    half = torch.float16 if settings.precision == "mixed" and device.type == "cuda" else None
    return MaskRcnn(model, labels=labels, batch_size=settings.batch_size, half=half)


def check_mask_rcnn(settings: MasksSettings) -> None:
    """Raise what :func:`open_mask_rcnn` would, without using the device."""
    class_numbers(settings.classes)
    pick_device(settings.device)
    load_mask_rcnn(settings, mask_rcnn_weights(settings).require())


def load_mask_rcnn(settings: MasksSettings, path: Path) -> MaskRCNN:
    """Return the detector in evaluation mode with the weights of a file; see :func:`open_mask_rcnn`."""
    tensors = {_present_name(name): tensor for name, tensor in load_tensors(path).items() if not name.endswith(_COUNTER)}
    model = _build(settings)
    expected = {name: tensor for name, tensor in model.state_dict().items() if not name.endswith(_COUNTER)}
    remedy = "set masks.detector to the model they are of; other classes than COCO's 91 numbers are not supported"
    check_tensors(path, tensors, expected, name=settings.detector, remedy=remedy)
    counters = {name: torch.tensor(0) for name in model.state_dict().keys() - expected.keys()}
    model.load_state_dict({**tensors, **counters}, assign=True)
    return model.eval().requires_grad_(False)


def _build(settings: MasksSettings) -> MaskRCNN:
    """Return torchvision's model as it is where torchvision loads its own weights, without any."""
    limits = {
        "min_size": settings.short_side,
        "max_size": round(LONG_SIDE * settings.short_side),
        "box_score_thresh": settings.score,
    }
    with torch.device("meta"):  # no weights are drawn at random only to be replaced
        if settings.detector == "maskrcnn_resnet50_fpn_v2":
            model = maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None, num_classes=CLASSES, **limits)
        else:
            tower = _resnet_fpn_extractor(resnet50(weights=None, norm_layer=FrozenBatchNorm2d), 5)
            model = MaskRCNN(tower, num_classes=CLASSES, **limits)
            overwrite_eps(model, 0.0)  # its weights were trained without
    model.rpn.anchor_generator = _default_anchorgen()  # holds numbers that are no weights
    return model


def _present_name(name: str) -> str:
    for old, new in _OLD_NAMES:
        name = re.sub(rf"^{old}$", new, name)
    return name
