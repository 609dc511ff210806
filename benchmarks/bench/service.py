"""What the benchmark server knows and answers: tasks, counters, JSON. Pure; clocks are handed in.

The API as far as the contestants use it. Whatever is posted is accepted after ``post_latency_s``, and labelled
``latency_s`` later, always alike: only bytes are counted, so that the server costs next to nothing.
"""

from __future__ import annotations

import json
from array import array
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

SPEC = "bench-v1"
VERSION_ID = 21
PAGE = 100
UPDATED = "2026-01-05T09:00:00.000000Z"

_LABELS = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
_SPEC_JSON: dict[str, Any] = {
    "id": SPEC,
    "name": SPEC,
    "description": "Answers every image with one cat.",
    "task_id": None,
    "update_date": UPDATED,
    "metadata": {},
    "outputs": [{"labels": {"roi": "NONE", "exclusive": True, "labels": _LABELS}}],
    "current_version_id": VERSION_ID,
}
_VERSION_JSON = {
    "id": VERSION_ID,
    "spec_id": SPEC,
    "network_id": 1,
    "post_processings": [{"classification": {"output_tensor": "predictions", "thresholds": [0.5, 0.5]}}],
    "update_date": UPDATED,
}
_PREDICTED = {"label_id": 1, "label_name": "cat", "score": 0.9, "threshold": 0.5}
_DATES = f'"date_created":"{UPDATED}","date_updated":"{UPDATED}","error":null,"subtasks":[]'
_DATA = json.dumps({"outputs": [{"labels": {"predicted": [_PREDICTED], "discarded": []}}]})
_PENDING = f'{{"id":"%d","status":"pending","data":null,{_DATES}}}'
_SUCCESS = f'{{"id":"%d","status":"success","data":{_DATA},{_DATES}}}'


@dataclass
class Counters:
    """What was asked for since the last reset.

    Attributes:
        accepted: tasks made.
        polls: GETs of one or of many tasks.
        bytes_received: of bodies.
        first_post_at: when the head of the first post came in, seconds since 1970; 0.0 before.
        last_post_at: when the body of the last one was complete.
        cpu_at_first_post_s: CPU seconds that the process that was named with the reset had used by then.
    """

    accepted: int = 0
    polls: int = 0
    bytes_received: int = 0
    first_post_at: float = 0.0
    last_post_at: float = 0.0
    cpu_at_first_post_s: float = 0.0


class Service:
    """All tasks since the last reset; times are monotonic seconds unless said otherwise."""

    def __init__(self, first_task_id: int) -> None:
        """Ids count up from there, over all resets."""
        self._first_id = first_task_id
        self._accepted_at = array("d")
        self._seen_at = array("d")
        self.reset()

    def reset(self, *, latency_s: float = 0.2, post_latency_s: float = 0.0) -> None:
        """Forget all tasks, and behave like this from now on.

        Args:
            latency_s: from accepted to success.
            post_latency_s: from the end of a post to its acceptance.
        """
        self._first_id += len(self._accepted_at)
        self.latency_s = latency_s
        self.post_latency_s = post_latency_s
        self.counters = Counters()
        self._accepted_at = array("d")
        self._seen_at = array("d")

    def accept(self, now: float) -> bytes:
        """Make a task; the body of the answer to the post."""
        task_id = self._first_id + len(self._accepted_at)
        self._accepted_at.append(now)
        self._seen_at.append(0.0)
        self.counters.accepted += 1
        return b'{"task_id":"%d"}' % task_id

    def get(self, target: str, now: float) -> bytes | None:
        """The body for a GET of that path and query; None: there is nothing there."""
        path, query = urlsplit(target)[2:4]
        match path.strip("/").split("/"):
            case ["v0.7", "tasks"]:
                return self._task_page(query, now)
            case ["v0.7", "tasks", task_id]:
                self.counters.polls += 1
                found = self._task(task_id, now)
                return None if found is None else found.encode()
            case ["v0.7", "accounts", "me"]:
                return b'{"id":1,"name":"benchmark"}'
            case ["v0.7", "recognition", "public", name] if name == SPEC:
                return json.dumps(_SPEC_JSON).encode()
            case ["v0.7", "recognition", "versions", version] if version == str(VERSION_ID):
                return json.dumps(_VERSION_JSON).encode()
        return None

    def stats(self) -> dict[str, float]:
        """The counters, how many tasks a client has seen finished, and how late it saw them.

        ``seen_p95_s`` is from accepted to first seen finished, the 95th percentile.
        """
        waits = sorted(seen - at for at, seen in zip(self._accepted_at, self._seen_at, strict=True) if seen)
        p95 = waits[int(0.95 * (len(waits) - 1))] if waits else 0.0
        return {**vars(self.counters), "seen": len(waits), "seen_p95_s": p95}

    def _task_page(self, query: str, now: float) -> bytes:
        self.counters.polls += 1
        asked = parse_qs(query)
        ids = asked.get("task_ids", [])
        offset, limit = int(asked.get("offset", ["0"])[0]), min(PAGE, int(asked.get("limit", [str(PAGE)])[0]))
        end = offset + limit
        known = [task for task in (self._task(task_id, now) for task_id in ids[offset:end]) if task is not None]
        pairs = "&".join(f"task_ids={task_id}" for task_id in ids)
        following = json.dumps(f"/tasks/?{pairs}&offset={end}&limit={limit}") if end < len(ids) else "null"
        return f'{{"count":{len(ids)},"next":{following},"previous":null,"results":[{",".join(known)}]}}'.encode()

    def _task(self, task_id: str, now: float) -> str | None:
        number = int(task_id) - self._first_id if task_id.isdigit() else -1
        if not 0 <= number < len(self._accepted_at):
            return None
        if now < self._accepted_at[number] + self.latency_s:
            return _PENDING % int(task_id)
        if not self._seen_at[number]:
            self._seen_at[number] = now
        return _SUCCESS % int(task_id)
