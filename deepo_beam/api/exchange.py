"""The hot path of an exchange: one write, and a plain reply taken from what one receive brings.

What ``requests`` resolved stays in force, for only connections of its adapter's pool are used: connected by it,
with its TLS and its proxy, and used once by the ordinary route. All that is unusual is left to that route: before
the first byte is written by returning None, later by handing what was received to ``http.client``. So nothing is
sent twice. A call takes 30 us of CPU instead of 290 (`benchmarks/exchange_cost.py`).
"""

from __future__ import annotations

import errno
import http.client
import logging
import queue
import re
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import urlsplit

import requests
import urllib3
from urllib3.exceptions import HTTPError, IncompleteRead, ProtocolError, ReadTimeoutError

from deepo_beam.api.handover import HandedOver
from deepo_beam.connections import TimedHTTPConnection, TimedHTTPSConnection

PIECE_BYTES = 256 * 1024  # written at once, within the connect timeout
READ_BYTES = 64 * 1024

_GONE = (errno.EPIPE, errno.ECONNRESET, errno.EPROTOTYPE)  # the server stopped reading; it may have answered first
_LOG = logging.getLogger("urllib3.connectionpool")  # who wants its lines gets them: by the ordinary route

# What requests and urllib3 send as it stands.
_PLAIN_TARGET = re.compile(r"/(?!/)[\w.~/?=&,+:@-]*(?:%[0-9A-F]{2}[\w.~/?=&,+:@-]*)*", re.ASCII)
_PLAIN_HEAD = re.compile(
    rb"HTTP/1\.1 ([2-5][0-9]{2})(?: [\t -~]*)?\r\n((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~]*\r\n){1,64})\r\n"
)
_HEADER = re.compile(r"([^:]+):[\t ]*([^\r]*)\r\n")
_LENGTH = re.compile("[0-9]{1,15}")


class Answer(Protocol):
    """A reply whose head was read. Headers are in lower case, the values of a repeated one joined by a comma."""

    status: int
    headers: dict[str, str]

    def read(self) -> bytes:
        """The next bytes of the raw body as they arrive, empty at its end.

        Raises:
            urllib3.exceptions.HTTPError: cut, broken, or not within the read timeout.
        """

    def close(self) -> None:
        """Gives the connection back if the reply was read to its end and all was in order, else cuts it."""


class HotPath:
    """The requests of one template, on the kept connections of one pool.

    Args:
        template: prepared by ``requests``; its headers are sent as they are, the key among them.
        base_url: with the path that all paths go on from.
        connect_timeout_s: for each piece that is written.
        read_timeout_s: for the whole answer, from when the request was written.
    """

    def __init__(
        self, template: requests.PreparedRequest, base_url: str, connect_timeout_s: float, read_timeout_s: float
    ) -> None:
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in template.headers.items()).encode("latin-1")
        self._base = urlsplit(base_url).path
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s

    def send(
        self,
        pool: urllib3.HTTPConnectionPool | None,
        method: str,
        path: str,
        content: tuple[bytes, str] | None,
        check_time: Callable[[], None],
    ) -> Answer | None:
        """Sends a request and reads the head of its reply.

        Args:
            pool: of the adapter; None if it has none yet.
            method: ``GET``, or ``POST`` with content.
            path: what follows the base URL.
            content: body and its type.
            check_time: called before each further piece of a body; what it raises ends the exchange.

        Returns:
            None if nothing was sent: the ordinary route has to do it.

        Raises:
            urllib3.exceptions.HTTPError: the request may have arrived, its answer did not.
        """
        target = self._base + path
        plain = _PLAIN_TARGET.fullmatch(target) and (content is None or content[1].isprintable())
        if pool is None or not plain or _LOG.isEnabledFor(logging.DEBUG):
            return None
        if (connection := _borrow(pool)) is None:
            return None
        wire = _Wire(pool, connection)
        try:
            wire.socket.settimeout(self._connect_timeout_s)
            self._write(wire, f"{method} {target} HTTP/1.1\r\nHost: {connection.named_host}\r\n", content, check_time)
            wire.deadline = time.monotonic() + self._read_timeout_s
            return _read_head(wire, method)
        except (OSError, http.client.HTTPException) as error:
            wire.cut()
            raise wire.lost(error) from error
        except BaseException:
            wire.cut()
            raise

    def _write(
        self, wire: _Wire, start: str, content: tuple[bytes, str] | None, check_time: Callable[[], None]
    ) -> None:
        """Head and first piece in one go. What is sent holds the key, so no local variable holds that."""
        send, first = wire.socket.sendall, start.encode("ascii")
        try:
            if content is None:
                send(b"%b%b\r\n" % (first, self._headers))
                return
            body, kind = content
            own = f"Content-Length: {len(body)}\r\nContent-Type: {kind}\r\n\r\n".encode("latin-1")
            view = memoryview(body)
            send(b"".join((first, self._headers, own, view[:PIECE_BYTES])))
            for begin in range(PIECE_BYTES, len(body), PIECE_BYTES):
                check_time()
                send(view[begin : begin + PIECE_BYTES])
        except OSError as error:
            if error.errno not in _GONE:
                raise
            wire.reusable = False


