"""Subcommands that look after the cache: ``verify`` and ``gc``."""

import itertools
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli import begin, settings_options
from pipeline.exits import BAD_DATA, FAILURE, PARTLY, exit_codes, fail, shortened
from pipeline.progress import Progress
from pipeline.session import Session

if TYPE_CHECKING:
    from pipeline.artifacts.garbage import Garbage
    from pipeline.artifacts.place import Place
    from pipeline.artifacts.verify import Finding, Verdict
    from pipeline.artifacts.workspace import Workspace

MOST_LINES = 100  # of findings of one artifact; --json has them all


@click.command()
@settings_options
@click.option("--all", "everything", is_flag=True, help="Every artifact in the cache folder, also of other settings.")
@click.option("--deep/--fast", default=True, help="Look at every value too (default), or compare bytes only.")
@click.option("--repair", is_flag=True, help="Remove strays and untrue receipts; make again what is cheap to make.")
@click.option("--upstream", is_flag=True, help="With --repair: make again what is costly, too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def verify(
    config_file: Path | None,
    overrides: tuple[str, ...],
    everything: bool,
    deep: bool,
    repair: bool,
    upstream: bool,
    as_json: bool,
) -> None:
    """Read all artifacts again and compare every byte with its receipt.

    Ends with 0 when all is well (after --repair: when it is mended), 1 when something is wrong, 5 when --repair left
    something to be made by the commands it names.
    """
    with exit_codes(), Progress() as progress:
        session = begin(config_file, overrides, progress)
        verdicts = _verify(session, everything, deep, progress)
        wrong = sum(len(verdict.wrong) for verdict in verdicts)
        _print_verdicts(session, verdicts, as_json)
        if not wrong:
            return
        if not repair:
            fail(FAILURE, f"verify: {wrong} findings; stpa verify --repair mends what can be mended")
        done, left, commands = _repair(session, verdicts, upstream, progress)
    click.echo(f"verify: cleared {wrong - len(left)} of {wrong} findings, made {done} again", err=True)
    if left:
        fail(FAILURE, "cannot be mended here:\n" + "\n".join(left))
    if commands:
        fail(PARTLY, f"to be made again by: {', '.join(commands)}; or add --upstream")


def _verify(session: Session, everything: bool, deep: bool, progress: Progress) -> "list[Verdict]":
    from pipeline.artifacts.subject import other_subject, subject_of
    from pipeline.artifacts.use import used_now
    from pipeline.artifacts.verify import find_unvouched, verify

    workspace = session.workspace
    subjects = [subject_of(workspace, name) for name in workspace.stages]
    if everything:
        from pipeline.artifacts.garbage import artifact_places

        known = {subject.artifact.place for subject in subjects}
        cache = workspace.place.parent
        places = [place for name in sorted(cache.names()) for place in artifact_places(cache / name)]
        subjects += [other_subject(place) for place in places if place not in known]
    verdicts = []
    for subject in subjects:
        place = subject.artifact.place
        busy = used_now(place)
        verdict = verify(subject, deep=deep, tick=partial(progress, place.name))
        if any(finding.kind in ("stray", "missing") for finding in verdict.findings):
            # A run that is writing has files without receipts at any moment, and one that ended since has not.
            again = [] if busy or used_now(place) else find_unvouched(subject)
            verdict.findings = [f for f in verdict.findings if f.kind not in ("stray", "missing") or f in again]
        verdicts.append(verdict)
    return verdicts


def _print_verdicts(session: Session, verdicts: "Sequence[Verdict]", as_json: bool) -> None:
    rows = [_row(session, verdict) for verdict in verdicts]
    if as_json:
        click.echo(json.dumps({"artifacts": rows, "problems": session.problems}, indent=1))
        return
    for row in rows:
        state = f"{row['checked']} receipts, {len(row['findings']) or 'no'} findings" if row["there"] else "not made"
        click.echo(f"{row['artifact']:34} {state}")
        for finding in row["findings"][:MOST_LINES]:
            text = f"expected {finding['expected']}, found {finding['found']}; {finding['remedy']}"
            click.echo(f"  {finding['kind']}: {finding['place']}: {text}")
        if len(row["findings"]) > MOST_LINES:
            click.echo(f"  and {len(row['findings']) - MOST_LINES} more; --json shows them all")


