"""A server that speaks just enough of the API, and breaks one of its promises at a time.

Replies can be replaced by name: ``account``, ``specification``, ``post`` and ``poll`` take the good reply's
text and give another one, ``task`` takes one good task as a dictionary and gives another one, ``page`` is the answer
about any of the images in ``only``. With ``only`` the posts and tasks of those images alone are spoilt.
"""

import base64
import itertools
import json
import threading
from collections.abc import Callable, Collection, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from deepo_beam.emulator import echo_boxes_predictions, echo_predictions

VERSION = 7
LABELS = [{"id": number, "name": f"label {number}"} for number in range(1, 24)]

Change = Callable[[Any], Any]


def html(good: str) -> str:
    """What a proxy answers in the service's place."""
    return "<!DOCTYPE html><html><body><h1>Welcome to the hotel</h1></body></html>"


def empty(good: str) -> str:
    """Status 200, and nothing."""
    return ""


def truncated(good: str) -> str:
    """The first half."""
    return good[: len(good) // 2]


def keep(good: Any) -> Any:
    """The promise kept."""
    return good


@dataclass
class Hostile:
    """What is answered, and what was asked."""

    changes: dict[str, Change]
    roi: str
    only: Collection[bytes] | None
    bad_polls: int
    post_status: int
    url: str = ""
    posts: list[bytes] = field(default_factory=list)
    tasks: dict[str, bytes] = field(default_factory=dict)
    ids: Any = None
    polls: int = 0

    def change(self, name: str, good: Any, image: bytes | None = None) -> Any:
        """A reply, spoilt if it is one of those."""
        spoilt = image is None or self.only is None or image in self.only
        return self.changes.get(name, keep)(good) if spoilt else good

    def specification(self) -> dict[str, Any]:
        """The only one, ``hostile``."""
        outputs = [{"labels": {"roi": self.roi, "exclusive": False, "labels": LABELS}}]
        return {"id": "hostile", "name": "hostile", "outputs": outputs, "current_version_id": VERSION}

    def accept(self, image: bytes) -> tuple[int, str]:
        """Status and text of the answer to a post."""
        self.posts.append(image)
        if self.post_status != 200 and (self.only is None or image in self.only):
            return self.post_status, json.dumps({"detail": "no"})
        task_id = str(next(self.ids))
        self.tasks[task_id] = image
        return 200, self.change("post", json.dumps({"task_id": task_id}), image)

    def page(self, task_ids: list[str]) -> str:
        """The text of the answer to a poll; only the first polls are bad."""
        self.polls += 1
        found = [self.task(task_id) for task_id in task_ids if task_id in self.tasks]
        good = json.dumps({"count": len(found), "next": None, "previous": None, "results": found})
        poisoned = any(self.only and self.tasks.get(task_id) in self.only for task_id in task_ids)
        if poisoned and "page" in self.changes:
            return self.change("page", good)
        return self.change("poll", good) if self.polls <= self.bad_polls else good

    def task(self, task_id: str) -> dict[str, Any]:
        """A finished task with what the echo rule says."""
        image = self.tasks[task_id]
        output = (echo_boxes_predictions if self.roi == "BBOX" else echo_predictions)(image)
        data = {"outputs": [{"labels": {"predicted": output["labels"]["predicted"], "discarded": []}}]}
        good = {"id": task_id, "status": "success", "error": None, "data": data, "subtasks": []}
        return self.change("task", good, image)


@contextmanager
def hostile_server(
    *,
    roi: str = "NONE",
    only: Collection[bytes] | None = None,
    bad_polls: int = 0,
    post_status: int = 200,
    task_ids: Iterable[str] | None = None,
    **changes: Change,
):
    """A server that listens for as long as the block runs; yields what it was asked."""
    hostile = Hostile(changes, roi, only, bad_polls, post_status)
    hostile.ids = itertools.count(1001) if task_ids is None else iter(task_ids)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            with lock:
                path = urlsplit(self.path).path.strip("/").removeprefix("v0.7/")
                if path == "accounts/me":
                    self.answer(200, hostile.change("account", '{"id": 1}'))
                elif path == "recognition/public/hostile":
                    self.answer(200, hostile.change("specification", json.dumps(hostile.specification())))
                elif path == f"recognition/versions/{VERSION}":
                    self.answer(200, json.dumps({"id": VERSION, "spec_id": "hostile"}))
                elif path == "tasks":
                    self.answer(200, hostile.page(parse_qs(urlsplit(self.path).query)["task_ids"]))
                else:
                    self.answer(404, '{"detail": "Not found."}')

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            source = body["inputs"][0]["image"]["source"]
            with lock:
                self.answer(*hostile.accept(base64.b64decode(source.partition(";base64,")[2])))

        def answer(self, status: int, text: str) -> None:
            data = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            """Not on standard error."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hostile.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield hostile
    finally:
        server.shutdown()
        server.server_close()
