"""The outcome of ``stpa data check`` as text."""

from collections import Counter
from collections.abc import Sequence

import click

from pipeline.datasets.check_result import Checked, SplitTable

MOST = 200  # lines of problems; a folder of broken files would fill any terminal
HEADER = ("split", "videos", "frames", "height x width", "frames/s", "labelled", "anomalous", "share")


def print_checked(checked: Checked, root: str) -> None:
    """Print a table of the splits, a line of published numbers below each, then every problem and warning."""
    click.echo(f"{root}: {checked.title or 'a dataset without published totals'}")
    rows: list[Sequence[str]] = [HEADER]
    for table in checked.splits:
        rows.append(_found(table))
        if table.published:
            rows.append(_published(table))
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
    for row in rows:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    for table in checked.splits:
        if table.sources:
            click.echo(f"labels of {table.split}: {', '.join(table.sources)}")
    _list("problem", checked.problems)
    _list("warning", checked.warnings)
    click.echo(f"{len(checked.problems)} problem(s), {len(checked.warnings)} warning(s)")


def _found(table: SplitTable) -> Sequence[str]:
    labelled = table.labelled > 0
    return (
        table.split,
        f"{table.videos}",
        f"{table.frames}" if table.exact else f"{table.frames} (claimed)",
        _several(table.sizes),
        _several(Counter({rate or "not said": count for rate, count in table.rates.items()})),
        f"{table.labelled}" if labelled else "-",
        f"{table.anomalous}" if labelled else "-",
        f"{100 * table.anomalous / table.labelled:.1f} %" if labelled else "-",
    )


def _published(table: SplitTable) -> Sequence[str]:
    totals = table.published
    assert totals is not None  # the caller looked
    frames = "?" if totals.frames is None else f"{totals.frames}{' (recalled)' if totals.recalled else ''}"
    anomalous = " or ".join(map(str, totals.anomalous.values()))
    return ("  published", f"{totals.videos}", frames, "", "", "", anomalous, "")


def _several(counts: Counter[str]) -> str:
    if not counts:
        return "-"
    (first, _), *others = counts.most_common()
    return f"{first} and {len(others)} more" if others else first


def _list(what: str, lines: Sequence[str]) -> None:
    for line in lines[:MOST]:
        click.echo(f"{what}: {line}")
    if len(lines) > MOST:
        click.echo(f"{what}s: {len(lines) - MOST} more; --json lists all of them")
