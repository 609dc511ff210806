"""What the bare loops have in common: which files, which bodies, and when to ask for which tasks.

A bare loop reads an image, wraps it, posts it, and asks for tasks a hundred at a time when they are old enough to
be done. It keeps no record, retries nothing and checks nothing but that every task succeeded: the least that can be
done with one HTTP library, and so the rung that everything else is compared with.
"""

from __future__ import annotations

import argparse
import base64
import json
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

POST_PATH = "/v0.7/recognition/versions/21/inference"
HEADERS = {"X-API-KEY": "benchmark", "Content-Type": "application/json"}
BATCH = 100  # Deepomatic API v0.7: the task list is paged by 100
_OLD_ENOUGH_S = 0.25  # a task takes 0.2 s: most are asked for once


def arguments(description: str | None, concurrency: str) -> argparse.Namespace:
    """``FOLDER URL --threads N`` (or whatever ``concurrency`` names)."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("url")
    parser.add_argument(f"--{concurrency}", type=int, default=1)
    return parser.parse_args()


def photographs(folder: Path) -> deque[Path]:
    """What is to be labelled; threads may share it."""
    return deque(sorted(folder.iterdir()))


def body_of(path: Path) -> bytes:
    """An inference with the image as base64."""
    source = base64.b64encode(path.read_bytes())
    return b'{"inputs":[{"image":{"source":"data:image/jpeg;base64,' + source + b'"}}],"show_discarded":false}'


class Waiting:
    """Tasks that were accepted and not yet seen done. Threads may share it."""

    def __init__(self, images: int) -> None:
        """``images``: how many tasks there will be."""
        self._left = images
        self._tasks: deque[tuple[float, str]] = deque()
        self._lock = threading.Lock()

    @property
    def all_done(self) -> bool:
        """Every image has its labels."""
        return not self._left

    def accepted(self, reply: bytes) -> None:
        """The service took a post."""
        self._tasks.append((time.monotonic(), json.loads(reply)["task_id"]))

    def batch(self, *, last: bool = False) -> str | None:
        """The path of a poll that is due now; ``last``: nothing more is posted, so it need not be full."""
        now = time.monotonic()
        with self._lock:
            size = min(BATCH, len(self._tasks))
            if not size or (size < BATCH and not last) or self._tasks[size - 1][0] > now - _OLD_ENOUGH_S:
                return None
            ids = [self._tasks.popleft()[1] for _ in range(size)]
        return "/v0.7/tasks/?" + "&".join(f"task_ids={task_id}" for task_id in ids) + f"&limit={BATCH}"

    def answered(self, reply: bytes) -> None:
        """The service answered a poll.

        Raises:
            RuntimeError: a task failed, or has no label.
        """
        done = 0
        for task in json.loads(reply)["results"]:
            if task["status"] == "pending":
                self._tasks.append((time.monotonic(), task["id"]))
                continue
            _check(task)
            done += 1
        with self._lock:
            self._left -= done


def post_and_poll(files: deque[Path], waiting: Waiting, exchange: Callable[[str, bytes | None], bytes]) -> None:
    """One thread's part: post until there is nothing left to post, poll between posts.

    Args:
        files: of all threads.
        waiting: of all threads.
        exchange: makes a call to a path, a POST if there is a body, and returns the body of its reply.
    """
    while True:
        try:
            path = files.popleft()
        except IndexError:
            return
        waiting.accepted(exchange(POST_PATH, body_of(path)))
        if due := waiting.batch():
            waiting.answered(exchange(due, None))


def label(folder: Path, threads: int, exchange: Callable[[str, bytes | None], bytes]) -> None:
    """Label all with so many threads; the first one goes on with what is left to ask for."""
    files = photographs(folder)
    waiting = Waiting(len(files))
    others = [threading.Thread(target=post_and_poll, args=(files, waiting, exchange)) for _ in range(threads - 1)]
    for thread in others:
        thread.start()
    post_and_poll(files, waiting, exchange)
    for thread in others:
        thread.join()
    while not waiting.all_done:
        if due := waiting.batch(last=True):
            waiting.answered(exchange(due, None))
        else:
            time.sleep(0.01)


def _check(task: dict[str, Any]) -> None:
    if task["status"] != "success" or not task["data"]["outputs"][0]["labels"]["predicted"]:
        raise RuntimeError(f"no labels: {task}")
