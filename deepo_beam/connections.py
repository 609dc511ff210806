"""HTTP connections whose answers end in time, however slowly they drip.

A socket's own time-out is for one receive. A server that sends a byte a minute, or one ``100 Continue`` after
another, would hold a thread for ever; here the read timeout is for the answer as a whole.
"""

from __future__ import annotations

import functools
import http.client
import io
import socket
import time
from contextlib import suppress
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection


class TimedHTTPConnection(HTTPConnection):
    """Plain; the read timeout (seconds) runs from the request being sent to the last byte of the answer.

    Attributes:
        named_host: what the last request on it called the host; empty if it was no request for a mere path, as
            those by a proxy without a tunnel are.
    """

    named_host = ""
    _mere_path = False

    def putrequest(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        """As of urllib3."""
        self.named_host, self._mere_path = "", url.startswith("/")
        super().putrequest(method, url, *args, **kwargs)

    def putheader(self, header: Any, *values: Any) -> None:
        """As of urllib3."""
        if header == "Host" and self._mere_path:
            (value,) = values
            self.named_host = value.decode("ascii") if isinstance(value, bytes) else value
        super().putheader(header, *values)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override] # as urllib3 has it
        """Read the head; the body has what it leaves of the time.

        Raises:
            TimeoutError: not in time; as ``urllib3.exceptions.ReadTimeoutError`` where urllib3 reads.
        """
        self.response_class = functools.partial(_TimedAnswer, seconds=self.timeout)  # type: ignore[assignment] # called only
        return super().getresponse()


class TimedHTTPSConnection(TimedHTTPConnection, HTTPSConnection):
    """The same over TLS."""


class TimedHTTPConnectionPool(HTTPConnectionPool):
    """A pool of such connections."""

    ConnectionCls = TimedHTTPConnection


class TimedHTTPSConnectionPool(HTTPSConnectionPool):
    """A pool of such connections."""

    ConnectionCls = TimedHTTPSConnection


def timed(manager: PoolManager) -> PoolManager:
    """The manager, from now on with such connections."""
    manager.pool_classes_by_scheme = {"http": TimedHTTPConnectionPool, "https": TimedHTTPSConnectionPool}
    return manager


class _TimedAnswer(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, seconds: float | None, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        if seconds is not None:
            raw = self.fp.detach()
            self.fp = io.BufferedReader(_UntilDeadline(raw, sock, seconds))


class _UntilDeadline(io.RawIOBase):
    """A socket's stream, each receive of which waits at most until one point in time."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, seconds: float) -> None:
        self._raw = raw
        self._socket = sock
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"the answer took more than {self._seconds:g} s")
        self._socket.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            with suppress(OSError):  # closed meanwhile; else the next request on it gets the whole time again
                self._socket.settimeout(self._seconds)
            self._raw.close()
        super().close()
