"""A reply as plain values, and the one place that turns a status into an error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from deepo_beam.api.retry import parse_retry_after
from deepo_beam.api.text import one_line, shown
from deepo_beam.errors import (
    ApiError,
    AuthenticationError,
    BadReplyError,
    BadRequestError,
    EndpointError,
    ForbiddenError,
    NotFoundError,
    PayloadTooLargeError,
    RedirectError,
    ServerError,
    ServiceUnavailableError,
    ThrottledError,
)

_MESSAGE_BYTES = 16_384  # of an error body: more is never shown
_REQUEST_ID_HEADERS = ("x-request-id", "x-correlation-id", "x-amzn-requestid")

_CLASSES: dict[int, type[ApiError]] = {
    401: AuthenticationError,
    402: EndpointError,  # payment required: true of every image, so it is not this image's fault
    403: ForbiddenError,
    404: NotFoundError,
    407: EndpointError,  # a proxy's answer
    408: ServiceUnavailableError,  # the request did not arrive in time: nothing was taken
    413: PayloadTooLargeError,
    429: ThrottledError,
    503: ServiceUnavailableError,
}


class Reply(NamedTuple):
    """What came back: status (100..599), headers, and the whole body after content decoding.

    Headers are those of HTTP: names in any case. ``Retry-After`` as a date is read against ``Date``, so
    neither side's clock has to be right; without ``Date`` such a hint is ignored.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


def raise_for_status(status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Returns for 2xx, raises the error that stands for any other status.

    Messages hold the status, the service's own message (Deepomatic API v0.7: under ``error`` or ``detail``,
    of unknown shape) on one line of at most 300 characters, and the request id if there is one.

    Raises:
        RedirectError: 3xx.
        AuthenticationError, ForbiddenError, NotFoundError: 401, 403, 404.
        EndpointError: 402 and 407.
        PayloadTooLargeError: 413.
        ThrottledError: 429, with the wait it asks for.
        ServiceUnavailableError: 503 and 408, with the wait it asks for.
        BadRequestError: any other 4xx.
        ServerError: any other 5xx.
        BadReplyError: a status outside 200..599.
    """
    if 200 <= status < 300:
        return
    message = f"HTTP {status}: {_detail(status, headers, body)}{_request_id(headers)}"
    kind = _CLASSES.get(status) or _class_of_family(status)
    if kind is ThrottledError:
        raise ThrottledError(message, status=status, retry_after=_retry_after(headers))
    if kind is ServiceUnavailableError:
        raise ServiceUnavailableError(message, status=status, retry_after=_retry_after(headers))
    raise kind(message, status=status)


def json_object(status: int, headers: Mapping[str, str], body: bytes) -> dict[str, object]:
    """The JSON object of a 2xx reply; NaN and Infinity pass, they are judged where numbers are.

    Raises:
        ApiError: for another status, as `raise_for_status`.
        BadReplyError: the body is empty, HTML, truncated or nested too deeply, or no object.
    """
    raise_for_status(status, headers, body)
    parsed, flaw = _parse(body)
    if not flaw and not isinstance(parsed, dict):
        flaw = f"the body is {shown(parsed)}, not a JSON object"
    if flaw or not isinstance(parsed, dict):
        raise bad_reply(status, headers, flaw)
    return parsed


def bad_reply(status: int, headers: Mapping[str, str], flaw: str) -> BadReplyError:
    """The error for a 2xx reply that breaks the API's promise; ``flaw`` says how."""
    return BadReplyError(f"HTTP {status}, but {flaw}{_request_id(headers)}", status=status)


def header(headers: Mapping[str, str], name: str) -> str | None:
    """A header's value, its name (given in lower case) matched in any case."""
    return next((value for key, value in headers.items() if key.lower() == name), None)


def _class_of_family(status: int) -> type[ApiError]:
    if 300 <= status < 400:
        return RedirectError
    if 400 <= status < 500:
        return BadRequestError
    return ServerError if 500 <= status < 600 else BadReplyError


def _parse(body: bytes) -> tuple[object, str]:
    """The parsed body and no flaw, or None and what is wrong.

    The parser's own error is dropped on purpose: it would hold on to the whole reply.
    """
    if not body.strip():
        return None, "the body is empty"
    try:
        return json.loads(body), ""
    except RecursionError:
        return None, "the JSON is nested too deeply"
    except ValueError as error:  # also of bytes that are not UTF-8 and integers of thousands of digits
        flaw = one_line(str(error), 100)
    if _is_html(body):
        return None, f"the body is an HTML page: {_quote(body)}"
    return None, f"the body is not JSON, or was cut ({flaw}): {_quote(body)}"


def _detail(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """The service's own message in an error body, on one line."""
    if 300 <= status < 400:
        return f"a redirect to {shown(header(headers, 'location'))}, not followed: check the API's URL"
    head = body[:_MESSAGE_BYTES]
    if not head.strip():
        return "no message"
    if _is_html(head):
        return f"an HTML page: {_quote(head)}"
    parsed = _parse(head)[0]
    if isinstance(parsed, dict):
        for key in ("error", "detail"):
            message = parsed.get(key)
            if isinstance(message, str) and message.strip():
                return one_line(message)
    return _quote(head)  # of unknown shape: as it stands


def _is_html(body: bytes) -> bool:
    return body[:200].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def _quote(body: bytes) -> str:
    return one_line(body[:_MESSAGE_BYTES].decode("utf-8", "replace"))


def _request_id(headers: Mapping[str, str]) -> str:
    for name in _REQUEST_ID_HEADERS:
        if value := header(headers, name):
            return f" (request id {one_line(value, 100)})"
    return ""


def _retry_after(headers: Mapping[str, str]) -> float | None:
    value = header(headers, "retry-after")
    seconds = parse_retry_after(value, now=None)
    if seconds is not None or value is None:
        return seconds
    try:
        now = parsedate_to_datetime(header(headers, "date") or "")
    except (TypeError, ValueError, OverflowError):
        return None
    return parse_retry_after(value, now)
