"""A small trained bundle, videos of the street it knows, servers that stream them, and the command as a user types it."""

import csv
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from squares import HEIGHT, WIDTH, make_street, make_training, silent, small_settings

from pipeline.config import Config
from stpa import main
from trainer.bundle import save_bundle
from trainer.inputs import save_inputs
from trainer.training import train

FPS = 25
NATIVE = (2 * HEIGHT, 2 * WIDTH)
CONFIG = Config.model_validate({"frames": {"height": HEIGHT, "width": WIDTH}, "flows": {"source": "video"}})


def make_bundle(folder: Path) -> Path:
    """Train a bundle without a discriminator (features of made-up frames would have to be made up too)."""
    folder.mkdir(parents=True)
    settings = small_settings(discriminator_epochs=0, epochs=2, learning_rate=1e-3)
    save_bundle(folder, train(make_training(), settings, silent))
    save_inputs(folder, CONFIG)
    return folder


def street_frames(count: int, seed: int = 9, size: tuple[int, int] = NATIVE) -> list[NDArray[np.uint8]]:
    """Return frames of the street, RGB, at a size (height, width)."""
    street = make_street("new", frames=count, seed=seed, speed=lambda frame: 3.0 if frame > count // 2 else 1.0)
    frames = street.arrays["frames", "frames"]
    return [np.asarray(cv2.resize(frame_HWC, size[::-1], interpolation=cv2.INTER_LINEAR)) for frame_HWC in frames]


def write_street(
    path: Path, count: int, codec: str = "MJPG", seed: int = 9, size: tuple[int, int] = NATIVE
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), FPS, size[::-1])
    assert writer.isOpened()
    for frame_HWC in street_frames(count, seed, size):
        writer.write(frame_HWC[..., ::-1])
    writer.release()
    return path


def score(*arguments: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["score", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == code, f"exit {result.exit_code}\n{result.stdout}\n{result.stderr}"
    return result


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class Server(ThreadingHTTPServer):
    """Counts connections."""

    daemon_threads = True
    connections = 0


@contextmanager
def serving(answer: Callable[[BaseHTTPRequestHandler, int], None]) -> Iterator[tuple[str, Server]]:
    """Serve what ``answer`` writes, given the number of the connection; yields the address and the server."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert isinstance(self.server, Server)
            self.server.connections += 1
            try:
                answer(self, self.server.connections)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, *arguments: Any) -> None:
            """Be silent."""

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", server
        finally:
            server.shutdown()
            thread.join()


def send_file(request: BaseHTTPRequestHandler, path: Path, most: int | None = None) -> None:
    """Answer with a file; ``most`` bytes of it if the connection is to break."""
    data = path.read_bytes()
    request.send_response(200)
    request.send_header("Content-Type", "video/x-msvideo")
    request.send_header("Content-Length", str(len(data)))
    request.end_headers()
    request.wfile.write(data[:most])


def send_motion_jpeg(
    request: BaseHTTPRequestHandler, frames: Sequence[NDArray[np.uint8]], fps: float, most: int | None = None
) -> None:
    """Answer as network cameras do: one JPEG after another at their pace, over and over, or ``most`` in all."""
    request.send_response(200)
    request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
    request.end_headers()
    pictures = [cv2.imencode(".jpg", frame_HWC[..., ::-1])[1].tobytes() for frame_HWC in frames]
    began, sent = time.monotonic(), 0
    while most is None or sent < most:
        picture = pictures[sent % len(pictures)]
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n".encode()
        request.wfile.write(head + picture + b"\r\n")
        sent += 1
        time.sleep(max(0.0, began + sent / fps - time.monotonic()))
