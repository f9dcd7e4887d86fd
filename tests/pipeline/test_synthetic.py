"""The synthetic dataset: what is rendered, what is written, and what the ordinary path reads back."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.config import ConfigError, DatasetSettings
from pipeline.contract import DataError, VideoRecord
from pipeline.data_cli import data
from pipeline.datasets.inventory import take_inventory
from pipeline.datasets.reader import open_frames
from pipeline.datasets.registry import open_dataset
from pipeline.synthetic import KINDS, RenderedVideo, SyntheticSettings, render_video, write
from pipeline.synthetic.settings import kinds_of_test_videos, min_visible_pixels
from pipeline.synthetic.write import label_files, video_file, write_dataset

SMALL = SyntheticSettings(seed=3, train_videos=2, test_videos=8, frames=60, height=96, width=128)
TINY = SMALL.model_copy(update={"train_videos": 1, "test_videos": 2, "frames": 32})


def silent(what: str, done: float, total: float) -> None:
    """Take reports of progress."""


@pytest.fixture(scope="module")
def tests() -> list[RenderedVideo]:
    return [render_video(SMALL, "test", index) for index in range(SMALL.test_videos)]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("synthetic")
    assert write_dataset(TINY, root, silent) == 3
    return root


def records_of(root: Path, cache: Path) -> dict[str, VideoRecord]:
    inventory = take_inventory(open_dataset(DatasetSettings(kind="synthetic", root=root)), cache / "inventory.json")
    assert not inventory.problems
    return {record.id: record for record in inventory.records}


# ---- rendering


def test_a_frame_is_labelled_exactly_where_its_mask_holds_a_pixel(tests: list[RenderedVideo]) -> None:
    for video in tests:
        np.testing.assert_array_equal(video.labels_T, video.mask_THW.any(axis=(1, 2)))


def test_no_labelled_frame_shows_a_mere_sliver_of_its_anomaly(tests: list[RenderedVideo]) -> None:
    for video in tests:
        areas_T = video.mask_THW.sum(axis=(1, 2))
        assert areas_T[video.labels_T].min(initial=SMALL.height) >= min_visible_pixels(SMALL.height, SMALL.width)


def test_tracks_are_the_tight_boxes_of_the_masks(tests: list[RenderedVideo]) -> None:
    boxes = 0
    for video in tests:
        frames = {frame for _, frame, *_ in video.tracks}
        assert frames == set(np.flatnonzero(video.labels_T))
        if len({track for track, *_ in video.tracks}) != 1:
            continue
        for _, frame, x1, y1, x2, y2 in video.tracks:
            rows, columns = np.nonzero(video.mask_THW[frame])
            assert (x1, y1, x2, y2) == (columns.min(), rows.min(), columns.max(), rows.max())
            boxes += 1
    assert boxes > 50


def test_the_pixels_of_a_mask_show_something_that_is_not_the_street(tests: list[RenderedVideo]) -> None:
    for video in tests:
        street_HWC = np.median(video.frames_THWC, axis=0)
        if not video.events or video.events[0].kind in ("lying", "bag"):  # these stay, and pass for street in a median
            continue
        for frame in np.flatnonzero(video.labels_T)[::7]:
            difference_HW = np.abs(video.frames_THWC[frame] - street_HWC).max(axis=-1)
            mask_HW = video.mask_THW[frame]
            assert difference_HW[mask_HW].mean() > 3 * difference_HW[~mask_HW].mean()


def test_every_anomalous_video_shows_its_kind_and_the_others_nothing(tests: list[RenderedVideo]) -> None:
    for kind, video in zip(kinds_of_test_videos(SMALL), tests, strict=True):
        assert {event.kind for event in video.events} == ({kind} if kind else set())
        assert video.labels_T.any() == (kind is not None)


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_ten_test_videos_hold_every_kind_and_two_normal_ones(seed: int) -> None:
    kinds = kinds_of_test_videos(SyntheticSettings(seed=seed))
    assert set(kinds) == {*KINDS, None}
    assert kinds.count(None) == 2


@pytest.mark.parametrize("seed", [0, 1])
def test_anomalies_stay_in_view_for_a_fair_part_of_a_video(seed: int) -> None:
    settings = SyntheticSettings(seed=seed, height=60, width=80)
    for index, kind in enumerate(kinds_of_test_videos(settings)[:3]):
        share = render_video(settings, "test", index).labels_T.mean()
        assert 0.2 <= share <= 0.7 if kind else share == 0


def test_the_training_split_shows_no_anomaly() -> None:
    for index in range(SMALL.train_videos):
        video = render_video(SMALL, "train", index)
        assert not video.labels_T.any()
        assert not video.events
        assert all(actor.form == "person" and actor.kind is None for actor in video.actors)


def test_training_walkers_go_with_the_stream_of_their_lane_and_nobody_runs() -> None:
    directions: dict[str, set[float]] = {}
    for index in range(SMALL.train_videos):
        for actor in render_video(SMALL, "train", index).actors:
            directions.setdefault(actor.lane, set()).add(float(np.sign(actor.x_T[-1] - actor.x_T[0])))
            assert actor.speed_T.max() < 1.2  # body heights per second, where walking ends
    assert all(len(found) == 1 for found in directions.values())


def test_the_same_settings_give_the_same_bytes_and_another_seed_gives_another_scene() -> None:
    first, again = render_video(TINY, "test", 1), render_video(TINY, "test", 1)
    other = render_video(TINY.model_copy(update={"seed": 4}), "test", 1)
    assert first.frames_THWC.tobytes() == again.frames_THWC.tobytes()
    assert first.mask_THW.tobytes() == again.mask_THW.tobytes()
    assert np.abs(first.frames_THWC.mean(axis=0) - other.frames_THWC.mean(axis=0)).mean() > 5


def test_a_video_does_not_depend_on_how_many_others_there_are() -> None:
    more = TINY.model_copy(update={"train_videos": 9})
    assert render_video(TINY, "train", 0).frames_THWC.tobytes() == render_video(more, "train", 0).frames_THWC.tobytes()


# ---- writing and reading back


def test_written_videos_come_back_whole_through_the_ordinary_path(written: Path, tmp_path: Path) -> None:
    records = records_of(written, tmp_path)
    assert sorted(records) == ["test-000", "test-001", "train-000"]
    for record in records.values():
        found = record.num_frames, record.height, record.width, record.fps
        assert found == (TINY.frames, TINY.height, TINY.width, TINY.fps)
    rendered_THWC = render_video(TINY, "test", 1).frames_THWC
    with open_frames(records["test-001"].video) as reader:
        frames_THWC = reader.read(0, TINY.frames)
    error = float(np.mean((frames_THWC.astype(np.float64) - rendered_THWC) ** 2))
    assert 28 < 10 * np.log10(255**2 / error) < 42  # dB: compressed, and mildly


def test_written_labels_masks_and_tracks_are_those_rendered(written: Path, tmp_path: Path) -> None:
    dataset = open_dataset(DatasetSettings(kind="synthetic", root=written))
    for index in range(TINY.test_videos):
        rendered = render_video(TINY, "test", index)
        record = records_of(written, tmp_path)[f"test-{index:03d}"]
        labels = dataset.labels(record.video, record.num_frames)
        assert labels is not None
        assert labels.pixel_mask_THW is not None
        np.testing.assert_array_equal(labels.frame_T, rendered.labels_T)
        np.testing.assert_array_equal(labels.pixel_mask_THW, rendered.mask_THW)
        lines = label_files(written, index)["tracks"].read_text().splitlines()
        assert [tuple(map(int, line.split(","))) for line in lines] == list(rendered.tracks)


def test_the_description_tells_settings_codec_and_kinds(written: Path) -> None:
    found = json.loads((written / "dataset.json").read_text())
    assert SyntheticSettings(**found["settings"]) == TINY
    assert found["codec"] == "mp4v"
    for entry, kind in zip(found["videos"]["test"], kinds_of_test_videos(TINY), strict=True):
        assert entry["kinds"] == ([kind] if kind else [])


def test_two_writings_decode_to_the_same_frames_with_one_process_or_two(written: Path, tmp_path: Path) -> None:
    write_dataset(TINY, tmp_path, silent, workers=2)
    for split, index in (("train", 0), ("test", 0), ("test", 1)):
        first, second = (decoded(video_file(root, split, index)) for root in (written, tmp_path))
        assert first.shape == (TINY.frames, TINY.height, TINY.width, 3)
        assert first.tobytes() == second.tobytes()


def decoded(path: Path) -> np.ndarray:
    capture, frames = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        frames.append(read[1])
    capture.release()
    return np.stack(frames)


def test_a_complete_dataset_of_the_same_settings_is_left_alone(written: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in written.rglob("*")}
    assert write_dataset(TINY, written, silent) == 0
    assert {path: path.stat().st_mtime_ns for path in written.rglob("*")} == before


def test_an_interrupted_writing_is_not_taken_for_whole_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *_: object) -> None:
        path.write_bytes(b"half a video")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(write, "encode", full)
        with pytest.raises(OSError, match="No space left"):
            write_dataset(TINY, tmp_path, silent)
    with pytest.raises(DataError, match=r"expected dataset\.json"):
        open_dataset(DatasetSettings(kind="synthetic", root=tmp_path)).videos()
    write_dataset(TINY, tmp_path, silent)
    kept = video_file(tmp_path, "train", 0).stat().st_mtime_ns
    (tmp_path / "dataset.json").rename(tmp_path / ".writing.json")
    video_file(tmp_path, "test", 1).unlink()
    assert write_dataset(TINY, tmp_path, silent) == 1
    assert video_file(tmp_path, "train", 0).stat().st_mtime_ns == kept
    assert len(open_dataset(DatasetSettings(kind="synthetic", root=tmp_path)).videos()) == 3


def test_a_video_that_lost_frames_on_the_way_to_disk_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "_count_frames", lambda path: TINY.frames - 1)
    with pytest.raises(OSError, match=r"train-000\.mp4: expected 32 frames in it, found 31; is the disk full"):
        write_dataset(TINY, tmp_path, silent)
    assert not video_file(tmp_path, "train", 0).exists()


def test_a_missing_video_is_named(tmp_path: Path) -> None:
    write_dataset(TINY, tmp_path, silent)
    video_file(tmp_path, "test", 1).unlink()
    with pytest.raises(DataError, match="found no test-001"):
        open_dataset(DatasetSettings(kind="synthetic", root=tmp_path)).videos()
    assert write_dataset(TINY, tmp_path, silent) == 1


def test_other_settings_in_the_same_folder_need_force_and_leave_nothing_behind(tmp_path: Path) -> None:
    write_dataset(TINY, tmp_path, silent)
    other = TINY.model_copy(update={"seed": 8, "test_videos": 1})
    with pytest.raises(ConfigError, match=r"differs in seed \(3, not 8\), test_videos \(2, not 1\)"):
        write_dataset(other, tmp_path, silent)
    assert write_dataset(other, tmp_path, silent, force=True) == 2
    assert sorted(path.name for path in tmp_path.rglob("*.*") if path.is_file()) == [
        *("dataset.json", "test-000.mp4", "test-000.npy", "test-000.npz", "test-000.txt", "train-000.mp4")
    ]


@pytest.mark.parametrize("force", [False, True])
def test_files_of_others_are_neither_deleted_nor_mixed_with(tmp_path: Path, force: bool) -> None:
    mine = tmp_path / "train" / "holiday.mp4"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    with pytest.raises(DataError, match=r"holiday\.mp4: expected a folder for a synthetic dataset"):
        write_dataset(TINY, tmp_path, silent, force=force)
    assert mine.read_bytes() == b"mine"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [mine]


@pytest.mark.parametrize("text", ['{"name": "my dataset"}', "not JSON"])
def test_a_dataset_json_of_others_is_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(DataError, match=r"dataset\.json: expected JSON of a synthetic dataset"):
        write_dataset(TINY, tmp_path, silent, force=True)
    assert (tmp_path / "dataset.json").read_text() == text


# ---- stpa data synth


def test_the_command_writes_once_refuses_other_settings_and_obeys_force(tmp_path: Path) -> None:
    small = ["train_videos=1", "test_videos=1", "frames=16", "height=48", "width=64"]
    arguments = ["synth", "--set", f"dataset.root={tmp_path / 'data'}"]
    arguments += [part for setting in small for part in ("--set", f"synthetic.{setting}")]
    run = CliRunner().invoke
    first = run(data, arguments)
    assert (first.exit_code, "wrote 2 videos" in first.stderr) == (0, True), first.output
    assert "nothing to do" in run(data, arguments).stderr
    refused = run(data, [*arguments, "--set", "synthetic.seed=1"])
    assert (refused.exit_code, "--force" in refused.stderr) == (2, True), refused.output
    assert run(data, [*arguments, "--set", "synthetic.seed=1", "--force"]).exit_code == 0
    assert json.loads((tmp_path / "data" / "dataset.json").read_text())["settings"]["seed"] == 1


def test_mistakes_of_the_command_have_their_exit_codes(tmp_path: Path) -> None:
    run = CliRunner().invoke
    odd = run(data, ["synth", "--set", f"dataset.root={tmp_path}", "--set", "synthetic.height=101"])
    assert (odd.exit_code, "synthetic.height" in odd.stderr) == (2, True), odd.output
    (tmp_path / "file").write_text("")
    blocked = run(data, ["synth", "--set", f"dataset.root={tmp_path / 'file'}", "--set", "synthetic.frames=16"])
    assert (blocked.exit_code, str(tmp_path / "file") in blocked.stderr) == (1, True), blocked.output
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "mine.mp4").write_bytes(b"mine")
    foreign = run(data, ["synth", "--set", f"dataset.root={tmp_path}"])
    assert (foreign.exit_code, "mine.mp4" in foreign.stderr) == (3, True), foreign.output
