"""The batches of one network: clips gathered, some replaced by pseudo-anomalies, the same ones however they are loaded.

How batches are loaded, and who waits for whom:
* data in the memory of the CPU, computed there: each batch is made when its step begins;
* data in memory, computed on an accelerator: a thread makes the next batches on a stream of its own, so that whatever a
  pseudo-anomaly has to wait for is waited for there, and the training loop never is;
* data in the cache: spawned processes read and mix, ``train.loaders`` of them, each a few batches ahead.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pipeline.config import CLIP_FRAMES, TrainSettings
from trainer.autoencoder import Trunk, make_autoencoder
from trainer.clips import TrainingData
from trainer.indicators import gather_clips
from trainer.order import ClipOrder
from trainer.pseudo_anomalies import PseudoAnomaly
from trainer.seeds import Seed
from trainer.sequences import Pictures

CPU = torch.device("cpu")
AHEAD = 2
"""Batches that wait, at most: of the thread, or of each process."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What the network is shown and what it must return, (B, C, 16, H, W) float32 each, and what each error weighs."""

    shown_BCTHW: Tensor
    target_BCTHW: Tensor
    sign_B: Tensor
    """float32, on the CPU: 1 for normal clips."""

    def loss(self, reconstruction_BCTHW: Tensor) -> Tensor:
        """Return the mean over clips of the mean squared error times its weight."""
        if bool((self.sign_B == 1).all()):
            return F.mse_loss(reconstruction_BCTHW, self.target_BCTHW)
        error_B = F.mse_loss(reconstruction_BCTHW, self.target_BCTHW, reduction="none").flatten(1).mean(1)
        return (error_B * self.sign_B.to(error_B.device, non_blocking=True)).mean()

    def rows(self, rows: slice) -> "Batch":
        """Return some clips of it."""
        return replace(
            self, shown_BCTHW=self.shown_BCTHW[rows], target_BCTHW=self.target_BCTHW[rows], sign_B=self.sign_B[rows]
        )

    def to(self, device: torch.device) -> "Batch":
        """Return it on a device; a batch without pseudo-anomaly is sent once."""
        target = self.target_BCTHW.to(device, non_blocking=True)
        same = self.shown_BCTHW is self.target_BCTHW
        shown = target if same else self.shown_BCTHW.to(device, non_blocking=True)
        return replace(self, shown_BCTHW=shown, target_BCTHW=target)

    def pin_memory(self) -> "Batch":
        """Return it in memory from which an accelerator copies without waiting (asked for by torch's DataLoader)."""
        target = self.target_BCTHW.pin_memory()
        shown = target if self.shown_BCTHW is self.target_BCTHW else self.shown_BCTHW.pin_memory()
        return replace(self, shown_BCTHW=shown, target_BCTHW=target)


@dataclass(frozen=True, kw_only=True)
class Signal:
    """What one network learns to reconstruct, and what it is shown instead with some probability."""

    selects: ClassVar[bool] = True
    """Whether its error on normal video alone tells a good epoch from a bad one."""

    name: str
    sequence_NHWC: Pictures = field(repr=False)
    normalise: Callable[[Tensor], Tensor]
    pseudo_anomaly: PseudoAnomaly
    probability: float
    loss_sign: float = 1.0
    """Weight of a pseudo-anomaly's error in the loss: 1 = the normal clip is to be returned; -1 = the pseudo-anomaly itself
    is the target, and is to be missed, as in STEAL-Net."""
    device: torch.device = CPU
    """Where clips are handed over, wherever the pictures lie."""

    @property
    def title(self) -> str:
        """What it is called in messages."""
        return f"{self.name} autoencoder"

    def seed(self, settings: TrainSettings) -> Seed:
        """Return the seed below which all of this network's random numbers lie."""
        return Seed(settings.seed, (self.name,))

    def make_network(self, settings: TrainSettings) -> Trunk:
        """Return the network before it has learnt anything, on the device."""
        return make_autoencoder(
            channels=self.sequence_NHWC.shape[-1],
            width=settings.width,
            place=settings.place,
            skips=settings.skips,
            seed=self.seed(settings).number("weights"),
            device=self.device,
        )

    def target(self, start_B: NDArray[np.int64]) -> Tensor:
        """Return the normal clips, (B, C, 16, H, W) float32."""
        start = torch.from_numpy(start_B).to(self.sequence_NHWC.device)
        return self.normalise(gather_clips(self.sequence_NHWC, start).to(self.device))

    def pseudo(self, data: TrainingData, start: int, random: np.random.Generator) -> Tensor | None:
        """Return the pseudo-anomaly of one clip, (C, 16, H, W) float32; None = nothing in it can be changed."""
        clip_THWC = self.pseudo_anomaly(data, start, random)
        return None if clip_THWC is None else self.normalise(clip_THWC.to(self.device)).permute(3, 0, 1, 2)

    def changed_frames(self, data: TrainingData, start: int, random: np.random.Generator) -> NDArray[np.bool_]:
        """Return in which of the 16 frames a pseudo-anomaly differs from the clip it is made of."""
        pseudo_CTHW = self.pseudo(data, start, random)
        if pseudo_CTHW is None:
            return np.zeros(CLIP_FRAMES, dtype=np.bool_)
        normal_CTHW = self.target(np.array([start]))[0]
        return np.asarray((pseudo_CTHW != normal_CTHW).any(0).flatten(1).any(1).cpu().numpy())

    def batch(self, data: TrainingData, start_B: NDArray[np.int64], random: np.random.Generator) -> Batch:
        """Return the clips of one step, some of them replaced at the input by their pseudo-anomaly."""
        target_BCTHW = self.target(start_B)
        shown_BCTHW = target_BCTHW
        sign_B = np.ones(len(start_B), np.float32)
        for row, start in enumerate(start_B):
            if random.random() >= self.probability:
                continue
            pseudo_CTHW = self.pseudo(data, int(start), random)
            if pseudo_CTHW is not None:
                if shown_BCTHW is target_BCTHW and self.loss_sign > 0:  # what is not to be returned is its own target
                    shown_BCTHW = target_BCTHW.clone()
                shown_BCTHW[row] = pseudo_CTHW
                sign_B[row] = self.loss_sign
        return Batch(shown_BCTHW=shown_BCTHW, target_BCTHW=target_BCTHW, sign_B=torch.from_numpy(sign_B))


