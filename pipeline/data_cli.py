"""Subcommands about datasets: ``stpa data synth``."""

from pathlib import Path

import click

from pipeline.cli import exit_codes, settings_options
from pipeline.config import load_config
from pipeline.progress import Progress


@click.group()
def data() -> None:
    """Make datasets."""


@data.command()
@settings_options
@click.option("--force", is_flag=True, help="Overwrite a synthetic dataset of other settings, or make it again.")
@click.option("--workers", type=click.IntRange(min=1), help="Local processes; run.workers if not given.")
def synth(config_file: Path | None, overrides: tuple[str, ...], force: bool, workers: int | None) -> None:
    """Render the synthetic dataset of the settings [synthetic] into dataset.root."""
    from pipeline.synthetic.write import write_dataset

    with exit_codes(), Progress() as progress:
        config = load_config(config_file, overrides)
        root = config.dataset.root
        made = write_dataset(config.synthetic, root, progress, force=force, workers=workers or config.run.workers)
    if made:
        click.echo(f"data synth: wrote {made} videos to {root}", err=True)
    else:
        click.echo(f"data synth: nothing to do, {root} holds the dataset of these settings", err=True)

