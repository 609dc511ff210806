"""The server of the benchmarks: HTTP/1.1 as far as it takes to count bytes, on uvloop where it is installed.

    python -m benchmarks.bench.server [--port 0]

Its first line on standard output is ``listening on http://127.0.0.1:PORT``. Beside the API (``service.py``) it has
``GET /_bench/stats``, ``POST /_bench/reset?latency=0.2&post_latency=0.05`` (seconds) and ``POST /_bench/watch?pid=N``,
whose CPU time is noted at the first post. No request may be chunked or pipelined; nobody who takes part does either.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time
from email.utils import formatdate
from typing import cast
from urllib.parse import parse_qs, urlsplit

from benchmarks.bench import processes
from benchmarks.bench.service import Service

_BUFFER = memoryview(bytearray(1024 * 1024))  # one for all connections: it is read before another one is filled


class Server:
    """What the connections share."""

    def __init__(self) -> None:
        """Ids of another start must not be taken for this one's."""
        self.service = Service(first_task_id=10**9 + time.time_ns() // 1000 % (8 * 10**9))
        self.pid: int | None = None

    def post_begins(self) -> None:
        """The head of a post has come in."""
        counters = self.service.counters
        if not counters.first_post_at:
            counters.first_post_at = time.time()
            if self.pid is not None:
                counters.cpu_at_first_post_s = processes.cpu_s(processes.tree(self.pid))

    def bench(self, target: str) -> bytes | None:
        """What is no part of the API."""
        path, query = urlsplit(target)[2:4]
        if path == "/_bench/stats":
            return json.dumps(self.service.stats()).encode()
        if path == "/_bench/reset":
            asked = {name: values[0] for name, values in parse_qs(query).items()}
            self.service.reset(
                latency_s=float(asked.get("latency", "0.2")), post_latency_s=float(asked.get("post_latency", "0"))
            )
            return b"{}"
        if path == "/_bench/watch":
            self.pid = int(parse_qs(query)["pid"][0])
            return b"{}"
        return None


class Connection(asyncio.BufferedProtocol):
    """One client: a head, a body that is counted and dropped, an answer, and again."""

    def __init__(self, server: Server) -> None:
        """Not connected yet."""
        self._server = server
        self._head = b""
        self._line = ""
        self._body_left = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its type

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Whoever waits for an answer has gone."""
        self._transport = None

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Where the next bytes go."""
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes have come."""
        if self._body_left > nbytes:  # almost always
            self._body_left -= nbytes
        elif self._body_left:
            self._body_left = 0
            self._complete()
        else:
            self._head += bytes(_BUFFER[:nbytes])
            end = self._head.find(b"\r\n\r\n")
            if end >= 0:
                self._begin(self._head[:end], len(self._head) - end - 4)
                self._head = b""

    def _begin(self, head: bytes, body_here: int) -> None:
        line, _, fields = head.partition(b"\r\n")
        self._line = line.decode("latin-1")
        size = 0
        for field in fields.split(b"\r\n"):
            name, _, value = field.partition(b":")
            if name.lower() == b"content-length":
                size = int(value)
        if self._line.startswith("POST /v0.7/"):
            self._server.post_begins()
            self._server.service.counters.bytes_received += size
        self._body_left = size - body_here
        if self._body_left <= 0:
            self._body_left = 0
            self._complete()

    def _complete(self) -> None:
        method, target, _ = self._line.split(" ")
        service = self._server.service
        if method == "POST" and target.rstrip("/").endswith("/inference"):
            service.counters.last_post_at = time.time()
            if service.post_latency_s:
                asyncio.get_running_loop().call_later(service.post_latency_s, self._accept, service)
            else:
                self._accept(service)
        elif target.startswith("/_bench/"):
            self._answer(self._server.bench(target))
        else:
            self._answer(service.get(target, time.monotonic()) if method == "GET" else None)

    def _accept(self, service: Service) -> None:
        self._answer(service.accept(time.monotonic()), b"202 Accepted")

    def _answer(self, body: bytes | None, status: bytes = b"200 OK") -> None:
        if body is None:
            status, body = b"404 Not Found", b'{"detail":"Not found."}'
        if self._transport is not None:
            self._transport.write(
                b"HTTP/1.1 %b\r\nDate: %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (status, formatdate(usegmt=True).encode(), len(body), body)
            )


async def serve(port: int) -> None:
    """Listen until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    server = Server()
    listener = await loop.create_server(lambda: Connection(server), "127.0.0.1", port, backlog=2048)
    print(f"listening on http://127.0.0.1:{listener.sockets[0].getsockname()[1]}", flush=True)
    await stopped.wait()
    listener.close()


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    try:
        from uvloop import run
    except ImportError:  # the standard loop answers the same, only slower
        from asyncio import run
    run(serve(options.port))


if __name__ == "__main__":
    main()
