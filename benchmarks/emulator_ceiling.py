"""How many posts a second the emulator accepts on one core, so that no benchmark measures the emulator.

    python benchmarks/emulator_ceiling.py --payload base64

The server runs on the last core, the load on the first: raw keep-alive connections that send prebuilt
requests with distinct random images of 100 kB, each as soon as the one before it was answered. Prints a line
per round, then one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import itertools
import json
import os
import random
import statistics
import time
from collections.abc import Iterator

from deepo_beam.emulator.testing import running_emulator

PATH = "/v0.7/recognition/public/echo-v1/inference"
BOUNDARY = "e5f2a0c4b7d94d1e"


def json_request(image: bytes) -> bytes:
    """A whole POST with the image as base64 in JSON."""
    source = b"data:image/*;base64," + base64.b64encode(image)
    return post("application/json", b'{"inputs": [{"image": {"source": "' + source + b'"}}]}')


def multipart_request(image: bytes) -> bytes:
    """A whole POST with the image as a multipart file."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="inputs[0]image.source"; filename="image.jpg"\r\n\r\n'
    body = head.encode() + image + f"\r\n--{BOUNDARY}--\r\n".encode()
    return post(f"multipart/form-data; boundary={BOUNDARY}", body)


def post(content_type: str, body: bytes) -> bytes:
    """A POST with this body, head and all."""
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-KEY: benchmark\r\n"
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
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        """Counts a complete answer and sends the next request."""
        self._reply += data
        if not self._reply.endswith(b'"}'):
            return
        if not self._reply.startswith(b"HTTP/1.1 200"):
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
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--payload", choices=["base64", "multipart"], default="base64")
    parser.add_argument("--image-bytes", type=int, default=100_000)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    build = json_request if options.payload == "base64" else multipart_request
    source = random.Random(0)
    requests = itertools.cycle([build(source.randbytes(options.image_bytes)) for _ in range(options.images)])
    with running_emulator(command_prefix=("taskset", "-c", str(cores[-1]))) as emulator:
        os.sched_setaffinity(0, {cores[0]})
        port = int(emulator.url.rpartition(":")[2])
        rates = []
        for number in range(options.rounds):
            rates.append(asyncio.run(measure(port, requests, options.connections, options.seconds)))
            print(f"round {number + 1}: {rates[-1]:,.0f} accepted posts/s", flush=True)
        stats = emulator.stats()
    result = {
        "payload": options.payload,
        "image_bytes": options.image_bytes,
        "connections": options.connections,
        "posts_per_s": [round(rate) for rate in rates],
        "median_posts_per_s": round(statistics.median(rates)),
        "accepted": stats["accepted"],
        "distinct_images": stats["distinct_images"],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
