"""A model that was trained on thinned-out recordings is given video of the same rate."""

from pathlib import Path
from threading import Event

import numpy as np
import pytest

from pipeline.config import Config, parse_config
from pipeline.contract import DataError, Video
from scoring.live.sources import Source, StoredVideo
from scoring.live.streams import Stream, StreamSettings
from scoring.live.watch import Watch
from tests.pipeline import layouts
from trainer.inputs import BundleInputs


def seen(source: Source) -> tuple[list[int], list[float]]:
    """Return the numbers that frames show, and their seconds."""
    blocks = list(source.blocks(Watch(), Event()))
    assert source.problem is None
    numbers = [layouts.told(frame_HWC) for block in blocks for frame_HWC in block.frames_THWC]
    return numbers, np.concatenate([block.time_T for block in blocks]).tolist()


@pytest.mark.parametrize(("rate", "step"), [(12.5, 2), (5.0, 5), (25.0, 1), (None, 1)])
def test_files_are_thinned_out_to_the_rate_of_the_training(tmp_path: Path, rate: float | None, step: int) -> None:
    path = layouts.write_video(tmp_path / "a.mp4", 50)
    source = StoredVideo(Video(id="a", split="test", files=(path,)), "a")
    source.thin_to = rate
    numbers, seconds = seen(source)
    assert numbers == [frame % 24 for frame in range(0, 50, step)]
    np.testing.assert_allclose(seconds, np.arange(0, 50, step) / 25)
    assert (source.fps, source.expected) == (25 / step, -(-50 // step))


def test_streams_are_thinned_out_too(tmp_path: Path) -> None:
    path = layouts.write_video(tmp_path / "a.mp4", 60)
    source = Stream(str(path), StreamSettings(delay=0.1, reconnect=0, timeout=5), lambda text: None)
    source.thin_to = 12.5
    numbers, _ = seen_of_stream(source)
    assert numbers == [frame % 24 for frame in range(0, 60, 2)]
    assert source.fps == 12.5


def seen_of_stream(source: Stream) -> tuple[list[int], list[int]]:
    blocks = list(source.blocks(Watch(), Event()))
    numbers = [layouts.told(frame_HWC) for block in blocks for frame_HWC in block.frames_THWC]
    return numbers, [block.first for block in blocks]


def test_a_slower_camera_than_that_of_the_training_is_refused(tmp_path: Path) -> None:
    path = layouts.write_video(tmp_path / "a.mp4", 30)
    source = StoredVideo(Video(id="a", split="test", files=(path,)), "a")
    source.thin_to = 50
    with pytest.raises(DataError, match=r"expected at least 50 frames per second .*, found 25"):
        seen(source)


def test_a_bundle_knows_the_rate_and_one_without_says_nothing_of_it() -> None:
    plain = BundleInputs.from_config(Config())
    assert "fps" not in plain.to_dict()
    assert BundleInputs.from_dict(plain.to_dict()).fps is None
    thinned = BundleInputs.from_config(parse_config({"dataset": {"fps": 12.5}}))
    assert BundleInputs.from_dict(thinned.to_dict()).fps == 12.5
