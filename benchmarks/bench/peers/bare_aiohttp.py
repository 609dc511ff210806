"""A bare loop on aiohttp: so many coroutines on one event loop.

python -m benchmarks.bench.peers.bare_aiohttp FOLDER URL --concurrency 16
"""

from __future__ import annotations

import asyncio
from collections import deque
from pathlib import Path

import aiohttp

from benchmarks.bench.peers.ladder import HEADERS, POST_PATH, Waiting, arguments, body_of, photographs


async def post_and_poll(files: deque[Path], waiting: Waiting, session: aiohttp.ClientSession) -> None:
    """One coroutine's part, as a thread's in ``ladder.post_and_poll``."""
    while files:
        async with session.post(POST_PATH, data=body_of(files.popleft()), headers=HEADERS) as reply:
            waiting.accepted(await reply.read())
        if due := waiting.batch():
            await poll(due, waiting, session)


async def poll(path: str, waiting: Waiting, session: aiohttp.ClientSession) -> None:
    """Ask for a batch of tasks."""
    async with session.get(path, headers=HEADERS) as reply:
        waiting.answered(await reply.read())


async def label(folder: Path, url: str, concurrency: int) -> None:
    """Label all."""
    files = photographs(folder)
    waiting = Waiting(len(files))
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(url, connector=connector, raise_for_status=True) as session:
        await asyncio.gather(*(post_and_poll(files, waiting, session) for _ in range(concurrency)))
        while not waiting.all_done:
            if due := waiting.batch(last=True):
                await poll(due, waiting, session)
            else:
                await asyncio.sleep(0.01)


def main() -> None:
    """Label."""
    options = arguments(__doc__, "concurrency")
    asyncio.run(label(options.folder, options.url, options.concurrency))


if __name__ == "__main__":
    main()
