"""``stpa score``: any video through a trained bundle, written while it runs."""

import json
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli import BAD_DATA, FAILURE, PARTLY, exit_codes, fail
from pipeline.config import ConfigError
from pipeline.files import write_json
from pipeline.progress import Progress
from scoring.live.summary import as_text

if TYPE_CHECKING:  # imported when the command is called: they need torch
    from scoring.live.model import Model
    from scoring.live.run import Run
    from scoring.live.sources import Source
    from scoring.live.writers import Writer

STANDARD_OUTPUT = Path("-")


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "--model", "model_path", type=click.Path(path_type=Path), required=True, metavar="BUNDLE_OR_CONFIG",
    help="Folder of a trained bundle, or the settings file of a project whose train stage is complete.",
)
@click.option(
    "-o", "--output", "out", type=click.Path(path_type=Path, file_okay=False, allow_dash=True), default=Path("scores"),
    show_default=True, help="Folder to write to; - = JSON lines on stdout only.",
)
@click.option(
    "--format", "table", type=click.Choice(("csv", "parquet")), default="csv", show_default=True,
    help="Of the tables; JSON lines are written beside them.",
)
@click.option("--overlay", is_flag=True, help="Also write a video with heat, regions and the score as a curve (H.264).")
@click.option("--overwrite", is_flag=True, help="Replace results that are there already.")
@click.option(
    "--delay", type=click.FloatRange(min=0.05, max=60), default=1.0, show_default=True,
    help="Streams: seconds that a frame may wait for others before it is scored.",
)
@click.option(
    "--reconnect", type=click.IntRange(min=0), default=5, show_default=True,
    help="Streams: attempts to open one again that broke off.",
)
@click.option(
    "--timeout", type=click.FloatRange(min=0.1), default=10.0, show_default=True,
    help="Streams: seconds without a frame after which one has broken off.",
)
@click.option(
    "--set", "overrides", multiple=True, metavar="SECTION.NAME=VALUE",
    help="Override a setting of [eval], or say where weights lie now (features.model, flows.weights).",
)
@click.option("--json", "as_json", is_flag=True, help="Summary as one JSON object on stdout.")
def score(
    sources: tuple[str, ...], model_path: Path, out: Path, table: str, overlay: bool, overwrite: bool,
    delay: float, reconnect: int, timeout: float, overrides: tuple[str, ...], as_json: bool,
) -> None:
    """Score videos with a trained bundle, frame by frame, and show where in the frame.

    SOURCE is a video file, a folder of videos or of frames, the address of a stream (rtsp://..., http://...) or the number
    of a camera; several are scored one after another. No dataset configuration is needed. Results are written while it
    runs: OUT/<video>.csv and .jsonl, and OUT/regions/<video>.csv. Ctrl-C ends it with everything scored so far; for a stream
    that is the normal end.
    """
    with exit_codes(), disk_errors(), Progress() as progress, stopped_by_signals() as stop:
        from scoring.live.model import open_model
        from scoring.live.run import Run
        from scoring.live.streams import StreamSettings
        from scoring.live.targets import check_free, find_sources

        if out == STANDARD_OUTPUT and (as_json or overlay):
            raise click.UsageError("-o - leaves room for JSON lines only: name a folder, or leave --json and --overlay out")
        writers = open_writers(out, table)
        streams = StreamSettings(delay=delay, reconnect=reconnect, timeout=timeout)
        overlay_path = None
        if overlay:
            check_overlay()
            overlay_path = partial(mp4_path, out)
        found = find_sources(sources, streams, say)
        if out != STANDARD_OUTPUT and not overwrite:
            check_free(out, found)
        model = open_model(model_path, overrides, progress)
        for source in found:
            source.fps, source.thin_to = model.config.eval.fps or 0.0, model.fps
        run = Run(model.scorer, model.watch, stop, progress, say, writers, overlay_path)
        results, failures = score_all(run, found, stop, None if out == STANDARD_OUTPUT else partial(note, out, model))
    if model.scorer.threshold is None:
        say("the bundle knows no threshold: no alarms were told; train again for one")
    for result in results:
        say(as_text(result))
    if as_json:
        click.echo(json.dumps({**model.facts(), "videos": results, "failures": failures}, indent=1))
    finish(results, failures)


def score_all(
    run: "Run", sources: Sequence["Source"], stop: Event, note: Callable[[dict[str, Any]], None] | None
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Score one source after another; what is wrong with one does not stop the others."""
    from pipeline.contract import DataError

    results: list[dict[str, Any]] = []
    failures: dict[str, str] = {}
    for source in sources:
        if stop.is_set():
            failures[source.shown] = f"{source.shown}: not scored, as the run was stopped"
            continue
        try:
            results.append(run.score(source))
            if note is not None:
                note(results[-1])
        except DataError as error:
            failures[source.shown] = str(error)
    return results, failures


def finish(results: Sequence[dict[str, Any]], failures: dict[str, str]) -> None:
    """End the command with the code that says how much was done."""
    problems = [f"{result['source']}: {result['problem']}" for result in results if result["problem"]]
    problems += failures.values()
    if problems:
        done = any(result["frames"] for result in results)
        fail(PARTLY if done else BAD_DATA, "\n".join(["partly done:", *problems] if done else problems))


@contextmanager
def stopped_by_signals() -> Iterator[Event]:
    """Give an event that the first SIGINT or SIGTERM sets; a second one interrupts at once.

    Set up even where the shell had these signals ignored, as it does for what runs in the background.
    """
    stop = Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            fail(FAILURE, "stopped at once; what was written before is kept")
        stop.set()
        say("stopping: what was scored is being written (once more to stop at once)")

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def disk_errors() -> Iterator[None]:
    """Say of a disk that is full what is true here: nothing goes on from where it was."""
    try:
        yield
    except OSError as error:
        fail(FAILURE, f"{error}; what was written before is kept")


def open_writers(out: Path, table: str) -> Callable[[str, Sequence[str]], list["Writer"]]:
    """Return what opens the files of one video; ConfigError if the format is not available."""
    from scoring.live.writers import JsonLinesWriter, StandardOutput, WholeLines, table_writer

    writer = table_writer(table)

    def open_for(name: str, scores: Sequence[str]) -> list["Writer"]:
        if out == STANDARD_OUTPUT:
            return [JsonLinesWriter(StandardOutput(), name)]
        return [writer(out, name, scores), JsonLinesWriter(WholeLines(out / f"{name}.jsonl"), name)]

    return open_for


def note(out: Path, model: "Model", result: dict[str, Any]) -> None:
    """Write beside the scores of a video what they came from: OUT/<video>.json."""
    write_json(out / f"{result['name']}.json", {**model.facts(), **result})


def mp4_path(out: Path, name: str) -> Path:
    """Return where the overlay of a video goes."""
    return out / f"{name}.mp4"


def check_overlay() -> None:
    """Raise ConfigError where overlays cannot be written."""
    try:
        import av  # noqa: F401
    except ImportError:
        raise ConfigError("--overlay needs PyAV: pip install 'stpa[overlay]', or leave it out") from None


def say(text: str) -> None:
    """Tell what happens, on stderr."""
    click.echo(text, err=True)
