"""Processes of this machine, spawned, one pipe to each.

1. The parent starts a process and sends the job; one that finds several GPUs is given one before CUDA can be initialised.
2. The process loads the models and says that it is ready, or what it lacks.
3. The parent gives it a piece of work; it answers shard by shard. What would fail every shard is answered with the error.
4. A process that dies closes its pipe. The shard it had not answered for was in its hands; the rest of its piece is given
   to others, and a new process takes its place.
5. Without a parent, or with one that closed the pipe, a process ends.
"""

import atexit
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from pipeline.config import ConfigError
from pipeline.contract import Shard
from pipeline.execution.errors import ExecutionError
from pipeline.execution.executors import MakeAll, Piece, Result
from pipeline.execution.gpus import gpu_for, visible_gpus
from pipeline.execution.provenance import operational_settings
from pipeline.execution.work import Answer, Job, Maker

INTERRUPTED = 1  # exit status of a worker that was told to stop
MOST_STARTS = 3  # a process that dies before it is ready is started so often
PATIENCE = 5.0  # seconds in which a process that has nothing to do must end by itself
READY = "ready"
DIED = "the process that made it died (killed, or out of memory?); fewer run.workers need less memory"


class LocalProcesses:
    """Makes shards in ``workers`` processes; with several GPUs each process has one."""

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def workers(self) -> int:
        """Return the number of processes."""
        return self._workers

    @contextmanager
    def open(self, job: Job) -> Iterator[MakeAll]:
        """Keep processes until the block ends; they are started once there is work for them.

        Raises
        ------
        ConfigError
            They would not see the cache.
        """
        if str(job.config.run.cache).startswith("memory:"):
            raise ConfigError(f"run.cache={str(job.config.run.cache)!r} is seen by one process only; leave out --workers")
        pool = _Pool(job, self._workers)
        try:
            yield pool.make
            pool.dismiss()
        finally:
            pool.kill()


@dataclass
class _Worker:
    """A process as its parent sees it."""

    place: int
    process: BaseProcess
    pipe: Connection
    ready: bool = False
    hands: deque[Shard] = field(default_factory=deque)
    """Shards of its piece that it has not answered for; the first one is in work."""


