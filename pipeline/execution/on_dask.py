"""Workers of a Dask scheduler, whoever started them: by hand, dask-jobqueue, dask-kubernetes, dask-cuda.

Dask only carries "make these shards": the job (settings and names) and a piece of work to a worker, a few numbers back.
Arrays and models never pass through it.

1. Every worker there is says whether it fits: the same package, the same keys (hence the same weights), the same cache.
2. One piece of work per worker is with the scheduler at any time. More would wait on the worker, and count as having killed
   it together with the piece that did (``allowed-failures``).
3. A worker process loads the models at its first piece of a job, keeps them, and makes one shard at a time.
4. An answer is counted once the receipt can be seen from here; its future is released at once, or Dask would make the
   piece again if the worker were lost later.
5. A piece whose worker died is given to another worker by Dask itself, which skips what has its receipt. If it kills one
   worker after the other, Dask gives it back: the first shard without a receipt is at fault, the others are tried again.
"""

import logging
import re
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any

import distributed
from distributed import KilledWorker
from distributed.comm.core import CommClosedError

from pipeline.config import ConfigError
from pipeline.contract import Shard, ShardStage
from pipeline.execution.errors import ExecutionError
from pipeline.execution.executors import MakeAll, Piece, Result
from pipeline.execution.on_worker import inspect, make_piece
from pipeline.execution.work import Answer, Job, receipt_of

_Client: Any = distributed.Client  # which has no types
ADDRESS = re.compile(r"([a-z]+://)?[^\s/]+:\d+/?")
LOOK_AGAIN = 2.0  # seconds after which workers that came or went are noticed
LATE = 10.0  # seconds after which a receipt must be seen here: network file systems are slow to tell


class DaskWorkers:
    """Makes shards on the workers of a scheduler, also those that join later.

    Parameters
    ----------
    address
        Such as ``tcp://host:8786``.
    """

    def __init__(self, address: str) -> None:
        self._address = address

    def workers(self) -> int:
        """Return the number of workers that are there now, at least 1.

        Raises
        ------
        ConfigError, ExecutionError
            The address is none, or no scheduler answers there.
        """
        with self._client() as client:
            return max(1, len(_addresses(client)))

    @contextmanager
    def _client(self) -> Iterator[Any]:
        if not ADDRESS.fullmatch(self._address):  # a client that refuses it would try to close for a minute
            raise ConfigError(f"--scheduler: expected an address such as tcp://host:8786, found {self._address!r}")
        with _without_tracebacks():
            try:
                client = _Client(self._address, set_as_default=False, name="stpa")
            except OSError as error:
                raise ExecutionError(f"--scheduler {self._address}: no Dask scheduler answers there ({error})") from error
            with client:
                try:
                    yield client
                except (CommClosedError, CancelledError) as error:  # it went while it was asked for something
                    raise _gone(self._address) from error

    @contextmanager
    def open(self, job: Job) -> Iterator[MakeAll]:
        """Look at the workers that are there; after an error, what they were about to do is cancelled."""
        with self._client() as client:
            crew = _Crew(client, job, self._address)
            crew.inspect()
            try:
                yield crew.make
            finally:
                crew.cancel()


@contextmanager
def _without_tracebacks() -> Iterator[None]:
    """Keep tracebacks of the library, which logs one when a scheduler is lost, from the user, who is told in one line.

    What it logs without one is shown as ever.
    """
    handlers = logging.getLogger("distributed").handlers

    def without(record: logging.LogRecord) -> bool:
        return record.exc_info is None

    for handler in handlers:
        handler.addFilter(without)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(without)


def _gone(address: str) -> ExecutionError:
    return ExecutionError(
        f"--scheduler {address}: expected the scheduler to be there until the end, found it gone (killed, or out of "
        "reach?); start one again"
    )