class StepBatches(Dataset[Batch]):
    """The batch of every step: it depends on the seed and the number of the step alone, whoever asks and in which order."""

    def __init__(self, signal: Signal, data: TrainingData, settings: TrainSettings) -> None:
        self.signal, self.data = signal, data
        self._seed = signal.seed(settings)
        self._order = ClipOrder(data.start_C, settings.batch_size, self._seed)

    def __getitem__(self, step: int) -> Batch:
        """Return the batch of one step."""
        return self.signal.batch(self.data, self._order(step), self._seed.generator("pseudo-anomalies", step))

    def on_cpu(self) -> "StepBatches":
        """Return the same for a process without accelerator."""
        found = StepBatches.__new__(StepBatches)
        found.__dict__ = self.__dict__ | {"signal": replace(self.signal, device=torch.device("cpu"))}
        return found


@contextmanager
def loaded(batches: StepBatches, steps: range, settings: TrainSettings) -> Iterator[Iterator[Batch]]:
    """Yield the batches of these steps in their order, on the signal's device; what loads them ends with the block."""
    device = batches.signal.device
    if batches.data.streamed:
        loader = _loader(batches.on_cpu(), steps, settings.loaders, device)
        yield (batch.to(device) for batch in loader)
    elif device.type == "cuda":
        with ahead(batches, steps, device) as found:
            yield found
    else:
        yield (batches[step] for step in steps)


def _loader(batches: StepBatches, steps: range, workers: int, device: torch.device) -> Iterable[Batch]:
    return DataLoader(
        batches,
        batch_size=None,
        sampler=steps,
        num_workers=min(workers, len(steps)),
        multiprocessing_context="spawn",
        prefetch_factor=AHEAD,
        pin_memory=device.type == "cuda",
        worker_init_fn=_start_worker,
    )


def _start_worker(number: int) -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the training finishes its step and tells them to end
    # Its torch has one thread: the loader sees to that, and two would spin on cores that the training wants.


@contextmanager
def ahead(batches: StepBatches, steps: range, device: torch.device) -> Iterator[Iterator[Batch]]:
    """Yield batches that a thread makes, up to two of them before they are asked for.

    1. The thread makes a batch on a stream of its own and marks on that stream where it is complete.
    2. It hands both over, and waits while two are waiting.
    3. The loop's stream, not the loop, waits for the mark; memory counts as used until the loop's stream is past it.
    """
    waiting: queue.Queue[Any] = queue.Queue(maxsize=AHEAD)
    ended = threading.Event()

    def hand_over(item: Any) -> None:
        while not ended.is_set():
            try:
                waiting.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def make() -> None:
        try:
            stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
            with nullcontext() if stream is None else torch.cuda.stream(stream):
                for step in steps:
                    batch = batches[step]
                    hand_over((batch, None if stream is None else stream.record_event()))
                    if ended.is_set():
                        return
        except BaseException as error:  # raised where the batch is asked for
            hand_over((error, None))

    def take() -> Iterator[Batch]:
        for _ in steps:
            found, mark = waiting.get()
            if isinstance(found, BaseException):
                raise found
            if mark is not None:
                now = torch.cuda.current_stream(device)
                now.wait_event(mark)
                for tensor in (found.shown_BCTHW, found.target_BCTHW):
                    tensor.record_stream(now)
            yield found

    thread = threading.Thread(target=make, name="batches", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        ended.set()
        thread.join()
