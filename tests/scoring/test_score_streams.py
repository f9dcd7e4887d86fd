"""``stpa score`` on streams: bounded delay and memory, broken connections, and Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from live_street import FPS, read_csv, read_lines, score, send_file, send_motion_jpeg, serving, street_frames, write_street
from rtsp_camera import rtsp_camera

from pipeline.contract import DataError
from scoring.live.sources import Block
from scoring.live.streams import Stream, StreamSettings, is_stream, shown_target, stream_name
from scoring.live.watch import Watch

ROOT = Path(__file__).parents[2]
PROGRAM = "import sys; sys.path.insert(0, sys.argv.pop(1)); from stpa import main; main()"
QUICK = StreamSettings(delay=0.2, reconnect=1, pause=0.05, timeout=2)


def silent(text: str) -> None:
    """Say nothing."""


def drain(stream: Stream, stop_after: int | None = None) -> list[Block]:
    stop, found = Event(), []
    for block in stream.blocks(Watch(), stop):
        found.append(block)
        if stop_after is not None and sum(len(block.frames_THWC) for block in found) >= stop_after:
            stop.set()
    return found


def only(folder: Path, suffix: str) -> Path:
    (path,) = folder.glob(f"*{suffix}")
    return path


def test_a_video_served_by_http_is_scored_whole_and_like_the_file(bundle_folder: Path, tmp_path: Path) -> None:
    video = write_street(tmp_path / "v.avi", 80)
    with serving(lambda request, _: send_file(request, video)) as (address, _):
        score(f"{address}/v.avi", "--model", bundle_folder, "-o", tmp_path / "stream")
    score(video, "--model", bundle_folder, "-o", tmp_path / "file")
    served, stored = read_csv(only(tmp_path / "stream", ".csv")), read_csv(tmp_path / "file" / "v.csv")
    assert [row["frame"] for row in served] == [row["frame"] for row in stored]
    found, expected = ([float(row["fused"]) for row in rows] for rows in (served, stored))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_served_video_that_breaks_off_is_reported_and_keeps_its_scores(bundle_folder: Path, tmp_path: Path) -> None:
    video = write_street(tmp_path / "v.avi", 80)
    half = video.stat().st_size // 2
    with serving(lambda request, _: send_file(request, video, half)) as (address, _):
        done = score(f"{address}/v.avi", "--model", bundle_folder, "-o", tmp_path / "out", "--timeout", "1", code=5)
    rows = read_csv(only(tmp_path / "out", ".csv"))
    assert 20 < len(rows) < 60
    assert f"expected about 80 frames, found {len(rows)}" in done.stderr


def test_a_camera_that_breaks_off_is_connected_to_again_and_goes_on_numbering(
    bundle_folder: Path, tmp_path: Path
) -> None:
    frames = street_frames(50)

    def answer(request: BaseHTTPRequestHandler, connection: int) -> None:
        if connection <= 2:
            send_motion_jpeg(request, frames, 100, most=40)
        else:
            request.send_error(503)

    with serving(answer) as (address, server):
        settings = ("--reconnect", "1", "--timeout", "2", "--delay", "0.3", "--json")
        done = score(f"{address}/cam", "--model", bundle_folder, "-o", tmp_path / "out", *settings, code=5)
    (video,) = json.loads(done.stdout)["videos"]
    assert (video["received"], video["reconnects"], video["dropped"], server.connections) == (80, 1, 0, 3)
    assert [int(row["frame"]) for row in read_csv(only(tmp_path / "out", ".csv"))] == list(range(80))
    assert "attempt 1 of 1 to reconnect" in done.stderr
    assert "broke off after 80 frames, and 1 attempts to reconnect failed" in done.stderr


def test_an_rtsp_camera_is_scored_while_it_sends(bundle_folder: Path, tmp_path: Path) -> None:
    with rtsp_camera(street_frames(100), FPS) as address:
        settings = ("--reconnect", "0", "--timeout", "3", "--delay", "0.5", "--json")
        done = score(address, "--model", bundle_folder, "-o", tmp_path / "out", *settings, code=5)
    (video,) = json.loads(done.stdout)["videos"]
    rows = read_csv(only(tmp_path / "out", ".csv"))
    assert len(rows) == video["frames"] == video["received"] - video["dropped"] - video["unscored_frames"]
    assert 98 <= video["received"] <= 100  # the last one may hang on bytes that never come
    assert (video["live"], video["fps"]) == (True, FPS)
    assert datetime.fromisoformat(video["began"]).tzinfo is not None
    assert {"receive", "flow", "spatial"} <= set(video["parts"])
    seconds = [float(row["time"]) for row in rows]
    assert seconds == sorted(seconds)
    assert "broke off after" in done.stderr


def test_an_address_that_does_not_answer_is_bad_input(bundle_folder: Path, tmp_path: Path) -> None:
    with serving(lambda request, _: request.send_error(404)) as (address, _):
        secret = address.replace("http://", "http://user:secret@")
        done = score(f"{secret}/cam?token=hidden", "--model", bundle_folder, "-o", tmp_path / "out", code=3)
    assert f"{address}/cam: expected a stream or camera that can be opened" in done.stderr
    assert "secret" not in done.stderr
    assert "hidden" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_camera_that_is_not_there_is_bad_input(bundle_folder: Path, tmp_path: Path) -> None:
    done = score("63", "--model", bundle_folder, "-o", tmp_path / "out", code=3)
    assert "camera 63: expected a stream or camera that can be opened" in done.stderr


def test_a_live_stream_is_handed_over_before_the_delay_is_over_and_a_little_more() -> None:
    frames = street_frames(50)
    with serving(lambda request, _: send_motion_jpeg(request, frames, FPS)) as (address, _):
        stream = Stream(f"{address}/cam", QUICK, silent)
        stop, waits, lengths = Event(), [], []
        for block in stream.blocks(Watch(), stop):
            waits.append(time.monotonic() - block.arrived)
            lengths.append(len(block.frames_THWC))
            assert block.urgent
            if len(waits) == 8:
                stop.set()
    assert np.median(waits) < 0.2 + 0.15
    assert np.median(lengths) <= 10  # 0.2 s of 25 frames per second, and what a slow machine adds


def test_a_live_stream_that_is_too_fast_loses_stretches_and_stays_within_its_memory() -> None:
    frames = street_frames(50)
    with serving(lambda request, _: send_motion_jpeg(request, frames, 200, most=400)) as (address, _):
        stream = Stream(f"{address}/cam", StreamSettings(delay=0.2, reconnect=0, timeout=2), silent)
        found: list[Block] = []
        longest = 0
        for block in stream.blocks(Watch(), Event()):
            longest = max(longest, len(stream._queue))
            found.append(block)
            time.sleep(0.3)
    facts: dict[str, Any] = stream.facts()
    kept = sum(len(block.frames_THWC) for block in found)
    assert facts["received"] == 400
    assert facts["dropped"] > 0
    assert kept + facts["dropped"] == 400
    assert longest <= 32  # twice the delay would be 10 frames; two clips are the least
    stop = 0
    for block in found:
        assert block.fresh == (block.first != stop or block.first == 0)
        stop = block.first + len(block.frames_THWC)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_stream_that_is_stopped_leaves_whole_lines_and_ends_well(
    bundle_folder: Path, tmp_path: Path, how: signal.Signals
) -> None:
    frames = street_frames(50)
    with serving(lambda request, _: send_motion_jpeg(request, frames, FPS)) as (address, _):
        out = tmp_path / "out"
        arguments = ["score", f"{address}/cam", "--model", str(bundle_folder), "-o", str(out), "--delay", "0.4", "--json"]
        running = start(*arguments, "--overlay")
        rows = wait_for_rows(out, 40)
        assert rows, "nothing was written while it ran"
        running.send_signal(how)
        output, errors = running.communicate(timeout=60)
    assert running.returncode == 0, errors
    assert "Traceback" not in errors
    text = only(out, ".csv").read_text()
    assert text.endswith("\n")
    assert len({line.count(",") for line in text.splitlines()}) == 1
    (video,) = json.loads(output)["videos"]
    lines = read_lines(only(out, ".jsonl"))
    assert len(lines) == len(text.splitlines()) - 1 == video["frames"] >= 40
    assert (video["stopped"], video["problem"]) == (True, None)
    assert video["delay_seconds"]["mean"] > 0
    assert only(out, ".mp4").stat().st_size > 10_000


def test_a_file_that_is_stopped_is_partly_done(bundle_folder: Path, tmp_path: Path) -> None:
    video = write_street(tmp_path / "long.avi", 400)
    long = tmp_path / "longer.avi"
    long.write_bytes(video.read_bytes())
    out = tmp_path / "out"
    running = start("score", *[str(video)] * 8, "--model", str(bundle_folder), "-o", str(out))
    assert wait_for_rows(out, 50)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 5, errors
    assert "stopped after" in errors
    assert "not scored, as the run was stopped" in errors
    assert (out / "long.csv").read_text().endswith("\n")


def test_a_run_that_is_killed_leaves_whole_lines(bundle_folder: Path, tmp_path: Path) -> None:
    frames = street_frames(50)
    with serving(lambda request, _: send_motion_jpeg(request, frames, FPS)) as (address, _):
        out = tmp_path / "out"
        running = start("score", f"{address}/cam", "--model", str(bundle_folder), "-o", str(out), "--delay", "0.3")
        assert wait_for_rows(out, 40)
        running.kill()
        running.communicate(timeout=60)
    assert only(out, ".csv").read_text().endswith("\n")
    assert len(read_lines(only(out, ".jsonl"))) >= 16


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", PROGRAM, str(ROOT), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def wait_for_rows(out: Path, count: int) -> bool:
    """Wait until so many frames of one video have their score on disk."""
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        if any(path.read_text().count("\n") > count for path in out.glob("*.csv")):
            return True
        time.sleep(0.05)
    return False


def test_addresses_are_told_from_paths_and_shown_without_secrets() -> None:
    assert [is_stream(text) for text in ("rtsp://a/b", "HTTP://a", "video.mp4", "c:/a", "0", "a//b://")] == [
        True, True, False, False, False, False,
    ]
    assert shown_target("rtsp://admin:pw@10.0.0.7:554/live/1?key=x") == "rtsp://10.0.0.7:554/live/1"
    assert stream_name("rtsp://admin:pw@10.0.0.7:554/live/1?key=x") == "10.0.0.7_554_live_1"
    assert stream_name(0) == "camera-0"
    assert stream_name("http://../..") == "stream"


def test_a_stream_of_something_else_is_refused() -> None:
    with (
        serving(lambda request, _: send_file(request, Path(__file__))) as (address, _),
        pytest.raises(DataError, match="expected a stream or camera"),
    ):
        drain(Stream(f"{address}/page", QUICK, silent))
