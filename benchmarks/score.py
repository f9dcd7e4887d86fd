"""Memory and speed of ``stpa score``: a video, and the same one ten times over.

    python benchmarks/score.py [--model configs/demo.toml] [--video data/demo/test/test-000.mp4] [--times 10] [--overlay]

Without arguments, after ``make demo``. Both are scored by a process of their own, of which the highest resident memory is
asked of the system; frames per second of each part are those that the command tells. Ends with 1 if the longer one took over
10 % more memory.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2

from pipeline.contract import Video
from pipeline.datasets.reader import open_frames

PROGRAM = "from stpa import main; main()"
MOST_GROWTH = 1.10


def repeat(source: Path, target: Path, times: int) -> int:
    """Write a video several times over, forwards and backwards in turn so that it never jumps; returns its frames."""
    with open_frames(Video(id="v", split="test", files=(source,))) as reader:
        frames = []
        while (frame_HWC := reader.next_frame()) is not None:
            frames.append(frame_HWC)
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(target), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (width, height))
    for turn in range(times):
        for frame_HWC in frames[:: -1 if turn % 2 else 1]:
            writer.write(frame_HWC[..., ::-1])
    writer.release()
    return times * len(frames)


def score(video: Path, model: Path, out: Path, *options: str) -> tuple[dict[str, Any], float]:
    """Score a video in a process of its own; returns the summary and its highest resident memory, MiB."""
    command = [sys.executable, "-c", PROGRAM, "score", str(video), "--model", str(model), "-o", str(out), "--json", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(process.returncode)
    return json.loads(output)["videos"][0], usage.ru_maxrss / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("configs/demo.toml"))
    parser.add_argument("--video", type=Path, default=Path("data/demo/test/test-000.mp4"))
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--overlay", action="store_true")
    arguments = parser.parse_args()
    options = ("--overlay",) if arguments.overlay else ()
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        for times in (1, arguments.times):
            video = Path(folder) / f"times-{times}.mp4"
            frames = repeat(arguments.video, video, times)
            found, peak = score(video, arguments.model, Path(folder) / "out", *options)
            assert found["frames"] == frames, found
            peaks.append(peak)
            print(f"{frames} frames: {peak:.0f} MiB at most, {found['frames_per_second']:.1f} frames/s")
            for name, part in found["parts"].items():
                print(f"    {name:20} {part['frames_per_second']:10.1f} frames/s")
    growth = peaks[1] / peaks[0]
    print(f"{arguments.times} times longer: {100 * (growth - 1):+.1f} % memory")
    sys.exit(growth > MOST_GROWTH)


if __name__ == "__main__":
    main()
