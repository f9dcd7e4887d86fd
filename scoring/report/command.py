"""The subcommand ``stpa report``: an evaluation as one HTML file that opens without network."""

from pathlib import Path

import click

from pipeline.cli import begin, exit_codes, settings_options
from pipeline.progress import Progress


@click.command()
@settings_options
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), default=Path("report.html"), show_default=True,
    help="File to write.",
)
@click.option(
    "--megabytes", type=click.FloatRange(min=1.0), default=14.0, show_default=True,
    help="About what the file may take; of long videos, one frame in a few is kept.",
)
def report(config_file: Path | None, overrides: tuple[str, ...], output: Path, megabytes: float) -> None:
    """Show an evaluation as one HTML file: scores, frames, flow, error maps, curves. Needs no model and no network."""
    with exit_codes(), Progress() as progress:
        session = begin(config_file, overrides, progress)
        from scoring.report.write import write_report

        written = write_report(session, output, budget=round(megabytes * 1e6), progress=progress)
    kept = "every frame" if written.step == 1 else f"one frame in {written.step}"
    click.echo(f"{output}: {written.size / 1e6:.1f} MB, {kept} of {written.videos} test videos; open it in a browser")
