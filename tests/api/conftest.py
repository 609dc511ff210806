"""A real HTTP server in a thread, whose answers a test scripts one by one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

from deepo_beam.api import ApiSettings, Client, Credentials

KEY = "k3y-0123456789abcdef-never-to-be-seen"


class Seen(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int


class ScriptedServer(ThreadingHTTPServer):
    """Answers each request by the next entry of ``script``; the last one stays."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: list[Callable[[BaseHTTPRequestHandler], None]] = []
        self.seen: list[Seen] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, status: int = 200, body: Any = b"", **headers: str) -> None:
        """Adds an answer: JSON for what is not bytes; header names with ``_`` for ``-``."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()

        def send(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            for name, value in headers.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            handler.wfile.write(content)

        self.script.append(send)

    def raw(self, *pieces: bytes) -> None:
        """Adds an answer written as it stands, then the connection is closed."""

        def send(handler: BaseHTTPRequestHandler) -> None:
            for piece in pieces:
                handler.wfile.write(piece)
            handler.close_connection = True

        self.script.append(send)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what some tests are about: nothing to print."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ScriptedServer

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        seen = Seen(self.command, self.path, dict(self.headers), body, self.client_address[1])
        self.server.seen.append(seen)
        script = self.server.script
        (script.pop(0) if len(script) > 1 else script[0])(self)

    do_GET = do_POST = _any  # noqa: N815 - the names that http.server calls

    def log_message(self, *args: Any) -> None:
        """Quiet."""


class Time:
    """A clock that ``sleep`` moves, and each look by ``tick`` seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self.tick = 0.0
        self.slept: list[float] = []

    def clock(self) -> float:
        self.now += self.tick
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    monkeypatch.setenv("NETRC", "/nonexistent/netrc")
    monkeypatch.setenv("DEEPOMATIC_API_KEY", KEY)


@pytest.fixture
def key() -> str:
    return KEY


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def virtual_time() -> Time:
    return Time()


def keep_a_connection(client: Client, server: ScriptedServer) -> None:
    """So that the client's next call takes the hot path; leaves no trace in what the server has seen."""
    script, server.script[:] = server.script[:], []
    server.answer(200, {})
    client.account()
    server.seen.clear()
    server.script[:] = script


@pytest.fixture(params=["new", "kept"])
def open_client(
    server: ScriptedServer, virtual_time: Time, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Client]]:
    """Makes clients of the scripted server, in virtual time; arguments are those of ApiSettings.

    Each test runs by both routes: on a new connection, and where possible on one that was used before.
    """
    clients: list[Client] = []

    def make(**settings: Any) -> Client:
        merged = {"host": server.url, "read_timeout_s": 5.0, **settings}
        client = Client(ApiSettings(**merged), Credentials(), sleep=virtual_time.sleep, clock=virtual_time.clock)
        clients.append(client)
        if request.param == "kept" and merged["host"].startswith(server.url):
            tick, virtual_time.tick = virtual_time.tick, 0.0
            seen = server.seen[:]
            keep_a_connection(client, server)
            server.seen[:] = seen
            virtual_time.tick = tick
        return client

    yield make
    for client in clients:
        client.close()
