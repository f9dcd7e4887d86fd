"""A video that shows what was found: heat where errors are high, boxes around alarms, and the score as a curve below."""

from collections import deque
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Array
from scoring.live.scorer import Scored
from scoring.live.sources import Block, Frames
from scoring.scores import FUSED

LEAST_WIDTH, MOST_WIDTH, MOST_HEIGHT = 480, 960, 720
PANEL = 110
SHOWN_SECONDS = 20
USUAL_FPS = 25.0
CLOCK = 90_000  # ticks per second, as video streams have it
FULL_HEAT = 10.0  # times the error that training shows at a place: the brightest colour
FONT = cv2.FONT_HERSHEY_SIMPLEX
PAPER, INK, MUTED, ALARM = (250, 250, 250), (40, 40, 40), (140, 140, 140), (214, 48, 49)


class Overlay:
    """Writes an H.264 video in an MP4 file which any browser plays; also one that was cut off can be played up to there."""

    def __init__(self, path: Path, fps: float, threshold: float | None) -> None:
        self._path, self._fps, self._threshold = path, fps or USUAL_FPS, threshold
        self._container: av.container.OutputContainer | None = None
        self._stream: av.VideoStream | None = None
        self._size = self._native = (0, 0)
        self._waiting: deque[tuple[int, Frames]] = deque()
        self._curve: deque[tuple[float, bool]] = deque(maxlen=max(2, round(SHOWN_SECONDS * self._fps)))
        self._last = -1

    def remember(self, block: Block) -> None:
        """Keep frames, in the size of the overlay, until their scores are known."""
        if self._size == (0, 0):
            self._native = (block.frames_THWC.shape[1], block.frames_THWC.shape[2])
            self._size = shown_size(*self._native)
        for number, frame_HWC in enumerate(block.frames_THWC, block.first):
            self._waiting.append((number, np.asarray(cv2.resize(frame_HWC, self._size[::-1], interpolation=cv2.INTER_AREA))))

    def write(self, scored: Scored) -> None:
        """Draw and encode the frames whose scores these are; frames that got none are left out."""
        for row, number in enumerate(scored.frame_N):
            while self._waiting[0][0] < number:
                self._waiting.popleft()
            _, frame_HWC = self._waiting.popleft()
            frame = av.VideoFrame.from_ndarray(self._draw(frame_HWC, scored, row), format="rgb24")
            frame.pts = self._tick(float(scored.time_N[row]))
            frame.time_base = Fraction(1, CLOCK)
            self._encode(frame)

    def close(self) -> None:
        """Finish the file."""
        if self._container is not None and self._stream is not None:
            self._container.mux(self._stream.encode())
            self._container.close()

    def _encode(self, frame: av.VideoFrame) -> None:
        if self._container is None or self._stream is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # fragments are complete as they are written; at the end they become an ordinary file that can be searched
            self._container = av.open(str(self._path), "w", options={"movflags": "hybrid_fragmented"})
            rate = Fraction(self._fps).limit_denominator(1001)
            # bf: frames that look ahead would shift the first one to 0.08 s
            options = {"preset": "veryfast", "crf": "23", "bf": "0"}
            stream = self._container.add_stream("libx264", rate=rate, options=options)
            stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
            stream.codec_context.time_base = Fraction(1, CLOCK)
            stream.codec_context.gop_size = max(1, round(2 * self._fps))
            stream.codec_context.thread_count = 1  # memory and bytes are the same on any machine
            self._stream = stream
        self._container.mux(self._stream.encode(frame))

    def _tick(self, seconds: float) -> int:
        """Return when a frame is shown; never before the one that came before."""
        step = round(CLOCK / self._fps)
        wanted = self._last + step if np.isnan(seconds) else round(seconds * CLOCK)
        self._last = max(self._last + 1, wanted) if self._last >= 0 else max(0, wanted)
        return self._last

    def _draw(self, frame_HWC: Frames, scored: Scored, row: int) -> NDArray[np.uint8]:
        score = float(scored.scores[FUSED][row])
        alarm = scored.alarm_N is not None and bool(scored.alarm_N[row])
        self._curve.append((score, alarm))
        picture_HWC = with_heat(frame_HWC, [map_Nhw[row] for map_Nhw in scored.maps.values()])
        self._draw_boxes(picture_HWC, scored, row)
        return np.vstack([picture_HWC, self._draw_panel(scored, row, alarm)])

    def _draw_boxes(self, picture_HWC: Frames, scored: Scored, row: int) -> None:
        """Draw the regions that are alarms; in a frame that is one without such a region, the highest one, thinly."""
        scale = self._size[0] / self._native[0], self._size[1] / self._native[1]
        for place in shown_regions(scored, row):
            x1, y1, x2, y2 = scored.box_R4[place] + (0, 0, 1, 1)
            left, top = round(x1 * scale[1]), round(y1 * scale[0])
            right, bottom = round(x2 * scale[1]) - 1, round(y2 * scale[0]) - 1
            cv2.rectangle(picture_HWC, (left, top), (right, bottom), ALARM, 2 if scored.region_alarm_R[place] else 1)
            label = f"{scored.source_R[place]} {scored.region_score_R[place]:.1f}"
            _text(picture_HWC, label, (left, top - 5 if top > 18 else bottom + 15), (255, 255, 255), outline=ALARM)

    def _draw_panel(self, scored: Scored, row: int, alarm: bool) -> NDArray[np.uint8]:
        height, width = PANEL, self._size[1]
        panel_HWC = np.full((height, width, 3), PAPER, np.uint8)
        score_N = np.array([score for score, _ in self._curve])
        top = 1.15 * max(score_N.max(), 2 * (self._threshold or 0.0), 1e-6)
        step = width / max(1, (self._curve.maxlen or 2) - 1)
        x_N = width - 1 - step * np.arange(len(score_N))[::-1]
        y_N = 24 + (height - 30) * (1 - score_N / top)
        for x, (_, was_alarm) in zip(x_N, self._curve, strict=True):
            if was_alarm:
                cv2.rectangle(panel_HWC, (round(x - step), 24), (round(x), height), (250, 214, 212), -1)
        if self._threshold is not None:
            y = round(24 + (height - 30) * (1 - self._threshold / top))
            for x in range(0, width, 12):
                cv2.line(panel_HWC, (x, y), (x + 6, y), MUTED, 1)
        points_N12 = np.stack([x_N, y_N], axis=1).round().astype(np.int32)[:, None]
        cv2.polylines(panel_HWC, [points_N12], False, INK, 2, cv2.LINE_AA)
        _text(panel_HWC, self._caption(scored, row), (8, 17), INK)
        if alarm:
            _text(panel_HWC, "ALARM", (width - 64, 17), ALARM)
        return panel_HWC

    def _caption(self, scored: Scored, row: int) -> str:
        seconds = float(scored.time_N[row])
        time = "" if np.isnan(seconds) else f", {int(seconds) // 60}:{seconds % 60:04.1f}"
        limit = "" if self._threshold is None else f" (alarm from {self._threshold:.2f})"
        return f"frame {scored.frame_N[row]}{time}   score {scored.scores[FUSED][row]:.2f}{limit}"


