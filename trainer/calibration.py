"""What training windows measure: the yardstick for every indicator, and its worth, without a label or a test video.

The autoencoders have seen these windows, so that their errors are somewhat smaller than those of new normal video will be.
Held-out videos would cost more than that is worth where there are few; z-scores compare indicators, and bear it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from pipeline.config import TrainSettings
from trainer.indicators import MAP_STRIDE, TAPS, Errors, RegionPooling, Tap
from trainer.normalise import blur

Network = Literal["spatial", "temporal", "motion"]
NETWORKS: tuple[Network, ...] = ("spatial", "temporal", "motion")

PLACE_QUANTILE = 0.99  # of training windows: what a busy moment of normal video reaches at a place
PLACE_SIGMA = 0.1  # share of the height; a few hundred windows do not fill every cell with passers-by
QUANTILES = 101
SMALLEST_ERROR = 1e-12  # an error of exactly 0 would have no logarithm
SMALLEST_STD = 1e-6
LARGEST_HALF = 65504.0


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Of one indicator on normal training windows, on the scale of :func:`to_scale`."""

    mean: float
    std: float
    quantiles_Q: NDArray[np.float64]
    """The 0th, 1st ... 100th percentile."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Errors of one network on normal windows, and on the same windows made pseudo-anomalous, input against output.

    ``pseudo`` holds, at each tap, only windows whose frame at that tap was changed; ``twin_P`` are their rows in ``normal``.
    """

    normal: Mapping[Tap, Errors]
    pseudo: Mapping[Tap, Errors]
    twin_P: Mapping[Tap, NDArray[np.int64]]


