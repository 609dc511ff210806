"""Web servers in threads, whose pages are functions; with TLS if wanted."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

SELF_SIGNED = Path(__file__).parent.parent / "tls" / "self_signed.pem"  # for photos.test and 127.0.0.1, until 2126
Page = Callable[[BaseHTTPRequestHandler], None]


class WebServer(ThreadingHTTPServer):
    """Serves ``pages`` by path; notes each request's path and headers."""

    daemon_threads = True

    def __init__(self, host: str, tls: bool) -> None:
        super().__init__((host, 0), _Handler)
        self.pages: dict[str, Page] = {}
        self.seen: list[tuple[str, dict[str, str], int]] = []
        self.scheme = "https" if tls else "http"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(SELF_SIGNED)
            self.socket = context.wrap_socket(self.socket, server_side=True)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def url(self, path: str, host: str | None = None) -> str:
        return f"{self.scheme}://{host or self.server_address[0]}:{self.port}{path}"

    def page(self, path: str, body: bytes = b"", status: int = 200, **headers: str) -> str:
        """Adds a page, header names with ``_`` for ``-``; returns its URL."""

        def send(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            for name, value in headers.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)

        self.pages[path] = send
        return self.url(path)

    def raw(self, path: str, pieces: Callable[[], Iterator[bytes]]) -> str:
        """Adds an answer written as it stands, until the client hangs up; then the connection is closed."""

        def send(handler: BaseHTTPRequestHandler) -> None:
            handler.close_connection = True
            for piece in pieces():
                handler.wfile.write(piece)

        self.pages[path] = send
        return self.url(path)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what some tests are about: nothing to print."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WebServer

    def do_GET(self) -> None:
        self.server.seen.append((self.path, dict(self.headers), self.client_address[1]))
        self.server.pages[self.path.partition("?")[0]](self)

    def log_message(self, *args: Any) -> None:
        """Quiet."""


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    monkeypatch.setenv("DEEPOMATIC_API_KEY", "k3y-never-to-be-seen")


@pytest.fixture
def open_server() -> Iterator[Callable[..., WebServer]]:
    """Makes servers: ``open_server(host="127.0.0.1", tls=False)``."""
    servers: list[WebServer] = []

    def make(host: str = "127.0.0.1", tls: bool = False) -> WebServer:
        server = WebServer(host, tls)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def server(open_server: Callable[..., WebServer]) -> WebServer:
    return open_server()


@pytest.fixture
def self_signed() -> Path:
    return SELF_SIGNED
