"""The subcommand ``stpa import-weights``."""

from pathlib import Path

import click

from pipeline.cli import FAILURE, exit_codes, fail

USE = {
    "raft": "flows.weights={out} --set flows.estimator={estimator}",
    "vifi-clip": "features.model={out}",
    "ldm-inpainting": "inpaint.model={out}",
}
"""Which settings take the folder."""


@click.command("import-weights")
@click.argument("kind", type=click.Choice(tuple(USE)))
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
def import_weights(kind: str, checkpoint: Path, out: Path) -> None:
    """Turn a published CHECKPOINT of a production model into the folder OUT, executing nothing that is in it."""
    from pipeline.models.importing.run import import_weights as run

    with exit_codes():
        try:
            found = run(kind, checkpoint, out)
        except OSError as error:
            fail(FAILURE, f"{error}; nothing was written")
        except KeyboardInterrupt:
            fail(FAILURE, "interrupted; nothing was written")
    use = USE[kind].format(out=out, estimator=found.get("estimator"))
    click.echo(f"import-weights: wrote {out} ({found['parameters']:,} parameters); to use it: --set {use}", err=True)
