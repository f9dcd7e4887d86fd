"""The course of one training: read, fit the networks, measure them on training windows, and hand back a bundle."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.config import TrainSettings
from pipeline.contract import Array, Aside, DataError, Inputs, Report
from trainer.bundle import Bundle, BundleInfo
from trainer.calibration import Logits, Network, calibrate, settings_of
from trainer.course import Fit
from trainer.devices import pick_devices, usable_precision
from trainer.discriminator import DiscriminatorData, DiscriminatorFit, fit_discriminator
from trainer.objects import over_window
from trainer.processes import Processes, join_processes
from trainer.sample import measure_sample, sampled_windows
from trainer.scenes import learn_objects
from trainer.seeds import Seed
from trainer.threshold import normal_windows
from trainer.together import Fitted, fit_all, make_signals

__all__ = ["Networks", "fit_networks", "load_features", "make_bundle", "make_signals", "train"]


@dataclass(frozen=True, kw_only=True)
class Networks:
    """Everything that is fitted, before it is measured."""

    fitted: Fitted
    discriminator: DiscriminatorFit | None
    provenance: Mapping[str, Any]


def train(inputs: Inputs, settings: TrainSettings, report: Report) -> Bundle:
    """Train everything on the training split and return the bundle; see :func:`fit_networks` for what is raised."""
    networks = fit_networks(inputs, settings, report)
    assert networks is not None, "only the first of several processes has a result"
    return make_bundle(networks, inputs, settings, report)


def fit_networks(
    inputs: Inputs, settings: TrainSettings, report: Report, aside: Aside | None = None
) -> Networks | None:
    """Fit everything, going on from what ``aside`` holds; returns None in all but the first of several processes.

    Raises
    ------
    DataError, ConfigError, TrainingDiverged
        As :func:`load_training_data`, :func:`fit_discriminator` and :func:`fit_network` say.
    KeyboardInterrupt
        The process was told to stop; what it did is kept.
    """
    devices = pick_devices(settings.device)
    with join_processes(devices[0], settings.batch_size) as processes:
        discriminator = _fit_discriminator(inputs, settings, report) if processes.first else None
        fitted = fit_all(inputs, settings, report, devices, processes, aside)
    if not processes.first:
        return None
    return Networks(
        fitted=fitted,
        discriminator=discriminator,
        provenance=_provenance(settings, devices, processes, fitted.fits, discriminator),
    )


def make_bundle(networks: Networks, inputs: Inputs, settings: TrainSettings, report: Report) -> Bundle:
    """Measure what was fitted on training windows and return everything that scoring needs."""
    fits, discriminator = networks.fitted.fits, networks.discriminator
    data = networks.fitted.data["spatial"]  # which frames and which clips there are is the same for all
    samples = {
        name: measure_sample(fits[name].network, signal, networks.fitted.data[name], settings_of(name, settings), report)
        for name, signal in networks.fitted.signals.items()
    }
    start_W = sampled_windows(data, settings)
    objects, judged = learn_objects(inputs, settings, report) if settings.objects else (None, None)
    objects_W = None if judged is None else over_window(judged.worst(), start_W, 0)
    logits = None if discriminator is None else _logits(discriminator)
    calibration = calibrate(samples, logits, settings, objects_W)
    device = networks.fitted.signals["spatial"].device
    return Bundle(
        info=BundleInfo(
            settings=settings,
            height=data.size[0] * settings.reduce,
            width=data.size[1] * settings.reduce,
            flow_scale=data.flow_scale,
            feature_length=None if discriminator is None else len(discriminator.network.mean_D),
            losses=_losses(fits, discriminator),
            provenance=dict(networks.provenance),
        ),
        spatial=fits["spatial"].network,
        temporal=fits["temporal"].network,
        motion=fits["motion"].network if "motion" in fits else None,
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


def _losses(fits: Mapping[Network, Fit], discriminator: DiscriminatorFit | None) -> dict[str, list[float]]:
    losses: dict[str, list[float]] = {name: fit.losses for name, fit in fits.items()}
    return losses if discriminator is None else losses | {"discriminator": discriminator.losses}


def _provenance(
    settings: TrainSettings,
    devices: Sequence[torch.device],
    processes: Processes,
    fits: Mapping[Network, Fit],
    discriminator: DiscriminatorFit | None,
) -> dict[str, Any]:
    # no date and no duration: the same training leaves the same bytes; the stage's receipt holds the time it took
    found = {
        "device": ",".join(map(str, devices)),
        "processes": processes.count,
        "threads": torch.get_num_threads(),
        "precision": usable_precision(settings.precision, devices[0]),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "steps": {name: fit.steps for name, fit in fits.items()},
        "discriminator_held_out_accuracy": None if discriminator is None else discriminator.held_out_accuracy,
    }
    errors = {name: fit.validation_errors for name, fit in fits.items() if fit.validation_errors}
    return found | ({"validation_errors": errors} if errors else {})
