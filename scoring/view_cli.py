"""The subcommand ``inpaint``: a stage of the pipeline whose preview shows what training makes of its output."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from pipeline.artifacts.workspace import Workspace
from pipeline.cli import UPSTREAM, fail, stage_command
from pipeline.contract import Report, VideoRecord

PREVIEW = click.Option(
    ["--preview"], type=click.IntRange(min=1), metavar="N",
    help="Draw frame, mask, flow and both pseudo-anomalies of N videos as a PNG; print its path.",
)


def _view(workspace: Workspace, records: Sequence[VideoRecord], wanted: Mapping[str, Any], progress: Report) -> None:
    if wanted["preview"]:
        from scoring.pseudo_sheet import NothingToShowError, preview_pseudo_anomalies

        try:
            click.echo(preview_pseudo_anomalies(workspace, records, wanted["preview"], progress))
        except NothingToShowError as error:
            fail(UPSTREAM, str(error))


inpaint = stage_command(
    "inpaint",
    summary="Repaint the masked regions by latent diffusion: spatial pseudo-anomalies.",
    more=(PREVIEW,),
    then=_view,
)
