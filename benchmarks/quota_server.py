"""The server of the benchmarks with a quota: it refuses what comes too fast (429), and remembers when each post came.

    python -m benchmarks.quota_server --quota 0:100,40:50,80:150 --retry-after seconds --latency 5 --stuck 0.01

The first second is that of the first post. ``GET /_bench/posts`` gives ``[[second, accepted], ...]`` by the server's
own clock.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import time
from email.utils import formatdate

from benchmarks.bench.server import Connection, Server
from benchmarks.bench.service import Service


class Quota:
    """A token bucket whose rate moves; a tenth of a second's worth, at least 2, may be saved up.

    Args:
        steps: calls/s from each second on; ``inf`` is no limit.
    """

    def __init__(self, steps: dict[float, float]) -> None:
        self._steps = sorted(steps.items(), reverse=True)
        self._tokens, self._at = 0.0, 0.0

    def rate(self, second: float) -> float:
        """In force then."""
        return next((rate for since, rate in self._steps if since <= second), math.inf)

    def take(self, second: float) -> bool:
        """One call; False: it is refused."""
        rate = self.rate(second)
        if rate == math.inf:
            return True
        self._tokens = min(max(2.0, rate / 10), self._tokens + (second - self._at) * rate)
        self._at = second
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class StickyService(Service):
    """Some tasks are never done."""

    stuck_every = 0

    def _task(self, task_id: str, now: float) -> str | None:
        if self.stuck_every and task_id.isdigit() and int(task_id) % self.stuck_every == 0:
            now = -math.inf
        return super()._task(task_id, now)


class QuotaServer(Server):
    """A server with a quota."""

    def __init__(self, quota: Quota, retry_after: str, latency_s: float, stuck: float) -> None:
        super().__init__()
        self.quota, self.retry_after = quota, retry_after
        self.posts: list[tuple[float, bool]] = []
        self.service = StickyService(first_task_id=10**9 + time.time_ns() // 1000 % (8 * 10**9))
        self.service.stuck_every = round(1 / stuck) if stuck else 0
        self.service.latency_s = latency_s
        self._first: float | None = None

    def admit(self) -> bool:
        """A post has come."""
        now = time.monotonic()
        self._first = now if self._first is None else self._first
        accepted = self.quota.take(now - self._first)
        self.posts.append((round(now - self._first, 4), accepted))
        return accepted

    def bench(self, target: str) -> bytes | None:
        """As told above."""
        return json.dumps(self.posts).encode() if target == "/_bench/posts" else super().bench(target)


class QuotaConnection(Connection):
    """One client, which may be refused."""

    _server: QuotaServer

    def _accept(self, service: Service) -> None:
        if self._server.admit():
            super()._accept(service)
        elif self._transport is not None:
            waits = {"seconds": "1", "date": formatdate(math.ceil(time.time() + 0.01), usegmt=True), "none": ""}
            wait = waits[self._server.retry_after]
            header = f"Retry-After: {wait}\r\n" if wait else ""
            head = f"HTTP/1.1 429 Too Many Requests\r\nDate: {formatdate(usegmt=True)}\r\n{header}"
            body = '{"detail":"Request was throttled."}'
            kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}"
            self._transport.write(f"{head}{kind}\r\n\r\n{body}".encode())


def parse_quota(text: str) -> dict[float, float]:
    """``0:100,40:50`` is 100/s, and from the 40th second 50/s."""
    return {float(since): float(rate) for since, _, rate in (part.partition(":") for part in text.split(",") if part)}


async def _serve(server: QuotaServer, port: int) -> None:
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: QuotaConnection(server), "127.0.0.1", port, backlog=2048)
    print(f"listening on http://127.0.0.1:{listener.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--quota", type=parse_quota, default={})
    parser.add_argument("--retry-after", choices=("seconds", "date", "none"), default="seconds")
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--stuck", type=float, default=0.0)
    given = parser.parse_args()
    server = QuotaServer(Quota(given.quota), given.retry_after, given.latency, given.stuck)
    asyncio.run(_serve(server, given.port))


if __name__ == "__main__":
    main()
