"""Images by http(s): bounded in bytes, time and redirects, and from public addresses only.

A list of URLs is not trusted: it may name the metadata service of a cloud, a router, or a database on this
machine, and what they answer would be sent on to a labelling service. So the address is checked after the
name was resolved, of every redirect too, and the connection goes to the very address that was checked: a name
that resolves to something else a moment later gains nothing. TLS verifies the name as ever.

- The API key is not known here. A user and password in a URL go to its own host only.
- Bytes are taken as they travel: nothing is decompressed, so there is no bomb to fear.
- A redirect from https to http is refused: what was asked for in confidence would travel in the open.
- Proxies of the environment are used with ``allow_private_hosts`` only: which address a proxy connects to
  cannot be checked from here.
- ``REQUESTS_CA_BUNDLE`` (or ``CURL_CA_BUNDLE``) names the certificates to trust.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin

import urllib3
from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies, select_proxy
from urllib3.exceptions import HTTPError, LocationValueError
from urllib3.util import Timeout, Url, make_headers, parse_url

from deepo_beam._version import __version__
from deepo_beam.addresses import checked, is_public
from deepo_beam.connections import timed
from deepo_beam.errors import (
    AddressRefusedError,
    ObjectNotFoundError,
    PermissionDeniedError,
    StorageError,
    UnusableUrlError,
)
from deepo_beam.text import clean_text

MAX_REDIRECTS = 5
TOTAL_S = 30.0  # for an image as a whole, redirects included
_CONNECT_S = 10.0
_READ_BYTES = 64 * 1024
_HOSTS = 64  # whose connections are kept
_MOVED = frozenset({301, 302, 303, 307, 308})
_CLASSES = {401: PermissionDeniedError, 403: PermissionDeniedError, 404: ObjectNotFoundError, 410: ObjectNotFoundError}
_WORTH_ANOTHER_TRY = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Download:
    """What was read.

    Attributes:
        data: the bytes; one more than allowed where there are more.
        modified_us: microseconds since 1970 UTC by ``Last-Modified``, None without one.
    """

    data: bytes
    modified_us: int | None


class WebReader:
    """Reads images by URL; any number of threads may share one.

    Args:
        allow_private_hosts: read from any address, and through the environment's proxies.
        pool_size: connections kept open to a host.
        total_s: seconds for one image.
        allowed: which addresses are read from, given as text.
    """

    def __init__(
        self,
        *,
        allow_private_hosts: bool = False,
        pool_size: int = 16,
        total_s: float = TOTAL_S,
        allowed: Callable[[str], bool] = is_public,
    ) -> None:
        self._any_host = allow_private_hosts
        self._total_s = total_s
        bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or DEFAULT_CA_BUNDLE_PATH
        pooling: dict[str, Any] = {
            "num_pools": _HOSTS,
            "maxsize": pool_size,
            "cert_reqs": "CERT_REQUIRED",
            "ca_cert_dir" if Path(bundle).is_dir() else "ca_certs": bundle,
        }
        manager = urllib3.PoolManager(**pooling)
        self._direct = timed(manager) if allow_private_hosts else checked(manager, allowed)
        self._via = cache(lambda proxy: timed(urllib3.ProxyManager(proxy, **pooling)))

    def close(self) -> None:
        """Close the pooled connections."""
        self._direct.clear()
        self._via.cache_clear()

    def read(self, url: str, *, max_bytes: int) -> Download:
        """Read one image.

        Args:
            url: http or https.
            max_bytes: at most one byte more is read (so that "too large" can be seen).

        Raises:
            ObjectNotFoundError: 404 or 410.
            PermissionDeniedError: 401 or 403.
            AddressRefusedError: it is, or redirects to, an address that is not public, or less safe.
            UnusableUrlError: the URL names no host that there could be.
            StorageError: anything else; retryable for 408, 425, 429, 5xx, time-outs, broken connections.
        """
        deadline = time.monotonic() + self._total_s
        target = url
        try:
            for _ in range(MAX_REDIRECTS + 1):
                response = self._get(target, url, deadline)
                try:
                    if response.status not in _MOVED or not response.headers.get("Location"):
                        return _download(response, max_bytes, deadline)
                    target = _next_target(target, response.headers["Location"])
                finally:
                    response.close()  # cuts the connection, unless all was read and it was given back
                    response.release_conn()
        except StorageError as error:
            error.args = (f"{_shown(url)}{_redirected(url, target)}: {error}",)
            raise
        except LocationValueError as error:
            raise UnusableUrlError(f"{_shown(url)}: names no host that there could be: {_reason(error)}") from None
        except (HTTPError, OSError) as error:
            reason = f"it was not there within {self._total_s:g} s" if _is_late(error) else _reason(error)
            raise StorageError(f"{_shown(url)}{_redirected(url, target)}: cannot read it: {reason}") from None
        raise _for_good(StorageError(f"{_shown(url)}: more than {MAX_REDIRECTS} redirects"))

    def _get(self, target: str, first: str, deadline: float) -> urllib3.BaseHTTPResponse:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("it took too long")
        parsed = parse_url(target)
        headers = {"User-Agent": f"deepo-beam/{__version__}", "Accept": "image/*", "Accept-Encoding": "identity"}
        if parsed.auth and _origin(parsed) == _origin(parse_url(first)):
            headers.update(make_headers(basic_auth=unquote(parsed.auth)))
        return self._manager(target).request(
            "GET",
            target,
            headers=headers,
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
            timeout=Timeout(total=left, connect=min(_CONNECT_S, left), read=left),
        )

    def _manager(self, target: str) -> urllib3.PoolManager:
        proxy = select_proxy(target, get_environ_proxies(target)) if self._any_host else None
        return self._direct if proxy is None else self._via(proxy)


def _download(response: urllib3.BaseHTTPResponse, max_bytes: int, deadline: float) -> Download:
    status = response.status
    if status not in (200, 203):
        error = _CLASSES.get(status, StorageError)(f"the server answers {status}")
        worth_it = status >= 500 or status in _WORTH_ANOTHER_TRY or status in _CLASSES
        raise error if worth_it else _for_good(error)
    data = b"".join(_pieces(response, max_bytes + 1, deadline))[: max_bytes + 1]
    return Download(data, _modified_us(response.headers.get("Last-Modified")))


def _pieces(response: urllib3.BaseHTTPResponse, size: int, deadline: float) -> Iterator[bytes]:
    """The body as it arrives, to its end or a little past ``size`` bytes."""
    while size > 0:
        piece: bytes = response.read1(min(size, _READ_BYTES), decode_content=False)
        if not piece:
            return
        if time.monotonic() > deadline:
            raise TimeoutError("it took too long")
        size -= len(piece)
        yield piece


def _next_target(target: str, location: str) -> str:
    """Where a redirect leads.

    Raises:
        AddressRefusedError: to another scheme than http and https, or from https to http.
    """
    following = urljoin(target, location)
    old, new = (text.partition("://")[0].lower() for text in (target, following))
    if new not in ("http", "https"):
        raise AddressRefusedError(f"a redirect to {clean_text(new, 20)!r}, which is no http(s), is not followed")
    if (old, new) == ("https", "http"):
        raise AddressRefusedError("a redirect from https to http is not followed; list the http URL if it is meant")
    return following


def _origin(url: Url) -> tuple[str | None, str | None, int | None]:
    return url.scheme, url.host, url.port


def _for_good(error: StorageError) -> StorageError:
    error.retryable = False
    return error


def _shown(url: str) -> str:
    """A URL for a message: its query may be a signature, its user a password."""
    scheme, _, rest = url.partition("#")[0].partition("://")
    rest, mark, _ = rest.partition("?")
    host, slash, path = rest.partition("/")
    return clean_text(f"{scheme}://{host.rpartition('@')[2]}{slash}{path}", 300) + ("?..." if mark else "")


def _redirected(url: str, target: str) -> str:
    return "" if target == url else f", redirected to {_shown(target)}"


def _inner(error: Exception) -> Exception:
    """What urllib3 has wrapped."""
    return next((arg for arg in reversed(error.args) if isinstance(arg, Exception)), error)


def _is_late(error: Exception) -> bool:
    return isinstance(error, urllib3.exceptions.TimeoutError) or isinstance(_inner(error), TimeoutError)


def _reason(error: Exception) -> str:
    """The innermost text: the outer ones name objects of urllib3."""
    inner = _inner(error)
    if isinstance(error, ssl.SSLError) or isinstance(inner, ssl.SSLError):
        return f"TLS refused ({clean_text(str(inner), 200)}); name your CA in REQUESTS_CA_BUNDLE"
    return clean_text(str(inner), 200) or type(inner).__name__


def _modified_us(text: str | None) -> int | None:
    try:
        moment = parsedate_to_datetime(text or "")
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)
    return int((aware - datetime(1970, 1, 1, tzinfo=timezone.utc)).total_seconds()) * 1_000_000
