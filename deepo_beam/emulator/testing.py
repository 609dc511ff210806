"""The emulator for tests and benchmarks: a process of its own, for as long as a ``with`` block."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests

from deepo_beam.emulator.options import flag_of

_GREETING = "listening on "


@dataclass(frozen=True, slots=True)
class RunningEmulator:
    """A server that listens.

    Attributes:
        url: ``http://127.0.0.1:PORT``, without ``/v0.7``.
        pid: of its process.
    """

    url: str
    pid: int

    def stats(self) -> dict[str, Any]:
        """``GET /_emulator/stats``."""
        reply = requests.get(f"{self.url}/_emulator/stats", timeout=10)
        reply.raise_for_status()
        stats: dict[str, Any] = reply.json()
        return stats

    def reset(self) -> None:
        """``POST /_emulator/reset``: zeroes the counters; tasks stay."""
        requests.post(f"{self.url}/_emulator/reset", timeout=10).raise_for_status()


@contextmanager
def running_emulator(*, command_prefix: tuple[str, ...] = (), **options: object) -> Iterator[RunningEmulator]:
    """Starts an emulator on a free port and ends it with the block.

    Args:
        command_prefix: put before the command, like ``("taskset", "-c", "1")``.
        options: the flags of ``deepo-beam emulator`` as keywords: ``latency=0.2, fail_posts=0.05,
            max_body="4MB", outage="10:5", allow_urls=True``; None and False leave a flag out.

    Yields:
        The running server.

    Raises:
        RuntimeError: it did not start; what it said is on its standard error, which is this process's.
    """
    command = [*command_prefix, sys.executable, "-m", "deepo_beam.emulator"]
    for name, value in options.items():
        if value is True:
            command.append(flag_of(name))
        elif value is not None and value is not False:
            command.append(f"{flag_of(name)}={value}")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 # our own program
        try:
            line = process.stdout.readline() if process.stdout is not None else ""
            if not line.startswith(_GREETING):
                raise RuntimeError(f"the emulator did not start (see its standard error): {' '.join(command)}")
            yield RunningEmulator(url=line[len(_GREETING) :].strip(), pid=process.pid)
        finally:
            process.terminate()
