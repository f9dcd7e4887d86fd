"""The ``stpa`` command: gathers the subcommands of the packages, importing each package only when it is asked for."""

import importlib

import click

COMMANDS = {
    "frames": "pipeline.cli",
    "flows": "pipeline.cli",
    "status": "pipeline.cli",
}


class LazyGroup(click.Group):
    """A group whose subcommands live in modules that are imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the subcommands in the order in which they are used."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one subcommand."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(COMMANDS[cmd_name]), cmd_name)
        assert isinstance(command, click.Command)
        return command


@click.command(cls=LazyGroup)
def main() -> None:
    """Find what is abnormal in video, having seen only what is normal."""