def shown_regions(scored: Scored, row: int) -> list[int]:
    """Return which regions of a frame are drawn: alarms, else the highest one where the frame is an alarm."""
    own = np.flatnonzero(scored.region_frame_R == scored.frame_N[row])
    alarms: list[int] = own[scored.region_alarm_R[own]].tolist()
    if alarms or not len(own) or scored.alarm_N is None or not scored.alarm_N[row]:
        return alarms
    return [int(own[scored.region_score_R[own].argmax()])]


def shown_size(height: int, width: int) -> tuple[int, int]:
    """Return height and width of the picture in the overlay; even, as colours are stored for squares of four pixels."""
    scale = max(1.0, LEAST_WIDTH / width) * min(1.0, MOST_WIDTH / width)
    scale = min(scale, MOST_HEIGHT / height)
    return max(2, round(height * scale / 2) * 2), max(2, round(width * scale / 2) * 2)


def with_heat(frame_HWC: Frames, maps: list[Array]) -> NDArray[np.uint8]:
    """Return the frame, (H, W, 3) uint8, with the highest of its maps (h, w) over it: clear up to 1, log scale above."""
    height, width = frame_HWC.shape[:2]
    ratio_hw = np.max([map_hw.astype(np.float32) for map_hw in maps], axis=0)
    ratio_HW = cv2.resize(ratio_hw, (width, height), interpolation=cv2.INTER_LINEAR)
    strength_HW = np.clip(np.log(np.maximum(ratio_HW, 1.0)) / np.log(FULL_HEAT), 0.0, 1.0).astype(np.float32)
    heat_HWC = cv2.applyColorMap((strength_HW * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    alpha_HW1 = np.minimum(1.5 * strength_HW, 0.6)[..., None]
    return np.asarray(frame_HWC * (1 - alpha_HW1) + heat_HWC * alpha_HW1, np.uint8)


def _text(
    picture_HWC: Frames, text: str, place: tuple[int, int], colour: tuple[int, int, int],
    outline: tuple[int, int, int] | None = None,
) -> None:
    if outline is not None:
        cv2.putText(picture_HWC, text, place, FONT, 0.45, outline, 3, cv2.LINE_AA)
    cv2.putText(picture_HWC, text, place, FONT, 0.45, colour, 1, cv2.LINE_AA)
