"""Recordings whose frames do not come evenly, as phones and IP cameras make them: what counts is when each was taken."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contract import Cut, DataError, Moment, VideoRecord
from pipeline.datasets import clocks
from pipeline.datasets.check import check_dataset
from pipeline.datasets.clocks import Clock, clock_from, clock_of, mean_rate
from pipeline.datasets.cuts import count_kept, frame_at, kept_frames, step_of
from pipeline.datasets.folder import FolderDataset
from pipeline.datasets.inventory import Inventory, take_inventory
from pipeline.datasets.reader import open_frames
from scoring.live.sources import StoredVideo
from scoring.live.watch import Watch
from tests.pipeline import layouts

DUSK = [40] * 30 + [80] * 30
"""Milliseconds: 25 frames a second while it is light, 12.5 when it gets dark. 61 frames, the last after 3.6 s."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Write the same uneven recording to learn from and, with two more frames, to test."""
    layouts.write_uneven(tmp_path / "data" / "train" / "a.mp4", DUSK)
    layouts.write_uneven(tmp_path / "data" / "test" / "b.mp4", [*DUSK, 80, 80])
    return tmp_path / "data"


def take(dataset: FolderDataset) -> Inventory:
    return take_inventory(dataset, dataset.root.parent / "inventory.json")


def record_of(dataset: FolderDataset, name: str) -> VideoRecord:
    inventory = take(dataset)
    assert not inventory.problems
    return next(record for record in inventory.records if record.id == name)


def numbers(record: VideoRecord) -> list[int]:
    """Return the numbers that all frames of a record show, up to 23."""
    with open_frames(record.video) as reader:
        return [layouts.told(frame) for frame in reader.read(0, record.num_frames)]


def warnings(dataset: FolderDataset, *, deep: bool = False) -> str:
    return "\n".join(check_dataset(dataset, deep=deep).warnings)


def test_a_clock_tells_the_time_of_every_frame_without_decoding(root: Path) -> None:
    clock = clock_of(next(video for video in FolderDataset(root).videos() if video.id == "a"))
    assert clock.time_T is not None
    np.testing.assert_allclose(clock.time_T * 1000, np.cumsum([0, *DUSK]), atol=0.1)
    assert clock.rate == pytest.approx(60 / 3.6, rel=1e-3)


def test_a_constant_rate_has_an_even_clock_whatever_container_and_codec(tmp_path: Path) -> None:
    kinds = (("a.mp4", "mp4v", 29.97), ("b.avi", "MJPG", 25.0), ("c.avi", "XVID", 12.5), ("d.mkv", "mp4v", 30.0))
    for name, codec, fps in kinds:
        path = layouts.write_video(tmp_path / name, 60, codec, fps=fps)
        clock = clock_of(layouts.file_video(path))
        assert clock.time_T is None, name
        assert clock.rate == pytest.approx(fps, rel=1e-3), name


def test_jitter_of_less_than_half_a_frame_is_even_and_a_clock_that_was_set_back_is_not_believed() -> None:
    even_T = np.arange(100) / 25
    assert clock_from(even_T + np.random.default_rng(0).uniform(0, 0.009, 100), 25).time_T is None
    assert clock_from(even_T * 1.2, 25).time_T is not None  # a rate that was claimed wrongly
    assert clock_from(np.concatenate([even_T, even_T]), 25).time_T is None


@pytest.mark.parametrize(("step", "spread"), [(0.04, 0.02), (2.0, 0.4), (5.0, 0.5)])
def test_the_mean_rate_of_slow_recordings_is_that_of_all_steps_but_gaps(step: float, spread: float) -> None:
    step_T = np.clip(np.random.default_rng(0).normal(step, spread, 400), 0.1 * step, 2.5 * step)
    time_T = np.concatenate([[0], np.cumsum(step_T)])
    behind_T = time_T + np.where(np.arange(401) > 200, 60.0, 0)  # nothing was recorded for a minute
    for seen_T in (time_T, behind_T):
        assert mean_rate(seen_T) == pytest.approx(1 / step_T.mean(), rel=0.01)


def test_a_part_in_frames_does_not_end_where_the_times_of_packets_do() -> None:
    clock = Clock(rate=10.0, time_T=np.cumsum([0.1, 0.3] * 10))
    cut = Cut(recording="a", start=Moment(value=2))
    assert count_kept(cut, clock, 30, "a") == 28
    assert [frame_at(cut, clock, index, "a") for index in (0, 17, 27)] == [2, 19, 29]


