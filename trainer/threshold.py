"""What normal training windows would measure, were they new video: where thresholds for alarms come from.

A window that had a part in making the yardstick looks calmer than new video will. So each is measured as if its video were
new: the error that counts as 1 at each place is learnt from windows of other videos, and logits are those of discriminators
that had not seen it. The networks alone have seen every window; to train them anew for each fold would cost as much as
the training did.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.config import TrainSettings
from trainer.calibration import Calibration, Network, Sample, learn_places, pool
from trainer.clips import TrainingData
from trainer.evidence import evidence, or_equal
from trainer.indicators import MAP_STRIDE, TAPS, Errors, Tap
from trainer.objects import FrameObjects, over_window

FOLDS = 4
PEAK = "{}_peak"
MAP_PEAK = PEAK.format("map")


@dataclass(frozen=True, kw_only=True)
class NormalWindows:
    """Values of the same normal training windows under every indicator, row by row, at each tap; (W,) float64 each.

    Besides the values of a measurement, ``<indicator>_peak``: the worst place of the map of the scored frame; and
    ``map_peak``: the most evidence that all maps together give at any place of it.
    Empty for a bundle from elsewhere: nothing is known of its training, so that no threshold can be told.
    """

    values: dict[tuple[Tap, str], NDArray[np.float64]] = field(default_factory=dict, repr=False)

    def get(self, tap: Tap, name: str) -> NDArray[np.float64] | None:
        """Return the values of one indicator, in the unit in which a bundle measures it; None if they are not known."""
        return self.values.get((tap, name))

    def tensors(self) -> dict[str, Tensor]:
        """Return everything as named tensors, for windows.safetensors."""
        return {f"{tap}.{name}": torch.from_numpy(value_W) for (tap, name), value_W in self.values.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Rebuild from :meth:`tensors`."""
        found = {tap: [name for name in tensors if name.startswith(f"{tap}.")] for tap in TAPS}
        return cls(
            values={
                (tap, name.removeprefix(f"{tap}.")): np.asarray(tensors[name].double().numpy())
                for tap, names in found.items()
                for name in names
            }
        )


def normal_windows(
    samples: Mapping[Network, Sample],
    calibration: Calibration,
    data: TrainingData,
    start_W: NDArray[np.int64],
    settings: TrainSettings,
    *,
    logit_N: NDArray[np.float64] | None = None,
    objects: FrameObjects | None = None,
) -> NormalWindows:
    """Measure the windows that start at ``start_W``, which are those of every sample, each as if its video were new.

    ``logit_N`` are the discriminator's of all training frames, and ``objects`` those of all training frames with their
    scores, both by models that had not seen the frame's video; None where the bundle has no such indicator.
    """
    fold_W = folds(start_W, data)
    values: dict[tuple[Tap, str], NDArray[np.float64]] = {}
    for tap, index in TAPS.items():
        maps: dict[str, NDArray[np.floating[Any]]] = {}
        for network, sample in samples.items():
            found, maps[network] = _as_new(network, sample.normal[tap], fold_W, settings)
            values |= {(tap, name): value_W for name, value_W in found.items()}
        if logit_N is not None:
            values[tap, "semantic"] = logit_N[start_W + index]
        if objects is not None:
            height, width = next(iter(maps.values())).shape[1:]
            maps["objects"] = objects.painted(start_W + index, (height, width), MAP_STRIDE)
            values[tap, "objects"] = over_window(objects.worst(), start_W, 0)
        values |= {(tap, PEAK.format(name)): map_Whw.max((1, 2)).astype(np.float64) for name, map_Whw in maps.items()}
        values[tap, MAP_PEAK] = _evidence_peak(maps, calibration, tap)
    return NormalWindows(values=values)


def _evidence_peak(
    maps: Mapping[str, NDArray[np.floating[Any]]], calibration: Calibration, tap: Tap
) -> NDArray[np.float64]:
    """Return the most evidence that all maps together give at any place of each window, (W,)."""
    weights = or_equal({name: calibration.fusion_weight(tap, name) for name in maps})
    sum_Whw = np.zeros(next(iter(maps.values())).shape)
    for name, map_Whw in maps.items():
        sum_Whw += weights[name] * evidence(calibration.z(tap, name, map_Whw.astype(np.float64)))
    return np.asarray(sum_Whw.max((1, 2)))


def folds(start_W: NDArray[np.int64], data: TrainingData) -> NDArray[np.int64]:
    """Return the fold of each window, (W,): whole videos in turn; of a single video its quarters."""
    first_N = data.origin_N == np.arange(len(data.origin_N))  # the first frame of a video has none before it
    video_W = (np.cumsum(first_N) - 1)[start_W]
    if len(np.unique(video_W)) == 1:
        return start_W * FOLDS // len(data.origin_N)
    return np.asarray(video_W % FOLDS)


def _as_new(
    network: Network, errors: Errors, fold_W: NDArray[np.int64], settings: TrainSettings
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float32]]:
    """Return the values and the maps of one network at one tap, each fold judged by the places that the others teach."""
    values: dict[str, NDArray[np.float64]] = {}
    ratio_Whw = np.empty(errors.map_Nhw.shape, np.float32)
    for fold in np.unique(fold_W):
        own_F, others_F = np.flatnonzero(fold_W == fold), np.flatnonzero(fold_W != fold)
        pooling = learn_places(network, errors.take(others_F if len(others_F) else own_F).map_Nhw, settings)
        own = errors.take(own_F)
        ratio_Whw[own_F] = pooling.ratio(own.map_Nhw).numpy()
        for name, value_F in pool(network, own, pooling).values.items():
            values.setdefault(name, np.empty(len(fold_W)))[own_F] = value_F
    return values, ratio_Whw
