"""How the command's process holds memory."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_M_ARENA_MAX = -8  # from <malloc.h> of glibc


def limit_arenas(count: int = 2) -> None:
    """Let all threads share ``count`` (>= 1) arenas of glibc's malloc; does nothing elsewhere.

    By default each thread gets its own, and bodies of requests leave holes in all of them: 417 MB at the peak of
    100,000 images, 360 MB with two, in the same time. As ``MALLOC_ARENA_MAX=2`` does in the environment.
    """
    if sys.platform != "linux":
        return
    try:
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, count)
    except AttributeError:  # another libc
        return


@contextmanager
def loading() -> Iterator[None]:
    """While the block imports modules, and for good: look for cycles seldom, and never among what was imported.

    Of imports alone there are 140,000 objects: looking through them takes 60 ms, several times a start and a run. A
    million images are millions of small tuples, none of them in a cycle: looking through them after 700 new ones
    each time took a quarter of the CPU time of ``plan``. Its peak of memory stays the same.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        gc.enable()
