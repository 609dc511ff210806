"""The hot path: the same bytes, replies and errors as by requests, on connections that requests made."""

from __future__ import annotations

import contextlib
import gzip
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, PoolManager
from urllib3.connection import HTTPConnection

from deepo_beam import errors
from deepo_beam.api import ApiSettings, Credentials
from deepo_beam.api.exchange import PIECE_BYTES
from deepo_beam.api.transport import Transport

SELF_SIGNED = Path(__file__).parent.parent / "tls" / "self_signed.pem"  # for photos.test and 127.0.0.1, until 2126
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
DATE = b"Date: Thu, 26 Nov 2026 10:00:00 GMT\r\n"


# --- a server of bytes -----------------------------------------------------------------------------


class WireServer:
    """Notes the bytes of each request and answers with bytes; a proxy with tunnels too, with TLS where told."""

    def __init__(self, tls: bool = False) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(SELF_SIGNED)
        self.over_tls = tls
        self.greeting = b""
        self.seen: list[tuple[int, bytes]] = []  # number of the connection, request
        self.answers: list[list[bytes]] = []  # pieces of each; an empty one hangs up; OK where there is none left
        self.hung_up = threading.Event()
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection, self.connections), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            connection.sendall(self.greeting)
            if self.over_tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            stack.callback(lambda: connection.close())
            while request := read_request(connection):
                self.seen.append((number, request))
                if request.startswith(b"CONNECT"):
                    connection.sendall(b"HTTP/1.1 200 go on\r\n\r\n")
                    connection = self.tls.wrap_socket(connection, server_side=True)
                    continue
                for piece in self.answers.pop(0) if self.answers else [OK]:
                    if not piece:
                        connection.close()
                        self.hung_up.set()
                        return
                    connection.sendall(piece)

    @property
    def requests(self) -> list[bytes]:
        return [request for _, request in self.seen if not request.startswith(b"CONNECT")]


