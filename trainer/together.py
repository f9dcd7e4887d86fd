"""All networks in one run: one after the other on one device, or side by side on two; alone or with other processes."""

from collections.abc import Callable, Collection, Mapping
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
from trainer.calibration import Network, networks_of, settings_of
from trainer.checkpoints import Keeper
from trainer.clips import TrainingData, choose_place, load_training_data
from trainer.course import Around, Fit
from trainer.fit import fit_network
from trainer.marks import MotionSignal
from trainer.normalise import normalise_flow, normalise_frames
from trainer.pictures import draw_learnt
from trainer.processes import Processes
from trainer.pseudo_anomalies import make_pseudo_anomalies
from trainer.stopping import Stop, listening
from trainer.unusual_motion import UNUSUAL, UnusualMotion


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """The networks, what they learnt from, and what it was made of; everything on the first device."""

    data: Mapping[Network, TrainingData]
    signals: Mapping[Network, Signal]
    fits: Mapping[Network, Fit]


def make_signals(
    data: TrainingData, settings: TrainSettings, device: torch.device | None = None
) -> dict[Network, Signal]:
    """Return what the networks learn from the same data; clips go to ``device``."""
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
    motion = MotionSignal(
        name="motion",
        sequence_NHWC=data.flow_NHW2,
        normalise=temporal.normalise,
        pseudo_anomaly=UnusualMotion(settings),
        probability=UNUSUAL,
        device=device,
    )
    return {"spatial": spatial, "temporal": temporal, "motion": motion}


def fit_all(
    inputs: Inputs,
    settings: TrainSettings,
    report: Report,
    devices: tuple[torch.device, ...],
    processes: Processes,
    aside: Aside | None,
) -> Fitted:
    """Fit them, going on from the checkpoints in ``aside``; see :func:`trainer.training.fit_networks` for what is raised."""
    report = report if processes.first else _silent
    data = load_for(devices, inputs, settings, report)
    signals = {name: make_signals(of, settings, device)[name] for name, (of, device) in data.items()}
    # a training that goes on must use the algorithms it began with
    with listening() as stop, cudnn.flags(enabled=True, benchmark=False, deterministic=True):

        def fit(name: Network) -> Fit:
            signal, (of, _), own = signals[name], data[name], settings_of(name, settings)
            around = make_around(signal, of, own, processes, stop, aside)
            try:
                return fit_network(signal, of, own, device=signal.device, report=report, around=around)
            except BaseException:
                stop.now()  # the others have no reason to go on
                raise
            finally:
                around.board.close()

        fits = _side_by_side(fit, signals) if len(devices) > 1 else {name: fit(name) for name in signals}
    for one in fits.values():
        to_device(one.network, devices[0])
    # what lies on the second device is measured on the first, wherever the pictures are read from
    return Fitted(
        data={name: of for name, (of, _) in data.items()},
        signals={name: make_signals(of, settings, devices[0])[name] for name, (of, _) in data.items()},
        fits=fits,
    )


def load_for(
    devices: tuple[torch.device, ...], inputs: Inputs, settings: TrainSettings, report: Report
) -> dict[Network, tuple[TrainingData, torch.device]]:
    """Return the training data of each network and its device, in the order in which networks are trained.

    Data of one size that lie in the same place, or nowhere, are shared. The scale of flow is the same for all networks.
    """
    loaded: dict[tuple[torch.device | None, int, float], TrainingData] = {}
    found: dict[Network, tuple[TrainingData, torch.device]] = {}
    for name in networks_of(settings):
        device, own = devices[0 if name == "spatial" else -1], settings_of(name, settings)
        if found:
            own = own.model_copy(update={"flow_scale": found["spatial"][0].flow_scale})
        place = choose_place(inputs, own, device) if inputs.videos("train") else device
        seen = place, own.reduce, own.flow_sigma
        if seen not in loaded:
            loaded[seen] = load_training_data(inputs, own, device, report)
        found[name] = loaded[seen], device
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
        draw=partial(draw_learnt, signal=signal, data=data, settings=settings),
    )


def _side_by_side(fit: Callable[[Network], Fit], names: Collection[Network]) -> dict[Network, Fit]:
    """Fit all at once, each in a thread; if one fails, the others stop, and the reason is raised."""
    with ThreadPoolExecutor(len(names), thread_name_prefix="fit") as pool:
        futures: dict[Network, Future[Fit]] = {name: pool.submit(fit, name) for name in names}
    errors = [error for future in futures.values() if (error := future.exception()) is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, KeyboardInterrupt)):
        raise error
    return {name: future.result() for name, future in futures.items()}


def _silent(what: str, done: float, total: float) -> None:
    """Report to nobody: the first process reports for all."""