class _Pool:
    def __init__(self, job: Job, size: int) -> None:
        self._job = job
        self._size = size
        self._gpus = _gpus_for(job)
        self._workers: dict[int, _Worker] = {}
        self._failed_starts: dict[int, int] = {}

    def make(self, pieces: Sequence[Piece]) -> Iterator[Result]:
        """Hand out the pieces and tell of their shards as they are answered for."""
        waiting: deque[Piece] = deque(pieces)
        while waiting or any(worker.hands for worker in self._workers.values()):
            self._start(len(waiting) + sum(bool(worker.hands) for worker in self._workers.values()))
            for worker in self._workers.values():
                if waiting and worker.ready and not worker.hands:
                    self._give(worker, waiting.popleft())
            for pipe in wait([worker.pipe for worker in self._workers.values()]):
                worker = next(worker for worker in self._workers.values() if worker.pipe is pipe)
                try:
                    message = worker.pipe.recv()
                except (EOFError, OSError):
                    yield from self._lost(worker, waiting)
                else:
                    yield from self._take(worker, message)

    def _start(self, wanted: int) -> None:
        """Start what processes there is work for and none yet."""
        for place in range(min(self._size, wanted)):
            if place not in self._workers and self._failed_starts.get(place, 0) < MOST_STARTS:
                with _interruptions_wait():
                    self._workers[place] = self._spawn(place)
        if not self._workers:
            raise ExecutionError(
                f"{self._job.stage}: processes die before they are ready, {MOST_STARTS} times in a row (killed, or out of "
                "memory?); try fewer --workers"
            )

    def _spawn(self, place: int) -> _Worker:
        context = multiprocessing.get_context("spawn")
        pipe, end = context.Pipe()
        threads = max(1, (os.cpu_count() or 1) // self._size)
        arguments = (end, self._job, gpu_for(place, self._gpus), threads)
        process = context.Process(target=_work, args=arguments, name=f"stpa-{self._job.stage}-{place}", daemon=True)
        process.start()
        end.close()  # or the pipe would stay open when the process dies
        return _Worker(place, process, pipe)

    @staticmethod
    def _give(worker: _Worker, piece: Piece) -> None:
        worker.hands.extend(piece)
        with suppress(OSError):  # it died: its pipe will say so
            worker.pipe.send(list(piece))

    def _take(self, worker: _Worker, message: object) -> Iterator[Result]:
        if isinstance(message, BaseException):
            raise message
        if isinstance(message, Answer):
            yield worker.hands.popleft(), message
        else:
            worker.ready = True
            self._failed_starts.pop(worker.place, None)

    def _lost(self, worker: _Worker, waiting: deque[Piece]) -> Iterator[Result]:
        del self._workers[worker.place]
        worker.pipe.close()
        worker.process.join()
        if not worker.ready:
            self._failed_starts[worker.place] = self._failed_starts.get(worker.place, 0) + 1
        if worker.hands:
            shard = worker.hands.popleft()
            if worker.hands:
                waiting.appendleft(list(worker.hands))
            yield shard, Answer(failure=DIED, again=True)

    def dismiss(self) -> None:
        """Let the processes end by themselves."""
        for worker in self._workers.values():
            worker.pipe.close()
        for worker in self._workers.values():
            worker.process.join(PATIENCE)

    def kill(self) -> None:
        """End the processes that still run: after an error, nobody waits for what they are making."""
        for worker in self._workers.values():
            worker.process.kill()
        for worker in self._workers.values():
            worker.process.join()
            worker.pipe.close()


def _gpus_for(job: Job) -> Sequence[str]:
    """Return the GPUs to deal out: of a stage that takes what there is, not of one that was told which."""
    stage = next(stage for stage in job.stages if stage.name == job.stage)(job.config)
    return visible_gpus() if operational_settings(stage).get("device") in ("auto", "cuda") else ()


@contextmanager
def _interruptions_wait() -> Iterator[None]:
    """Hold Ctrl-C back. A process that is started now inherits that, until it can end without a traceback."""
    resource_tracker.ensure_running()  # else it would be started with the process, and let them through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    held: list[int] = []  # another thread may be sent it, and has the first one, this one, raise
    first = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, lambda number, _: held.append(number)) if first else None
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if handler is not None:
            signal.signal(signal.SIGINT, handler)
        if held:
            signal.raise_signal(signal.SIGINT)


def _work(pipe: Connection, job: Job, environment: dict[str, str], threads: int) -> None:
    """Be a worker process."""
    os.environ.update(environment)
    signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))  # the parent tells the user; once is enough
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_die_with_parent, daemon=True).start()
    limit_threads(threads)
    try:
        maker = Maker(job)
        pipe.send(READY)
        while True:
            for shard in pipe.recv():
                pipe.send(maker(shard))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        _leave()  # nothing more to do
    except Exception as error:
        with suppress(OSError):
            pipe.send(sendable(error))


def _leave() -> None:
    """End this worker without taking its libraries apart first, for which torch alone needs half a second."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(0)


def _die_with_parent() -> None:
    """End this worker once the process that hands out the work is gone, however it ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(INTERRUPTED)


def limit_threads(threads: int) -> None:
    """Share the cores out: libraries that each take all of them slow one another down."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import cv2

    cv2.setNumThreads(threads)


def sendable(error: Exception) -> Exception:
    """Return the error with where it came from, or what it says if it is one that cannot be sent."""
    error.add_note("in a worker process:\n" + "".join(traceback.format_exception(error)))
    try:
        again = pickle.loads(pickle.dumps(error))
    except Exception:  # whatever the class of some library stumbles over
        again = None
    return error if type(again) is type(error) else ExecutionError(f"{type(error).__name__}: {error}")
