"""Whether somebody holds an output at this moment, without holding it."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepo_beam import storage
from deepo_beam.lake.lock import LOCK


def find_holder(output: str) -> Mapping[str, Any] | None:
    """What the holder of a local output wrote of itself; None: nobody holds it, or it is not on local disk.

    Args:
        output: normalised URI.

    Returns:
        ``host``, ``pid`` and ``since`` among others; empty if it has just begun.
    """
    if not storage.is_local(output):
        return None
    try:
        descriptor = os.open(Path(output) / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return _decode(os.pread(descriptor, 4096, 0))
    finally:
        os.close(descriptor)  # and the lock with it
    return None


def _decode(data: bytes) -> Mapping[str, Any]:
    try:
        values = json.loads(data)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}