def _row(session: Session, verdict: "Verdict") -> dict[str, Any]:
    artifact, subject = verdict.subject.artifact, verdict.subject
    made_by = artifact.made_by if subject.declared is not None else ""
    findings = []
    for finding in verdict.findings:
        shown = {name: value for name, value in asdict(finding).items() if name not in ("content", "receipts")}
        findings.append({**shown, "remedy": _remedy(finding, made_by)})
    place = artifact.place
    where = f"{place.parent.name}/{place.name}"
    return {"artifact": where, "there": place.is_folder(), "checked": verdict.checked, "findings": findings}


def _remedy(finding: "Finding", made_by: str) -> str:
    if finding.kind == "unchecked":
        return "nothing need be done"
    if finding.kind == "missing":
        return f"run: stpa {made_by}"
    if finding.found == "a symbolic link":
        return "put the files themselves there, or remove it"
    if finding.content is not None:
        return "--repair writes it anew"
    if finding.kind == "stray":
        return "--repair removes it"
    if not finding.receipts:
        return "verify --repair with the settings that it was made with writes it anew"
    again = f"stpa {made_by} makes it again" if made_by else "it is made again once it is needed"
    return f"--repair removes its receipt, and {again}"


def _repair(
    session: Session, verdicts: "Sequence[Verdict]", upstream: bool, progress: Progress
) -> tuple[int, list[str], list[str]]:
    """Return how many pieces were made again, what could not be mended, and which commands make the rest."""
    from pipeline.execution.repair import clean, remake

    left: list[str] = []
    busy: set[Place] = set()
    for verdict in verdicts:
        if not verdict.wrong:
            continue
        place = verdict.subject.artifact.place
        remaining = clean(verdict)
        if remaining is None:
            busy.add(place)
            left.append(f"{place}: a run uses it now; repeat the command when that has ended")
        else:
            left += [f"{place / finding.place}: {finding.found}" for finding in remaining]
    made = 0
    commands: dict[str, None] = {}
    for verdict in verdicts:
        if verdict.subject.declared is None or verdict.subject.artifact.place in busy:
            continue
        name = verdict.subject.artifact.stage
        receipts = [receipt for finding in verdict.wrong for receipt in finding.receipts]
        labels = session.labels
        outcome = remake(session.workspace, name, receipts, upstream=upstream, labels=labels, report=progress)
        if outcome is None:
            commands[f"stpa {session.workspace.stages[name].made_by}"] = None
        else:
            made += outcome.made
            left += [f"{name}: {shard}: {reason}" for shard, reason in outcome.failures.items()]
    return made, left, list(commands)


@click.command()
@click.option("--config", "files", type=click.Path(path_type=Path), multiple=True, help="Settings whose artifacts are kept.")
@click.option("--set", "overrides", multiple=True, metavar="SECTION.NAME=VALUE", help="Override a setting; see above.")
@click.option("--gone", is_flag=True, help="Also what was made of videos that are gone or were replaced; reads the dataset.")
@click.option("--older-than", type=click.FloatRange(min=0), metavar="DAYS", help="Only what no run touched for so long.")
@click.option("--yes", is_flag=True, help="Remove without asking.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def gc(
    files: tuple[Path, ...], overrides: tuple[str, ...], gone: bool, older_than: float | None, yes: bool, as_json: bool
) -> None:
    """Show the artifacts that none of these settings refers to, and remove them if told so.

    Several --config are all kept, and so are several values of one --set, such as seeds. Looks only into the folders,
    below run.cache, of the datasets that the settings name.
    """
    from pipeline.artifacts.garbage import DAY, find_garbage, remove
    from pipeline.artifacts.gone import find_gone

    with exit_codes():
        datasets, kept = _kept(files, overrides)
        now = time.time()
        found = list(find_garbage(datasets, kept, now))
        if gone:
            found += find_gone(_with_videos(files, overrides), now)
        if older_than is not None:
            found = [garbage for garbage in found if now - garbage.latest > older_than * DAY]
        if not as_json:
            _print_garbage(found, now)
        removed = []
        if found and (yes or _confirmed(sum(garbage.size for garbage in found), as_json)):
            removed = [garbage for garbage in found if remove(garbage)]
            in_use = len(found) - len(removed)
            text = f"gc: removed {len(removed)} of {len(found)}, {_megabytes(sum(g.size for g in removed))}"
            click.echo(text + (f"; {in_use} in use, left as they are" if in_use else ""), err=True)
    if as_json:
        rows = [{**_shown(garbage), "removed": garbage in removed} for garbage in found]
        click.echo(json.dumps({"garbage": rows}, indent=1))


