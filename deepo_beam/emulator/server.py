"""The HTTP side of the emulator, on aiohttp: reads requests, asks :class:`State`, writes answers."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
from aiohttp import web

from deepo_beam.emulator.echo import Output, echo_key
from deepo_beam.emulator.fetch import fetch
from deepo_beam.emulator.options import Options
from deepo_beam.emulator.parse import InferenceRequest, RefusedError, parse_inference
from deepo_beam.emulator.state import PAGE, Query, State
from deepo_beam.emulator.tasks import ECHO_RULES, Job, Task, TaskFailedError

_LOG = logging.getLogger(__name__)
_MAX_LINE = 256 * 1024  # the official client polls all its tasks in one GET; it relies on 64 KB, and more is free
_READ_BUFFER = 1024 * 1024
_KINDS = ("public", "specs", "versions")


class Emulator:
    """The server: ``await start()``, then ``url`` answers until ``await stop()``.

    Args:
        options: what it offers and how it misbehaves.
    """

    def __init__(self, options: Options) -> None:
        self.url = ""
        self._options = options
        # ids of another start must not be taken for this one's; ten digits keep them apart and requests short
        self._state = State(options, first_task_id=10**9 + time.time_ns() // 1000 % (8 * 10**9))
        self._models = ThreadPoolExecutor(max_workers=1, thread_name_prefix="models")
        self._work: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listens; raises OSError if the port is taken."""
        self._http = web.Server(
            self._handle,
            max_line_size=_MAX_LINE,
            read_bufsize=_READ_BUFFER,
            auto_decompress=False,  # the API takes bodies as they are
            access_log=None,
        )
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._http, self._options.host, self._options.port, backlog=2048)
        self._session = aiohttp.ClientSession()
        host, port = self._listener.sockets[0].getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def stop(self) -> None:
        """Stops listening, drops what is under way; a model that still computes is not waited for."""
        self._listener.close()
        await self._http.shutdown(0.2)
        for work in self._work:
            work.cancel()
        await self._session.close()
        self._models.shutdown(wait=False, cancel_futures=True)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            match [part for part in request.path.split("/") if part]:  # trailing slash or not
                case ["_emulator", *path]:
                    return _reply(self._own(request.method, path))
                case ["v0.7", *path]:
                    return await self._api(request, path)
                case _:
                    return _reply({"detail": "Not found: the API is under /v0.7."}, 404)
        except RefusedError as refusal:
            return web.Response(
                body=refusal.body(),
                status=refusal.status,
                headers=refusal.headers,
                content_type="application/json",
            )

    def _own(self, method: str, path: list[str]) -> dict[str, Any]:
        match path, method:
            case ["stats"], "GET":
                return self._state.stats.as_json()
            case ["reset"], "POST":
                self._state.reset()
                return {}
        raise RefusedError(404, "There are GET /_emulator/stats and POST /_emulator/reset.")

    async def _api(self, request: web.BaseRequest, path: list[str]) -> web.StreamResponse:
        match path:
            case ["recognition", kind, id_, "inference"] if kind in _KINDS and request.method == "POST":
                return await self._infer(request, kind, id_)
        self._state.admit(request.headers.get("X-API-KEY"))
        if request.method != "GET":
            raise RefusedError(405, f'Method "{request.method}" not allowed.')
        match path:
            case ["tasks", id_]:
                await self._poll(1)
                return _reply(self._state.task(id_))
            case ["tasks"]:
                query = _query(request)
                await self._poll(len(query.task_ids[query.offset : query.offset + query.limit]))
                return _reply(self._state.task_page(query))
        return _reply(self._catalogue(request, path))

    def _catalogue(self, request: web.BaseRequest, path: list[str]) -> dict[str, Any]:
        match path:
            case ["accounts", "me"]:
                return self._state.me()
            case ["recognition", "versions"]:
                return self._state.versions(_query(request))
            case ["recognition", "versions", id_]:
                return self._state.version(id_)
            case ["recognition", ("public" | "specs") as kind]:
                return self._state.specs(kind, _query(request))
            case ["recognition", ("public" | "specs") as kind, id_]:
                return self._state.spec(kind, id_)
            case ["recognition", ("public" | "specs") as kind, id_, "versions"]:
                return self._state.versions(_query(request), (kind, id_))
        raise RefusedError(404, "Not found.")

    async def _poll(self, task_ids: int) -> None:
        if self._options.slow_polls:
            await asyncio.sleep(self._options.slow_polls)
        self._state.admit_poll(task_ids)

    async def _infer(self, request: web.BaseRequest, kind: str, id_: str) -> web.StreamResponse:
        state = self._state
        body, size = await _read(request, self._options.max_body)
        state.stats.receive(size)
        try:
            state.admit(request.headers.get("X-API-KEY"))
            state.admit_post(size)
            model = state.runnable(kind, id_).name
            parsed = parse_inference(request.headers.get("Content-Type", ""), body)
        except RefusedError as refusal:
            state.stats.reject(refusal.status)
            raise
        if self._options.post_latency:
            await asyncio.sleep(self._options.post_latency)
        task, is_cut = state.accept(Job(model, parsed.show_discarded, parsed.max_predictions), parsed)
        if task.is_open:
            work = asyncio.create_task(self._work_out(task, parsed))
            self._work.add(work)
            work.add_done_callback(functools.partial(self._settle, task))
        if is_cut and request.transport is not None:
            request.transport.abort()
        return _reply({"task_id": str(task.id)})

    async def _work_out(self, task: Task, parsed: InferenceRequest) -> None:
        """Finishes a task whose answer does not follow from its key alone."""
        tasks, clock = self._state.tasks, self._state.clock
        try:
            image = parsed.image
            if image is None:
                image = await fetch(self._session, parsed.url or "", allow_urls=self._options.allow_urls)
            if task.job.model in ECHO_RULES:
                tasks.finish(task, clock(), key=echo_key(image, parsed.crop))
                return
            call = functools.partial(_predict, task.job.model, image, parsed.crop)
            output = await asyncio.get_running_loop().run_in_executor(self._models, call)
            tasks.finish(task, clock(), output=output)
        except TaskFailedError as error:
            tasks.finish(task, clock(), error=str(error))

    def _settle(self, task: Task, work: asyncio.Task[None]) -> None:
        self._work.discard(work)
        bug = None if work.cancelled() else work.exception()
        if bug is not None:
            _LOG.error("task %d: the model %s failed", task.id, task.job.model, exc_info=bug)
            self._state.tasks.finish(task, self._state.clock(), error=f"Internal error: {bug!r}")


def _predict(model: str, image: bytes, crop: str | None) -> Output:
    from deepo_beam.emulator import models  # slow to import: only in the models' thread, when first asked for

    return models.predict(model, image, crop)


async def _read(request: web.BaseRequest, limit: int | None) -> tuple[bytes, int]:
    """The body and its size; above the limit it is read to its end and dropped, so that the 413 arrives.

    Raises:
        RefusedError: the client went away before its end; no one will read the refusal.
    """
    chunks, size = [], 0
    try:
        async for chunk in request.content.iter_any():
            size += len(chunk)
            if limit is None or size <= limit:
                chunks.append(chunk)
    except ConnectionError as error:
        raise RefusedError(400, "The body ended early.") from error
    return b"".join(chunks), size


def _query(request: web.BaseRequest) -> Query:
    query = request.query
    return Query(
        url=str(request.url.with_query(None)),
        offset=_natural(query.get("offset"), 0),
        limit=min(PAGE, _natural(query.get("limit"), PAGE) or PAGE),
        task_ids=tuple(query.getall("task_ids", ())),
    )


def _natural(text: str | None, default: int) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else default


def _reply(value: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=json.dumps(value).encode(), status=status, content_type="application/json")
