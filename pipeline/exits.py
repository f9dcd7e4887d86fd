"""How commands end: what is expected to go wrong becomes a message and an exit code, never a traceback."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import click

from pipeline.config import ConfigError, redact
from pipeline.contract import DataError

FAILURE, USAGE, BAD_DATA, UPSTREAM, PARTLY = 1, 2, 3, 4, 5  # exit codes; 0 = done

MOST_LINES = 20
VIDEOS = "`stpa data check` names all of them"
SHARDS = "running the command again tries them again"
GOES_ON = "what was finished is kept, and the same command goes on from there"


def shortened(lines: Sequence[str], rest: str = VIDEOS) -> list[str]:
    """Return the first of many lines, then how many more there are and where they are told: a thousand hide what matters."""
    if len(lines) <= MOST_LINES:
        return list(lines)
    return [*lines[:MOST_LINES], f"and {len(lines) - MOST_LINES} more; {rest}"]


def fail(code: int, message: str) -> NoReturn:
    """Print a message on stderr and leave with an exit code."""
    click.echo(f"stpa: {redact(message)}", err=True)
    raise click.exceptions.Exit(code)


@contextmanager
def exit_codes(then: str = GOES_ON) -> Iterator[None]:
    """Turn what is expected to go wrong into a message and the exit code of design section 12.

    ``then`` is what to say where the work was stopped by the user or the machine, not by what is wrong.
    """
    from pipeline.artifacts.store import MissingShardError
    from pipeline.execution.errors import ExecutionError

    try:
        yield
    except ConfigError as error:
        fail(USAGE, str(error))
    except DataError as error:
        fail(BAD_DATA, str(error))
    except MissingShardError as error:
        fail(UPSTREAM, str(error))
    except FileNotFoundError as error:
        fail(FAILURE, str(error))  # something must be brought before anything can go on
    except (OSError, ArithmeticError, ExecutionError) as error:
        fail(FAILURE, f"{error}\n{then}")
    except KeyboardInterrupt:
        fail(FAILURE, f"interrupted; {then}")
