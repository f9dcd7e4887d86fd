"""The ``stpa`` command: gathers the subcommands of the packages, importing each package only when it is asked for."""

import importlib
from typing import Any

import click

COMMANDS = {
    "data": "pipeline.data_cli",
    "import-weights": "pipeline.import_cli",
    "frames": "pipeline.cli",
    "flows": "pipeline.view_cli",
    "masks": "pipeline.cli",
    "inpaint": "scoring.view_cli",
    "features": "pipeline.cli",
    "train": "trainer.cli",
    "eval": "scoring.cli",
    "score": "scoring.live.command",
    "regions": "scoring.regions_cli",
    "report": "scoring.report.command",
    "export": "pipeline.export_cli",
    "status": "pipeline.cli",
    "verify": "pipeline.upkeep_cli",
    "gc": "pipeline.upkeep_cli",
}
"""Subcommand -> module that defines it, in the order in which they are used."""

STAGES = (
    "pipeline.stages.frames:FramesStage",
    "pipeline.stages.flows:FlowsStage",
    "pipeline.stages.masks:MasksStage",
    "pipeline.stages.inpaint:InpaintStage",
    "pipeline.stages.features:FeaturesNormalStage",
    "pipeline.stages.features:FeaturesStage",
    "trainer.stage:TrainStage",
    "scoring.stage:EvalStage",
)
"""Every stage after those it depends on."""


def load(place: str) -> Any:
    """Import what ``module:name`` names."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


class LazyGroup(click.Group):
    """A group whose subcommands live in modules that are imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the subcommands in the order in which they are used."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one subcommand."""
        if cmd_name not in COMMANDS:
            return None
        name = "evaluate" if cmd_name == "eval" else cmd_name.replace("-", "_")  # eval is a builtin of Python
        command = load(f"{COMMANDS[cmd_name]}:{name}")
        assert isinstance(command, click.Command)
        return command


@click.command(cls=LazyGroup)
@click.version_option(package_name="stpa")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Find what is abnormal in video, having seen only what is normal."""
    ctx.obj = lambda: tuple(load(place) for place in STAGES)


if __name__ == "__main__":  # python -m stpa, which is what torchrun starts
    main()
