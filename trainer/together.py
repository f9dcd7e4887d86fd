"""Both autoencoders in one run: one after the other on one device, or side by side on two; alone or with other processes."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch.backends import cudnn

from pipeline.config import TrainSettings
from pipeline.contract import Aside, Inputs, Report
from trainer.autoencoder import to_device
from trainer.batches import Signal
from trainer.boards import Board
from trainer.calibration import NETWORKS, Network
from trainer.checkpoints import Keeper
from trainer.clips import TrainingData, choose_place, load_training_data
from trainer.course import Around, Fit
from trainer.fit import fit_autoencoder
from trainer.normalise import normalise_flow, normalise_frames
from trainer.pictures import reconstructions
from trainer.processes import Processes
from trainer.pseudo_anomalies import make_pseudo_anomalies
from trainer.stopping import Stop, listening


@dataclass(frozen=True, kw_only=True)
class Autoencoders:
    """The two networks, what they learnt from, and what it was made of; everything on the first device."""

    data: TrainingData
    signals: Mapping[Network, Signal]
    fits: Mapping[Network, Fit]


def make_signals(
    data: TrainingData, settings: TrainSettings, device: torch.device | None = None
) -> dict[Network, Signal]:
    """Return what the two autoencoders learn, in the order in which they are trained; clips go to ``device``."""
    spatial_pa, temporal_pa = make_pseudo_anomalies(settings)
    device = device or data.frames_NHWC.device
    spatial = Signal(
        name="spatial",
        sequence_NHWC=data.frames_NHWC,
        normalise=normalise_frames,
        pseudo_anomaly=spatial_pa,
        probability=settings.p_s,
        loss_sign=getattr(spatial_pa, "loss_sign", 1.0),
        device=device,
    )
    temporal = Signal(
        name="temporal",
        sequence_NHWC=data.flow_NHW2,
        normalise=partial(normalise_flow, flow_scale=data.flow_scale),
        pseudo_anomaly=temporal_pa,
        probability=settings.p_t,
        loss_sign=getattr(temporal_pa, "loss_sign", 1.0),
        device=device,
    )
    return {"spatial": spatial, "temporal": temporal}


def fit_autoencoders(
    inputs: Inputs,
    settings: TrainSettings,
    report: Report,
    devices: tuple[torch.device, ...],
    processes: Processes,
    aside: Aside | None,
) -> Autoencoders:
    """Fit both, going on from the checkpoints in ``aside``; see :func:`trainer.training.fit_networks` for what is raised."""
    report = report if processes.first else _silent
    data = load_for(devices, inputs, settings, report)
    last = len(devices) - 1
    signals: dict[Network, Signal] = {
        "spatial": make_signals(data[0], settings, devices[0])["spatial"],
        "temporal": make_signals(data[last], settings, devices[last])["temporal"],
    }
    of: dict[Network, TrainingData] = {"spatial": data[0], "temporal": data[last]}
    # a training that goes on must use the algorithms it began with
    with listening() as stop, cudnn.flags(enabled=True, benchmark=False, deterministic=True):

        def fit(name: Network) -> Fit:
            around = make_around(signals[name], of[name], settings, processes, stop, aside)
            try:
                return fit_autoencoder(
                    signals[name], of[name], settings, device=signals[name].device, report=report, around=around
                )
            except BaseException:
                stop.now()  # the other one has no reason to go on
                raise
            finally:
                around.board.close()

        fits = _side_by_side(fit) if last else {name: fit(name) for name in NETWORKS}
    for one in fits.values():
        to_device(one.network, devices[0])
    return Autoencoders(data=data[0], signals=make_signals(data[0], settings, devices[0]), fits=fits)


def load_for(
    devices: tuple[torch.device, ...], inputs: Inputs, settings: TrainSettings, report: Report
) -> list[TrainingData]:
    """Return the training data for each device; what lies in the memory of the machine, or nowhere, is shared."""
    loaded: dict[torch.device | None, TrainingData] = {}
    found = []
    for device in devices:
        place = choose_place(inputs, settings, device) if inputs.videos("train") else device
        if place not in loaded:
            loaded[place] = load_training_data(inputs, settings, device, report)
        found.append(loaded[place])
    return found


def make_around(
    signal: Signal, data: TrainingData, settings: TrainSettings, processes: Processes, stop: Stop, aside: Aside | None
) -> Around:
    """Return where one network's training is kept and shown: nowhere without ``aside``, by the first process alone."""
    scratch = None if aside is None else aside.scratch / signal.name
    keeper = Keeper(scratch, settings)
    logs: Path | None = None
    if aside is not None and processes.first and settings.tensorboard:
        logs = aside.logs / signal.name
    return Around(
        keeper=keeper,
        processes=processes,
        stop=stop,
        board=Board(logs, keeper.newest()),
        draw=partial(reconstructions, signal=signal, data=data, settings=settings),
    )


def _side_by_side(fit: Callable[[Network], Fit]) -> dict[Network, Fit]:
    """Fit both at once, each in a thread; if one fails, the other stops, and the reason is raised."""
    with ThreadPoolExecutor(len(NETWORKS), thread_name_prefix="fit") as pool:
        futures: dict[Network, Future[Fit]] = {name: pool.submit(fit, name) for name in NETWORKS}
    errors = [error for future in futures.values() if (error := future.exception()) is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, KeyboardInterrupt)):
        raise error
    return {name: future.result() for name, future in futures.items()}


def _silent(what: str, done: float, total: float) -> None:
    """Report to nobody: the first process reports for all."""
