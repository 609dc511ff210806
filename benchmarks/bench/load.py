"""Raw posts as fast as one process can make them: shows how far a server is from being the bottleneck.

    python -m benchmarks.bench.load PORT PATH [--image-bytes 75000] [--seconds 4]

Keep-alive connections send prebuilt requests, each as soon as the one before it was answered. Prints posts/s.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import itertools
import random
import time
from collections.abc import Iterator
from typing import cast

BOUNDARY = "e5f2a0c4b7d94d1e"


def json_request(path: str, image: bytes) -> bytes:
    """A whole POST with the image as base64 in JSON."""
    source = b"data:image/*;base64," + base64.b64encode(image)
    return post(path, "application/json", b'{"inputs": [{"image": {"source": "' + source + b'"}}]}')


def multipart_request(path: str, image: bytes) -> bytes:
    """A whole POST with the image as a multipart file."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="inputs[0]image.source"; filename="image.jpg"\r\n\r\n'
    body = head.encode() + image + f"\r\n--{BOUNDARY}--\r\n".encode()
    return post(path, f"multipart/form-data; boundary={BOUNDARY}", body)


def post(path: str, content_type: str, body: bytes) -> bytes:
    """A POST with this body, head and all."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-KEY: benchmark\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Poster(asyncio.Protocol):
    """One connection: sends a request, waits for its answer, sends the next until told to stop.

    Args:
        requests: what to send, without an end, shared by all connections.
    """

    def __init__(self, requests: Iterator[bytes]) -> None:
        self.accepted = 0
        self.stopping = False
        self.closed = asyncio.get_running_loop().create_future()
        self._requests = requests
        self._reply = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the first request."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its type
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        """Counts a complete answer and sends the next request."""
        self._reply += data
        if not self._reply.endswith(b'"}'):
            return
        if not self._reply.startswith(b"HTTP/1.1 20"):
            raise RuntimeError(f"refused: {self._reply!r}")
        self._reply = b""
        self.accepted += 1
        if self.stopping:
            self._transport.close()
        else:
            self._transport.write(next(self._requests))

    def connection_lost(self, exc: Exception | None) -> None:
        """Says that this connection is over."""
        if exc is None:
            self.closed.set_result(None)
        else:
            self.closed.set_exception(exc)


async def measure(port: int, requests: Iterator[bytes], connections: int, seconds: float) -> float:
    """Accepted posts per second over one round."""
    loop = asyncio.get_running_loop()
    start = time.perf_counter()
    posters = [
        (await loop.create_connection(lambda: Poster(requests), "127.0.0.1", port))[1] for _ in range(connections)
    ]
    await asyncio.sleep(seconds)
    for poster in posters:
        poster.stopping = True
    await asyncio.gather(*(poster.closed for poster in posters))
    return sum(poster.accepted for poster in posters) / (time.perf_counter() - start)


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    parser.add_argument("--image-bytes", type=int, default=75_000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    source = random.Random(0)
    requests = [json_request(options.path, source.randbytes(options.image_bytes)) for _ in range(200)]
    try:
        from uvloop import run
    except ImportError:
        from asyncio import run
    print(run(measure(options.port, itertools.cycle(requests), options.connections, options.seconds)))


if __name__ == "__main__":
    main()
