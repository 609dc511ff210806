"""How many images this process has listed: what a user sees of a long listing."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from itertools import islice

from deepo_beam.types import ImageRef

_BLOCK = 1024  # images that are counted at a time: to count each by itself would be felt at a million
_lock = threading.Lock()
_listed = 0


def counted(images: Iterable[ImageRef]) -> Iterator[ImageRef]:
    """The same images; each block is counted before it is handed on."""
    global _listed
    images = iter(images)
    while block := list(islice(images, _BLOCK)):
        with _lock:
            _listed += len(block)
        yield from block


def listed() -> int:
    """Images (>= 0) that went through :func:`counted` since this process began."""
    return _listed
