"""One HTTP exchange over ``requests``: bounded in time and size, never redirected, never repeated.

The only module that holds the key, in the headers of one prepared request. Nothing that leaves it leads
there: errors are made anew and raised outside of any ``except`` block, so that neither a cause nor a context
nor a ``request`` attribute hangs on them.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from email.utils import format_datetime
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any, NoReturn

import requests
import urllib3
from requests.adapters import HTTPAdapter

from deepo_beam._version import __version__
from deepo_beam.api.building import JSON_TYPE
from deepo_beam.api.credentials import REDACTED, Credentials, redact
from deepo_beam.api.exchange import PIECE_BYTES, READ_BYTES, HotPath
from deepo_beam.api.failures import translate
from deepo_beam.api.handover import unfolded
from deepo_beam.api.replies import Reply, bad_reply
from deepo_beam.api.settings import ApiSettings
from deepo_beam.connections import timed
from deepo_beam.errors import AnswerLostError, ConfigError, DeepoBeamError

KEY_HEADER = "X-API-KEY"

_MAX_ERROR_BYTES = 64 * 1024  # of a body that comes with an error status: only a message is taken from it
_MIN_SECRET = 8  # characters: a shorter key is no secret, and might be a word within a label


class Transport:
    """A connection pool to one API with one key; any number of threads may share it.

    One session for all threads, not one each: connections are then pooled over threads and stay warm however
    work is spread. What makes a shared session unsafe is left out: cookies are refused, and nothing is set on
    the session after its construction.

    Proxies, CA bundle and ``.netrc`` are taken from the environment as ``requests`` does it, but once: asking
    per call costs more than the rest of a call. Requests are copied from a prepared one for the same reason, and
    go by the hot path where there is a kept connection.

    Args:
        settings: where and how.
        credentials: where the API key is; it is read at once.
        pool_size: connections kept open; more threads work, but their connections are not kept.
        clock: seconds that only grow.

    Raises:
        PreflightError: there is no usable key.
        ConfigError: ``requests`` cannot make sense of the host, or the CA bundle does not exist.
    """

    def __init__(
        self,
        settings: ApiSettings,
        credentials: Credentials,
        *,
        pool_size: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._session = _Session()
        adapter = _Adapter(pool_connections=1, pool_maxsize=pool_size, max_retries=0)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        self._template = _prepare(self._session, settings, credentials)
        resolved = self._session.merge_environment_settings(
            f"{settings.base_url}/", {}, True, settings.verify_tls, None
        )
        self._send_options: dict[str, Any] = dict(resolved)
        self._adapter = adapter
        self._hot_path = HotPath(self._template, settings.base_url, settings.connect_timeout_s, settings.read_timeout_s)
        verify = self._send_options["verify"]
        if isinstance(verify, str) and settings.host.startswith("https:") and not Path(verify).exists():
            raise ConfigError(f"the CA bundle {verify} (REQUESTS_CA_BUNDLE) does not exist: mend or unset it")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.base_url})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Transport holds the API key and is not pickled: pickle settings and credentials")

    def exchange(self, method: str, path: str, body: bytes | None = None, content_type: str | None = None) -> Reply:
        """Sends one request, once, and reads its whole reply.

        Args:
            method: ``GET`` or ``POST``.
            path: what follows the version, with its query, properly quoted.
            body: of a POST.
            content_type: of the body.

        Returns:
            The reply, whatever its status. ``Date`` is added where it is missing. With an error status the
            body may be cut or empty: then the status says enough.

        Raises:
            ConnectError: no connection was made (not retryable if TLS was refused).
            AnswerLostError: the request may have arrived; its answer did not, or not in time.
            BadReplyError: a 2xx reply that is too long, or compressed in a way that was not asked for.
            ConfigError: the proxy's URL is none.
        """
        deadline = self._clock() + self._settings.total_timeout_s
        try:
            reply = self._exchange(method, path, body, content_type, deadline)
        except DeepoBeamError as error:
            failure = error
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            failure = translate(error)
        else:
            return self._without_key(reply)
        message = f"{method} {self._settings.base_url}{path[:100]}: {failure}"
        failure.args = (redact(message, self._key),)
        raise failure.with_traceback(None)

    def close(self) -> None:
        """Closes the pooled connections."""
        self._session.close()

    @property
    def _key(self) -> str:
        return self._template.headers[KEY_HEADER]

    def _without_key(self, reply: Reply) -> Reply:
        """The reply with the key struck out, should a server echo it: before any message is made or cut."""
        key = self._key
        if len(key) < _MIN_SECRET or (
            key.encode() not in reply.body and all(key not in value for value in reply.headers.values())
        ):
            return reply
        headers = {name: redact(value, key) for name, value in reply.headers.items()}
        return Reply(reply.status, headers, reply.body.replace(key.encode(), REDACTED.encode()))

    def _exchange(self, method: str, path: str, body: bytes | None, content_type: str | None, deadline: float) -> Reply:
        content = None if body is None else (body, content_type or "application/octet-stream")
        answer = self._hot_path.send(self._adapter.pool, method, path, content, lambda: self._check_time(deadline))
        if answer is None:
            return self._exchange_by_requests(method, path, content, deadline)
        try:
            return self._read(answer.status, answer.headers, answer.read, deadline)
        finally:
            answer.close()

    def _exchange_by_requests(
        self, method: str, path: str, content: tuple[bytes, str] | None, deadline: float
    ) -> Reply:
        """The ordinary route: connects, and takes whatever the hot path leaves."""
        request = self._template.copy()
        request.method = method
        request.url = f"{self._settings.base_url}{path}"
        if content is not None:
            body, kind = content
            request.headers["Content-Length"] = str(len(body))
            request.headers["Content-Type"] = kind
            request.body = body if len(body) <= PIECE_BYTES else self._pieces(body, deadline)  # type: ignore[assignment] # requests sends iterables too
        timeout = (self._settings.connect_timeout_s, self._settings.read_timeout_s)
        # The session's own adapter, with all that was resolved for it: Session.send would only add cookies,
        # hooks and redirects, none of which are wanted, and a tenth to the cost of a call.
        response = self._adapter.send(request, timeout=timeout, **self._send_options)
        try:
            headers = {name.lower(): unfolded(value) for name, value in response.headers.items()}
            # read1 returns what one receive brought; read(n) waits for n bytes, however slowly they drip.
            read = partial(response.raw.read1, READ_BYTES, decode_content=False)
            return self._read(response.status_code, headers, read, deadline)
        finally:
            response.close()  # gives the connection back if all of it was read, else cuts it

    def _pieces(self, body: bytes, deadline: float) -> Iterator[memoryview]:
        """A large body in pieces: urllib3 gives what is sent at once the connect timeout and no more."""
        view = memoryview(body)
        for start in range(0, len(body), PIECE_BYTES):
            self._check_time(deadline)
            yield view[start : start + PIECE_BYTES]

    def _read(self, status: int, headers: dict[str, str], read: Callable[[], bytes], deadline: float) -> Reply:
        if "date" not in headers:  # who receives a reply without one adds it (RFC 9110)
            headers["date"] = format_datetime(datetime.now(timezone.utc), usegmt=True)
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if not 200 <= status < 300:
            return Reply(status, headers, self._read_error(encoding, read, deadline))
        limit = self._settings.max_reply_bytes
        body = b"".join(self._chunks(read, limit, deadline))
        flaw = f"it is longer than {limit:,} bytes" if len(body) > limit else ""
        if not flaw and encoding != "identity":
            body, flaw = _gunzip(body, limit) if encoding == "gzip" else (b"", f"it is encoded as {encoding!r}")
        if flaw:
            raise bad_reply(status, headers, flaw)
        return Reply(status, headers, body)

    def _read_error(self, encoding: str, read: Callable[[], bytes], deadline: float) -> bytes:
        try:
            body = b"".join(self._chunks(read, _MAX_ERROR_BYTES, deadline))
        except (urllib3.exceptions.HTTPError, AnswerLostError):
            return b""  # the status is there and says what to do
        return _gunzip(body, _MAX_ERROR_BYTES)[0] if encoding == "gzip" else body

    def _chunks(self, read: Callable[[], bytes], limit: int, deadline: float) -> Iterator[bytes]:
        """The raw body as it arrives, until its end or past the limit, whichever comes first."""
        size = 0
        while size <= limit and (chunk := read()):
            self._check_time(deadline)
            size += len(chunk)
            yield chunk

    def _check_time(self, deadline: float) -> None:
        if self._clock() > deadline:
            raise AnswerLostError(f"not done within {self._settings.total_timeout_s:g} s")


class _Session(requests.Session):
    """Does not look at redirects: even with ``allow_redirects=False`` it would read their whole body."""

    def get_redirect_target(self, resp: requests.Response) -> Any:  # noqa: ARG002 - the signature of requests
        return None


class _Adapter(HTTPAdapter):
    """For one host and one set of settings, whose pool is looked up once: asked for each call, it costs a system call.

    Its connections give an answer the read timeout as a whole, its head included.
    """

    pool: Any = None

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        if self.pool is None:
            self.pool = super().get_connection_with_tls_context(*args, **kwargs)
        return self.pool

    def close(self) -> None:
        super().close()  # forgets its pools, which close once nobody else holds them
        pool, self.pool = self.pool, None
        if pool is not None:
            pool.close()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        timed(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        # Connections by SOCKS are of a class of their own, without which they would not go by the proxy.
        return manager if proxy.lower().startswith("socks") else timed(manager)


def _prepare(session: requests.Session, settings: ApiSettings, credentials: Credentials) -> requests.PreparedRequest:
    """The request that all are copied from. The key is in no local variable: some tracebacks show those."""
    session.headers["User-Agent"] = f"deepo-beam/{__version__}"
    session.headers["Accept"] = JSON_TYPE
    session.headers["Accept-Encoding"] = "gzip"  # what can be decoded here, within the limit
    url = f"{settings.base_url}/"
    try:
        return session.prepare_request(requests.Request("GET", url, headers={KEY_HEADER: credentials.resolve()}))
    except requests.RequestException as error:
        reason = str(error)
    raise ConfigError(f"the API's URL {settings.host} cannot be used: {reason}")


def _gunzip(body: bytes, limit: int) -> tuple[bytes, str]:
    """Decompressed bytes, at most ``limit`` of them, and what was wrong ('' if nothing was)."""
    decoder = zlib.decompressobj(wbits=31)
    try:
        plain = decoder.decompress(body, limit + 1)
    except zlib.error:
        return b"", "its gzip encoding is broken"
    if len(plain) > limit:
        return plain[:limit], f"it is longer than {limit:,} bytes after decompression"
    return plain, "" if decoder.eof else "its gzip encoding was cut"
