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
    """While the block imports modules, which stay: nobody looks for cycles among them, neither now nor later.

    Of imports alone there are 140,000 objects: looking through them takes 60 ms, several times a start and a run. All
    that is made later is looked through as ever: if seldom, labelling 20,000 images held 331 MB, not 276.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def cycles_looked_for_seldom() -> Iterator[None]:
    """For a block that lists and labels nothing: its millions of small tuples are in no cycle.

    Looking through them after 700 new ones each time took a quarter of ``plan``: 30 s for a million images, not 22.
    """
    before = gc.get_threshold()
    gc.set_threshold(50_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)
