"""How the shards of a stage are cut up: into pieces of work for one run, and into shares for jobs that share nothing.

Shards of one video stay together where that is possible: its file is then decoded once, from front to back, and what a
worker remembers of it (an open file, a block of masks) is used again.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise

from pipeline.contract import Shard

PIECES_PER_WORKER = 4  # enough that nobody waits long at the end for the one with the last piece


def cut_pieces(shards: Sequence[Shard], *, in_order: bool, workers: int, least: int = 1) -> list[list[Shard]]:
    """Return pieces of work: consecutive shards of one video each, made by one process from front to back.

    Parameters
    ----------
    shards
        In the order of the plan: video by video, each from front to back.
    in_order
        Whether they cost less one after another (:attr:`pipeline.contract.ShardStage.in_order`); then videos are cut only
        where there are fewer videos than workers.
    workers
        How many processes there are.
    least
        So many shards a piece has at least, unless its video has fewer: smaller ones would not be ready sooner
        (:attr:`pipeline.contract.ShardStage.together`).
    """
    videos = _by_video(shards)
    if in_order:
        parts = -(-workers // len(videos)) if videos else 1
        return [piece for video in videos for piece in _cut(video, -(-len(video) // parts), least)]
    most = max(1, len(shards) // (workers * PIECES_PER_WORKER))
    return [piece for video in videos for piece in _cut(video, most, least)]


def share_of(shards: Sequence[Shard], number: int, jobs: int, *, in_order: bool, least: int = 1) -> list[Shard]:
    """Return the share of job ``number``, counted from 1, of ``jobs`` jobs: the same for all who cut the same shards.

    Shares are disjoint and complete. Pieces of videos are dealt out, the longest first, each to the job with least. With
    ``in_order`` they are whole videos, but for those longer than a fair share, and no share holds more than two fair ones;
    otherwise at most a quarter of a fair share, and none holds more than a quarter too much (rounded up). Pieces have at
    least ``least`` shards, as in :func:`cut_pieces`; where that is more than the above, shares are larger.
    """
    most = max(1, -(-len(shards) // (jobs if in_order else jobs * PIECES_PER_WORKER)))
    pieces = [piece for video in _by_video(shards) for piece in _cut(video, most, least)]
    loads = [0] * jobs
    share: set[int] = set()  # numbers of pieces
    for index in sorted(range(len(pieces)), key=lambda index: -len(pieces[index])):  # stable: equal ones in their order
        job = loads.index(min(loads))
        loads[job] += len(pieces[index])
        if job == number - 1:
            share.add(index)
    return [shard for index in sorted(share) for shard in pieces[index]]


def _by_video(shards: Iterable[Shard]) -> list[list[Shard]]:
    return [list(group) for _, group in groupby(shards, key=lambda shard: shard.record)]


def _cut(video: list[Shard], most: int, least: int) -> list[list[Shard]]:
    """Cut into as few pieces of at most ``most`` shards as there can be, of about equal length; none below ``least``."""
    count = min(-(-len(video) // most), max(1, len(video) // max(1, least)))
    borders = [len(video) * number // count for number in range(count + 1)]
    return [video[start:stop] for start, stop in pairwise(borders)]
