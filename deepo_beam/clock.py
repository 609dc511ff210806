"""The clock of leases: it goes on while the machine sleeps."""

from __future__ import annotations

import time

_BOOT = getattr(time, "CLOCK_BOOTTIME", None)  # Linux


def lease_clock() -> float:
    """Seconds that only grow, time asleep included where the system has such a clock.

    A laptop that wakes up must find that its lease has run out, which ``time.monotonic`` would not tell on Linux.
    """
    return time.monotonic() if _BOOT is None else time.clock_gettime(_BOOT)
