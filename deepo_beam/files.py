"""Small local files that a user names beside the images: configurations, keys."""

from __future__ import annotations

import os
from pathlib import Path


def read_small(path: str | Path, max_bytes: int) -> bytes:
    """Read a file, at most ``max_bytes + 1`` bytes of it.

    A pipe that somebody writes into is read to its end; one without a writer is empty, and is not waited for.

    Raises:
        OSError: it cannot be opened or read.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    os.set_blocking(handle, True)
    with os.fdopen(handle, "rb") as stream:
        return stream.read(max_bytes + 1)
