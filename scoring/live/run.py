"""One video or stream from its first frame to its last: scored, written and summed up."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.config import CLIP_FRAMES
from pipeline.contract import DataError, Report
from scoring.live.scorer import NETWORKS, LiveScorer, Scored
from scoring.live.sources import Block, Source, now
from scoring.live.watch import Watch, rates
from scoring.live.writers import Writer
from scoring.scores import FUSED

if TYPE_CHECKING:  # needs PyAV, which is asked for only where an overlay is
    from scoring.live.overlay import Overlay

LINE_SECONDS = 10.0
ORDER = ("decode", "receive", "resize", "flow", "encoder")
Say = Callable[[str], None]


@dataclass
class Tally:
    """What is known of a video so far; does not grow with it."""

    frames: int = 0
    alarm_frames: int = 0
    alarms: int = 0
    """Stretches of frames above the threshold."""
    regions: int = 0
    region_alarms: int = 0
    highest: dict[str, Any] | None = None
    delays: list[float] = field(default_factory=lambda: [0.0, 0.0])
    """Of pieces of a live source: the sum, and the longest, in seconds."""
    pieces: int = 0
    _alarmed: bool = False

    def add(self, scored: Scored) -> None:
        """Count some frames."""
        self.frames += len(scored.frame_N)
        self.pieces += 1
        self.regions += len(scored.region_frame_R)
        self.region_alarms += int(scored.region_alarm_R.sum())
        if scored.alarm_N is not None:
            before_N = np.concatenate([[self._alarmed], scored.alarm_N[:-1]])
            self.alarm_frames += int(scored.alarm_N.sum())
            self.alarms += int((scored.alarm_N & ~before_N).sum())
            self._alarmed = bool(scored.alarm_N[-1])
        row = int(np.argmax(scored.scores[FUSED]))
        score = float(scored.scores[FUSED][row])
        if self.highest is None or score > self.highest["score"]:
            self.highest = {"frame": int(scored.frame_N[row]), "score": round(score, 4)}

    def add_delay(self, seconds: float) -> None:
        """Count how long the oldest frame of a piece waited until its score was written."""
        self.delays = [self.delays[0] + seconds, max(self.delays[1], seconds)]


class Run:
    """What the sources of one command have in common."""

    def __init__(
        self,
        scorer: LiveScorer,
        watch: Watch,
        stop: Event,
        report: Report,
        say: Say,
        open_writers: Callable[[str, Sequence[str]], list[Writer]],
        overlay_path: Callable[[str], Path] | None,
    ) -> None:
        self._scorer, self._watch, self._stop, self._report, self._say = scorer, watch, stop, report, say
        self._open_writers, self._overlay_path = open_writers, overlay_path

    def score(self, source: Source) -> dict[str, Any]:
        """Score one source and return what there is to say of it, as plain JSON.

        Raises
        ------
        DataError
            Nothing of it could be scored.
        OSError
            A file cannot be written.
        """
        start = time.perf_counter()
        self._watch.take()
        tally, output = Tally(), _Output(self, source)
        try:
            self._follow(source, tally, output)
        finally:
            self._scorer.forget()
            output.close()
        seconds = time.perf_counter() - start
        if not tally.frames and not self._stop.is_set():
            raise DataError(
                f"{source.shown}: expected at least {CLIP_FRAMES} frames in a row (one clip), found "
                f"{self._scorer.too_short}; {source.problem or 'take a longer video'}"
            )
        return self._summary(source, tally, seconds)

    def _follow(self, source: Source, tally: Tally, output: "_Output") -> None:
        self._scorer.too_short = 0
        said = now()
        for block in source.blocks(self._watch, self._stop):
            if block.fresh and source.expected and not source.live:
                self._report(source.name, 0, source.expected)
            output.remember(block)
            for scored in self._scorer.push(block):
                output.write(scored)
                tally.add(scored)
                if source.live:
                    tally.add_delay(now() - block.arrived)
                else:
                    self._report(source.name, tally.frames, max(source.expected, tally.frames))
            if source.live and now() - said >= LINE_SECONDS:
                said = now()
                self._say(f"{source.shown}: {tally.frames} frames scored, {tally.alarms} alarms")
        for scored in self._scorer.finish():
            output.write(scored)
            tally.add(scored)
        if self._stop.is_set() and not source.live:
            source.problem = f"stopped after {tally.frames} frames"

    def _summary(self, source: Source, tally: Tally, seconds: float) -> dict[str, Any]:
        live: dict[str, Any] = {}
        if source.live and tally.pieces:
            mean, most = tally.delays[0] / tally.pieces, tally.delays[1]
            live = {"delay_seconds": {"mean": round(mean, 3), "most": round(most, 3)}}
        known = self._scorer.threshold is not None
        return {
            "source": source.shown,
            "name": source.name,
            "frames": tally.frames,
            "unscored_frames": self._scorer.too_short,
            "fps": source.fps or None,
            "alarms": tally.alarms if known else None,
            "alarm_frames": tally.alarm_frames if known else None,
            "regions": tally.regions,
            "region_alarms": tally.region_alarms,
            "highest": tally.highest,
            "seconds": round(seconds, 3),
            "frames_per_second": round(tally.frames / seconds, 2),
            "parts": rates(parts(self._watch.take(), self._scorer.networks), tally.frames),
            "live": source.live,
            **source.facts(),
            **live,
            "stopped": self._stop.is_set(),
            "problem": source.problem,
        }

    def writers(self, name: str) -> list[Writer]:
        """Open what is written beside the overlay."""
        return self._open_writers(name, self._scorer.names)

    def overlay(self, source: Source) -> "Overlay | None":
        """Open the overlay, if one was asked for."""
        if self._overlay_path is None:
            return None
        from scoring.live.overlay import Overlay

        return Overlay(self._overlay_path(source.name), source.fps, self._scorer.threshold)

    @property
    def watch(self) -> Watch:
        """Return what times the parts."""
        return self._watch


class _Output:
    """The files of one source, opened when there is something to write."""

    def __init__(self, run: Run, source: Source) -> None:
        self._run, self._source = run, source
        self._writers: list[Writer] = []
        self._overlay: Overlay | None = None
        self._began = False

    def remember(self, block: Block) -> None:
        if not self._began:
            self._began = True
            self._overlay = self._run.overlay(self._source)
        if self._overlay is not None:
            with self._run.watch.part("overlay"):
                self._overlay.remember(block)

    def write(self, scored: Scored) -> None:
        with self._run.watch.part("write"):
            self._writers = self._writers or self._run.writers(self._source.name)
            for writer in self._writers:
                writer.write(scored)
        if self._overlay is not None:
            with self._run.watch.part("overlay"):
                self._overlay.write(scored)

    def close(self) -> None:
        with self._run.watch.part("write"):
            for writer in self._writers:
                writer.close()
        if self._overlay is not None:
            with self._run.watch.part("overlay"):
                self._overlay.close()


def parts(seconds: dict[str, float], networks: tuple[str, ...]) -> dict[str, float]:
    """Return the seconds of each part in the order of the work; what measuring takes beside the networks is a part too."""
    left = dict(seconds)
    ordered = {name: left.pop(name) for name in (*ORDER, *networks) if name in left}
    if NETWORKS in left:
        ordered["windows and maps"] = max(0.0, left.pop(NETWORKS) - sum(ordered.get(name, 0.0) for name in networks))
    return ordered | left
