"""What the emulator has seen, counted. Pure: the clock is handed in."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any


class Stats:
    """The counters of ``GET /_emulator/stats``, since the start or the last reset.

    Args:
        now: seconds of the server's monotonic clock.
    """

    def __init__(self, now: float) -> None:
        self._zero = now
        self._accepted = 0
        self._rejected: Counter[int] = Counter()
        self._images: set[bytes] = set()
        self._polls = self._task_ids_polled = self._bytes = 0
        self._peak_in_flight = 0
        self._last_second: deque[float] = deque()
        self._peak_second = 0
        self._per_second: list[int] = []

    def accept(self, key: bytes, in_flight: int, now: float) -> None:
        """A task was made for the image with this key; ``in_flight`` counts it too."""
        self._accepted += 1
        self._images.add(key)
        self._peak_in_flight = max(self._peak_in_flight, in_flight)
        self._last_second.append(now)
        while self._last_second[0] <= now - 1:
            self._last_second.popleft()
        self._peak_second = max(self._peak_second, len(self._last_second))
        second = int(now - self._zero)
        self._per_second.extend([0] * (second + 1 - len(self._per_second)))
        self._per_second[second] += 1

    def reject(self, status: int) -> None:
        """A post to an inference endpoint was answered with an error."""
        self._rejected[status] += 1

    def poll(self, task_ids: int) -> None:
        """A call asked for so many tasks."""
        self._polls += 1
        self._task_ids_polled += task_ids

    def receive(self, size: int) -> None:
        """So many bytes of a post's body arrived."""
        self._bytes += size

    def as_json(self) -> dict[str, Any]:
        """The counters by their public names."""
        return {
            "accepted": self._accepted,
            "rejected": {str(status): count for status, count in sorted(self._rejected.items())},
            "distinct_images": len(self._images),
            "accepted_again": self._accepted - len(self._images),
            "polls": self._polls,
            "task_ids_polled": self._task_ids_polled,
            "peak_in_flight": self._peak_in_flight,
            "max_accepted_in_any_second": self._peak_second,
            "accepted_per_second": self._per_second,
            "bytes_received": self._bytes,
        }
