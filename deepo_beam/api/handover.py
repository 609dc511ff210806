"""The rest of a reply of which some bytes were received already: read as urllib3 reads any reply."""

from __future__ import annotations

import http.client
import io
from collections.abc import Callable
from typing import Any

import urllib3

_READ_BYTES = 64 * 1024


class HandedOver:
    """A reply read by ``http.client`` and urllib3 from its first byte on: chunked, in parts, interim, or broken.

    Args:
        method: of the request.
        received: the first bytes of the reply.
        receive: at most so many of those that follow; empty at the end.
        release: told once whether the reply was read to its end and the connection is in order.

    Raises:
        OSError, http.client.HTTPException, urllib3.exceptions.HTTPError: the head cannot be read.
    """

    def __init__(
        self, method: str, received: bytes, receive: Callable[[int], bytes], release: Callable[[bool], None]
    ) -> None:
        self._release = release
        self._stream = _Stream(_Replay(received, receive))
        self._message = http.client.HTTPResponse(self, method=method)  # type: ignore[arg-type] # asks for makefile alone
        self._message.begin()
        self._raw = urllib3.HTTPResponse(
            body=self._message,
            headers=urllib3.HTTPHeaderDict(self._message.headers.items()),
            status=self._message.status,
            version=self._message.version,
            reason=self._message.reason,
            preload_content=False,
            decode_content=False,
            original_response=self._message,
            request_method=method,
        )
        self.status = self._message.status
        self.headers = {name.lower(): unfolded(value) for name, value in self._raw.headers.itermerged()}
        self._ended = False

    def makefile(self, mode: str) -> io.BufferedReader:  # noqa: ARG002 - as of a socket
        """What ``http.client`` reads from."""
        return self._stream

    def read(self) -> bytes:
        """As of `exchange.Answer`."""
        data: bytes = self._raw.read1(_READ_BYTES, decode_content=False)
        self._ended = not data
        return data

    def close(self) -> None:
        """As of `exchange.Answer`."""
        self._raw.close()
        in_order = self.status >= 200 and not self._message.will_close and not self._stream.unread
        self._release(self._ended and in_order)


class _Replay(io.RawIOBase):
    """What was received, and then the connection."""

    def __init__(self, received: bytes, receive: Callable[[int], bytes]) -> None:
        self._received = received
        self._receive = receive

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._received or self._receive(len(buffer))
        size = min(len(data), len(buffer))
        buffer[:size] = data[:size]
        self._received = data[size:]
        return size

    def stop(self) -> None:
        """Reads no more from the connection."""
        self._receive = lambda _: b""


class _Stream(io.BufferedReader):
    """Knows after its end whether more had arrived than was read: no part of any reply."""

    unread = b""

    def __init__(self, replay: _Replay) -> None:
        super().__init__(replay)
        self._replay = replay

    def close(self) -> None:
        if not self.closed:
            self._replay.stop()
            self.unread = self.peek()
        super().close()


def unfolded(value: str) -> str:
    """A header's value on one line, as newer releases of urllib3 give it."""
    return " ".join(line.strip() for line in value.split("\r\n")) if "\r\n" in value else value
