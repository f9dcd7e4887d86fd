"""A network camera that speaks just enough RTSP (RFC 2326): MPEG transport stream in RTP, interleaved in the connection."""

import io
import itertools
import socketserver
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

PACKETS = 7 * 188  # bytes of a transport stream in one RTP packet, as usual
TRANSPORT_STREAM = 33  # RTP's number for it
SDP = f"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP {TRANSPORT_STREAM}\r\na=control:track\r\n"


def transport_stream(frames: Sequence[NDArray[np.uint8]], fps: int) -> bytes:
    """Return frames (H, W, 3) as H.264 in an MPEG transport stream."""
    file = io.BytesIO()
    with av.open(file, "w", format="mpegts") as container:
        options = {"preset": "ultrafast", "tune": "zerolatency"}
        stream: Any = container.add_stream("libx264", rate=fps, options=options)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        for frame_HWC in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame_HWC, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


@contextmanager
def rtsp_camera(frames: Sequence[NDArray[np.uint8]], fps: int) -> Iterator[str]:
    """Send frames to whoever asks, at their pace, and hang up; yields the address."""
    data = transport_stream(frames, fps)
    seconds = len(frames) / fps

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while request := self._request():
                method, number = request
                if method == "PLAY":
                    self._answer(number, "Session: 1")
                    self._play()
                    return
                if method == "DESCRIBE":
                    self._answer(number, "Content-Type: application/sdp", body=SDP)
                elif method == "SETUP":
                    self._answer(number, "Session: 1", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
                else:
                    self._answer(number, "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")

        def _request(self) -> tuple[str, str] | None:
            lines = list(iter(lambda: self.rfile.readline().decode().strip(), ""))
            if not lines:
                return None
            number = next(line.partition(":")[2].strip() for line in lines if line.lower().startswith("cseq"))
            return lines[0].split()[0], number

        def _answer(self, number: str, *heads: str, body: str = "") -> None:
            length = [f"Content-Length: {len(body)}"] if body else []
            self.wfile.write("\r\n".join(["RTSP/1.0 200 OK", f"CSeq: {number}", *heads, *length, "", body]).encode())

        def _play(self) -> None:
            began = time.monotonic()
            for count, start in zip(itertools.count(), range(0, len(data), PACKETS), strict=False):
                due = seconds * start / len(data)
                time.sleep(max(0.0, began + due - time.monotonic()))
                head = struct.pack(">BBHII", 0x80, TRANSPORT_STREAM, count % 2**16, int(due * 90_000), 1)
                packet = head + data[start : start + PACKETS]
                try:
                    self.wfile.write(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
                except OSError:
                    return

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"rtsp://127.0.0.1:{server.server_address[1]}/live"
        finally:
            server.shutdown()
            thread.join()
