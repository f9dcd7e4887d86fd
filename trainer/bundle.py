"""The model bundle: what training leaves behind and scoring needs, in up to seven safetensors files and one JSON file.

spatial.safetensors        the autoencoder of frames
temporal.safetensors       the autoencoder of flow
motion.safetensors         the network that marks unusual motion (absent where it was left out)
discriminator.safetensors  normal against spatial pseudo-anomaly, on frame features (absent where it was left out)
objects.safetensors        the empty scenes and the objects that are normal in them (absent where that was left out)
calibration.safetensors    what normal training windows measure: per place, and per indicator and tap
windows.safetensors        what such windows would measure as new video: thresholds (a bundle from elsewhere has none)
bundle.json                settings, frame size, flow scale, losses, versions
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pipeline.config import CLIP_FRAMES, TrainSettings
from pipeline.contract import Array, DataError
from trainer.autoencoder import Autoencoder, Trunk, to_device
from trainer.calibration import Calibration, Network, Pooled, networks_of, pool, settings_of
from trainer.dense import Phases, dense_errors
from trainer.devices import Precision, usable_precision
from trainer.discriminator import Discriminator
from trainer.indicators import (
    MAP_STRIDE,
    TAPS,
    Measurement,
    Tap,
    TapValues,
    rows_of_tap,
    scored_frames,
    video_windows,
    window_ends,
    window_errors,
)
from trainer.normalise import arriving_flow, normalise_flow, normalise_frames, reduce_pictures, smooth_flow, to_channels
from trainer.objects import over_window
from trainer.scenes import ObjectModel
from trainer.segmenter import MotionSegmenter
from trainer.threshold import NormalWindows

__all__ = ["Bundle", "BundleError", "BundleInfo", "Measurement", "Tap", "TapValues", "load_bundle", "save_bundle"]

FORMAT = 1
Normalise = Callable[[Tensor], Tensor]

NO_TRACE = {"data", "data_gib", "loaders", "checkpoint_minutes", "checkpoint_steps", "tensorboard"}
"""Settings of the training that leave no trace in its result, and so not here either."""


class BundleError(ValueError):
    """A folder is no complete bundle of this version."""


@dataclass(frozen=True, kw_only=True)
class BundleInfo:
    """What besides weights a bundle consists of; the content of bundle.json."""

    settings: TrainSettings
    height: int
    width: int
    """Of frames and flow, pixels."""
    flow_scale: float
    """Pixels per frame that map to 1."""
    feature_length: int | None
    """D of the frame features; None = there is no discriminator."""
    losses: dict[str, list[float]]
    """Mean training loss of each epoch, per network."""
    provenance: dict[str, Any]

    @property
    def channels(self) -> int:
        """Return how many channels the spatial autoencoder sees."""
        return 1 if self.settings.colour == "grey" else 3

    def to_dict(self) -> dict[str, Any]:
        """Return the content of bundle.json."""
        content = {name: value for name, value in asdict(self).items() if name != "settings"}
        return {"format": FORMAT, "settings": self.settings.model_dump(mode="json", exclude=NO_TRACE), **content}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Read the content of bundle.json; BundleError if it is of another format."""
        if content.get("format") != FORMAT:
            raise BundleError(f"expected bundle format {FORMAT}, found {content.get('format')!r}; train again")
        values = {name: value for name, value in content.items() if name not in ("format", "settings")}
        return cls(settings=TrainSettings.model_validate(content["settings"]), **values)


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """Trained networks and their calibration, ready to measure video."""

    info: BundleInfo
    spatial: Trunk
    temporal: Trunk
    discriminator: Discriminator | None
    calibration: Calibration
    device: torch.device
    windows: NormalWindows = field(default_factory=NormalWindows)
    objects: ObjectModel | None = None
    motion: Trunk | None = None

    @property
    def networks(self) -> dict[Network, Trunk]:
        """The networks that make a map of every frame."""
        both: dict[Network, Trunk] = {"spatial": self.spatial, "temporal": self.temporal}
        return both if self.motion is None else both | {"motion": self.motion}

    @property
    def precision(self) -> Precision:
        """Return the precision in which the networks run on their device."""
        return usable_precision(self.info.settings.precision, self.device)

    @property
    def indicators(self) -> tuple[str, ...]:
        """Names that are to be fused; the ``_frame_mse`` values stand in for those of networks when pooling by frame."""
        there = {"semantic": self.discriminator is not None, "objects": self.objects is not None}
        return (*self.networks, *(name for name, present in there.items() if present))

    def measure(
        self,
        frames_THWC: Array,
        flow_T2HW: Array,
        feature_TD: Array | None = None,
        *,
        batch_size: int = 8,
        phases: Phases | Literal[0] = 0,
        wanted: slice = slice(None),
    ) -> Measurement:
        """Measure every indicator on one video, at both taps.

        Parameters
        ----------
        frames_THWC : (T, H, W, C) uint8, as the frames stage stores them.
        flow_T2HW : (T-1, 2, H, W) floating point, pixels per frame; ``flow[i]`` from frame i to i+1.
        feature_TD : (T, D) floating point; may be None for a bundle without discriminator.
        batch_size : windows at once.
        phases : 0 = every frame by its own window of 16; others = by long windows (:mod:`trainer.dense`), whose errors
            are those of no tap, so that both get the same, set against what tap ``centre`` shows in training.
        wanted : which frames are to have values; the others only give windows context.

        Raises
        ------
        DataError
            Fewer frames than a clip, or sizes that do not fit the bundle or each other.
        """
        self._check(frames_THWC, flow_T2HW, feature_TD)
        pooled = {
            name: self._pooled(name, frames_THWC if name == "spatial" else flow_T2HW, batch_size, phases, wanted)
            for name in self.networks
        }
        logit_T = None
        if self.discriminator is not None and feature_TD is not None:
            logit_T = self.discriminator.logits(feature_TD)
        objects = None if self.objects is None else self.objects.judge(frames_THWC, flow_T2HW)
        cells = (self.info.height // MAP_STRIDE, self.info.width // MAP_STRIDE)
        taps: dict[Tap, TapValues] = {}
        for tap in TAPS:
            frame_index_N = scored_frames(tap, len(frames_THWC), wanted)
            values = {name: value_N for part in pooled.values() for name, value_N in part[tap].values.items()}
            maps = {str(name): part[tap].map_Nhw for name, part in pooled.items()}
            if logit_T is not None:
                values["semantic"] = logit_T[frame_index_N]
            if objects is not None:
                values["objects"] = over_window(objects.worst(), frame_index_N, TAPS[tap])
                maps["objects"] = objects.painted(frame_index_N, cells, MAP_STRIDE)
            taps[tap] = TapValues(frame_index_N=frame_index_N, values=values, maps=maps)
        return Measurement(taps=taps, objects=objects)

    def calibrate(self, tap: Tap, name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return z = (x - mean) / std against normal training windows; errors on a log scale, as PSNR is.

        Raises
        ------
        KeyError
            The bundle has no such indicator.
        """
        return self.calibration.z(tap, name, values)

    def fusion_weight(self, tap: Tap, name: str) -> float:
        """Return what an indicator is worth, 0..1, as far as pseudo-anomalies tell; unknown names raise KeyError.

        ``2 * AUC - 1`` (0 at least) of its values on training windows against those on the same windows made
        pseudo-anomalous, features held out. No test video and no label has a part in it.
        """
        return self.calibration.fusion_weight(tap, name)

    def normal_values(self, tap: Tap, name: str) -> NDArray[np.float64] | None:
        """Return what normal training windows measure when taken for new video, (W,) float64, in the unit of ``measure``.

        Row n is the same window for every name: those of ``measure``, and ``<indicator>_peak``, the worst place of a map,
        and ``map_peak``, the most evidence that all maps together give at any place.
        None where the bundle does not know.
        """
        return self.windows.get(tap, name)

    def _pooled(
        self, name: Network, stored: Array, batch_size: int, phases: Phases | Literal[0], wanted: slice
    ) -> dict[Tap, Pooled]:
        """Return the values and maps of one network at the frames that each tap scores."""
        network = self.networks[name]
        settings = settings_of(name, self.info.settings)
        reduce = settings.reduce
        sequence_THWC, normalise = self._frames(stored) if name == "spatial" else self._arriving(stored, settings)
        length = len(sequence_THWC)
        frames = {tap: scored_frames(tap, length, wanted) for tap in TAPS}
        if phases:
            errors = dense_errors(
                network, sequence_THWC, normalise, self.precision, phases=phases, reduce=reduce, wanted=wanted
            )
            first = wanted.indices(length)[0]
            pooling = self.calibration.pooling[name, "centre"]
            return {tap: pool(name, errors.take(frame_index_N - first), pooling) for tap, frame_index_N in frames.items()}
        windows = video_windows(sequence_THWC, batch_size, window_ends(length, wanted))
        found = window_errors(network, map(normalise, windows), self.precision, reduce)
        row_N = {tap: np.arange(len(found[tap].frame_mse_N))[rows_of_tap(tap, length, wanted)] for tap in TAPS}
        return self.calibration.pooled(name, {tap: errors.take(row_N[tap]) for tap, errors in found.items()})

    def _frames(self, frames_THWC: Array) -> tuple[Tensor, Normalise]:
        """Return what the spatial autoencoder sees, before it is normalised, and how that is done."""
        frames = to_channels(torch.as_tensor(frames_THWC).to(self.device), self.info.settings.colour)
        return reduce_pictures(frames, self.info.settings.reduce), normalise_frames

    def _arriving(self, flow_T2HW: Array, settings: TrainSettings) -> tuple[Tensor, Normalise]:
        """Return what a network of flow with these settings sees, before it is normalised, and how that is done."""
        flow = reduce_pictures(arriving_flow(flow_T2HW).to(self.device), settings.reduce)
        return smooth_flow(flow, settings.flow_sigma).contiguous(), partial(normalise_flow, flow_scale=self.info.flow_scale)

    def _check(self, frames_THWC: Array, flow_T2HW: Array, feature_TD: Array | None) -> None:
        size, frames = (self.info.height, self.info.width), len(frames_THWC)
        if frames < CLIP_FRAMES:
            raise DataError(f"expected at least {CLIP_FRAMES} frames (one clip), found {frames}")
        if frames_THWC.ndim != 4 or frames_THWC.shape[1:3] != size or frames_THWC.dtype != np.uint8:
            raise DataError(
                f"expected uint8 frames of {size[0]} x {size[1]} pixels (rows x columns), which the bundle was trained on, "
                f"found {frames_THWC.dtype} of shape {frames_THWC.shape}; use the same [frames] settings as for training"
            )
        if flow_T2HW.shape != (frames - 1, 2, *size):
            raise DataError(
                f"expected flow of shape {(frames - 1, 2, *size)} to {frames} frames, found {flow_T2HW.shape}"
            )
        if self.discriminator is None:
            return
        expected = (frames, self.info.feature_length)
        found = None if feature_TD is None else feature_TD.shape
        if found != expected:
            raise DataError(
                f"expected features of shape {expected}, found {found}; use the same [features] settings as for training"
            )


def save_bundle(folder: Path, bundle: Bundle) -> None:
    """Write the files of a bundle into an existing folder."""
    _save(folder / "spatial.safetensors", bundle.spatial.state_dict())
    _save(folder / "temporal.safetensors", bundle.temporal.state_dict())
    if bundle.motion is not None:
        _save(folder / "motion.safetensors", bundle.motion.state_dict())
    if bundle.discriminator is not None:
        _save(folder / "discriminator.safetensors", bundle.discriminator.state_dict())
    if bundle.objects is not None:
        _save(folder / "objects.safetensors", bundle.objects.tensors())
    _save(folder / "calibration.safetensors", bundle.calibration.tensors())
    if bundle.windows.values:
        _save(folder / "windows.safetensors", bundle.windows.tensors())
    text = json.dumps(bundle.info.to_dict(), indent=1, sort_keys=True)
    (folder / "bundle.json").write_text(text + "\n", encoding="utf-8")


def load_bundle(folder: Path, device: torch.device) -> Bundle:
    """Read a bundle and move its networks to a device.

    Raises
    ------
    BundleError
        A file is missing, damaged, or does not fit the others; the message says which and what to do.
    """
    info = _load_info(folder / "bundle.json")
    networks: dict[str, Any] = {}
    for name in networks_of(info.settings):
        network = _build(name, info)
        _fill(network, folder / f"{name}.safetensors")
        networks[name] = to_device(network, device).eval()
    discriminator = None
    if info.feature_length is not None:
        discriminator = Discriminator(features=info.feature_length)
        _fill(discriminator, folder / "discriminator.safetensors")
    objects = _load_objects(folder / "objects.safetensors") if info.settings.objects else None
    path = folder / "calibration.safetensors"
    try:
        calibration = Calibration.from_tensors(_load(path), info.settings, (info.height, info.width))
    except KeyError as error:
        raise BundleError(f"{path}: expected a tensor {error}, found none; train again") from error
    except ValueError as error:
        raise BundleError(f"{path}: {error}; train again") from error
    path = folder / "windows.safetensors"
    windows = NormalWindows.from_tensors(_load(path) if path.exists() else {})
    return Bundle(
        info=info,
        discriminator=discriminator,
        objects=objects,
        calibration=calibration,
        device=device,
        windows=windows,
        **networks,
    )


def _save(path: Path, tensors: Mapping[str, Tensor]) -> None:
    # safetensors refuses views and strided memory such as channels-last
    save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}, path)


def _load(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise BundleError(
            f"{path}: expected a safetensors file of a bundle, cannot read it ({error}); train again"
        ) from error


def _load_objects(path: Path) -> ObjectModel:
    try:
        return ObjectModel.from_tensors(_load(path))
    except KeyError as error:
        raise BundleError(f"{path}: expected a tensor {error}, found none; train again") from error


def _load_info(path: Path) -> BundleInfo:
    try:
        return BundleInfo.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise BundleError(f"{path}: not found, so {path.parent} holds no bundle; run stpa train") from None
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        found = f"{type(error).__name__}: {error}"
        raise BundleError(f"{path}: expected the description of a bundle, cannot read it ({found}); train again") from error


def _build(name: Network, info: BundleInfo) -> Trunk:
    width, place, skips = info.settings.width, info.settings.place, info.settings.skips
    if name == "motion":
        return MotionSegmenter(width=width, place=place, skips=skips)
    channels = info.channels if name == "spatial" else 2
    return Autoencoder(channels=channels, width=width, place=place, skips=skips)


def _fill(network: nn.Module, path: Path) -> None:
    try:
        network.load_state_dict(_load(path))
    except RuntimeError as error:
        raise BundleError(f"{path}: weights do not fit the settings in bundle.json: {error}") from error
