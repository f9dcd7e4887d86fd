"""Bilinear resizing on a processor: the numbers of torch's ``interpolate`` (antialiased) in a third of its time.

Torch goes from pixel to pixel. Here whole rows are weighted and added up, first of the transposed picture, as torch does
columns first, and only those that lie in the part that is wanted. Weights and the order of additions are torch's
(UpSampleKernel.cpp), so that all numbers are the same where ``addcmul`` rounds once, as torch's own loop does: on processors
with AVX2. Torch's loop over more than four rows is another; for what is made smaller than half, take torch's.
"""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SMALLEST = 0.5
"""Of what can be done here: the factor by which a side is resized."""
Taps = tuple[Tensor, Tensor]
"""Which rows are added up, (K, N) int64, and their weights, (K, N, 1) float32, for N rows out of at most K each."""


def resize_part(image_BCHW: Tensor, rows: int, columns: int, part: tuple[slice, slice]) -> Tensor:
    """Return a part of images (B, C, H, W) float32 resized to (``rows``, ``columns``); both slices have begin and end."""
    height, width = image_BCHW.shape[2:]
    turned_BCWH = _added_up(image_BCHW.transpose(2, 3).contiguous(), _taps(width, columns, part[1].start, part[1].stop))
    return _added_up(turned_BCWH.transpose(2, 3).contiguous(), _taps(height, rows, part[0].start, part[0].stop))


def _added_up(image_BCHW: Tensor, taps: Taps) -> Tensor:
    row_KN, weight_KN1 = taps
    sum_BCNW = image_BCHW.index_select(2, row_KN[0]).mul_(weight_KN1[0])
    for row_N, weight_N1 in zip(row_KN[1:], weight_KN1[1:], strict=True):
        sum_BCNW.addcmul_(image_BCHW.index_select(2, row_N), weight_N1)
    return sum_BCNW


@lru_cache(maxsize=64)
def _taps(length: int, resized: int, first: int, last: int) -> Taps:
    """Return what makes rows ``first`` to ``last`` of ``resized`` ones out of ``length``, in single precision as torch."""
    if length == resized:
        return torch.arange(first, last)[None], torch.ones(1, last - first, 1)
    scale = np.float32(length) / np.float32(resized)
    reach = max(np.float32(1), scale)
    found = [_tap(length, scale, reach, np.float32(row + 0.5)) for row in range(first, last)]
    most = max(len(weight_K) for _, weight_K in found)
    row_KN, weight_KN1 = np.zeros((most, len(found)), np.int64), np.zeros((most, len(found), 1), np.float32)
    for i, (begin, weight_K) in enumerate(found):
        row_KN[:, i] = np.minimum(begin + np.arange(most), length - 1)
        weight_KN1[: len(weight_K), i, 0] = weight_K  # 0 for the others, which changes no sum
    return torch.from_numpy(row_KN), torch.from_numpy(weight_KN1)


def _tap(length: int, scale: np.float32, reach: np.float32, row: np.float32) -> tuple[int, NDArray[np.float32]]:
    """Return the first row that counts, and the weights from there on, which add up to 1."""
    centre, half, one = scale * row, np.float32(0.5), np.float32(1)
    begin, end = max(int(centre - reach + half), 0), min(int(centre + reach + half), length)
    away_K = (np.arange(begin, end).astype(np.float32) - centre + half) * (one / reach)
    weight_K = np.maximum(one - np.abs(away_K), np.float32(0))
    total = np.float32(0)
    for weight in weight_K:  # np.sum adds pairs
        total += weight
    return begin, weight_K / total
