"""Runs a contestant once and says what it took."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from benchmarks.bench import processes
from benchmarks.bench.environments import LOOPS, ROOT

_LOOK_S = 0.2
_PATIENCE_S = 1800.0
_GREETING = "listening on "


class FailedError(RuntimeError):
    """A contestant did not label everything, once each."""


@dataclass(frozen=True)
class Service:
    """The server that runs."""

    url: str

    def stats(self) -> dict[str, Any]:
        """See ``benchmarks.bench.service.Service.stats``."""
        found: dict[str, Any] = json.loads(self._call("GET", "/_bench/stats"))
        return found

    def reset(self, *, latency_s: float = 0.2, post_latency_s: float = 0.0) -> None:
        """Forget all tasks, and behave like this."""
        self._call("POST", f"/_bench/reset?latency={latency_s}&post_latency={post_latency_s}")

    def watch(self, pid: int) -> None:
        """Note what this process has used when the first post comes."""
        self._call("POST", f"/_bench/watch?pid={pid}")

    def _call(self, method: str, path: str) -> bytes:
        request = urllib.request.Request(self.url + path, method=method)
        with urllib.request.urlopen(request, timeout=30) as reply:
            body: bytes = reply.read()
        return body


@contextmanager
def running_server(python: str = LOOPS.python) -> Iterator[Service]:
    """The server of the benchmarks, for as long as a ``with`` block.

    Args:
        python: an interpreter, with uvloop if it is to be fast.

    Raises:
        RuntimeError: it did not start; its standard error is this process's.
    """
    command = [python, "-m", "benchmarks.bench.server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            line = process.stdout.readline() if process.stdout is not None else ""
            if not line.startswith(_GREETING):
                raise RuntimeError(f"the server did not start: {line}")
            yield Service(line[len(_GREETING) :].strip())
        finally:
            process.terminate()


@dataclass
class _Watch:
    """Looks at a process and its descendants until told to stop."""

    pid: int
    peak_bytes: int = 0
    cpu_s: float = 0.0
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.stopped.wait(_LOOK_S):
            stats = processes.tree(self.pid)
            self.peak_bytes = max(self.peak_bytes, processes.resident_bytes(stats))
            self.cpu_s = max(self.cpu_s, processes.cpu_s(stats))


def measure(command: Sequence[str], service: Service, images: int, output: Path | None) -> dict[str, float]:
    """Run it once, beside a server that was reset.

    Args:
        command: labels all images.
        service: that it labels them at.
        images: how many there are.
        output: where it leaves a ``_SUCCESS``, which is its end; None: the end of the process is.

    Returns:
        ``images``; ``images_per_s`` and ``cpu_ms_per_image``, both from the first post on; ``start_s`` and
        ``start_cpu_s`` up to it; ``peak_mb`` of the process and its descendants; ``polls_per_image``;
        ``seen_p95_ms`` from accepted to seen finished.

    Raises:
        FailedError: it failed, or the server has not seen exactly one post an image and every task asked for.
    """
    with tempfile.TemporaryFile() as log:
        started = time.time()
        process = subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=ROOT, env=_variables()
        )
        service.watch(process.pid)
        watch = _Watch(process.pid)
        looker = threading.Thread(target=watch.run)
        looker.start()
        limit = threading.Timer(_PATIENCE_S, process.kill)
        limit.start()
        _, status, usage = os.wait4(process.pid, 0)
        ended = time.time()
        process.returncode = os.waitstatus_to_exitcode(status)
        limit.cancel()
        watch.stopped.set()
        looker.join()
        stats = service.stats()
        _check(process, stats, images, log)
    if output is not None:
        (success,) = output.glob("runs/*/_SUCCESS")
        ended = success.stat().st_mtime
    cpu_s = max(usage.ru_utime + usage.ru_stime, watch.cpu_s)
    return {
        "images": images,
        "images_per_s": images / (ended - stats["first_post_at"]),
        "cpu_ms_per_image": 1000 * (cpu_s - stats["cpu_at_first_post_s"]) / images,
        "start_s": stats["first_post_at"] - started,
        "start_cpu_s": stats["cpu_at_first_post_s"],
        "peak_mb": max(watch.peak_bytes / 1e6, usage.ru_maxrss * 1024 / 1e6),
        "polls_per_image": stats["polls"] / images,
        "seen_p95_ms": 1000 * stats["seen_p95_s"],
    }


def posts_per_s(service: Service, path: str) -> float:
    """What the server accepts of 100 kB posts from a client that does nothing else."""
    command = [LOOPS.python, "-m", "benchmarks.bench.load", service.url.rpartition(":")[2], path]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout)


def _variables() -> dict[str, str]:
    return {**os.environ, "DEEPOMATIC_API_KEY": "benchmark", "PYTHONPATH": str(ROOT)}


def _check(process: subprocess.Popen[bytes], stats: dict[str, Any], images: int, log: IO[bytes]) -> None:
    if process.returncode == 0 and stats["accepted"] == stats["seen"] == images:
        return
    log.seek(0)
    said = log.read()[-2000:].decode(errors="replace")
    counts = f"{stats['accepted']} posts and {stats['seen']} tasks seen finished, for {images} images"
    raise FailedError(f"exit {process.returncode}, {counts}:\n{said}")


def commit() -> str | None:
    """Of the tree that is measured; None where it is no clone."""
    told = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=ROOT)
    return told.stdout.strip() or None
