"""Who makes the shards of a stage: this process, processes of this machine, or the workers of a Dask scheduler."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from pipeline.artifacts.workspace import Workspace
from pipeline.contract import Shard
from pipeline.execution.work import Answer, Job, Maker

Piece = Sequence[Shard]
"""Consecutive shards of one video, made from front to back."""
Result = tuple[Shard, Answer]
MakeAll = Callable[[Sequence[Piece]], Iterator[Result]]
"""Makes pieces of work and tells of every shard exactly once, in any order."""


class Executor(Protocol):
    """Makes shards somewhere. What follows must hold for each of them.

    1. ``open`` brings up the workers; each of them loads the models once. What the stage's worker needs and does not find
       is raised as itself (ConfigError, FileNotFoundError), not told shard by shard.
    2. A shard that cannot be made is told with its reason; the others go on.
    3. A worker that dies costs the shard in its hands, which is told as one that may be made at the next attempt; the rest
       of its piece goes to others.
    4. What would fail every shard (nothing more can be written) is raised.
    5. Once the block ends, however it does, nobody works on.
    """

    def workers(self) -> int:
        """Return how many shards can be in work at once."""

    def open(self, job: Job) -> AbstractContextManager[MakeAll]:
        """Bring up the workers for shards of one stage."""


class ThisProcess:
    """Makes one shard after another here."""

    def workers(self) -> int:
        """Return 1."""
        return 1

    @contextmanager
    def open(self, job: Job) -> Iterator[MakeAll]:
        """Load the models into this process."""
        maker = Maker(job)
        yield lambda pieces: ((shard, maker(shard)) for piece in pieces for shard in piece)


def default_executor(workspace: Workspace) -> Executor:
    """Return the executor that the settings ask for: ``run.workers`` processes, or this one."""
    from pipeline.execution.processes import LocalProcesses

    workers = workspace.config.run.workers
    return ThisProcess() if workers == 1 else LocalProcesses(workers)
