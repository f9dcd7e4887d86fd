"""What normal training windows would measure, were they new video: where thresholds for alarms come from.

A window that had a part in making the yardstick looks calmer than new video will. So each is measured as if its video were
new: the error that counts as 1 at each place is learnt from windows of other videos, and logits are those of discriminators
that had not seen it. The autoencoders alone have seen every window; to train them anew for each fold would cost as much as
the training did.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.config import TrainSettings
from trainer.calibration import Network, Sample, learn_places, pool
from trainer.clips import TrainingData
from trainer.indicators import TAPS, Tap

FOLDS = 4
PEAK = "{}_peak"


@dataclass(frozen=True, kw_only=True)
class NormalWindows:
    """Values of the same normal training windows under every indicator, row by row, at each tap; (W,) float64 each.

    Besides the values of a measurement, ``<indicator>_peak``: the worst place of the map of the scored frame.
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
    frame_values: Mapping[str, NDArray[np.float64]],
    data: TrainingData,
    start_W: NDArray[np.int64],
    settings: TrainSettings,
    window_values: Mapping[str, NDArray[np.float64]] = MappingProxyType({}),
) -> NormalWindows:
    """Measure the windows that start at ``start_W``, which are those of every sample, each as if its video were new.

    ``frame_values`` are those of indicators that judge single frames: (N,) of all training frames, by models that had not
    seen the frame's video; ``window_values`` (W,) those of indicators that judge whole windows.
    """
    fold_W = folds(start_W, data)
    values: dict[tuple[Tap, str], NDArray[np.float64]] = {}
    for network, sample in samples.items():
        for tap in TAPS:
            found = _as_new(network, sample, tap, fold_W, settings)
            values |= {(tap, name): value_W for name, value_W in found.items()}
    for name, value_N in frame_values.items():
        values |= {(tap, name): value_N[start_W + index] for tap, index in TAPS.items()}
    for name, value_W in window_values.items():
        values |= {(tap, name): value_W for tap in TAPS}
    return NormalWindows(values=values)


def folds(start_W: NDArray[np.int64], data: TrainingData) -> NDArray[np.int64]:
    """Return the fold of each window, (W,): whole videos in turn; of a single video its quarters."""
    first_N = data.origin_N == np.arange(len(data.origin_N))  # the first frame of a video has none before it
    video_W = (np.cumsum(first_N) - 1)[start_W]
    if len(np.unique(video_W)) == 1:
        return start_W * FOLDS // len(data.origin_N)
    return np.asarray(video_W % FOLDS)


def _as_new(
    network: Network, sample: Sample, tap: Tap, fold_W: NDArray[np.int64], settings: TrainSettings
) -> dict[str, NDArray[np.float64]]:
    """Return the values of one network at one tap, each fold judged by the places that the others teach."""
    errors = sample.normal[tap]
    values: dict[str, NDArray[np.float64]] = {}
    for fold in np.unique(fold_W):
        own_F, others_F = np.flatnonzero(fold_W == fold), np.flatnonzero(fold_W != fold)
        pooling = learn_places(errors.take(others_F if len(others_F) else own_F).map_Nhw, settings)
        own = errors.take(own_F)
        found = pool(network, own, pooling).values
        found[PEAK.format(network)] = pooling.ratio(own.map_Nhw).flatten(1).amax(1).double().numpy()
        for name, value_F in found.items():
            values.setdefault(name, np.empty(len(fold_W)))[own_F] = value_F
    return values
