"""From frames to what the image tower of a CLIP or SigLIP model sees: resized, cut or padded, normalised.

On a processor frames are prepared a few at a time, in planes: what they need stays in the cache of its cores, which takes
half of the time of a whole batch at once. Each element is the same number either way.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pipeline.models.bilinear import SMALLEST, resize_part
from pipeline.models.clip_folder import Preparation
from pipeline.models.inpainting_contract import grey_pictures


class PicturePreparer:
    """Turns frames into normalised pictures of one size, on a device and in the type of the model.

    Parameters
    ----------
    own
        What the folder of the model says of pictures.
    size
        Side of the square pictures that the model sees, in pixels.
    keep_all
        True: letterbox; False: the model's own way, which cuts the sides of a wide frame.
    """

    def __init__(self, own: Preparation, size: int, *, keep_all: bool, device: torch.device, dtype: torch.dtype) -> None:
        self._own, self._size, self._keep_all = own, size, keep_all
        self._device, self._type = device, dtype
        self._mean_3, self._std_3 = (torch.tensor(values, device=device) for values in (own.mean, own.std))

    def __call__(self, images_BHWC: NDArray[np.uint8]) -> Tensor:
        """Return pictures (B, 3, size, size) of images (B, H, W, C) uint8 0..255, C = 1 (grey) or 3 (RGB)."""
        shape = (len(images_BHWC), 3, self._size, self._size)
        # The order in memory decides how a convolution rounds: it stays as it was when features were first made.
        colour_crop = not self._keep_all and images_BHWC.shape[-1] == 3
        order = torch.channels_last if colour_crop else torch.contiguous_format
        pixel_BCHW = torch.empty(shape, device=self._device, memory_format=order)
        at_once = torch.get_num_threads() if self._device.type == "cpu" else len(images_BHWC)
        for start in range(0, len(images_BHWC), at_once):
            part = slice(start, start + at_once)
            pixel_BCHW[part].copy_(self._normalised(images_BHWC[part]))
        return pixel_BCHW.to(self._type)

    def _normalised(self, images_BHWC: NDArray[np.uint8]) -> Tensor:
        if images_BHWC.shape[-1] == 3 and _are_grey(images_BHWC):
            images_BHWC = images_BHWC[..., :1]  # three times as much work for the same numbers
        image_BCWH = torch.from_numpy(np.ascontiguousarray(images_BHWC)).to(self._device).permute(0, 3, 2, 1)
        plane_BCWH = image_BCWH.to(torch.float32, memory_format=torch.contiguous_format).div_(255)
        picture_BCHW = self._placed(plane_BCWH.transpose(2, 3)).expand(-1, 3, -1, -1)  # columns are resized first
        return (picture_BCHW - self._mean_3[:, None, None]).div_(self._std_3[:, None, None])

    def _placed(self, image_BCHW: Tensor) -> Tensor:
        bicubic = self._own.bicubic
        if self._keep_all:
            return letterbox(image_BCHW, self._size, self._mean_3, bicubic=bicubic)
        if self._own.squash:
            return _resized(image_BCHW, self._size, self._size, bicubic=bicubic)
        return centre_crop(image_BCHW, self._size, self._own.short_side_for(self._size), bicubic=bicubic)


def _are_grey(images_BHWC: NDArray[np.uint8]) -> bool:
    few_BHWC = images_BHWC[:, ::16]  # colour is seen at once
    return bool(grey_pictures(few_BHWC).all() and grey_pictures(images_BHWC).all())


def letterbox(image_BCHW: Tensor, size: int, fill_3: Tensor, *, bicubic: bool = False) -> Tensor:
    """Resize the long side to ``size`` (antialiased), keep the whole frame, pad both ends alike with a colour.

    Images (B, 1 or 3, H, W) float 0..1 become (B, 3, size, size).
    """
    height, width = image_BCHW.shape[2:]
    scale = size / max(height, width)
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    padded_BCHW = fill_3[:, None, None].expand(len(image_BCHW), -1, size, size).clone()
    top, left = (size - rows) // 2, (size - columns) // 2
    resized_BCHW = _resized(image_BCHW, rows, columns, bicubic=bicubic)
    padded_BCHW[:, :, top : top + rows, left : left + columns] = resized_BCHW
    return padded_BCHW


def centre_crop(image_BCHW: Tensor, size: int, short_side: int, *, bicubic: bool = False) -> Tensor:
    """Resize the short side to ``short_side`` (antialiased) and cut the middle out, as CLIP's image processors do.

    Images (B, C, H, W) float 0..1 become (B, C, size, size); nothing is padded.
    """
    height, width = image_BCHW.shape[2:]
    if height <= width:
        rows, columns = short_side, int(short_side * width / height)
    else:
        rows, columns = int(short_side * height / width), short_side
    top, left = round((rows - size) / 2), round((columns - size) / 2)
    part = slice(top, top + size), slice(left, left + size)
    return _resized(image_BCHW, rows, columns, part, bicubic=bicubic)


def _resized(
    image_BCHW: Tensor, rows: int, columns: int, part: tuple[slice, slice] | None = None, *, bicubic: bool
) -> Tensor:
    """Return a part, or all, of what images are at another size."""
    part = part or (slice(0, rows), slice(0, columns))
    if tuple(image_BCHW.shape[2:]) == (rows, columns):
        return image_BCHW[:, :, *part]
    factor = min(rows / image_BCHW.shape[2], columns / image_BCHW.shape[3])
    if image_BCHW.device.type == "cpu" and not bicubic and factor >= SMALLEST:
        return resize_part(image_BCHW, rows, columns, part)
    mode = "bicubic" if bicubic else "bilinear"
    resized_BCHW = F.interpolate(image_BCHW.contiguous(), (rows, columns), mode=mode, align_corners=False, antialias=True)[
        :, :, *part
    ]
    return resized_BCHW.clamp(0, 1) if bicubic else resized_BCHW  # cubic curves overshoot at edges
