"""The course of one training: read, fit three networks, measure them on training windows, and hand back a bundle."""

import platform
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.config import TrainSettings
from pipeline.contract import Array, DataError, Inputs, Report
from trainer.bundle import Bundle, BundleInfo
from trainer.calibration import Logits, Network, Sample, calibrate
from trainer.clips import TrainingData, load_training_data
from trainer.devices import pick_device, usable_precision
from trainer.discriminator import DiscriminatorData, DiscriminatorFit, fit_discriminator
from trainer.fit import Fit, Signal, fit_autoencoder
from trainer.normalise import normalise_flow, normalise_frames
from trainer.objects import over_window
from trainer.pseudo_anomalies import make_pseudo_anomalies
from trainer.sample import measure_sample, sampled_windows
from trainer.scenes import learn_objects
from trainer.seeds import Seed
from trainer.threshold import normal_windows


def train(inputs: Inputs, settings: TrainSettings, report: Report) -> Bundle:
    """Train everything on the training split and return the bundle.

    Raises
    ------
    DataError, ConfigError, TrainingDiverged
        As :func:`load_training_data`, :func:`fit_discriminator` and :func:`fit_autoencoder` say.
    """
    device = pick_device(settings.device)
    data = load_training_data(inputs, settings, device, report)
    discriminator = _fit_discriminator(inputs, settings, report)
    fits: dict[Network, Fit] = {}
    samples: dict[Network, Sample] = {}
    for name, signal in make_signals(data, settings).items():
        fits[name] = fit_autoencoder(signal, data, settings, device=device, report=report)
        samples[name] = measure_sample(fits[name].network, signal, data, settings, report)
    start_W = sampled_windows(data, settings)
    objects, judged = learn_objects(inputs, settings, report) if settings.objects else (None, None)
    objects_W = None if judged is None else over_window(judged.worst(), start_W, 0)
    logits = None if discriminator is None else _logits(discriminator)
    calibration = calibrate(samples, logits, settings, objects_W)
    return Bundle(
        info=BundleInfo(
            settings=settings,
            height=data.size[0] * settings.reduce,
            width=data.size[1] * settings.reduce,
            flow_scale=data.flow_scale,
            feature_length=None if discriminator is None else len(discriminator.network.mean_D),
            losses=_losses(fits, discriminator),
            provenance=_provenance(settings, device, fits, discriminator),
        ),
        spatial=fits["spatial"].network,
        temporal=fits["temporal"].network,
        discriminator=None if discriminator is None else discriminator.network,
        objects=objects,
        calibration=calibration,
        windows=normal_windows(
            samples,
            calibration,
            data,
            start_W,
            settings,
            logit_N=None if logits is None else logits.normal_N,
            objects=judged,
        ),
        device=device,
    )


def make_signals(data: TrainingData, settings: TrainSettings) -> dict[Network, Signal]:
    """Return what the two autoencoders learn, in the order in which they are trained."""
    spatial_pa, temporal_pa = make_pseudo_anomalies(settings)
    spatial = Signal(
        name="spatial",
        sequence_NHWC=data.frames_NHWC,
        normalise=normalise_frames,
        pseudo_anomaly=spatial_pa,
        probability=settings.p_s,
        loss_sign=getattr(spatial_pa, "loss_sign", 1.0),
    )
    temporal = Signal(
        name="temporal",
        sequence_NHWC=data.flow_NHW2,
        normalise=partial(normalise_flow, flow_scale=data.flow_scale),
        pseudo_anomaly=temporal_pa,
        probability=settings.p_t,
        loss_sign=getattr(temporal_pa, "loss_sign", 1.0),
    )
    return {"spatial": spatial, "temporal": temporal}


def load_features(inputs: Inputs) -> DiscriminatorData:
    """Read the features of all training frames, and of the pseudo-anomalies of those that have a mask."""
    normal, pseudo = [], []
    for record in inputs.videos("train"):
        normal.append(_finite(inputs.read("features-normal", "normal", record), record.id))
        masked_T = inputs.read("masks", "object", record) >= 0
        pseudo.append(_finite(inputs.read("features", "spatial_pa", record)[masked_T], record.id))
    return DiscriminatorData(
        normal_ND=torch.cat(normal),
        normal_group_N=np.repeat(np.arange(len(normal)), [len(rows) for rows in normal]),
        pseudo_ND=torch.cat(pseudo),
        pseudo_group_N=np.repeat(np.arange(len(pseudo)), [len(rows) for rows in pseudo]),
    )


def _finite(feature_TD: Array, video: str) -> Tensor:
    if not np.isfinite(feature_TD).all():
        raise DataError(f"features of training video {video} hold values that are not finite; make them again with --force")
    return torch.from_numpy(feature_TD.astype(np.float32))


def _fit_discriminator(inputs: Inputs, settings: TrainSettings, report: Report) -> DiscriminatorFit | None:
    if settings.discriminator_epochs == 0:
        return None
    report("discriminator", 0, 1)
    seed = Seed(settings.seed).number("discriminator")
    fit = fit_discriminator(load_features(inputs), epochs=settings.discriminator_epochs, seed=seed)
    report("discriminator", 1, 1)
    return fit


def _logits(fit: DiscriminatorFit) -> Logits:
    return Logits(normal_N=fit.held_out_normal_N, pseudo_P=fit.held_out_pseudo_P)


def _losses(fits: dict[Network, Fit], discriminator: DiscriminatorFit | None) -> dict[str, list[float]]:
    losses: dict[str, list[float]] = {name: fit.losses for name, fit in fits.items()}
    return losses if discriminator is None else losses | {"discriminator": discriminator.losses}


def _provenance(
    settings: TrainSettings, device: torch.device, fits: dict[Network, Fit], discriminator: DiscriminatorFit | None
) -> dict[str, Any]:
    # no date and no duration: the same training leaves the same bytes; the stage's receipt holds the time it took
    return {
        "device": str(device),
        "threads": torch.get_num_threads(),
        "precision": usable_precision(settings.precision, device),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "steps": {name: fit.steps for name, fit in fits.items()},
        "discriminator_held_out_accuracy": None if discriminator is None else discriminator.held_out_accuracy,
    }
