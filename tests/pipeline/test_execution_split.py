"""Work is cut without losing a shard or making one twice, and videos stay whole where they can."""

import random
from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import Config
from pipeline.contract import Shard
from pipeline.execution.split import cut_pieces, share_of
from pipeline.stages.masks import MasksStage, blocks
from tests.pipeline.orders import SHARD_FRAMES, records

lengths = st.lists(st.integers(1, 30), max_size=12)


def shards_of(lengths: list[int]) -> list[Shard]:
    return [
        Shard(record=record, index=i, start=SHARD_FRAMES * i, stop=min(SHARD_FRAMES * (i + 1), record.num_frames))
        for record, length in zip(records(lengths), lengths, strict=True)
        for i in range(length)
    ]


@settings(deadline=None)
@given(lengths, st.integers(1, 9), st.booleans())
def test_shares_are_disjoint_complete_and_fair(lengths: list[int], jobs: int, in_order: bool) -> None:
    shards = shards_of(lengths)
    shares = [share_of(shards, number, jobs, in_order=in_order) for number in range(1, jobs + 1)]
    together = [shard for share in shares for shard in share]
    assert len(together) == len(set(together)) == len(shards)
    assert set(together) == set(shards)
    fair = -(-len(shards) // jobs)
    assert max(map(len, shares)) <= (2 * fair if in_order else fair + -(-len(shards) // (4 * jobs)))
    for share in shares:
        assert share == sorted(share, key=shards.index)  # videos from front to back


@settings(deadline=None)
@given(lengths, st.integers(1, 9))
def test_a_video_is_cut_only_if_it_is_longer_than_a_fair_share(lengths: list[int], jobs: int) -> None:
    shards = shards_of(lengths)
    fair = -(-len(shards) // jobs)
    shares = [share_of(shards, number, jobs, in_order=True) for number in range(1, jobs + 1)]
    for record, length in zip(records(lengths), lengths, strict=True):
        having = [share for share in shares if any(shard.record == record for shard in share)]
        assert len(having) == 1 or length > fair
        assert len(having) <= -(-length // fair)


def test_a_share_does_not_depend_on_what_is_made_already_nor_on_chance() -> None:
    shards = shards_of([5, 9, 2, 2, 7])
    random.seed(1)
    first = [share_of(shards, number, 3, in_order=True) for number in (1, 2, 3)]
    random.seed(2)
    assert [share_of(list(shards), number, 3, in_order=True) for number in (1, 2, 3)] == first
    assert sorted(map(len, first)) == [7, 9, 9]


@settings(deadline=None)
@given(lengths, st.integers(1, 9), st.booleans())
def test_pieces_hold_every_shard_once_each_of_one_video_from_front_to_back(
    lengths: list[int], workers: int, in_order: bool
) -> None:
    shards = shards_of(lengths)
    pieces = cut_pieces(shards, in_order=in_order, workers=workers)
    assert [shard for piece in pieces for shard in piece] == shards
    for piece in pieces:
        assert piece
        assert all(after.record == before.record and after.index == before.index + 1 for before, after in pairwise(piece))


def test_everybody_has_work_and_videos_that_are_decoded_stay_whole() -> None:
    shards = shards_of([6, 6, 6])
    assert [len(piece) for piece in cut_pieces(shards, in_order=True, workers=2)] == [6, 6, 6]
    assert len(cut_pieces(shards[:6], in_order=True, workers=3)) == 3  # one video for three
    assert len(cut_pieces(shards, in_order=False, workers=2)) >= 8


@settings(deadline=None)
@given(lengths, st.integers(1, 9), st.booleans(), st.integers(0, 12))
def test_no_piece_is_smaller_than_what_is_worked_out_at_once(
    lengths: list[int], jobs: int, in_order: bool, least: int
) -> None:
    shards = shards_of(lengths)
    pieces = cut_pieces(shards, in_order=in_order, workers=jobs, least=least)
    assert [shard for piece in pieces for shard in piece] == shards
    whole = dict(zip(records(lengths), lengths, strict=True))
    assert all(len(piece) >= min(least, whole[piece[0].record]) for piece in pieces)
    shares = [share_of(shards, number, jobs, in_order=in_order, least=least) for number in range(1, jobs + 1)]
    assert sorted(map(shards.index, (shard for share in shares for shard in share))) == list(range(len(shards)))
    for share in shares:
        for record, length in whole.items():
            having = sum(shard.record == record for shard in share)
            assert having == 0 or having >= min(least, length)


def test_masks_of_a_long_video_are_found_once_but_where_pieces_meet() -> None:
    frames, (record,) = 128, records([1])
    record = replace(record, num_frames=5000)
    shards = [Shard(record=record, index=i, start=start, stop=start + frames) for i, start in enumerate(range(0, 5000, 128))]
    cut = blocks(5000)

    def found(pieces: list[list[Shard]]) -> int:
        return sum(start < piece[-1].stop and stop > piece[0].start for piece in pieces for start, stop in cut)

    least = MasksStage(Config()).together // frames
    assert found([shards]) == len(cut)
    assert found(cut_pieces(shards, in_order=True, workers=64)) > 8 * len(cut)
    assert found(cut_pieces(shards, in_order=True, workers=64, least=least)) < 2 * len(cut)