class _Crew:
    """The workers as this process sees them."""

    def __init__(self, client: Any, job: Job, address: str) -> None:
        self._client = client
        self._address = address
        self._job = job
        workspace = job.workspace()
        self._workspace, self._stage, self._artifact = workspace, workspace.stages[job.stage], workspace.artifact(job.stage)
        self._unfit: dict[str, str] = {}
        self._flying: dict[Any, Piece] = {}
        self._settled: SimpleQueue[Any] = SimpleQueue()
        self._told = -1
        self._addresses: list[str] = []
        self._looked = -LOOK_AGAIN

    def inspect(self) -> None:
        """Ask every worker that is there whether it fits; those that do not are told and left alone."""
        answers = self._client.run(inspect, self._job, on_error="return")
        for address, answer in answers.items():
            self._reject(address, _misfit(answer))
        if answers and len(self._unfit) == len(answers):
            raise ExecutionError("no worker fits:\n" + "\n".join(dict.fromkeys(self._unfit.values())))

    def _reject(self, address: str, problem: str) -> None:
        if problem and address not in self._unfit:
            self._unfit[address] = problem
            _say(f"worker {address} is not used: {problem}")

    def make(self, pieces: Sequence[Piece]) -> Iterator[Result]:
        """Keep one piece per worker in work, and tell of the shards as pieces are answered for."""
        waiting: deque[Piece] = deque(pieces)
        while waiting or self._flying:
            self._submit(waiting)
            if not self._flying:
                time.sleep(LOOK_AGAIN)  # for workers to come
                continue
            for future in self._done():
                piece = self._flying.pop(future)
                yield from self._answers(future, piece, waiting)
                future.release()

    def _submit(self, waiting: deque[Piece]) -> None:
        if time.monotonic() > self._looked + LOOK_AGAIN:  # not for every piece: the scheduler sends a lot
            self._addresses, self._looked = _addresses(self._client), time.monotonic()
        addresses = self._addresses
        fit = [address for address in addresses if address not in self._unfit]
        if len(fit) != self._told:
            self._told = len(fit)
            _say(f"{self._job.stage}: {len(fit) or 'waiting for'} workers at {self._client.scheduler.address}")
        while waiting and len(self._flying) < len(fit):
            piece = waiting.popleft()
            only = fit if len(fit) < len(addresses) else None
            future = self._client.submit(make_piece, self._job, list(piece), workers=only, pure=False)
            self._flying[future] = piece
            future.add_done_callback(self._settled.put)

    def _done(self) -> list[Any]:
        """Return the pieces that are settled, perhaps none yet."""
        with suppress(Empty):
            self._settled.get(timeout=LOOK_AGAIN)
        done = [future for future in self._flying if future.done()]
        if any(future.cancelled() for future in done) or self._client.status != "running":
            raise _gone(self._address)
        return done

    def _answers(self, future: Any, piece: Piece, waiting: deque[Piece]) -> Iterator[Result]:
        try:
            reply = future.result()
        except KilledWorker as error:
            yield from self._killed(piece, waiting, error)
            return
        if reply.problem:
            self._reject(reply.worker, reply.problem)
            waiting.appendleft(piece)
            self._require_somebody()
            return
        for shard, answer in zip(piece, reply.answers, strict=True):
            if answer.failure is None and not answer.taken:
                self._require_receipt(shard, reply.worker)
            yield shard, answer

    def _require_somebody(self) -> None:
        addresses = _addresses(self._client)
        if addresses and set(addresses) <= set(self._unfit):
            raise ExecutionError("no worker fits:\n" + "\n".join(dict.fromkeys(self._unfit.values())))

    def _killed(self, piece: Piece, waiting: deque[Piece], error: KilledWorker) -> Iterator[Result]:
        left = deque(piece)
        while left and self._artifact.has_receipt(self._name(left[0])):
            yield left.popleft(), Answer()
        if left:
            reason = f"{error.allowed_failures + 1} workers died while they made it (killed, or out of memory?)"
            yield left.popleft(), Answer(failure=reason, again=error.allowed_failures < 2)
        if left:
            waiting.appendleft(list(left))

    def _require_receipt(self, shard: Shard, worker: str) -> None:
        """Notice a worker that writes into a cache of its own."""
        until = time.monotonic() + LATE
        while not self._artifact.has_receipt(self._name(shard)):
            if time.monotonic() > until:
                raise ExecutionError(
                    f"worker {worker} made a shard, but its receipt is not in {self._artifact.place}: expected workers that "
                    "see the same cache; mount it there, or set run.cache to one that they share"
                )
            time.sleep(0.1)

    def _name(self, shard: Shard) -> str:
        assert isinstance(self._stage, ShardStage)
        return receipt_of(self._workspace, self._stage, shard)

    def cancel(self) -> None:
        """Take back what has not begun; what is being made is finished or not, as it comes."""
        if self._flying and self._client.status == "running":
            self._client.cancel(list(self._flying))
        self._flying.clear()


def _addresses(client: Any) -> list[str]:
    workers = client.scheduler_info(n_workers=-1).get("workers")
    if workers is None:  # the library keeps silent when the scheduler went before it ever answered
        raise CommClosedError("the scheduler did not say who works for it")
    return list(workers)


def _misfit(answer: Any) -> str:
    """Return why a worker does not fit, from what came back of :func:`inspect`; empty if it does."""
    if "No module named" in str(answer):
        return f"expected the same stpa as here, installed in the worker's environment; found: {answer}"
    return f"{type(answer).__name__}: {answer}" if isinstance(answer, BaseException) else str(answer)


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)
