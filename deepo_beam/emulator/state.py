"""What the server knows and how it answers, without any HTTP library: paths and bodies in, JSON values out.

Every answer that is an error is raised as :class:`deepo_beam.emulator.parse.RefusedError`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from deepo_beam.emulator import catalogue
from deepo_beam.emulator.echo import echo_key
from deepo_beam.emulator.faults import FailureCycle, TokenBucket, in_outage, reply_is_cut, retry_after
from deepo_beam.emulator.options import Options
from deepo_beam.emulator.parse import InferenceRequest, RefusedError
from deepo_beam.emulator.stats import Stats
from deepo_beam.emulator.tasks import ECHO_RULES, Job, Task, TaskStore, task_json

PAGE = 100
"""Entries of a page at most, and by default."""


@dataclass(frozen=True, slots=True)
class Query:
    """What a call for a list asks: its own URL without the query, ``offset``, ``limit``, ``task_ids``."""

    url: str
    offset: int = 0
    limit: int = PAGE
    task_ids: tuple[str, ...] = ()


class State:
    """The service behind the server.

    Args:
        options: as asked for.
        first_task_id: of the first task.
        clock: monotonic seconds; now is the start.
        wall_clock: seconds since 1970.
    """

    def __init__(
        self,
        options: Options,
        *,
        first_task_id: int,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.options = options
        self.clock = clock
        self.tasks = TaskStore(options, first_id=first_task_id)
        self._wall_clock = wall_clock
        self._start = clock()
        self._epoch = wall_clock() - self._start
        self.stats = Stats(self._start)
        self._posts = FailureCycle(options.seed, "post", options.fail_posts)
        self._polls = FailureCycle(options.seed, "poll", options.fail_polls)
        self._bucket = TokenBucket(options.rate, options.burst, self._start) if options.rate else None

    def reset(self) -> None:
        """Zeroes the counters; tasks, faults and the quota go on."""
        self.stats = Stats(self.clock())

    def admit(self, key: str | None) -> None:
        """Lets an API call pass, or raises 401 for its key, 503 in an outage."""
        if in_outage(self.options, self.clock() - self._start):
            raise RefusedError(503, "The service is out (--outage).")
        if not key or (self.options.api_key is not None and key != self.options.api_key):
            raise RefusedError(401, "Invalid or missing API key: send it as X-API-KEY.")

    def admit_post(self, size: int) -> None:
        """Lets an inference call with a body of ``size`` bytes pass, or raises 413, 429 or 5xx."""
        if self.options.max_body is not None and size > self.options.max_body:
            raise RefusedError(413, f"The body has {size} bytes, the limit is {self.options.max_body}.")
        if self._bucket is not None and (wait := self._bucket.take(self.clock())):
            header = retry_after(self.options.retry_after, wait, self._wall_clock())
            raise RefusedError(429, "Request was throttled.", {"Retry-After": header} if header else {})
        self._fail(self._posts, "--fail-posts")

    def admit_poll(self, task_ids: int) -> None:
        """Counts a call for so many tasks and lets it pass, or raises 5xx."""
        self.stats.poll(task_ids)
        self._fail(self._polls, "--fail-polls")

    def runnable(self, kind: str, id_: str) -> catalogue.Model:
        """The model behind ``{kind}/{id}/inference``; 404 without one, 400 without a version."""
        spec = self._find_version(id_)[1] if kind == "versions" else _find_spec(kind, id_)
        if spec.version_id is None:
            raise RefusedError(400, f"The specification {spec.id} has no current version: there is nothing to run.")
        return spec.model

    def accept(self, job: Job, request: InferenceRequest) -> tuple[Task, bool]:
        """Makes a task.

        Returns:
            The task (for the caller to work out if :attr:`Task.is_open`), and whether the connection is to
            be cut instead of answering.
        """
        now = self.clock()
        identity = _identity(request)
        key = identity if request.image is not None and job.model in ECHO_RULES else None
        task, nth = self.tasks.accept(job, identity, now, key=key)
        self.stats.accept(identity, self.tasks.in_flight(now), now)
        return task, reply_is_cut(self.options, identity, nth)

    def me(self) -> dict[str, Any]:
        """``GET /accounts/me``."""
        return {
            "id": 1,
            "name": "emulator",
            "date_created": catalogue.UPDATED,
            "date_updated": catalogue.UPDATED,
        }

    def spec(self, kind: str, id_: str) -> dict[str, Any]:
        """One specification; ``kind`` is ``public`` or ``specs``."""
        return catalogue.spec_json(_find_spec(kind, id_), moved_on=self._moved_on())

    def specs(self, kind: str, query: Query) -> dict[str, Any]:
        """A page of the public or the private specifications."""
        found = catalogue.public_specs() if kind == "public" else catalogue.private_specs()
        shown = [catalogue.spec_json(spec, moved_on=self._moved_on(), listed=True) for spec in found]
        return _page(shown, query)

    def version(self, id_: str) -> dict[str, Any]:
        """One version."""
        return catalogue.version_json(*self._find_version(id_))

    def versions(self, query: Query, of: tuple[str, str] | None = None) -> dict[str, Any]:
        """A page of all versions, or of those of one specification, ``(kind, id)``."""
        spec = _find_spec(*of) if of else None
        found = catalogue.versions(moved_on=self._moved_on())
        shown = [catalogue.version_json(id_, its) for id_, its in found.items() if spec is None or its is spec]
        return _page(shown, query)

    def task(self, id_: str) -> dict[str, Any]:
        """One task."""
        task = self.tasks.get(id_)
        if task is None:
            raise RefusedError(404, "Not found.")
        return task_json(task, self.clock(), self._epoch)

    def task_page(self, query: Query) -> dict[str, Any]:
        """A page of the tasks asked for; those that the server does not know are missing."""
        found = [task for id_ in dict.fromkeys(query.task_ids) if (task := self.tasks.get(id_)) is not None]
        now = self.clock()
        return _page(found, query, lambda task: task_json(task, now, self._epoch))

    def _moved_on(self) -> bool:
        at = self.options.new_version_at
        return at is not None and self.clock() - self._start >= at

    def _find_version(self, id_: str) -> tuple[int, catalogue.Spec]:
        found = catalogue.versions(moved_on=self._moved_on())
        if not _is_integer(id_) or int(id_) not in found:
            raise RefusedError(404, "Not found.")
        return int(id_), found[int(id_)]

    def _fail(self, cycle: FailureCycle, flag: str) -> None:
        status = cycle.next_status()
        if status is not None:
            raise RefusedError(status, f"The service failed ({flag}).")


def _identity(request: InferenceRequest) -> bytes:
    """What makes two posts the same image: the same bytes and crop, or the same URL and crop; 32 bytes."""
    if request.image is not None:
        return echo_key(request.image, request.crop)
    return hashlib.sha256(f"{request.url}\n{request.crop}".encode("utf-8", "surrogatepass")).digest()


def _find_spec(kind: str, id_: str) -> catalogue.Spec:
    key: catalogue.SpecId = id_
    if kind == "specs":
        if not _is_integer(id_):
            raise RefusedError(404, "Not found.")
        key = int(id_)
    spec = catalogue.SPECS.get(key)
    if spec is None:
        raise RefusedError(404, "Not found.")
    return spec


def _is_integer(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20


def _page(
    entries: Sequence[Any], query: Query, show: Callable[[Any], dict[str, Any]] = lambda entry: entry
) -> dict[str, Any]:
    start, end = query.offset, query.offset + query.limit
    before = max(0, start - query.limit)
    return {
        "count": len(entries),
        "next": _url(query, end) if end < len(entries) else None,
        "previous": _url(query, before) if start > 0 else None,
        "results": [show(entry) for entry in entries[start:end]],
    }


def _url(query: Query, offset: int) -> str:
    pairs = [("task_ids", id_) for id_ in query.task_ids]
    return f"{query.url}?{urlencode([*pairs, ('offset', offset), ('limit', query.limit)])}"
