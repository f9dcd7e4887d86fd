"""One training of a network under way: its steps, and what happens between them."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from pipeline.config import TrainSettings
from pipeline.contract import Report
from trainer.autoencoder import Trunk
from trainer.batches import Batch, Signal
from trainer.boards import Board
from trainer.checkpoints import Checkpoint, Keeper
from trainer.clips import TrainingData
from trainer.devices import autocast, keep_freed_memory, usable_precision
from trainer.processes import Processes
from trainer.schedule import learning_rate, num_steps
from trainer.stopping import Stop
from trainer.validation import EarlyStopping, validation_error

REPORT_STEPS = 10  # the loss is fetched this often: every fetch makes the processor wait for the accelerator
MOMENTS = ("exp_avg", "exp_avg_sq", "step")  # of Adam, per parameter


class TrainingDiverged(ArithmeticError):
    """The loss is no number any more."""


@dataclass(frozen=True, kw_only=True)
class Around:
    """What surrounds a training: where it is kept, who else takes part, who listens and who may stop it."""

    keeper: Keeper | None = None
    processes: Processes = field(default_factory=Processes)
    stop: Stop = field(default_factory=Stop)
    board: Board = field(default_factory=Board)
    draw: Callable[[Trunk], np.ndarray] | None = None
    """Draws what the network makes of a few clips, (H, W, 3) uint8 RGB, for the board."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A trained network and how it came about."""

    network: Trunk = field(repr=False)
    losses: list[float]
    """Mean loss of each epoch begun."""
    steps: int
    """Steps taken."""
    validation_errors: list[float] = field(default_factory=list)
    """After each epoch; empty without validation videos. With them, the network is that of the least error."""
    seconds: float = 0.0
    """In this run, of which ``waited`` for batches."""
    waited: float = 0.0