def _borrow(pool: urllib3.HTTPConnectionPool) -> Any:
    """A connection that the ordinary route connected and used, taken out of the pool; None if the next one is none."""
    try:
        connection = pool.pool.get(block=False)  # type: ignore[union-attr] # None: closed
    except (AttributeError, queue.Empty):
        return None
    if (
        type(connection) in (TimedHTTPConnection, TimedHTTPSConnection)
        and connection.named_host
        and isinstance(connection.sock, socket.socket)  # or TLS on one; not TLS within TLS
        and connection.is_connected  # what urllib3 asks: nothing to be read, not even an end
    ):
        return connection
    _give_back(pool, connection)
    return None


def _give_back(pool: urllib3.HTTPConnectionPool, connection: Any) -> None:
    try:
        pool.pool.put(connection, block=False)  # type: ignore[union-attr] # None: closed
    except (AttributeError, queue.Full):
        if connection is not None:
            connection.close()


class _Wire:
    """A borrowed connection: read in bounded time, and given back or cut, once."""

    def __init__(self, pool: urllib3.HTTPConnectionPool, connection: Any) -> None:
        self.socket = connection.sock
        self.deadline = 0.0
        self.reusable = True
        self._pool = pool
        self._connection = connection

    def receive(self, size: int) -> bytes:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer took more than the read timeout")
        self.socket.settimeout(left)
        data: bytes = self.socket.recv(size)
        return data

    def lost(self, error: Exception) -> HTTPError:
        """What urllib3 makes of such an error."""
        if isinstance(error, TimeoutError):
            return ReadTimeoutError(self._pool, "", "Read timed out.")
        return ProtocolError("Connection aborted.", error)

    def cut(self) -> None:
        self._connection.close()

    def release(self, complete: bool) -> None:
        """Gives the connection back if the reply is complete and nothing is wrong, else cuts it."""
        # What TLS has decrypted already is not seen by those who ask the socket whether there is anything.
        left_over = isinstance(self.socket, ssl.SSLSocket) and self.socket.pending()
        if complete and self.reusable and not left_over:
            _give_back(self._pool, self._connection)
        else:
            self.cut()


def _read_head(wire: _Wire, method: str) -> Answer:
    received = wire.receive(READ_BYTES)
    if head := _PLAIN_HEAD.match(received):  # else it came in parts, or is none that one would expect
        headers: dict[str, str] = {}
        for name, value in _HEADER.findall(head[2].decode("ascii")):
            lower = name.lower()
            headers[lower] = f"{headers[lower]}, {value}" if lower in headers else value
        status, length = int(head[1]), headers.get("content-length", "")
        if status not in (204, 304) and "transfer-encoding" not in headers and _LENGTH.fullmatch(length):
            return _PlainAnswer(wire, status, headers, received[head.end() :], int(length))
    return HandedOver(method, received, wire.receive, wire.release)


class _PlainAnswer:
    """Of known length."""

    def __init__(self, wire: _Wire, status: int, headers: dict[str, str], received: bytes, length: int) -> None:
        self.status = status
        self.headers = headers
        self._wire = wire
        self._received = received[:length]
        self._length = self._left = length
        if len(received) > length or "close" in headers.get("connection", "").lower():
            wire.reusable = False

    def read(self) -> bytes:
        data, self._received = self._received, b""
        if self._left and not data:
            try:
                data = self._wire.receive(min(self._left, READ_BYTES))
            except OSError as error:
                raise self._wire.lost(error) from error
            if not data:
                raise self._wire.lost(IncompleteRead(self._length - self._left, self._left))
        self._left -= len(data)
        return data

    def close(self) -> None:
        self._wire.release(complete=not self._left)
