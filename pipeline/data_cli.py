"""Subcommands about datasets: ``stpa data check``, ``stpa data prepare``, ``stpa data synth``."""

import json
from pathlib import Path

import click

from pipeline.cli import BAD_DATA, exit_codes, settings_options
from pipeline.config import ConfigError, load_config
from pipeline.prepare_cli import prepare
from pipeline.progress import Progress


@click.group()
def data() -> None:
    """Prepare, check and make datasets."""


data.add_command(prepare)


@data.command()
@settings_options
@click.option("--deep", is_flag=True, help="Decode every frame, in parallel.")
@click.option("--workers", type=click.IntRange(min=1), help="Threads; one per core if not given.")
@click.option("--disk", is_flag=True, help="Also say how much disk each stage will take under these settings.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def check(
    config_file: Path | None, overrides: tuple[str, ...], deep: bool, workers: int | None, disk: bool, as_json: bool
) -> None:
    """Say what a dataset holds, what was published, and everything that is wrong with it; nothing is written."""
    from pipeline.check_table import print_checked
    from pipeline.datasets.check import check_dataset
    from pipeline.datasets.registry import open_dataset
    from pipeline.disk_needed import disk_needed, print_disk

    with exit_codes("nothing is kept of a check, and the same command begins anew"), Progress() as progress:
        config = load_config(config_file, overrides)
        settings = config.dataset
        dataset = open_dataset(settings)
        checked = check_dataset(dataset, label_set=settings.labels, deep=deep, workers=workers or 0, report=progress)
    frames = {table.split: table.frames for table in checked.splits}
    needed = disk_needed(click.get_current_context().obj(), config, frames) if disk else {}
    if as_json:
        found = {"root": str(settings.root), "kind": settings.kind, **checked.to_dict()}
        click.echo(json.dumps(found | ({"disk_bytes": needed} if disk else {}), indent=1))
    else:
        print_checked(checked, str(settings.root))
        if disk:
            print_disk(needed)
    if checked.problems:
        raise click.exceptions.Exit(BAD_DATA)


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
        if not isinstance(root, Path):
            raise ConfigError(f"dataset.root: expected a folder to write into, found {root}")
        made = write_dataset(config.synthetic, root, progress, force=force, workers=workers or config.run.workers)
    if made:
        click.echo(f"data synth: wrote {made} videos to {root}", err=True)
    else:
        click.echo(f"data synth: nothing to do, {root} holds the dataset of these settings", err=True)

