"""Many objects of a store listed prefix by prefix, side by side. Pure, but for its threads.

A store tells 1,000 keys a call, and the next call needs the answer to the one before: a million keys are a thousand
calls in a row. By prefix, they are rows beside each other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from operator import itemgetter

from deepo_beam.storage.objects import StoredObject

AT_ONCE = 16
#: A folder with more prefixes is listed as a whole: each costs a call, even if it has but one object.
MOST_PREFIXES = 1000

_MOST_WAITING = 250_000  # entries listed ahead of whoever takes them, 0.4 kB each, beside what is being listed

#: A path and what is there, None for a prefix, whose path has no slash at its end.
Entry = tuple[str, StoredObject | None]
Lister = Callable[[str], list[Entry]]


def list_by_prefix(folder: str, list_level: Lister, list_all: Lister) -> Iterator[StoredObject]:
    """List the objects in and below a folder in the order of their paths.

    Args:
        folder: its path, without a slash at its end.
        list_level: tells what is in a folder, objects and prefixes.
        list_all: tells what is in and below a folder; prefixes among it are passed over.
    """
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="deepo-beam-list") as pool:
        found, prefixes = _spread(folder, pool, list_level)
        # A prefix sorts as its objects do: "a-b/" before "a/".
        pieces = sorted([*found, *((f"{prefix}/", None) for prefix in prefixes)], key=itemgetter(0))
        below = _in_order(pool, list_all, (path[:-1] for path, here in pieces if here is None))
        for _, here in pieces:
            if here is not None:
                yield here
            else:
                yield from (one for _, one in sorted(next(below), key=itemgetter(0)) if one is not None)


def _spread(folder: str, pool: ThreadPoolExecutor, list_level: Lister) -> tuple[list[Entry], list[str]]:
    """Go down until there are prefixes enough; return the objects met, and the prefixes that hold the others."""
    found: list[Entry] = []
    whole: list[str] = []
    level = [folder]
    while level and len(level) + len(whole) < AT_ONCE:
        listed = list(zip(level, pool.map(list_level, level), strict=True))
        whole += [name for name, entries in listed if not _can_be_split(name, entries)]
        split = list(chain.from_iterable(entries for name, entries in listed if _can_be_split(name, entries)))
        found += [entry for entry in split if entry[1] is not None]
        level = [path for path, here in split if here is None]
    return found, whole + level


def _can_be_split(folder: str, entries: list[Entry]) -> bool:
    """Whether its prefixes name all that is below, and are not too many.

    With keys as ``folder//name`` they do not: Arrow tells of the folder itself in place of the empty name.
    """
    prefixes = [path for path, here in entries if here is None]
    start = f"{folder}/"
    return len(prefixes) <= MOST_PREFIXES and all(
        path.startswith(start) and path[len(start) :].strip("/") and not path.endswith("/") for path in prefixes
    )


def _in_order(
    pool: ThreadPoolExecutor, call: Callable[[str], list[Entry]], items: Iterable[str]
) -> Iterator[list[Entry]]:
    """Call with each item, ahead of whoever takes the results, which come in order.

    The first goes alone: many look at the first object, and want no other.
    """
    ahead: deque[Future[list[Entry]]] = deque()
    most = 1
    try:
        for item in items:
            ahead.append(pool.submit(call, item))
            while ahead and (len(ahead) >= most or _waiting(ahead) > _MOST_WAITING):
                yield ahead.popleft().result()
                most = AT_ONCE
        while ahead:
            yield ahead.popleft().result()
    finally:
        for future in ahead:
            future.cancel()


def _waiting(ahead: Iterable[Future[list[Entry]]]) -> int:
    return sum(len(one.result()) for one in ahead if one.done() and one.exception() is None)
