"""Comparing what was found with what was published."""

import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.contract import Video
from pipeline.datasets.check_result import Checked, SplitTable
from pipeline.datasets.headers import shown
from pipeline.datasets.published import Published, Totals

MOST_NAMED = 10  # videos in one line


def compare_size(
    table: SplitTable, totals: Totals, published: Published, videos: Sequence[Video], checked: Checked
) -> None:
    """Note where the numbers of videos and frames, or their size, are not those published."""
    if table.videos != totals.videos:
        missing = missing_names([video.id for video in videos], totals.videos)
        more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
        about = f"; missing: {', '.join(missing[:MOST_NAMED])}{more}" if missing else ""
        hint = f" ({published.hint})" if published.hint and missing else ""
        checked.problems.append(
            f"{published.title}, {table.split}: expected {totals.videos} videos as published, found {table.videos}{about}"
            f"{hint}; copy what is missing from the published archive, and leave out what is not part of it"
        )
    counted = table.exact or table.videos == totals.videos  # what a container claims says nothing beside missing videos
    if counted and totals.frames is not None and table.frames != totals.frames:
        note = checked.warnings if totals.recalled else checked.problems
        known = " (by papers, not counted by us)" if totals.recalled else ""
        note.append(
            f"{published.title}, {table.split}: expected {totals.frames} frames as published{known}, found {table.frames}; "
            "frames are missing or were extracted otherwise, and results do not compare: unpack the published archive again"
        )
    if published.size and (other := [size for size in table.sizes if size != shown(published.size)]):
        checked.warnings.append(
            f"{published.title}, {table.split}: expected {shown(published.size)} pixels as published, found "
            f"{', '.join(other)}: it was re-encoded, which should be said beside results"
        )


def compare_labels(table: SplitTable, label_set: str | None, files: Sequence[Path], checked: Checked) -> None:
    """Compare the number of anomalous frames, where all frames are there and labelled, by the label ``files``."""
    totals = table.published
    if not totals or not totals.anomalous or not table.labelled:
        return
    if totals.frames != table.labelled:
        return  # that much was said; the number follows from it
    sets = totals.anomalous
    wanted = next(iter(sets.values())) if len(sets) == 1 else sets.get(label_set or "")
    named = [name for name, count in sets.items() if count == table.anomalous]
    source = _located(", ".join(table.sources), files)
    if wanted is not None and table.anomalous != wanted:
        found = f"those of the set {named[0]}" if named else "labels of no known release"
        checked.problems.append(
            f"{source}: expected {wanted} anomalous frames as published, found {table.anomalous}: {found}; "
            + (f'set dataset.labels = "{named[0]}", or get the other file' if named else "get the published labels")
        )
    elif wanted is None and not named:
        known = " or ".join(map(str, sets.values()))
        checked.problems.append(
            f"{source}: expected {known} anomalous frames as published, found {table.anomalous}: labels of no known "
            "release; get the published labels"
        )
    elif wanted is None:
        checked.warnings.append(
            f"{source}: label set {named[0]} of {' and '.join(sets)}; name it beside results, since scores "
            f'under one do not compare with those under another; dataset.labels = "{named[0]}" makes sure of it'
        )


def _located(source: str, files: Sequence[Path]) -> str:
    """Return a source of labels, which is called like its file or folder, with the folder in which that lies."""
    places = (place for path in files for place in (path, path.parent) if source.startswith(place.name))
    place = next(places, None)
    return str(place.parent / source) if place else source


def missing_names(names: Sequence[str], count: int) -> list[str]:
    """Return the names that are missing among ``count`` numbered ones, from 0 or 1; none where that cannot be told."""
    parts = [match for name in names if (match := re.fullmatch(r"(.*?)(\d+)", name, re.ASCII))]
    numbers = {int(part[2]) for part in parts}
    if len(numbers) != len(names) or not numbers or len({part[1] for part in parts}) > 1:
        return []
    first = 0 if min(numbers) == 0 else 1
    if max(numbers) >= first + count:
        return []
    prefix, width = parts[0][1], min(len(part[2]) for part in parts)
    return [f"{prefix}{number:0{width}d}" for number in range(first, first + count) if number not in numbers]
