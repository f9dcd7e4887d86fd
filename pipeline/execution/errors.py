"""What ends a run, apart from settings, data and the disk."""


class ExecutionError(RuntimeError):
    """Whoever should make the shards cannot: no worker can start, none fits, or the scheduler is gone (exit code 1)."""
