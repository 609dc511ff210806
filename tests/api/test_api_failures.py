"""What an exception of requests or urllib3 means for the bill."""

from __future__ import annotations

import http.client
import socket
import ssl
from typing import Any

import pytest
import requests
from urllib3 import HTTPConnectionPool
from urllib3 import exceptions as u3
from urllib3.connection import HTTPConnection

from deepo_beam.api.failures import translate
from deepo_beam.errors import AnswerLostError, ConfigError, ConnectError

POOL = HTTPConnectionPool("h")
CONNECTION = HTTPConnection("h")


def tls_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] oops (_ssl.c:1006)")
    error.reason = reason
    return error


def exhausted(reason: Exception) -> u3.MaxRetryError:
    return u3.MaxRetryError(POOL, "/x", reason)


@pytest.mark.parametrize(
    "error",
    [
        requests.ConnectTimeout(exhausted(u3.ConnectTimeoutError(CONNECTION, "Connection to h timed out"))),
        requests.ConnectionError(exhausted(u3.NewConnectionError(CONNECTION, "No route to host"))),
        requests.ConnectionError(exhausted(u3.NameResolutionError("h", CONNECTION, socket.gaierror(-2, "unknown")))),
        requests.exceptions.ProxyError(exhausted(u3.ProxyError("no", OSError("Tunnel connection failed: 407")))),
    ],
)
def test_what_never_connected_was_never_billed(error: Exception) -> None:
    failure = translate(error)
    assert type(failure) is ConnectError
    assert failure.retryable
    assert not failure.maybe_billed


@pytest.mark.parametrize(
    "error",
    [
        requests.ReadTimeout(u3.ReadTimeoutError(POOL, "/x", "Read timed out.")),
        requests.ConnectionError(
            u3.ProtocolError("Connection aborted.", http.client.RemoteDisconnected("closed without response"))
        ),
        requests.ConnectionError(u3.ProtocolError("Connection aborted.", ConnectionResetError(104, "reset"))),
        requests.exceptions.InvalidHeader("two lengths"),
        u3.ProtocolError("broken", http.client.IncompleteRead(b"", 5)),
        u3.ReadTimeoutError(POOL, "/x", "Read timed out."),
        requests.exceptions.SSLError(exhausted(u3.SSLError(tls_error("DECRYPTION_FAILED_OR_BAD_RECORD_MAC")))),
        requests.exceptions.SSLError(exhausted(u3.SSLError(ssl.SSLEOFError(8, "EOF")))),
    ],
)
def test_what_may_have_arrived_may_have_been_billed(error: Exception) -> None:
    failure = translate(error)
    assert type(failure) is AnswerLostError
    assert failure.retryable
    assert failure.maybe_billed


@pytest.mark.parametrize(
    "inner",
    [
        ssl.SSLCertVerificationError(1, "certificate verify failed: self-signed certificate"),
        tls_error("CERTIFICATE_VERIFY_FAILED"),
        tls_error("WRONG_VERSION_NUMBER"),
        tls_error("TLSV1_ALERT_PROTOCOL_VERSION"),
        tls_error("SSLV3_ALERT_HANDSHAKE_FAILURE"),
    ],
)
def test_tls_that_was_refused_is_neither_billed_nor_tried_again(inner: Exception) -> None:
    failure = translate(requests.exceptions.SSLError(exhausted(u3.SSLError(inner))))
    assert type(failure) is ConnectError
    assert not failure.retryable
    assert not failure.maybe_billed
    assert "REQUESTS_CA_BUNDLE" in str(failure)


@pytest.mark.parametrize(
    "error",
    [
        requests.exceptions.InvalidSchema("Missing dependencies for SOCKS support."),
        requests.exceptions.InvalidProxyURL("Please check proxy URL."),
    ],
)
def test_a_proxy_that_cannot_be_used_is_a_matter_of_configuration(error: Exception) -> None:
    assert type(translate(error)) is ConfigError


def test_the_innermost_reason_is_what_people_read() -> None:
    error: Any = requests.ConnectionError(
        u3.ProtocolError("Connection aborted.", ConnectionResetError(104, "Connection reset by peer"))
    )
    assert str(translate(error)) == "the answer was lost ([Errno 104] Connection reset by peer)"


def test_a_failure_without_a_text_is_named_by_its_kind() -> None:
    assert str(translate(requests.ReadTimeout())) == "the answer was lost (ReadTimeout)"


def test_an_exception_that_holds_itself_is_walked_once() -> None:
    error = requests.ConnectionError("round")
    error.__cause__ = error
    assert "round" in str(translate(error))