class Course:
    """One training under way."""

    def __init__(
        self,
        signal: Signal,
        data: TrainingData,
        settings: TrainSettings,
        device: torch.device,
        report: Report,
        around: Around,
    ) -> None:
        self.signal, self.data, self.settings, self.device, self.around = signal, data, settings, device, around
        self._report = report
        self.steps = num_steps(settings, len(data.start_C))
        if device.type == "cpu":
            keep_freed_memory()
        self.network = signal.make_network(settings)
        around.processes.share(self.network)
        self._forward = torch.compile(self.network) if settings.compile else self.network
        self._optimiser = torch.optim.Adam(self.network.parameters(), lr=settings.learning_rate, fused=True)
        self._precision = usable_precision(settings.precision, device)
        self._loss_S = torch.zeros(self.steps, device=device)  # one block: many small ones would pin what lies around
        self._told = 0  # steps whose losses are added up over all processes
        self._early = EarlyStopping(patience=settings.patience) if settings.validation_share and signal.selects else None
        self.ended = False
        self.waited, self._began, self._first = 0.0, time.perf_counter(), 0
        self.network.train()

    def take(self, step: int, batch: Batch) -> None:
        """Take one step. Nothing in it makes the processor wait for an accelerator."""
        processes, share = self.around.processes, self.around.processes.rows(self.settings.batch_size)
        rate = learning_rate(self.settings, step, self.steps)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        own = batch if processes.count == 1 else batch.rows(share)
        with autocast(self._precision, self.device):
            reconstruction_BCTHW = self._forward(own.shown_BCTHW)
        loss = own.loss(reconstruction_BCTHW.float())
        if processes.count > 1:
            loss = loss / processes.count
        self._optimiser.zero_grad()
        torch.autograd.backward(loss)
        processes.add_up_gradients(self.network.parameters())
        self._optimiser.step()
        self._loss_S[step] = loss.detach()

    def look_around(self, step: int) -> None:
        """After a step, where it is time: tell how it goes, validate, keep a checkpoint, stop."""
        done, around = step + 1, self.around
        epoch_ended = self._epoch(done) > self._epoch(step) or done == self.steps
        validate = epoch_ended and self._early is not None
        if not (done % REPORT_STEPS == 0 or done == self.steps or validate or self._asked_for(done)):
            return
        self._tell(done)
        if validate:
            self._validate(done)
        if epoch_ended and around.draw is not None and around.board.live:
            around.board.picture("reconstructions", around.draw(self.network), done)
            self.network.train()
        stopping = around.processes.any(bool(around.stop), self.device)
        finished = done == self.steps or self.ended
        if around.keeper is not None and around.processes.first and (finished or stopping or around.keeper.due(done)):
            around.keeper.save(self._checkpoint(done))
        if stopping:
            raise KeyboardInterrupt

    def _asked_for(self, done: int) -> bool:
        """Say whether this step is to be kept; several processes must agree without asking each other."""
        every = self.settings.checkpoint_steps
        if self.around.processes.count > 1:
            return every is not None and done % every == 0
        return bool(self.around.stop) or (self.around.keeper is not None and self.around.keeper.due(done))

    def _epoch(self, done: int) -> int:
        return done * self.settings.batch_size // len(self.data.start_C)

    def _tell(self, done: int) -> None:
        new_S = self.around.processes.add_up(self._loss_S[self._told : done])
        self._told = done
        loss = float(self._loss_S[max(0, done - REPORT_STEPS) : done].mean())
        _check_finite(loss, float(new_S.sum()), self.signal.title, done, self.settings)
        clips, seconds = self.settings.batch_size, max(1e-9, time.perf_counter() - self._began)
        rate = (done - self._first) * clips / seconds
        epoch = min(self.settings.epochs, done * clips / len(self.data.start_C))
        note = f"epoch {epoch:.1f} of {self.settings.epochs:g}, loss {loss:.5f}, {rate:.1f} clips/s"
        self._report(f"{self.signal.title}\t{note}", done * clips, self.steps * clips)
        values = {
            "loss": loss,
            "learning rate": learning_rate(self.settings, done - 1, self.steps),
            "clips per second": rate,
            "share of time waiting for batches": self.waited / seconds,
        }
        self.around.board.scalars(values, done)

    def _validate(self, done: int) -> None:
        assert self._early is not None
        processes, error = self.around.processes, 0.0
        if processes.first:
            error = validation_error(self.network, self.signal, self.data, self.settings, self._precision)
        error = processes.first_says(error, self.device)
        self._early.look(error, self.network.state_dict())
        self.ended = not self._early.worth_going_on
        self.around.board.scalars({"validation error": error}, done)

    def fit(self) -> Fit:
        """Return the result: the network after the last step, or after the epoch with the least validation error."""
        if self._early is not None and self._early.best:
            self.network.load_state_dict(self._early.best)
        seconds = time.perf_counter() - self._began
        return Fit(
            network=self.network.eval(),
            losses=_per_epoch(self._loss_S[: self._told], self.settings.batch_size, len(self.data.start_C)),
            steps=self._told,
            validation_errors=self._early.errors if self._early else [],
            seconds=seconds,
            waited=self.waited,
        )

    def _tensors(self) -> dict[str, Tensor]:
        """Return everything that a step changes; moments of the optimiser are made where it took no step yet."""
        found = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        for number, parameter in enumerate(self.network.parameters()):
            state = self._optimiser.state[parameter]
            for name in MOMENTS:
                if name not in state:  # as Adam makes them, in the parameter's own order of memory
                    state[name] = torch.zeros((), device=self.device) if name == "step" else torch.zeros_like(parameter)
                found[f"optimiser.{number}.{name}"] = state[name]
        return found | {"losses": self._loss_S}

    def _checkpoint(self, done: int) -> Checkpoint:
        tensors = self._tensors()
        if self._early is not None:
            tensors |= {f"best.{name}": tensor for name, tensor in self._early.best.items()}
        state = {"ended": self.ended, "steps": self.steps, "validation_errors": self._early.errors if self._early else []}
        return Checkpoint(step=done, tensors=tensors, state=state)

    def resume(self) -> int:
        """Take up the newest checkpoint of the first process; returns the number of steps that are done."""
        processes, keeper = self.around.processes, self.around.keeper
        found = keeper.load() if keeper is not None and processes.first else None
        done = int(processes.first_says(0 if found is None else found.step, self.device))
        if not done:
            return 0
        tensors = self._tensors()
        with torch.no_grad():
            if found is not None:
                for name, tensor in tensors.items():
                    tensor.copy_(found.tensors[name])
                self._restore_state(found)
            processes.from_first(tensors.values())
        self.ended = bool(processes.first_says(self.ended, self.device))
        self._told = self._first = done
        clips = self.settings.batch_size
        self._report(f"{self.signal.title}\tgoing on", done * clips, self.steps * clips)
        return done

    def _restore_state(self, found: Checkpoint) -> None:
        self.ended = bool(found.state["ended"])
        if self._early is not None:
            self._early.errors = list(found.state["validation_errors"])
            best = {name.removeprefix("best."): tensor for name, tensor in found.tensors.items() if name.startswith("best.")}
            self._early.best = {name: tensor.to(self.device) for name, tensor in best.items()}


def _check_finite(loss: float, sum_of_new: float, name: str, done: int, settings: TrainSettings) -> None:
    found = loss if not math.isfinite(loss) else sum_of_new
    if not math.isfinite(found):
        raise TrainingDiverged(
            f"the {name}'s loss became {found} by step {done} at a learning rate of "
            f"{settings.learning_rate:g} in {settings.precision}; lower train.learning_rate or set train.precision = fp32"
        )


def _per_epoch(step_loss_S: Tensor, batch_size: int, clips: int) -> list[float]:
    loss_S = step_loss_S.double().cpu().numpy()
    epoch_S = np.arange(len(loss_S)) * batch_size // clips
    return [float(loss_S[epoch_S == epoch].mean()) for epoch in np.unique(epoch_S)]
