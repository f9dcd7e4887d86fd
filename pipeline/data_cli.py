"""Subcommands about datasets: ``stpa data synth``."""

from pathlib import Path

import click

from pipeline.cli import BAD_DATA, FAILURE, USAGE, fail, settings_options
from pipeline.config import ConfigError, load_config
from pipeline.contract import DataError


@click.group()
def data() -> None:
    """Make datasets."""


@data.command()
@settings_options
@click.option("--force", is_flag=True, help="Overwrite a synthetic dataset of other settings, or make it again.")
@click.option("--workers", type=click.IntRange(min=1), help="Local processes; run.workers if not given.")
def synth(config_file: Path | None, overrides: tuple[str, ...], force: bool, workers: int | None) -> None:
    """Render the synthetic dataset of the settings [synthetic] into dataset.root."""
    try:
        config = load_config(config_file, overrides)
        from pipeline.synthetic.write import write_dataset

        root = config.dataset.root
        made = write_dataset(config.synthetic, root, _report, force=force, workers=workers or config.run.workers)
    except ConfigError as error:
        fail(USAGE, str(error))
    except DataError as error:
        fail(BAD_DATA, str(error))
    except OSError as error:
        fail(FAILURE, f"{error}; finished videos are kept: free space, then run again")
    if made:
        click.echo(f"data synth: wrote {made} videos to {root}", err=True)
    else:
        click.echo(f"data synth: nothing to do, {root} holds the dataset of these settings", err=True)


def _report(what: str, done: float, total: float) -> None:
    click.echo(f"\r{what}: {done:.0f} of {total:.0f}", err=True, nl=done == total)
