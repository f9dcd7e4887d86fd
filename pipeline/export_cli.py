"""The subcommand ``export``."""

import fnmatch
from pathlib import Path

import click

from pipeline.cli import USAGE, begin, exit_codes, fail, settings_options
from pipeline.progress import Progress


@click.command()
@click.argument("wanted", metavar="STAGE...", nargs=-1, required=True)
@settings_options
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The HDF5 file.")
@click.option("--videos", default="*", metavar="GLOB", help="Only videos whose id matches.")
def export(wanted: tuple[str, ...], config_file: Path | None, overrides: tuple[str, ...], output: Path, videos: str) -> None:
    """Write what stages made into one HDF5 file, with the names and attributes that it has in the cache.

    STAGE is frames, flows, masks, inpaint, features, train or eval (scores, error maps, metrics). A file of features can be
    read back in, also one of other programs: --set features.file=FILE.
    """
    from pipeline.export import export_artifacts

    with exit_codes(), Progress() as progress:
        workspace = begin(config_file, overrides, progress).workspace
        stages = workspace.stages.values()
        names = [stage.name for stage in stages if stage.name in wanted or stage.made_by in wanted]
        unknown = set(wanted) - {stage.name for stage in stages} - {stage.made_by for stage in stages}
        if unknown:
            fail(USAGE, f"export: no stage {', '.join(sorted(unknown))}; there are {', '.join(workspace.stages)}")
        records = {record for record in workspace.records if fnmatch.fnmatchcase(record.id, videos)}
        if not records:
            fail(USAGE, f"--videos {videos!r} matches none of {len(workspace.records)} videos")
        output.parent.mkdir(parents=True, exist_ok=True)
        written = export_artifacts(workspace, names, records, output, progress)
        click.echo(f"export: wrote {written} arrays and files of {', '.join(names)} to {output}", err=True)
