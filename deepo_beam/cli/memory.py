"""How the command's process holds memory."""

from __future__ import annotations

import ctypes
import gc
import sys

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


def collect_rarely() -> None:
    """Look for cycles after 50,000 new objects instead of 700, and seldom through all that there are.

    A million images are millions of small tuples, none of them in a cycle: looking through them again and again took a
    quarter of the CPU time of ``plan``. Its peak of memory stays the same.
    """
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
