"""Who holds an output, as others are told."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Holder:
    """A run, and the process that began it; ``since``: UTC, ISO 8601."""

    run_id: str
    host: str
    pid: int
    since: str

    @classmethod
    def this_process(cls, run_id: str) -> Holder:
        """This process, from now on."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return cls(run_id, socket.gethostname(), os.getpid(), now)

    def encode(self) -> bytes:
        """As JSON."""
        return json.dumps(dataclasses.asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes) -> Holder | None:
        """The inverse of :meth:`encode`; None for anything else, as while it is being written."""
        try:
            holder = cls(**json.loads(data))
        except (ValueError, TypeError, RecursionError):
            return None
        return holder if isinstance(holder.pid, int) else None

    def __str__(self) -> str:
        return f"run {self.run_id}, pid {self.pid} on {self.host} since {self.since}"
