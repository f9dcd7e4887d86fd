"""Checking a dataset before any work: what it holds, against what was published, and everything that is wrong with it.

Nothing is written and no problem hides another. Where a container's claim about its length contradicts labels or published
totals, its frames are counted before anybody is blamed.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np

from pipeline.config import CLIP_FRAMES
from pipeline.contract import DataError, Labels, Report, Split, Video
from pipeline.datasets.base import Dataset
from pipeline.datasets.check_result import Checked, SplitTable
from pipeline.datasets.check_totals import compare_labels, compare_size
from pipeline.datasets.headers import shown
from pipeline.datasets.listing import natural_key, printable, where
from pipeline.datasets.look import Look, content, count_frames, look_over
from pipeline.datasets.published import PUBLISHED, Published, Totals

MOST_READERS = 8
MOST_NAMED = 5  # videos in one line
T = TypeVar("T")
R = TypeVar("R")
SPLITS: tuple[Split, ...] = ("train", "test")


def check_dataset(
    dataset: Dataset, *, label_set: str | None = None, deep: bool = False, workers: int = 0, report: Report | None = None
) -> Checked:
    """Look every video over and compare the whole with what was published.

    ``label_set`` is the one that was asked for by name, ``deep`` decodes every frame, ``workers`` is the number of threads
    (0 = one per core). ``report`` hears of videos: what, number done, number in all.
    """
    survey = dataset.survey
    published = PUBLISHED.get(dataset.benchmark or "")
    checked = Checked(title=published.title if published else "")
    checked.problems += [str(error) for error in survey.problems]
    checked.warnings += survey.remarks
    if not published:
        checked.warnings.append("not known to be a published dataset: there are no totals to compare it with")
    workers = workers or min(MOST_READERS, os.cpu_count() or 1)
    look = partial(look_over, deep=deep)
    looks = _each(look, survey.videos, "decoding" if deep else "looking", workers, report)
    for split in SPLITS:
        mine = [look for look in looks if look.video.split == split]
        totals = published.splits.get(split) if published else None
        if totals and totals.videos == len(mine) and totals.frames not in (None, sum(look.num_frames for look in mine)):
            mine = _each(count_frames, mine, f"counting {split} frames", workers, report)
        if split == "test":
            mine, labels = _read_labels(dataset, mine, published, checked)
        else:
            labels = {}
        table = _tabulate(split, mine, labels, totals)
        checked.splits.append(table)
        _check_videos(mine, checked)
        _check_split(dataset, table, mine, published, checked)
        files = [path for look in mine if look.video.id in labels for path in dataset.label_files(look.video)]
        compare_labels(table, label_set, files, checked)
    _check_doubles(looks, checked, workers, report)
    checked.problems[:] = map(printable, dict.fromkeys(checked.problems))
    checked.warnings[:] = map(printable, dict.fromkeys(checked.warnings))
    return checked


def _each(look: Callable[[T], R], items: Sequence[T], what: str, workers: int, report: Report | None) -> list[R]:
    """Apply a function in threads, as OpenCV and the disk let go of the interpreter; results in order."""
    results: list[R] = []
    pool = ThreadPoolExecutor(workers)
    try:
        for result in pool.map(look, items):
            results.append(result)
            if report:
                report(what, len(results), len(items))
    finally:
        pool.shutdown(cancel_futures=True)
    return results


def _read_labels(
    dataset: Dataset, looks: Sequence[Look], published: Published | None, checked: Checked
) -> tuple[list[Look], dict[str, Labels]]:
    """Read the labels of test videos; one whose labels do not fit a claimed length is counted, and tried again."""
    counted: list[Look] = []
    found: dict[str, Labels] = {}
    without = 0
    for given in looks:
        look = given
        if look.num_frames:
            try:
                try:
                    labels = dataset.labels(look.video, look.num_frames)
                except DataError:
                    look = count_frames(look)
                    labels = dataset.labels(look.video, look.num_frames)
                if labels is None:
                    without += 1
                else:
                    found[look.video.id] = replace(labels, pixel_mask_THW=None)  # masks of a split do not fit into memory
            except (DataError, OSError) as error:
                checked.problems.append(str(error))
        counted.append(look)
    if without and not found:
        _note_missing_labels(dataset, published, checked)
    return counted, found


def _note_missing_labels(dataset: Dataset, published: Published | None, checked: Checked) -> None:
    """Of recordings labels are a choice; of a published dataset results without them compare with nothing."""
    if published and (place := dataset.where_labels_belong()):
        checked.problems.append(
            f"{place}: expected the labels of {published.title}, found none; put them there (only metrics need them)"
        )
    else:
        checked.warnings.append("test: no labels were found; scores need none, metrics do")


def _tabulate(split: Split, looks: Sequence[Look], labels: dict[str, Labels], totals: Totals | None) -> SplitTable:
    return SplitTable(
        split=split,
        videos=len(looks),
        frames=sum(look.num_frames for look in looks),
        exact=all(look.exact for look in looks),
        sizes=Counter(shown(size) for look in looks for size in look.sizes),
        rates=Counter(f"{look.fps:g}" if look.fps else "" for look in looks if look.num_frames),
        labelled=sum(len(found.frame_T) for found in labels.values()),
        anomalous=sum(int(np.count_nonzero(found.frame_T)) for found in labels.values()),
        sources=_sources(labels.values()),
        published=totals,
    )


def _sources(labels: Iterable[Labels]) -> list[str]:
    """Return where labels come from; many files of one kind count as one, with ``*`` for what tells them apart."""
    found = list(dict.fromkeys(label.source for label in labels))
    return found if len(found) <= 3 else sorted({re.sub(r"[\w-]*\d[\w-]*", "*", source) for source in found})


def _check_videos(looks: Sequence[Look], checked: Checked) -> None:
    for look in looks:
        checked.problems += look.problems
        checked.warnings += look.remarks
        if 0 < look.num_frames < CLIP_FRAMES:
            checked.problems.append(
                f"{where(look.video)}: expected at least {CLIP_FRAMES} frames (one clip), found {look.num_frames}; remove it"
            )


def _check_split(
    dataset: Dataset, table: SplitTable, looks: Sequence[Look], published: Published | None, checked: Checked
) -> None:
    if not looks:
        if not dataset.survey.videos and dataset.survey.problems:
            return  # the root itself is wrong, and that was said
        note = checked.warnings if dataset.may_lack(table.split) else checked.problems
        note.append(f"expected {table.split} videos, found none; see docs/datasets.md for where they belong")
        return
    if not table.frames and not any(look.problems for look in looks):
        checked.problems.append(f"expected {table.split} videos of which frames count, found none; leave out less of them")
    if len(table.sizes) > 1:
        sizes = ", ".join(f"{size} ({count})" for size, count in table.sizes.most_common())
        checked.warnings.append(f"{table.split}: videos of {len(table.sizes)} sizes, all resized to one: {sizes}")
    rates = Counter({rate: count for rate, count in table.rates.items() if rate})
    if len(rates) > 1:
        shares = ", ".join(f"{rate} ({count})" for rate, count in rates.most_common())
        checked.warnings.append(f"{table.split}: videos of several frame rates, whose motion does not compare: {shares}")
    if published and table.published:
        compare_size(table, table.published, published, [look.video for look in looks], checked)


def _check_doubles(looks: Sequence[Look], checked: Checked, workers: int, report: Report | None) -> None:
    """Find videos of equal content: those that look alike are hashed whole."""
    alike: dict[str, list[Video]] = defaultdict(list)
    for look in looks:
        if look.likeness and look.num_frames:
            alike[look.likeness].append(look.video)
    suspects = [video for videos in alike.values() if len(videos) > 1 for video in videos]
    by_content: dict[str, list[Video]] = defaultdict(list)
    for video, digest in zip(suspects, _each(_try_content, suspects, "comparing", workers, report), strict=True):
        if digest:
            by_content[digest].append(video)
    for videos in by_content.values():
        if len(videos) > 1:
            first, *others = sorted(videos, key=lambda video: (video.split != "train", natural_key(video.id)))
            found = ", ".join(where(video) for video in others[:MOST_NAMED])
            found += f" and {len(others) - MOST_NAMED} more" if len(others) > MOST_NAMED else ""
            both = any(video.split != first.split for video in others)
            checked.problems.append(
                f"{where(first)}: expected every video once, found the same content in {found}; remove "
                + ("it from one of the two splits: a model knows what it was trained on" if both else "all but one")
            )


def _try_content(video: Video) -> str:
    with suppress(DataError):
        return content(video)
    return ""
