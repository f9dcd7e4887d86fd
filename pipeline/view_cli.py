"""The subcommands of stages whose output can also be looked at or handed on: ``flows``."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from pipeline.artifacts.workspace import Workspace
from pipeline.cli import stage_command
from pipeline.contract import Report, VideoRecord

PREVIEW = click.Option(
    ["--preview"], type=click.IntRange(min=1), metavar="N",
    help="Draw N frames, spread over the videos, as a PNG; print its path.",
)
EXPORT = (
    click.Option(
        ["--export"], type=click.Path(file_okay=False), metavar="DIR", help="Write the flow as files, a folder per video."
    ),
    click.Option(
        ["--format", "file_format"], type=click.Choice(["flo", "kitti"]), default="flo", show_default=True,
        help="Of exported files: Middlebury .flo, or KITTI's 16-bit PNG, which rounds to 1/64 px.",
    ),
)


def _view_flows(
    workspace: Workspace, records: Sequence[VideoRecord], wanted: Mapping[str, Any], progress: Report
) -> None:
    if wanted["export"]:
        from pathlib import Path

        from pipeline.flow_export import export_flows

        count = export_flows(workspace, records, Path(wanted["export"]), wanted["file_format"], progress)
        click.echo(f"flows: wrote {count} files below {wanted['export']}", err=True)
    if wanted["preview"]:
        from pipeline.sheets import preview_flows

        click.echo(preview_flows(workspace, records, wanted["preview"]))


flows = stage_command(
    "flows", summary="Optical flow between consecutive frames.", more=(PREVIEW, *EXPORT), then=_view_flows
)
