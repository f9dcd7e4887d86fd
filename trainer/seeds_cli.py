"""``--seeds N``: the same command for several seeds in turn, each with an artifact of its own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from pipeline.exits import exit_codes


def seeds_option(text: str) -> click.Option:
    """Return the option; ``text`` says what comes of it."""
    return click.Option(["--seeds"], type=click.IntRange(min=1), metavar="N", help=text)


def with_seeds(command: click.Command) -> click.Command:
    """Give a stage's command ``--seeds``: it runs for ``train.seed`` and the N - 1 seeds that follow."""
    run = command.callback
    assert run is not None

    def callback(seeds: int | None, overrides: tuple[str, ...], **options: Any) -> None:
        for more in seed_overrides(options["config_file"], overrides, seeds):
            run(overrides=(*overrides, *more), **options)

    command.callback = callback
    command.params.append(seeds_option("One after the other for N seeds, from train.seed on."))
    return command


def seed_overrides(config_file: Path | None, overrides: tuple[str, ...], seeds: int | None) -> Iterator[tuple[str, ...]]:
    """Yield the settings to add for each seed; none, once, where no number of seeds was given."""
    if seeds is None:
        yield ()
        return
    from pipeline.config import load_config

    with exit_codes():
        first = load_config(config_file, overrides).train.seed
    for seed in range(first, first + seeds):
        click.echo(f"seed {seed}", err=True)
        yield (f"train.seed={seed}",)
