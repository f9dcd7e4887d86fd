"""A model bundle as an evaluation is told to use it: some of its indicators, exact or dense, in another precision."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.config import EvalSettings
from pipeline.contract import Array, DataError
from scoring.measure import Detector
from scoring.protocols import TapName

if TYPE_CHECKING:
    from trainer.bundle import Bundle
    from trainer.dense import Phases
    from trainer.indicators import Measurement

MAP_PEAK = "map_peak"  # trainer.threshold.MAP_PEAK, which needs torch


def choose_detector(bundle: "Bundle", settings: EvalSettings) -> Detector:
    """Return the detector that the settings ask for.

    Raises
    ------
    DataError
        An indicator is asked for that the bundle has not.
    """
    if settings.precision != "as-trained":
        trained = bundle.info.settings.model_copy(update={"precision": settings.precision})
        bundle = replace(bundle, info=replace(bundle.info, settings=trained))
    if settings.indicators is not None:
        bundle = _without_others(bundle, settings.indicators)
    detector: Detector = bundle if settings.mode == "exact" else Dense(bundle, settings.phases)
    return detector if settings.indicators is None else Chosen(detector, settings.indicators)


def _without_others(bundle: "Bundle", names: Sequence[str]) -> "Bundle":
    """Return the bundle without what is not asked for, but for the autoencoders; nothing is spent on it then."""
    missing = [name for name in names if name not in bundle.indicators]
    if missing:
        raise DataError(
            f"eval.indicators: expected some of {', '.join(bundle.indicators)}, which the model has, found {missing[0]}; "
            f"train with it (train.motion_epochs, train.discriminator_epochs, train.objects), or leave it out"
        )
    return replace(
        bundle,
        motion=bundle.motion if "motion" in names else None,
        discriminator=bundle.discriminator if "semantic" in names else None,
        objects=bundle.objects if "objects" in names else None,
    )


class Dense:
    """Scores every frame by long windows (:mod:`trainer.dense`), against the centre of windows of 16 in training."""

    def __init__(self, bundle: "Bundle", phases: "Phases") -> None:
        self._bundle = bundle
        self._phases = phases

    @property
    def indicators(self) -> tuple[str, ...]:
        """Names of the indicators that the bundle has."""
        return self._bundle.indicators

    def measure(
        self,
        frames_THWC: Array,
        flow_T2HW: Array,
        feature_TD: Array | None = None,
        *,
        batch_size: int = 8,
        wanted: slice = slice(None),
    ) -> "Measurement":
        """Measure every indicator on consecutive frames; a batch is one long window."""
        return self._bundle.measure(frames_THWC, flow_T2HW, feature_TD, phases=self._phases, wanted=wanted)

    def calibrate(self, tap: TapName, name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return z-scores against the centre of normal training windows."""
        return self._bundle.calibrate("centre", name, values)

    def fusion_weight(self, tap: TapName, name: str) -> float:
        """Return what an indicator is worth at the centre of windows."""
        return self._bundle.fusion_weight("centre", name)

    def normal_values(self, tap: TapName, name: str) -> NDArray[np.float64] | None:
        """Return what the centre of normal training windows measures."""
        return self._bundle.normal_values("centre", name)


class Chosen:
    """Fuses some of the indicators of a detector; an autoencoder that is left out is measured and shown all the same."""

    def __init__(self, detector: Detector, indicators: Sequence[str]) -> None:
        self._detector = detector
        self.indicators = tuple(name for name in detector.indicators if name in indicators)

    def measure(
        self,
        frames_THWC: Array,
        flow_T2HW: Array,
        feature_TD: Array | None = None,
        *,
        batch_size: int = 8,
        wanted: slice = slice(None),
    ) -> "Measurement":
        """Measure every indicator on consecutive frames."""
        return self._detector.measure(frames_THWC, flow_T2HW, feature_TD, batch_size=batch_size, wanted=wanted)

    def calibrate(self, tap: TapName, name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return z-scores against normal training video."""
        return self._detector.calibrate(tap, name, values)

    def fusion_weight(self, tap: TapName, name: str) -> float:
        """Return what an indicator is worth, 0..1."""
        return self._detector.fusion_weight(tap, name)

    def normal_values(self, tap: TapName, name: str) -> NDArray[np.float64] | None:
        """Return what normal training windows measure; None for the worst place of all maps, as one may be left out."""
        return None if name == MAP_PEAK else self._detector.normal_values(tap, name)
