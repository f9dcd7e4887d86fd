"""Frames come out in order, whole, as RGB, however they were stored and in whatever order they are asked for."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.contract import DataError, Video
from pipeline.datasets import reader
from pipeline.datasets.reader import native_size, open_frames, resize_frames, to_grey
from tests.pipeline import layouts


def numbers(frames_THWC: NDArray[np.uint8]) -> list[int]:
    return [layouts.told(frame_HWC) for frame_HWC in frames_THWC]


@pytest.fixture(params=["mp4v.mp4", "MJPG.avi", "folder"])
def video(request: pytest.FixtureRequest, tmp_path: Path) -> Video:
    if request.param == "folder":
        return layouts.folder_video(layouts.write_frames(tmp_path / "video"))
    codec, suffix = request.param.split(".")
    return layouts.file_video(layouts.write_video(tmp_path / f"video.{suffix}", codec=codec))


def test_frames_are_rgb_bytes_at_native_size_in_order(video: Video) -> None:
    with open_frames(video) as frames:
        frames_THWC = frames.read(0, layouts.FRAMES)
    assert frames_THWC.dtype == np.uint8
    assert frames_THWC.shape == (layouts.FRAMES, *native_size(video), 3)
    assert numbers(frames_THWC) == list(range(layouts.FRAMES))


def test_any_order_of_reading_gives_the_same_frames(video: Video) -> None:
    with open_frames(video) as frames:
        whole_THWC = frames.read(0, layouts.FRAMES)
        for start, stop in ((7, 12), (11, 15), (14, 15), (0, 3), (18, 20), (2, 3), (3, 4), (19, 20)):
            np.testing.assert_array_equal(frames.read(start, stop), whole_THWC[start:stop])


def test_a_video_of_unknown_length_is_read_to_its_end(video: Video) -> None:
    with open_frames(video) as frames:
        found = []
        while (frame_HWC := frames.next_frame()) is not None:
            found.append(frame_HWC)
        assert numbers(np.stack(found)) == list(range(layouts.FRAMES))
        np.testing.assert_array_equal(frames.read(0, layouts.FRAMES), np.stack(found))


def test_frames_given_out_stay_as_they_were_when_the_reader_goes_on(video: Video) -> None:
    with open_frames(video) as frames:
        first_THWC = frames.read(0, 5)
        first_THWC[:] = 0  # the caller owns what it got
        again_THWC = frames.read(4, 6)
    assert numbers(again_THWC) == [4, 5]


def test_shards_that_share_a_frame_open_the_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = layouts.file_video(layouts.write_video(tmp_path / "a.mp4"))
    opened = []
    real = reader.open_capture

    def open_capture(path: Path, parameters: Sequence[int] = ()) -> cv2.VideoCapture:
        opened.append(path)
        return real(path, parameters)

    monkeypatch.setattr(reader, "open_capture", open_capture)
    with open_frames(video) as frames:
        for start, stop in ((0, 8), (7, 15), (14, 20)):
            assert numbers(frames.read(start, stop)) == list(range(start, stop))
    assert len(opened) == 1


def test_reading_past_the_end_names_both_numbers_and_the_video(video: Video) -> None:
    with open_frames(video) as frames, pytest.raises(DataError, match=r"video.*at least 25 frames, found 20"):
        frames.read(16, 25)
    with open_frames(video) as frames, pytest.raises(DataError, match=r"at least 31 frames, found 20"):
        frames.read(30, 31)


@pytest.mark.parametrize(("start", "stop"), [(3, 3), (-1, 2), (5, 4)])
def test_an_empty_or_negative_range_is_a_mistake_of_the_caller(video: Video, start: int, stop: int) -> None:
    with open_frames(video) as frames, pytest.raises(ValueError, match=f"start {start}, stop {stop}"):
        frames.read(start, stop)


def test_colours_come_out_in_rgb_order(tmp_path: Path) -> None:
    red_HWC = np.zeros((8, 8, 3), np.uint8)
    red_HWC[..., 2] = 200  # OpenCV writes BGR
    layouts.write_image(tmp_path / "v" / "1.png", red_HWC)
    with open_frames(layouts.folder_video(tmp_path / "v")) as frames:
        assert frames.read(0, 1)[0, 0, 0].tolist() == [200, 0, 0]


def test_grey_images_come_out_with_three_equal_channels(tmp_path: Path) -> None:
    layouts.write_frames(tmp_path / "v", "{}.tif", count=2)
    with open_frames(layouts.folder_video(tmp_path / "v")) as frames:
        frames_THWC = frames.read(0, 2)
    assert (frames_THWC == frames_THWC[..., :1]).all()


@pytest.mark.parametrize(
    ("image", "found"),
    [(np.zeros((8, 8), np.uint16), "uint16 with 1"), (np.zeros((8, 8, 4), np.uint8), "uint8 with 4")],
    ids=["16 bits", "alpha"],
)
def test_images_that_are_not_8_bit_grey_or_rgb_are_refused(tmp_path: Path, image: np.ndarray, found: str) -> None:
    path = layouts.write_image(tmp_path / "v" / "1.png", image)
    with open_frames(layouts.folder_video(path.parent)) as frames, pytest.raises(DataError, match=f"1.png.*{found}"):
        frames.read(0, 1)


def test_a_change_of_size_names_the_file_and_both_sizes(tmp_path: Path) -> None:
    folder = layouts.write_frames(tmp_path / "v", count=3)
    layouts.write_image(folder / "003.jpg", layouts.picture(3, 30, 40))
    with (
        open_frames(layouts.folder_video(folder)) as frames,
        pytest.raises(DataError, match=r"003\.jpg: expected 24 x 36 .* found 30 x 40"),
    ):
        frames.read(0, 4)


@pytest.mark.parametrize("content", [b"", b"not an image"], ids=["empty", "garbage"])
def test_an_unreadable_image_is_named(tmp_path: Path, content: bytes) -> None:
    folder = layouts.write_frames(tmp_path / "v", count=3)
    (folder / "001.jpg").write_bytes(content)
    with open_frames(layouts.folder_video(folder)) as frames, pytest.raises(DataError, match=r"001\.jpg"):
        frames.read(0, 3)


@pytest.mark.parametrize("content", [b"", b"not a video", None], ids=["empty", "garbage", "missing"])
def test_an_unreadable_video_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "broken.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.mp4"):
        open_frames(layouts.file_video(path))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="empty"):
        open_frames(Video(id="v", split="train", files=(), is_folder=True))


def test_a_percent_sign_in_a_file_name_is_no_pattern(tmp_path: Path) -> None:
    video = layouts.file_video(layouts.write_video(tmp_path / "a%03d.mp4"))
    with open_frames(video) as frames:
        assert numbers(frames.read(3, 5)) == [3, 4]


def test_resizing_averages_where_it_shrinks_and_interpolates_where_it_grows() -> None:
    stripes_THWC = np.zeros((2, 4, 8, 3), np.uint8)
    stripes_THWC[:, :, ::2] = 200  # columns alternate: without averaging they would alias to one of the two
    resized_THWC = resize_frames(stripes_THWC, 8, 4)
    assert resized_THWC.shape == (2, 8, 4, 3)
    assert (resized_THWC == 100).all()


def test_resizing_up_stays_between_neighbours_and_to_the_same_size_changes_nothing() -> None:
    frames_THWC = np.random.default_rng(0).integers(0, 256, (2, 6, 7, 1), np.uint8)
    np.testing.assert_array_equal(resize_frames(frames_THWC, 6, 7), frames_THWC)
    expected_HW = cv2.resize(frames_THWC[1, ..., 0], (14, 12), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(resize_frames(frames_THWC, 12, 14)[1, ..., 0], expected_HW)


def test_grey_weighs_green_most_and_drops_the_channel_axis() -> None:
    frames_THWC = np.zeros((3, 2, 2, 3), np.uint8)
    for channel in range(3):
        frames_THWC[channel, ..., channel] = 255
    grey_THW = to_grey(frames_THWC)
    assert grey_THW.shape == (3, 2, 2)
    assert grey_THW[:, 0, 0].tolist() == [76, 150, 29]
    np.testing.assert_array_equal(to_grey(grey_THW[..., None]), grey_THW)


def test_damaged_video_is_decoded_to_the_same_bytes_every_time(tmp_path: Path) -> None:
    """Pictures of broken parts are made up by the decoder; with several threads they came out otherwise time and again."""
    rng = np.random.default_rng(0)
    ground = cv2.GaussianBlur(rng.integers(0, 255, (240, 320, 3)).astype(np.uint8), (0, 0), 2)
    writer = cv2.VideoWriter(str(tmp_path / "video.mkv"), cv2.VideoWriter.fourcc(*"mp4v"), 25, (320, 240))
    for i in range(60):
        writer.write(np.roll(ground, 3 * i, axis=1))
    writer.release()
    whole = (tmp_path / "video.mkv").read_bytes()
    for _ in range(12):
        data = bytearray(whole)
        for place in rng.integers(len(data) // 10, len(data), 5):
            data[place] ^= 255
        (tmp_path / "damaged.mkv").write_bytes(data)
        found = set()
        for _ in range(4):
            with open_frames(layouts.file_video(tmp_path / "damaged.mkv")) as frames:
                pictures = b""
                while (picture := frames.next_picture()) is not None:
                    pictures += picture.tobytes()
                found.add(pictures)
        assert len(found) == 1