def test_thinned_out_frames_are_those_that_were_there_at_their_moments(root: Path) -> None:
    record = record_of(FolderDataset(root, fps=12.5), "a")
    assert numbers(record) == [frame % 24 for frame in [*range(0, 30, 2), *range(30, 61)]]  # every second one, then each
    assert record.fps == 12.5


def test_where_the_recording_is_too_slow_the_frame_before_is_shown_again(root: Path) -> None:
    record = record_of(FolderDataset(root, fps=16), "a")
    seconds_T = np.cumsum([0, *DUSK]) / 1000
    moments = np.arange(record.num_frames) / 16
    shown = [int(np.flatnonzero(seconds_T <= moment + 1e-6)[-1]) % 24 for moment in moments]
    assert numbers(record) == shown
    assert len(set(shown)) < len(shown)
    assert 3.6 <= record.num_frames / 16 <= 3.6 + 2 * 0.0625
    with open_frames(record.video) as reader:  # and the same from anywhere
        assert [layouts.told(frame) for frame in reader.read(20, 50)] == shown[20:50]
        assert [layouts.told(frame) for frame in reader.read(3, 9)] == shown[3:9]


def test_reading_to_the_end_gives_as_many_frames_as_were_counted(root: Path) -> None:
    for fps in (5.0, 12.5, 16.0):
        record = record_of(FolderDataset(root, fps=fps), "a")
        with open_frames(record.video) as reader:
            found = 0
            while reader.next_frame() is not None:
                found += 1
        assert found == record.num_frames


def test_a_rate_beyond_the_average_one_is_refused(root: Path) -> None:
    problems = {problem.id: problem.message for problem in take(FolderDataset(root, fps=20)).problems}
    assert "a.mp4: expected at least 20 frames per second (dataset.fps), found 16.67" in problems["a"]


def test_labels_in_seconds_are_put_at_the_frames_of_that_time(root: Path) -> None:
    (root / "labels.csv").write_text("video,start,end\nb,1.2s,2s\n")
    dataset = FolderDataset(root)
    record = record_of(dataset, "b")
    labels = dataset.labels(record.video, record.num_frames)
    assert labels is not None
    assert layouts.anomalous(labels) == list(range(30, 40))  # from 1.2 s on frames come 12.5 a second
    thinned = FolderDataset(root, fps=12.5)
    record = record_of(thinned, "b")
    labels = thinned.labels(record.video, record.num_frames)
    assert labels is not None
    assert layouts.anomalous(labels) == list(range(15, 25))


def test_what_is_left_out_in_seconds_is_what_was_recorded_then(root: Path) -> None:
    (root / "left_out.csv").write_text("video,start,end\na,0s,2s\n")
    record = record_of(FolderDataset(root), "a")
    assert numbers(record) == [frame % 24 for frame in range(40, 61)]


def test_content_chosen_by_times_has_another_digest_than_when_all_counted_as_even(root: Path) -> None:
    by_frames = root / "left_out.csv"
    by_frames.write_text("video,start,end\na,0,5\n")
    kept = record_of(FolderDataset(root), "a").digest
    even = root.parent / "even"
    layouts.write_video(even / "train" / "a.mp4", 61)
    uneven_digest = record_of(FolderDataset(root, fps=12.5), "a").digest
    assert len({kept, uneven_digest}) == 2
    assert take_inventory(FolderDataset(even, fps=12.5), root.parent / "even.json").records[0].num_frames == 31


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from([20, 33, 40, 80, 400, 1500]), min_size=20, max_size=60),
    st.floats(1, 60),
    st.integers(0, 30),
    st.none() | st.integers(0, 70),
)
def test_counting_uneven_frames_agrees_with_listing_them(steps: list[int], fps: float, start: int, stop: int | None) -> None:
    clock = clock_from(np.cumsum([0, *steps]) / 1000, 1000.0)
    cut = Cut(recording="a", start=Moment(value=start), stop=None if stop is None else Moment(value=stop), fps=fps)
    recorded = len(steps) + 1
    if clock.rate / fps < 0.95:
        with pytest.raises(DataError, match="expected at least"):
            step_of(cut, clock, "a")
        return
    listed: list[int] = []
    while (frame := frame_at(cut, clock, len(listed), "a")) is not None and start < recorded:
        listed.append(frame)
    assert count_kept(cut, clock, recorded, "a") == len(listed)
    assert kept_frames(cut, clock, len(listed), "a").tolist() == listed
    assert listed == sorted(listed)
    assert all(start <= frame < min(recorded, recorded if stop is None else stop) for frame in listed)


