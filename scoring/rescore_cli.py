"""``stpa eval --scores``: metrics of scores that are there already, and mean and spread of several runs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from pipeline.cli import USAGE, begin, exit_codes, fail
from pipeline.progress import Progress

MAKING = {"dry_run": "--dry-run", "force": "--force", "workers": "--workers", "upstream": "--upstream", "videos": "--videos"}
OPTIONS: tuple[click.Parameter, ...] = (
    click.Argument(["more"], nargs=-1, type=click.Path(path_type=Path), metavar="[SCORES]..."),
    click.Option(
        ["--scores"], type=click.Path(path_type=Path), multiple=True,
        help="Evaluate scores that are there: an evaluation's folder, a CSV file video,frame,score[,label], or a folder "
        "of one per video, as stpa score leaves it. Labels come from --config if given. Several of them (--scores A B C) "
        "give mean and spread.",
    ),
    click.Option(
        ["--fps"], type=click.FloatRange(min=0, min_open=True), help="With --scores: frames per second, where not known."
    ),
    click.Option(["--threshold"], type=float, help="With --scores: alarm where a score is at least this."),
    click.Option(["--dropped"], type=(int, int), metavar="FIRST LAST", help="With --scores: frames without a score."),
    click.Option(["--samples"], type=click.IntRange(min=0), help="With --scores: draws of videos for intervals (1000)."),
)


def with_scores(command: click.Command) -> click.Command:
    """Give the eval command ``--scores`` and what belongs to it; without that it does what it did."""
    run = command.callback
    assert run is not None

    def callback(
        scores: tuple[Path, ...],
        more: tuple[Path, ...],
        fps: float | None,
        threshold: float | None,
        dropped: tuple[int, int] | None,
        samples: int | None,
        **options: Any,
    ) -> None:
        chosen = {"fps": fps, "threshold": threshold, "dropped": dropped, "samples": samples}
        if scores:
            _evaluate_scores((*scores, *more), {name: value for name, value in chosen.items() if value is not None}, options)
            return
        given = [f"--{name}" for name, value in chosen.items() if value is not None] + [str(path) for path in more]
        if given:
            fail(USAGE, f"{given[0]} goes with --scores; settings of an evaluation that is to be made are given by --set")
        run(**options)

    command.callback = callback
    command.params.extend(OPTIONS)
    return command


def _evaluate_scores(paths: Sequence[Path], chosen: dict[str, Any], options: dict[str, Any]) -> None:
    making = [option for name, option in MAKING.items() if options.get(name) not in (None, False, "*")]
    if making:
        fail(USAGE, f"{making[0]} is for making an evaluation; --scores makes nothing, leave one of them out")
    from scoring.rescore import relabel, rescore
    from scoring.seeds import format_runs, over_runs
    from scoring.stored_scores import read_score_file
    from scoring.table import format_table

    with exit_codes():
        labels = _dataset_labels(options) if options["config_file"] or options["overrides"] else None
        found = []
        for path in paths:
            file = read_score_file(path)
            if labels is not None:
                file, changed = relabel(file, labels)
                if changed:
                    click.echo(
                        f"note: {path}: {len(changed)} of {len(labels.lengths)} videos have other labels in the dataset "
                        f"than beside the scores, first {changed[0]}; those of the dataset are used", err=True,
                    )
            found.append(rescore(file, **chosen))
        result = found[0] if len(found) == 1 else over_runs(found)
    if options["as_json"]:
        click.echo(json.dumps(result, indent=1))
    else:
        click.echo(format_table(result) if len(found) == 1 else format_runs(result))


def _dataset_labels(options: dict[str, Any]) -> Any:
    """Return the :class:`scoring.rescore.DatasetLabels` of the test split of the settings' dataset."""
    from scoring.rescore import DatasetLabels

    with Progress() as progress:
        session = begin(options["config_file"], options["overrides"], progress)
        records = [record for record in session.workspace.records if record.split == "test"]
        labels = {record.id: session.labels(record) for record in records}
    return DatasetLabels(
        frame_T={video: None if found is None else found.frame_T for video, found in labels.items()},
        lengths={record.id: record.num_frames for record in records},
        fps={record.id: record.fps for record in records},
        sources=tuple(sorted({found.source for found in labels.values() if found is not None})),
    )