def _shown(garbage: "Garbage") -> dict[str, Any]:
    names = ("kind", "stage", "key", "size", "receipts", "written", "used", "in_use")
    return {"path": str(garbage.place), **{name: getattr(garbage, name) for name in names}}


def _kept(files: Sequence[Path], overrides: Sequence[str]) -> "tuple[list[Place], set[Place]]":
    """Return the folders of the datasets and, below them, of all artifacts that any of the configurations refers to."""
    from pipeline.artifacts.workspace import Workspace
    from pipeline.config import load_config

    datasets: dict[Place, None] = {}
    kept: set[Place] = set()
    for file in files or (None,):
        for chosen in _variants(overrides):
            config = load_config(file, chosen)
            workspace = Workspace(config, click.get_current_context().obj(), ())
            place = workspace.place.resolved()
            if place.parent.link(place.name):
                fail(FAILURE, f"{workspace.place}: expected a folder, found a symbolic link; nothing is removed behind one")
            datasets[place] = None
            kept |= {place / workspace.artifact(name).name for name in workspace.stages}
    return list(datasets), kept


def _with_videos(files: Sequence[Path], overrides: Sequence[str]) -> "Iterator[Workspace]":
    """Yield the workspace of every configuration with its videos; one of them that cannot be read now ends the command."""
    with Progress() as progress:
        for file in files or (None,):
            for chosen in _variants(overrides):
                session = begin(file, chosen, progress)
                if session.problems:
                    problems = "\n".join(shortened(session.problems))
                    fail(BAD_DATA, f"--gone: which videos are gone is not known while some cannot be used:\n{problems}")
                yield session.workspace


def _variants(overrides: Iterable[str]) -> list[tuple[str, ...]]:
    """Return every combination of settings of which several values are given: seeds, for one."""
    values: dict[str, list[str]] = {}
    for override in overrides:
        values.setdefault(override.partition("=")[0].strip(), []).append(override)
    return list(itertools.product(*values.values()))


def _print_garbage(found: "Sequence[Garbage]", now: float) -> None:
    for garbage in found:
        place = garbage.place
        what = str(place)
        if garbage.kind != "leftover" and garbage.artifact is not None:
            what = what.removeprefix(f"{garbage.artifact.parent.parent}/")
        used = "use not recorded" if garbage.used is None else f"used {_ago(now - garbage.used)}"
        text = f"{garbage.receipts:6} receipts, written {_ago(now - garbage.written)}, {used}"
        if garbage.kind == "leftover":
            text = f"left by something interrupted {_ago(now - garbage.written)}"
        click.echo(f"{what:44} {_megabytes(garbage.size):>12}  {text}{', in use now' if garbage.in_use else ''}")
    total = _megabytes(sum(garbage.size for garbage in found))
    gone = any(garbage.kind == "gone" for garbage in found)
    who = "neither the settings nor the videos refer" if gone else "none of the settings refers"
    click.echo(f"{len(found)} that {who} to, {total}" if found else "nothing to remove")


def _confirmed(size: int, as_json: bool) -> bool:
    if sys.stdin.isatty() and not as_json:
        return click.confirm(f"Remove {_megabytes(size)}?", default=False, err=True)
    click.echo("gc: nothing was removed; add --yes to remove it", err=True)
    return False


def _ago(seconds: float) -> str:
    if seconds < -1:
        return "in the future, by this clock"
    return f"{seconds / 86_400:.1f} days ago" if seconds >= 86_400 else f"{max(0.0, seconds) / 3600:.1f} hours ago"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
