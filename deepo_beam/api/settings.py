"""Where the API is and how long to wait for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from deepo_beam.errors import ConfigError

URL_VARIABLE = "DEEPOMATIC_API_URL"
VERIFY_TLS_VARIABLE = "DEEPOMATIC_API_VERIFY_TLS"
DEFAULT_HOST = "https://api.deepomatic.com"


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """How to reach the API (the key is not among it, see :class:`deepo_beam.api.Credentials`).

    Attributes:
        host: ``https://api.deepomatic.com``, or another http(s) URL, with a port or a path before the
            version if need be; kept in lower case without a trailing slash.
        version: the path segment after it.
        verify_tls: whether the server's certificate is checked.
        connect_timeout_s: seconds for a connection, and for each 256 KB of a body to be sent.
        read_timeout_s: seconds for an answer, from the request sent to its last byte.
        total_timeout_s: seconds for a call as a whole. Looked at whenever something arrives, so a call ends
            at most ``read_timeout_s`` after it.
        max_reply_bytes: a longer reply, before or after decompression, is refused.

    Raises:
        ConfigError: a value cannot be meant.
    """

    host: str = DEFAULT_HOST
    version: str = "v0.7"
    verify_tls: bool = True
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 60.0
    total_timeout_s: float = 120.0
    max_reply_bytes: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        object.__setattr__(self, "host", _checked_host(self.host, self.version))
        for name in ("connect_timeout_s", "read_timeout_s", "total_timeout_s", "max_reply_bytes"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"API setting {name} is {getattr(self, name)}, it must be above 0")

    @property
    def base_url(self) -> str:
        """Host and version, without a trailing slash."""
        return f"{self.host}/{self.version}"

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> ApiSettings:
        """Settings by the names that the official tools read; unset or empty ones are the defaults.

        ``DEEPOMATIC_API_URL`` is the host, ``DEEPOMATIC_API_VERIFY_TLS`` is ``0`` or ``1``;
        ``DEEPOMATIC_API_KEY`` is read by the credentials, where it is needed.

        Raises:
            ConfigError: a value cannot be meant.
        """
        verify = environ.get(VERIFY_TLS_VARIABLE) or "1"
        if verify not in ("0", "1"):
            raise ConfigError(f"{VERIFY_TLS_VARIABLE} is {verify[:50]!r}: give 1 (check certificates) or 0")
        return cls(host=environ.get(URL_VARIABLE) or DEFAULT_HOST, verify_tls=verify == "1")


def _checked_host(host: str, version: str) -> str:
    """The host in its one spelling; messages never show a password that was written into it."""
    try:
        parts = urlsplit(host)
        named = parts.hostname is not None and (parts.port is None or parts.port > 0)
    except ValueError:  # a port that is no number, a bracket that is not closed
        named = False
    wanted = f"the API's URL (option --api-url, or {URL_VARIABLE})"
    if not named or parts.scheme not in ("http", "https") or not host.isascii() or not host.isprintable():
        raise ConfigError(f"{wanted} is not http(s)://HOST: write it like {DEFAULT_HOST}")
    if "@" in parts.netloc:
        raise ConfigError(f"{wanted} has a user or a password in it: leave them out, the API takes a key")
    if parts.query or parts.fragment or " " in host:
        raise ConfigError(f"{wanted} has a query, a fragment or a space: leave it out")
    path = parts.path.rstrip("/")
    if path.endswith(f"/{version}"):
        raise ConfigError(f"{wanted} ends in /{version}: leave that out, it is added")
    return f"{parts.scheme}://{parts.netloc.lower()}{path}"
