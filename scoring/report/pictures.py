"""Frames, flow and error maps of the test videos as small WebP pictures, within a budget of bytes."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Array, Inputs, Report, VideoRecord
from pipeline.models.flow_colours import flow_colours
from scoring.maps import read_maps
from scoring.report.evaluation import Evaluation

QUALITY = 80
LONGEST_SIDE = 320  # pixels; a panel of the page is not wider
SAMPLED_FRAMES = 32  # from which speed and size of pictures are estimated
FULL_PERCENTILE = 99.5
SMALLEST_FULL = 0.5  # pixels per frame; noise must not look like motion
HEAT_PERCENTILE = 99.0  # of the highest value in each frame

Encoded = dict[str, dict[int, str]]
"""Kind of picture (frame, flow, maps) -> frame -> base64 of WebP; absent where there is none."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What full colour means."""

    flow: float
    """Pixels per frame."""
    maps: dict[str, int]
    """Name of each error map, in the order in which they are stacked -> byte (:func:`scoring.maps.to_bytes`)."""


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """The pictures of all test videos."""

    step: int
    """One frame in this many is kept, and those that are asked for besides."""
    scale: Scale
    videos: list[Encoded] = field(repr=False)

    @property
    def size(self) -> int:
        """Return the characters of all pictures together."""
        return sum(len(text) for video in self.videos for kind in video.values() for text in kind.values())


def make_pictures(
    evaluation: Evaluation, inputs: Inputs, wanted: Sequence[Iterable[int]], budget: int, report: Report
) -> Pictures:
    """Return the pictures of as many frames as the budget of bytes allows, evenly spaced, and of those wanted per video.

    Raises
    ------
    MissingShardError
        Frames or flow of a test video are gone; the message names the command.
    """
    records = [video.record for video in evaluation.videos]
    scale = find_scale(evaluation, inputs)
    per_frame = _estimate(evaluation, inputs, scale)
    total = sum(record.num_frames for record in records)
    step = max(1, -(-total * per_frame // budget))
    kept = [sorted({*range(0, record.num_frames, step), *frames}) for record, frames in zip(records, wanted, strict=True)]
    videos, done = [], 0
    for record, frames in zip(records, kept, strict=True):
        report("pictures", done, sum(map(len, kept)))
        videos.append(encode_video(evaluation, inputs, record, frames, scale))
        done += len(frames)
    report("pictures", done, done)
    return _within(Pictures(step=step, scale=scale, videos=videos), wanted, budget)


def _within(pictures: Pictures, wanted: Sequence[Iterable[int]], budget: int) -> Pictures:
    """Drop every other frame until they fit: the step was estimated from a few frames."""
    step = pictures.step
    longest = max(max(video["frame"]) for video in pictures.videos)
    while pictures.size > budget and step <= longest:
        step *= 2
        pictures = Pictures(
            step=step,
            scale=pictures.scale,
            videos=[_thinned(video, step, set(own)) for video, own in zip(pictures.videos, wanted, strict=True)],
        )
    return pictures


def _thinned(video: Encoded, step: int, wanted: set[int]) -> Encoded:
    return {
        kind: {frame: text for frame, text in found.items() if frame % step == 0 or frame in wanted}
        for kind, found in video.items()
    }


def find_scale(evaluation: Evaluation, inputs: Inputs) -> Scale:
    """Return what full colour means: what hardly any pixel of the flow, and hardly any frame's worst place, exceeds."""
    magnitude = [np.hypot(*read_flow(inputs, *place)).ravel() for place in _sampled(evaluation)]
    highest: dict[str, list[NDArray[np.uint8]]] = {}
    for video in evaluation.videos:
        for name, map_Nhw in read_maps(evaluation.folder, video.record.id)[1].items():
            highest.setdefault(name, []).append(map_Nhw.max((1, 2)))
    order = [*evaluation.fused, *sorted(highest)]
    maps = {name: _full(np.concatenate(highest[name])) for name in sorted(highest, key=order.index)}
    full = float(np.percentile(np.concatenate(magnitude), FULL_PERCENTILE))
    return Scale(flow=round(max(SMALLEST_FULL, full), 2), maps=maps)


def _full(highest_N: NDArray[np.uint8]) -> int:
    return max(1, round(np.percentile(highest_N, HEAT_PERCENTILE)))


def encode_video(
    evaluation: Evaluation, inputs: Inputs, record: VideoRecord, frames: Sequence[int], scale: Scale
) -> Encoded:
    """Return the pictures of some frames of one video."""
    mapped_N, maps = read_maps(evaluation.folder, record.id)
    row_of = {int(frame): row for row, frame in enumerate(mapped_N)}
    found: Encoded = {"frame": {}, "flow": {}, "maps": {}}
    for frame in frames:
        found["frame"][frame] = encode(inputs.read("frames", "frames", record, frame, frame + 1)[0])
        found["flow"][frame] = encode(flow_colours(read_flow(inputs, record, frame), scale.flow))
        if frame in row_of and scale.maps:
            stacked_hw = np.concatenate([maps[name][row_of[frame]] for name in scale.maps])
            found["maps"][frame] = encode(stacked_hw[..., None], shrink=False)
    return found


def read_flow(inputs: Inputs, record: VideoRecord, frame: int) -> NDArray[np.float32]:
    """Return the motion that arrived in a frame, (2, H, W) pixels per frame; of the first one, that which leaves it."""
    pair = max(0, frame - 1)
    return np.asarray(inputs.read("flows", "flow", record, pair, pair + 1)[0], np.float32)


def encode(picture_HWC: Array, *, shrink: bool = True) -> str:
    """Return a uint8 picture in grey or RGB as base64 of WebP, no larger than the page shows it."""
    height, width = picture_HWC.shape[:2]
    factor = LONGEST_SIDE / max(height, width)
    picture: Array = np.broadcast_to(picture_HWC, (height, width, 3))
    if shrink and factor < 1:
        picture = cv2.resize(picture, (round(width * factor), round(height * factor)), interpolation=cv2.INTER_AREA)
    data = cv2.imencode(".webp", np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_WEBP_QUALITY, QUALITY])[1]
    return base64.b64encode(data.tobytes()).decode("ascii")


def _estimate(evaluation: Evaluation, inputs: Inputs, scale: Scale) -> int:
    """Return about how many characters the pictures of one frame take."""
    sizes = []
    for record, frame in _sampled(evaluation):
        encoded = encode_video(evaluation, inputs, record, [frame], scale)
        sizes.append(sum(len(text) + 1 for kind in encoded.values() for text in kind.values()))
    return max(1, round(float(np.mean(sizes))))


def _sampled(evaluation: Evaluation) -> list[tuple[VideoRecord, int]]:
    """Return frames that are evenly spaced over all videos end to end."""
    records = [video.record for video in evaluation.videos]
    start_V = np.cumsum([0, *(record.num_frames for record in records)])
    chosen = np.unique(np.linspace(0, start_V[-1] - 1, SAMPLED_FRAMES).astype(int))
    places = np.searchsorted(start_V, chosen, side="right") - 1
    return [(records[place], int(frame - start_V[place])) for place, frame in zip(places, chosen, strict=True)]