def read_request(connection: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        if not (piece := connection.recv(65536)):
            return b""
        received += piece
    head, _, _ = received.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")), 0)
    while len(received) < len(head) + 4 + length:
        received += connection.recv(65536)
    return received


@pytest.fixture
def wire() -> Iterator[WireServer]:
    server = WireServer()
    yield server
    server.listener.close()


@pytest.fixture
def tls_wire() -> Iterator[WireServer]:
    server = WireServer(tls=True)
    yield server
    server.listener.close()


@pytest.fixture
def open_transport() -> Iterator[Callable[..., Transport]]:
    with contextlib.ExitStack() as stack:

        def make(host: str, **settings: Any) -> Transport:
            merged = {"host": host, "read_timeout_s": 5.0, **settings}
            transport = Transport(ApiSettings(**merged), Credentials(), pool_size=2)
            stack.callback(transport.close)
            return transport

        yield make


@pytest.fixture
def by_requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which calls went by the ordinary route."""
    urls: list[str] = []
    send = HTTPAdapter.send

    def noted(adapter: HTTPAdapter, request: Any, **options: Any) -> Any:
        urls.append(request.url)
        return send(adapter, request, **options)

    monkeypatch.setattr(HTTPAdapter, "send", noted)
    return urls


def ordinary(transport: Transport) -> Transport:
    transport._hot_path = SimpleNamespace(send=lambda *_: None)  # type: ignore[assignment]
    return transport


def outcome(transport: Transport, body: bytes | None = None) -> Any:
    """A reply, or the kind of error and what it says."""
    try:
        return transport.exchange("GET" if body is None else "POST", "/tasks/", body)
    except errors.DeepoBeamError as error:
        return type(error), str(error)


# --- what is sent, and with which settings ---------------------------------------------------------


@pytest.mark.parametrize("body", [None, b"", b"{}", bytes(PIECE_BYTES), bytes(2 * PIECE_BYTES + 7)])
def test_a_request_is_the_same_byte_for_byte(
    body: bytes | None,
    wire: WireServer,
    open_transport: Any,
    by_requests: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    transport = open_transport(f"http://127.0.0.1:{wire.port}/gate")
    for _ in range(3):
        assert outcome(transport, body).body == b"{}"
    assert len(by_requests) == 1
    assert wire.requests[0] == wire.requests[1] == wire.requests[2]
    assert b"\r\nAuthorization: Basic " in wire.requests[1]
    assert wire.connections == 1


@pytest.mark.parametrize(
    "target", ["/tasks/a%20b/", "/tasks/%c3%a9/", "/tasks/é/", "/t?a=1&b=x|y", "/t?q=#f", "/./t", "/t\\", "/t?[]"]
)
def test_a_path_arrives_the_same_quoted_or_not(target: str, wire: WireServer, open_transport: Any) -> None:
    transport = open_transport(f"http://127.0.0.1:{wire.port}")
    for _ in range(2):
        transport.exchange("GET", target)
    assert wire.requests[0] == wire.requests[1]


def test_a_path_that_is_none_is_refused_by_both_routes(wire: WireServer, open_transport: Any) -> None:
    transport = open_transport(f"http://127.0.0.1:{wire.port}")
    for _ in range(2):
        with contextlib.suppress(errors.DeepoBeamError):
            transport.exchange("GET", "/a HTTP/1.1\r\nX-Evil: 1\r\n\r\n")
        transport.exchange("GET", "/tasks/")
    assert not any(b"\r\nX-Evil" in request for request in wire.requests)


def test_a_content_type_brings_no_header_along(wire: WireServer, open_transport: Any) -> None:
    transport = open_transport(f"http://127.0.0.1:{wire.port}")
    transport.exchange("GET", "/tasks/")
    with pytest.raises(ValueError, match="Invalid header value"):
        transport.exchange("POST", "/tasks/", b"{}", "text/plain\r\nX-Evil: 1")
    assert len(wire.requests) == 1


@pytest.mark.parametrize("host", ["http://api.test", "http://api.test:80", "http://api.test:8080", "http://[::1]:8080"])
def test_the_host_is_named_the_same(host: str, open_transport: Any) -> None:
    sent = []
    for _ in range(2):
        packets = Packets(OK, OK)
        transport = open_transport(host)
        keep(transport, packets, named_host="")
        for _ in range(2):
            transport.exchange("GET", "/tasks/")
        sent.append(packets.sent)
    half = sent[0][: len(sent[0]) // 2]
    assert sent == [half + half] * 2
    assert b"\r\nHost: " + host[7:].removesuffix(":80").encode() + b"\r\n" in half


def test_a_ca_bundle_of_the_environment_is_what_the_hot_path_trusts(
    tls_wire: WireServer, open_transport: Any, by_requests: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    host = f"https://127.0.0.1:{tls_wire.port}"
    refused = open_transport(host)
    for _ in range(2):
        with pytest.raises(errors.ConnectError, match="TLS refused"):
            refused.exchange("GET", "/tasks/")
    assert tls_wire.seen == []
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(SELF_SIGNED))
    by_requests.clear()
    transport = open_transport(host)
    for _ in range(3):
        assert outcome(transport, b"{}").body == b"{}"
    assert len(by_requests) == 1
    assert len(set(tls_wire.requests)) == 1
    assert {number for number, _ in tls_wire.seen} == {tls_wire.connections}


def test_tls_is_asked_for_with_every_new_connection(
    tls_wire: WireServer, open_transport: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that cannot prove its name any more gets no request for an older connection's sake."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(SELF_SIGNED))
    transport = open_transport(f"https://127.0.0.1:{tls_wire.port}")
    assert outcome(transport).status == 200
    tls_wire.answers.append([OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")])
    assert outcome(transport).status == 200
    tls_wire.greeting = b"HTTP/1.1 400 No TLS here\r\n\r\n"
    assert outcome(transport)[0] is errors.ConnectError
    assert len(tls_wire.requests) == 2


def test_the_hot_path_goes_through_the_tunnel_of_a_proxy(
    wire: WireServer, open_transport: Any, by_requests: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@127.0.0.1:{wire.port}")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(SELF_SIGNED))
    transport = open_transport("https://photos.test:8443")
    for _ in range(3):
        assert outcome(transport, b"{}").body == b"{}"
    assert len(by_requests) == 1
    (connect,) = (request for _, request in wire.seen if request.startswith(b"CONNECT photos.test:8443 "))
    assert b"Proxy-Authorization: Basic " in connect
    assert len(set(wire.requests)) == 1
    assert b"Host: photos.test:8443\r\n" in wire.requests[1]
    assert b"Proxy-Authorization" not in wire.requests[1]


def test_a_proxy_without_a_tunnel_is_left_to_requests(
    wire: WireServer, open_transport: Any, by_requests: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://me:secret@127.0.0.1:{wire.port}")
    transport = open_transport("http://api.invalid")
    for _ in range(3):
        assert outcome(transport).body == b"{}"
    assert len(by_requests) == 3
    for request in wire.requests:
        assert request.startswith(b"GET http://api.invalid/v0.7/tasks/ HTTP/1.1\r\n")
        assert b"\r\nProxy-Authorization: Basic " in request
    assert wire.connections == 1


def test_a_socks_proxy_is_left_to_requests(
    wire: WireServer, open_transport: Any, by_requests: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Connection(HTTPConnection):
        """Goes by the proxy, whatever the host is; that of PySocks is not among what the tests need."""

        def _new_conn(self) -> socket.socket:
            return socket.create_connection(("127.0.0.1", wire.port))

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    class Manager(PoolManager):
        def __init__(self, proxy_url: str, *, username: Any, password: Any, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.pool_classes_by_scheme = {"http": Pool}

    monkeypatch.setattr("requests.adapters.SOCKSProxyManager", Manager)
    monkeypatch.setenv("ALL_PROXY", "socks5h://me:secret@proxy.invalid:1080")
    transport = open_transport("http://api.invalid")
    for _ in range(3):
        assert outcome(transport).body == b"{}"
    assert len(by_requests) == 3
    assert len(set(wire.requests)) == wire.connections == 1


def test_who_asks_urllib3_for_its_log_gets_each_request(
    wire: WireServer, open_transport: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "urllib3")
    transport = open_transport(f"http://127.0.0.1:{wire.port}")
    for _ in range(3):
        outcome(transport)
    assert caplog.text.count("GET /v0.7/tasks/") == 3


# --- replies, plain and unusual --------------------------------------------------------------------

KEPT, CUT = True, False
ZIPPED = gzip.compress(b'{"a": 1}')
REPLIES = {
    "plain": (b"HTTP/1.1 201 Created\r\n%bContent-Length: 14\r\n\r\n{\"task_id\": 1}", KEPT),
    "no-reason": (b"HTTP/1.1 200\r\n%bContent-Length: 2\r\n\r\n{}", KEPT),
    "empty": (b"HTTP/1.1 200 OK\r\n%bContent-Length: 0\r\n\r\n", KEPT),
    "throttled": (b"HTTP/1.1 429 Slow\r\n%bRetry-After: 3\r\nContent-Length: 2\r\n\r\n{}", KEPT),
    "names-in-any-case": (b"HTTP/1.1 200 OK\r\n%bcONTENT-lENGTH:2\r\nX-A:\t b \r\n\r\n{}", KEPT),
    "twice": (b"HTTP/1.1 200 OK\r\n%bX-A: 1\r\nx-a: 2\r\nX-A:\r\nContent-Length: 2\r\n\r\n{}", KEPT),
    "same-lengths": (b"HTTP/1.1 200 OK\r\n%bContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}", KEPT),
    "no-content": (b"HTTP/1.1 204 No\r\n%b\r\n", KEPT),
    "gzip": (
        b"HTTP/1.1 200 OK\r\n%%bContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(ZIPPED), ZIPPED),
        KEPT,
    ),
    "brotli": (b"HTTP/1.1 200 OK\r\n%bContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx", KEPT),
    "chunked": (b"HTTP/1.1 200\r\n%bTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;x=y\r\n}\r\n0\r\nA: b\r\n\r\n", KEPT),
    "chunked-gzip": (
        b"HTTP/1.1 200 OK\r\n%%bTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
        % (len(ZIPPED), ZIPPED),
        KEPT,
    ),
    "chunked-error": (b"HTTP/1.1 503 No\r\n%bTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", KEPT),
    "interim": (b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\n%bContent-Length: 2\r\n\r\n{}", KEPT),
    "folded": (b"HTTP/1.1 200 OK\r\n%bX-A: b\r\n  c\r\nContent-Length: 2\r\n\r\n{}", KEPT),
    "latin-1": (b"HTTP/1.1 200 OK\r\n%bX-A: \xe9\x85\r\nContent-Length: 2\r\n\r\n{}", KEPT),
    "bare-lf": (b"HTTP/1.1 200 OK\n%bContent-Length: 2\n\n{}", KEPT),
    "long-head": (b"HTTP/1.1 200 OK\r\n%%bX-A: %b\r\nContent-Length: 2\r\n\r\n{}" % (b"a" * 60_000), KEPT),
    "close": (b"HTTP/1.1 200 OK\r\n%bContent-Length: 2\r\nConnection: Close\r\n\r\n{}", CUT),
    "until-close": (b"HTTP/1.1 200 OK\r\n%b\r\n{}", CUT),
    "http-1.0": (b"HTTP/1.0 200 OK\r\n%bContent-Length: 2\r\n\r\n{}", CUT),
    "no-content-of-a-length": (b"HTTP/1.1 204 No\r\n%bContent-Length: 2\r\n\r\n", KEPT),
    "early-hints-alone": (b"HTTP/1.1 103 Hints\r\n%b\r\n", CUT),
    "early-hints": (b"HTTP/1.1 103 Hints\r\n%b\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", CUT),
    "two-in-one": (b"HTTP/1.1 200 OK\r\n%%bContent-Length: 2\r\n\r\n{}%b" % OK, CUT),
    "two-in-one-chunked": (b"HTTP/1.1 200 OK\r\n%%bTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%b" % OK, CUT),
    "too-long-body": (b"HTTP/1.1 200 OK\r\n%bContent-Length: 2\r\n\r\n{}}", CUT),
    "other-lengths": (b"HTTP/1.1 200 OK\r\n%bContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", CUT),
    "negative-length": (b"HTTP/1.1 200 OK\r\n%bContent-Length: -1\r\n\r\n{}", CUT),
    "both-lengths": (b"HTTP/1.1 200 OK\r\n%bContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", KEPT),
    "no-head": (b"hello, this is %b\r\n\r\n", CUT),
    "half-head": (b"HTTP/1.1 200 OK\r\n%bContent-Le", CUT),
    "half-body": (b"HTTP/1.1 200 OK\r\n%bContent-Length: 99\r\n\r\n{}", CUT),
    "half-body-of-an-error": (b"HTTP/1.1 500 Oh\r\n%bContent-Length: 99\r\n\r\n{}", CUT),
    "half-chunk": (b"HTTP/1.1 200 OK\r\n%bTransfer-Encoding: chunked\r\n\r\n9\r\n{}", CUT),
    "bad-chunk": (b"HTTP/1.1 200 OK\r\n%bTransfer-Encoding: chunked\r\n\r\nx\r\n{}\r\n0\r\n\r\n", CUT),
    "nothing": (b"", CUT),
    "longer-than-the-limit": (b"HTTP/1.1 200 OK\r\n%%bContent-Length: 99999\r\n\r\n%b" % bytes(9999), CUT),
    "endless-head": (b"HTTP/1.1 200 OK\r\n%%b%b" % (b"X-A: b\r\n" * 9000), CUT),
    "endless-line": (b"HTTP/1.1 200 OK\r\n%%bX-A: %b" % (b"b" * 70_000), CUT),
    "many-headers": (b"HTTP/1.1 200 OK\r\n%%b%bContent-Length: 2\r\n\r\n{}" % (b"X-A: b\r\n" * 80), KEPT),
    "too-many-headers": (b"HTTP/1.1 200 OK\r\n%%b%bContent-Length: 2\r\n\r\n{}" % (b"X-A: b\r\n" * 120), CUT),
}  # fmt: skip
LIMITS = {"max_reply_bytes": 500}


def received(name: str) -> bytes:
    template = REPLIES[name][0]
    return template % DATE if b"%" in template else template


class Packets(socket.socket):
    """One end of a connection, which receives packets as they were cut and then the end."""

    def __init__(self, *packets: bytes) -> None:
        mine, self.peer = socket.socketpair()
        super().__init__(fileno=mine.detach())
        self.packets = list(packets)
        self.sent = b""
        self.failure: BaseException | None = None  # of what is sent

    def recv(self, size: int, flags: int = 0) -> bytes:
        if not self.packets:
            return b""
        data, rest = self.packets[0][:size], self.packets[0][size:]
        self.packets[:1] = [rest] if rest else []
        return data

    def recv_into(self, buffer: Any, *_: Any) -> int:
        data = self.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def sendall(self, data: Any, flags: int = 0) -> None:
        if self.failure is not None:
            raise self.failure
        self.sent += bytes(data)

    def close(self) -> None:
        self.peer.close()
        super().close()


def keep(transport: Transport, packets: Packets, named_host: str = "api.test") -> Any:
    """Puts a connection of these packets in the pool, as if it had been used before."""
    pool = transport._adapter.get_connection_with_tls_context(transport._template, True)
    connection = pool._get_conn()
    connection.close()
    connection.sock = packets
    connection.named_host = named_host
    pool._put_conn(connection)
    return connection


@pytest.mark.parametrize("name", REPLIES)
def test_a_reply_is_the_same_by_both_routes_and_nothing_unfinished_is_kept(name: str, open_transport: Any) -> None:
    kept = REPLIES[name][1]
    hot = open_transport("http://api.test", **LIMITS)
    packets = Packets(received(name))
    connection = keep(hot, packets)
    found = outcome(hot)
    usual = ordinary(open_transport("http://api.test", **LIMITS))
    keep(usual, Packets(received(name)))
    assert found == outcome(usual)
    assert packets.sent.count(b"HTTP/1.1") == 1
    assert (connection.sock is packets) == kept
    assert (packets.fileno() != -1) == kept
    assert hot._adapter.pool.pool.qsize() == (2 if kept else 1), "what is cut is not pooled"


SHORT = [name for name in REPLIES if len(received(name)) < 1000]


@given(st.data(), st.sampled_from(SHORT), st.sampled_from([None, b"{}"]))
def test_no_way_of_cutting_a_reply_into_packets_changes_it(data: Any, name: str, body: bytes | None) -> None:
    whole = received(name)
    cuts = sorted(data.draw(st.sets(st.integers(1, max(len(whole) - 1, 1)), max_size=len(whole))))
    packets = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True) if a < b]
    transports = [
        Transport(ApiSettings(host="http://api.test", max_reply_bytes=500), Credentials(), pool_size=1)
        for _ in range(2)
    ]
    ordinary(transports[1])
    found = []
    for transport in transports:
        keep(transport, Packets(*packets))
        found.append(outcome(transport, body))
        transport.close()
    assert found[0] == found[1]


def test_a_kept_connection_serves_one_kind_of_reply_after_the_other(
    wire: WireServer, open_transport: Any, by_requests: list[str]
) -> None:
    names = [name for name, (_, kept) in REPLIES.items() if kept]
    transport = open_transport(f"http://127.0.0.1:{wire.port}", **LIMITS)
    outcome(transport)
    wire.answers.extend([received(name)] for name in names)
    for _ in names:
        outcome(transport)
    assert wire.connections == 1
    assert len(by_requests) == 1
    assert len(wire.requests) == len(names) + 1


def test_a_date_is_added_where_there_is_none(open_transport: Any) -> None:
    transport = open_transport("http://api.test")
    keep(transport, Packets(OK))
    assert outcome(transport).headers["date"].endswith(" GMT")


# --- connections -----------------------------------------------------------------------------------


def test_a_connection_that_was_closed_meanwhile_is_seen_before_anything_is_sent(
    wire: WireServer, open_transport: Any, by_requests: list[str]
) -> None:
    transport = open_transport(f"http://127.0.0.1:{wire.port}")
    wire.answers.append([OK, b""])
    assert outcome(transport, b"{}").status == 200
    assert wire.hung_up.wait(5)
    assert outcome(transport, b"{}").status == 200
    assert len(wire.requests) == len(by_requests) == wire.connections == 2


def test_bytes_that_nobody_asked_for_are_no_reply(wire: WireServer, open_transport: Any) -> None:
    """They came after the reply, in a packet of their own."""
    transport = open_transport("http://api.test")
    packets = Packets(OK)
    connection = keep(transport, packets)
    assert outcome(transport).status == 200
    packets.peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    assert transport._hot_path.send(transport._adapter.pool, "GET", "/tasks/", None, lambda: None) is None
    assert packets.sent.count(b"GET") == 1
    assert connection.is_connected is False


def test_bytes_that_tls_has_decrypted_already_are_no_reply(
    tls_wire: WireServer, open_transport: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(SELF_SIGNED))
    transport = open_transport(f"https://127.0.0.1:{tls_wire.port}")
    outcome(transport)
    tls_wire.answers.append([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"{}HTTP/1.1 500 Oh\r\n"])
    for _ in range(3):
        assert outcome(transport).body == b"{}"
    assert [number for number, _ in tls_wire.seen] == [1, 1, 2, 2]


@pytest.mark.parametrize("failure", [BrokenPipeError(32, "gone"), ConnectionResetError(104, "gone")])
def test_what_a_server_said_before_it_stopped_reading_counts(failure: OSError, open_transport: Any) -> None:
    transport = open_transport("http://api.test")
    packets = Packets(b"HTTP/1.1 413 Large\r\nContent-Length: 2\r\n\r\n{}")
    packets.failure = failure
    keep(transport, packets)
    assert outcome(transport, b"{}").status == 413
    assert packets.fileno() == -1


@pytest.mark.parametrize("failure", [TimeoutError("timed out"), OSError(113, "no route"), ssl.SSLEOFError(8, "EOF")])
def test_a_request_that_was_perhaps_written_may_have_been_billed(failure: OSError, open_transport: Any) -> None:
    transport = open_transport("http://api.test")
    packets = Packets()
    packets.failure = failure
    keep(transport, packets)
    with pytest.raises(errors.AnswerLostError) as caught:
        transport.exchange("POST", "/tasks/", b"{}")
    assert caught.value.maybe_billed
    assert packets.fileno() == -1


def test_an_interrupted_exchange_leaves_no_connection(open_transport: Any) -> None:
    transport = open_transport("http://api.test")
    packets = Packets(OK)
    packets.failure = KeyboardInterrupt()
    keep(transport, packets)
    with pytest.raises(KeyboardInterrupt):
        transport.exchange("GET", "/tasks/")
    assert packets.fileno() == -1


def test_a_transport_closed_meanwhile_keeps_nothing(wire: WireServer, open_transport: Any) -> None:
    transport = open_transport("http://api.test")
    packets = Packets(OK)
    keep(transport, packets)
    answer = transport._hot_path.send(transport._adapter.pool, "GET", "/tasks/", None, lambda: None)
    transport.close()
    assert answer is not None
    assert answer.read() == b"{}"
    answer.close()
    assert packets.fileno() == -1


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"]
)
def test_a_body_that_drips_is_given_up_after_the_read_timeout(head: bytes, server: Any, open_client: Any) -> None:
    def drip(handler: Any) -> None:
        handler.close_connection = True
        handler.wfile.write(head)
        while True:
            time.sleep(0.01)
            handler.wfile.write(b" ")

    server.script.append(drip)
    client = open_client(read_timeout_s=0.2)
    began = time.monotonic()
    with pytest.raises(errors.AnswerLostError):
        client._transport.exchange("GET", "/tasks/")
    assert time.monotonic() - began < 2
