"""What a transport exception means: was a connection made, or may the request have arrived?

Where both can be, the answer counts as lost: an inference that is perhaps charged is never called free.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import requests
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from deepo_beam.api.text import one_line
from deepo_beam.errors import AnswerLostError, ConfigError, ConnectError, DeepoBeamError

# OpenSSL's reasons that can only come up in a handshake, before anything was sent.
_HANDSHAKE_REASONS = (
    "CERTIFICATE_VERIFY_FAILED",
    "HANDSHAKE_FAILURE",
    "HTTP_REQUEST",
    "NO_CERTIFICATE_OR_CRL_FOUND",  # the CA bundle holds none
    "PROTOCOL_VERSION",
    "UNRECOGNIZED_NAME",
    "UNSUPPORTED_PROTOCOL",
    "WRONG_VERSION_NUMBER",
)


def translate(error: Exception) -> DeepoBeamError:
    """The error of ours for one of ``requests`` or urllib3; takes over its text, and no reference to it.

    Returns:
        ConnectError where nothing can have reached the service: refused, unknown host, connect timeout, a
        proxy that does not connect, TLS refused (that one not retryable). ConfigError for a URL or a proxy
        that ``requests`` cannot use. AnswerLostError for all else: cut, reset, read timeout.
    """
    chain = tuple(_chain(error))
    reason = one_line(_reason(chain), 200)
    if any(isinstance(e, ssl.SSLError) and _in_handshake(e) for e in chain):
        failure = ConnectError(
            f"TLS refused ({reason}): check the URL and the clock, or name your CA in REQUESTS_CA_BUNDLE"
        )
        failure.retryable = False
        return failure
    if isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)):
        return ConfigError(f"the URL or the proxy cannot be used ({reason}): check HTTP_PROXY and HTTPS_PROXY")
    unconnected = (
        requests.ConnectTimeout,
        requests.exceptions.ProxyError,
        NewConnectionError,
        ConnectTimeoutError,
    )
    if any(isinstance(e, unconnected) for e in chain):
        return ConnectError(f"no connection ({reason})")
    return AnswerLostError(f"the answer was lost ({reason})")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and those inside it, from the outside in, each once."""
    seen: set[int] = set()
    todo: list[object] = [error]
    while todo:
        inner = todo.pop(0)
        if isinstance(inner, BaseException) and id(inner) not in seen:
            seen.add(id(inner))
            yield inner
            todo += [getattr(inner, "reason", None), *inner.args, inner.__cause__]


def _reason(chain: tuple[BaseException, ...]) -> str:
    """The innermost text: the outer ones repeat it among names of objects."""
    return next((str(e) for e in reversed(chain) if str(e)), type(chain[0]).__name__)


def _in_handshake(error: ssl.SSLError) -> bool:
    reason = getattr(error, "reason", None) or ""  # only OpenSSL's own errors have one
    return isinstance(error, ssl.SSLCertVerificationError) or reason.endswith(_HANDSHAKE_REASONS)