@dataclass(frozen=True, kw_only=True)
class Logits:
    """What discriminators said of frames of videos that they had not seen."""

    normal_N: NDArray[np.float64]
    pseudo_P: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """One network's values per frame, and the maps they were taken from, float16."""

    values: dict[str, NDArray[np.float64]]
    map_Nhw: NDArray[np.float16]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Per network and tap what counts as 1 at each place; per tap and indicator the spread of normal values.

    ``separation``: the AUC by which an indicator tells pseudo-anomalous training windows from the same ones when normal;
    NaN where no window could be changed.
    """

    pooling: dict[tuple[Network, Tap], RegionPooling]
    statistics: dict[tuple[Tap, str], Statistics]
    separation: dict[tuple[Tap, str], float]

    def pooled(self, network: Network, errors: Mapping[Tap, Errors]) -> dict[Tap, Pooled]:
        """Return the values ``<network>`` (per region) and ``<network>_frame_mse`` at each tap."""
        return {tap: pool(network, found, self.pooling[network, tap]) for tap, found in errors.items()}

    def z(self, tap: Tap, name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (x - mean) / std on the scale of :func:`to_scale`; unknown names raise KeyError."""
        self._check(tap, name)
        normal = self.statistics[tap, name]
        return (to_scale(name, values) - normal.mean) / max(normal.std, SMALLEST_STD)

    def fusion_weight(self, tap: Tap, name: str) -> float:
        """Return ``2 * AUC - 1`` of the separation, 0 at least; 1 where it is not known. Unknown names raise KeyError."""
        self._check(tap, name)
        auc = self.separation[tap, name]
        return 1.0 if np.isnan(auc) else max(0.0, 2 * auc - 1)

    def _check(self, tap: Tap, name: str) -> None:
        if (tap, name) not in self.statistics:
            known = ", ".join(sorted({known for _, known in self.statistics}))
            raise KeyError(f"no calibration of {name!r} at tap {tap!r}; known are {known}")

    def tensors(self) -> dict[str, Tensor]:
        """Return everything as named tensors, for calibration.safetensors."""
        places = {f"place.{network}.{tap}": pooling.place_hw for (network, tap), pooling in self.pooling.items()}
        normal = {
            f"normal.{tap}.{name}": torch.tensor([found.mean, found.std, *found.quantiles_Q], dtype=torch.float64)
            for (tap, name), found in self.statistics.items()
        }
        separation = {
            f"separation.{tap}.{name}": torch.tensor(auc, dtype=torch.float64)
            for (tap, name), auc in self.separation.items()
        }
        return places | normal | separation

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], settings: TrainSettings, size: tuple[int, int]) -> Self:
        """Rebuild from :meth:`tensors`; KeyError or ValueError if one is missing or does not fit the frame size."""
        cells = (size[0] // MAP_STRIDE, size[1] // MAP_STRIDE)
        pooling = {}
        for network in networks_of(settings):
            for tap in TAPS:
                place_hw = tensors[f"place.{network}.{tap}"]
                if tuple(place_hw.shape) != cells:
                    raise ValueError(f"expected place.{network}.{tap} of shape {cells}, found {tuple(place_hw.shape)}")
                pooling[network, tap] = region_pooling(place_hw, settings)
        statistics, separation = {}, {}
        for tap in TAPS:
            prefix = f"normal.{tap}."
            for name in [key.removeprefix(prefix) for key in tensors if key.startswith(prefix)]:
                mean, std, *quantiles = tensors[prefix + name].tolist()
                statistics[tap, name] = Statistics(mean=mean, std=std, quantiles_Q=np.array(quantiles))
                separation[tap, name] = float(tensors[f"separation.{tap}.{name}"])
        return cls(pooling=pooling, statistics=statistics, separation=separation)


def calibrate(
    samples: Mapping[Network, Sample],
    logits: Logits | None,
    settings: TrainSettings,
    objects_W: NDArray[np.float64] | None = None,
) -> Calibration:
    """Learn the yardstick from normal windows and frames, and each indicator's worth from pseudo-anomalous ones.

    ``objects_W`` are the values of the objects indicator on normal windows of videos that it had not seen. What it is worth
    stays unknown: pseudo-anomalies change what an autoencoder sees of an object, not which objects there are.
    """
    pooling: dict[tuple[Network, Tap], RegionPooling] = {}
    statistics: dict[tuple[Tap, str], Statistics] = {}
    separation: dict[tuple[Tap, str], float] = {}
    for network, sample in samples.items():
        for tap in TAPS:
            pooling[network, tap] = learn_places(network, sample.normal[tap].map_Nhw, settings)
            normal = pool(network, sample.normal[tap], pooling[network, tap]).values
            pseudo = pool(network, sample.pseudo[tap], pooling[network, tap]).values
            for name, value_N in normal.items():
                statistics[tap, name] = describe(name, value_N)
                separation[tap, name] = auc(value_N[sample.twin_P[tap]], pseudo[name])
    if logits is not None:
        for tap in TAPS:
            statistics[tap, "semantic"] = describe("semantic", logits.normal_N)
            separation[tap, "semantic"] = auc(logits.normal_N, logits.pseudo_P)
    if objects_W is not None:
        for tap in TAPS:
            statistics[tap, "objects"] = describe("objects", objects_W)
            separation[tap, "objects"] = float("nan")
    return Calibration(pooling=pooling, statistics=statistics, separation=separation)


def auc(normal_N: NDArray[np.float64], abnormal_P: NDArray[np.float64]) -> float:
    """Return the chance that an abnormal value lies above a normal one (ties count half); NaN without values."""
    normal, abnormal = len(normal_N), len(abnormal_P)
    if not normal or not abnormal:
        return float("nan")
    ranks = rankdata(np.concatenate([normal_N, abnormal_P]))[normal:].sum()
    return float((ranks - abnormal * (abnormal + 1) / 2) / (normal * abnormal))


def networks_of(settings: TrainSettings) -> tuple[Network, ...]:
    """Return which networks a training with these settings has."""
    return tuple(name for name in NETWORKS if name != "motion" or settings.motion_epochs)


def settings_of(name: Network, settings: TrainSettings) -> TrainSettings:
    """Return the settings by which one network is trained."""
    if name != "motion":
        return settings
    own = {"epochs": settings.motion_epochs, "reduce": settings.motion_reduce, "flow_sigma": 0.0}
    return settings.model_copy(update=own)


def learn_places(network: Network, map_Nhw: Tensor, settings: TrainSettings) -> RegionPooling:
    """Return the pooling whose unit, at each place, is the 99th percentile of errors there, smoothed and floored.

    Of the motion network it is 1 everywhere: what it says is a probability, and it was told where it looks.
    """
    height = map_Nhw.shape[1]
    if network == "motion":
        return region_pooling(torch.ones(map_Nhw.shape[1:]), settings)
    smooth_Nhw = blur(map_Nhw, settings.region_sigma * height)
    place_hw = blur(smooth_Nhw.quantile(PLACE_QUANTILE, dim=0)[None], PLACE_SIGMA * height)[0]
    floor = max(settings.place_floor * float(place_hw.max()), SMALLEST_ERROR)
    return region_pooling(place_hw.clamp_min(floor), settings)


def region_pooling(place_hw: Tensor, settings: TrainSettings) -> RegionPooling:
    """Return the pooling of the settings with a known unit at each place."""
    sigma = settings.region_sigma * place_hw.shape[0]
    return RegionPooling(sigma=sigma, place_hw=place_hw, quantile=settings.region_quantile)


def pool(network: Network, errors: Errors, pooling: RegionPooling) -> Pooled:
    """Return the values per frame of one network at one tap."""
    ratio_Nhw = pooling.ratio(errors.map_Nhw)
    values = {network: pooling.pool(ratio_Nhw), f"{network}_frame_mse": errors.frame_mse_N.double().numpy()}
    return Pooled(values=values, map_Nhw=ratio_Nhw.clamp_max(LARGEST_HALF).half().numpy())


def to_scale(name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values as z-scores count them: logarithms of errors (as PSNR is), the others as they are."""
    if not name.startswith(NETWORKS):
        return values
    scaled: NDArray[np.float64] = np.log10(np.maximum(values, SMALLEST_ERROR))
    return scaled


def describe(name: str, values: NDArray[np.float64]) -> Statistics:
    """Return mean, spread and percentiles of normal values."""
    scaled = to_scale(name, values)
    quantiles_Q = np.quantile(scaled, np.linspace(0, 1, QUANTILES))
    return Statistics(mean=float(scaled.mean()), std=float(scaled.std()), quantiles_Q=quantiles_Q)
