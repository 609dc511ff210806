"""``multipart/form-data`` bodies, split into their parts. Pure: bytes in, parts out, nothing copied twice."""

from __future__ import annotations

import re
from dataclasses import dataclass

_BOUNDARY = re.compile(r"""boundary=(?:"([^"]+)"|([^\s;,"]+))""", re.IGNORECASE)
_NAME = re.compile(rb"""content-disposition:[^\r\n]*?;\s*name="([^"\r\n]*)\"""", re.IGNORECASE)
_FILE_NAME = re.compile(rb"content-disposition:[^\r\n]*?;\s*filename\*?=", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its name, its content, and whether it was sent as a file (with a file name)."""

    name: str
    content: bytes
    is_file: bool


def split_multipart(content_type: str, body: bytes) -> list[Part]:
    """The parts of a body, in order (RFC 7578).

    Args:
        content_type: the header, for its boundary.
        body: all of it.

    Raises:
        ValueError: no boundary, no closing delimiter, or a part without a name; the message says which.
    """
    match = _BOUNDARY.search(content_type)
    if match is None:
        raise ValueError("multipart: the Content-Type has no boundary")
    delimiter = b"--" + (match[1] or match[2]).encode()
    at = 0 if body.startswith(delimiter) else body.find(b"\r\n" + delimiter) + 2
    if at == 1:  # not found
        raise ValueError("multipart: the boundary does not occur in the body")
    at += len(delimiter)
    parts = []
    while not body.startswith(b"--", at):
        head_end = body.find(b"\r\n\r\n", at)
        end = body.find(b"\r\n" + delimiter, head_end + 2)  # an empty part shares a line end with its head
        if head_end < 0 or end < 0:
            raise ValueError("multipart: the body ends inside a part")
        parts.append(_part(body[at:head_end], body[head_end + 4 : end]))
        at = end + 2 + len(delimiter)
    return parts


def _part(head: bytes, content: bytes) -> Part:
    name = _NAME.search(head)
    if name is None:
        raise ValueError("multipart: a part has no name")
    return Part(name[1].decode("utf-8", "replace"), content, _FILE_NAME.search(head) is not None)