# ---- as a user sees it


def test_the_check_says_that_a_recording_is_variable_and_what_to_do(root: Path) -> None:
    found = warnings(FolderDataset(root))
    assert "a.mp4: variable frame rate: expected 16.7" in found
    assert "40 to 80 ms apart" in found
    assert "dataset.fps = 16 would space them evenly" in found
    assert "brought to dataset.fps = 12.5 by their times" in warnings(FolderDataset(root, fps=12.5), deep=True)
    assert "a.mp4: expected a new frame 16 times a second (dataset.fps), found " in warnings(FolderDataset(root, fps=16))


def test_a_constant_rate_is_not_called_variable(tmp_path: Path) -> None:
    layouts.write_video(tmp_path / "data" / "train" / "a.mp4", 60, fps=29.97)
    for deep in (False, True):
        assert "variable" not in warnings(FolderDataset(tmp_path / "data"), deep=deep)


def test_a_gap_is_told_with_the_line_that_leaves_it_out(tmp_path: Path) -> None:
    root = tmp_path / "data"
    layouts.write_uneven(root / "train" / "gate" / "a.mp4", [40] * 20 + [4000] + [40] * 30)
    found = warnings(FolderDataset(root))
    line = "train/gate/a,0.801s,4.799s"
    assert f"found none between 0.800 and 4.800 s; a clip reaches over it, unless left_out.csv has the line {line}" in found
    (root / "left_out.csv").write_text(f"video,start,end\n{line}\n")
    records = {record.id: record for record in take(FolderDataset(root, fps=25)).records}
    assert {name: record.num_frames for name, record in records.items()} == {"gate/a@1": 21, "gate/a@2": 31}
    assert numbers(records["gate/a@2"])[:3] == [21, 22, 23]


def test_only_a_deep_check_looks_at_all_packets(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.datasets.seen.FIRST_PACKETS", 25)
    monkeypatch.setattr(clocks, "MOST_REORDERED", 2)
    assert "variable" not in warnings(FolderDataset(root))
    assert "variable" in warnings(FolderDataset(root), deep=True)


def test_scores_of_an_uneven_video_tell_when_each_frame_was_taken(root: Path) -> None:
    from threading import Event

    source = StoredVideo(FolderDataset(root).videos()[0], "b")
    time_T = np.concatenate([block.time_T for block in source.blocks(Watch(), Event())])
    np.testing.assert_allclose(time_T * 1000, np.cumsum([0, *DUSK, 80, 80]), atol=0.1)
    source.thin_to = 12.5
    time_T = np.concatenate([block.time_T for block in source.blocks(Watch(), Event())])
    np.testing.assert_allclose(time_T, np.arange(len(time_T)) / 12.5)


def test_frames_that_are_not_at_the_times_of_their_packets_are_refused_where_times_matter(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.datasets.probe.clock_of", lambda _: Clock(rate=25.0))
    assert not take(FolderDataset(root)).problems
    problem = take(FolderDataset(root, fps=12.5)).problems[0]
    assert "expected frames at the times of their packets, found others" in problem.message
    assert "ffmpeg -i" in problem.message


def test_labels_of_such_frames_are_taken_in_frames_and_refused_in_seconds(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.datasets.probe.clock_of", lambda _: Clock(rate=25.0))
    for stretch, refused in (("40,50", False), ("1.7s,2.6s", True)):
        (root / "labels.csv").write_text(f"video,start,end\nb,{stretch}\n")
        dataset = FolderDataset(root)
        for record in (record_of(dataset, "b"), record_of(dataset, "b")):  # read, and remembered
            if refused:
                with pytest.raises(DataError, match=r"b.* times of their packets.* labels in frames"):
                    dataset.labels(record.video, record.num_frames)
            else:
                found = dataset.labels(record.video, record.num_frames)
                assert found is not None
                assert np.flatnonzero(found.frame_T).tolist() == list(range(40, 50))
