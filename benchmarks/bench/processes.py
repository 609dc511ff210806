"""What a process and all that descend from it have used, as Linux tells it in /proc."""

from __future__ import annotations

import os
from pathlib import Path

_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PARENT, _TIMES, _RESIDENT = 1, slice(11, 15), 21  # fields of stat, counted from the state on


def tree(pid: int) -> list[list[str]]:
    """Fields of /proc/PID/stat, from the state on, of a process and of its descendants; [] if it is gone."""
    stats: dict[int, list[str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stats[int(entry.name)] = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
    found = [pid] if pid in stats else []
    for parent in found:  # grows while it is walked
        found += [child for child, fields in stats.items() if int(fields[_PARENT]) == parent]
    return [stats[one] for one in found]


def cpu_s(stats: list[list[str]]) -> float:
    """User and system seconds, with those of descendants that are gone and were waited for."""
    return sum(int(ticks) for fields in stats for ticks in fields[_TIMES]) * _TICK_S


def resident_bytes(stats: list[list[str]]) -> int:
    """Memory in RAM; what processes share counts for each."""
    return sum(int(fields[_RESIDENT]) for fields in stats) * _PAGE_BYTES
