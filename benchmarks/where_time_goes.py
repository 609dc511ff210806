"""Where the CPU time of ``deepo-beam label`` goes, by what the code does, over all threads.

    benchmarks/.venvs/ours/bin/python -m benchmarks.where_time_goes [--images 10000] [--post-latency 0.05]

A sampling profiler slows a process of a dozen threads down to a fraction; here each of the functions below is wrapped
in two readings of its thread's CPU clock, which cost about a tenth themselves. ``make bench`` makes the environments.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.bench.environments import LOOPS, ROOT
from benchmarks.bench.measure import running_server
from benchmarks.bench.service import SPEC

PLACES = {
    "HTTP: our shell": (
        *("api.transport:Transport.exchange", "api.transport:Transport._exchange"),
        *("api.transport:Transport._read", "api.transport:Transport._without_key"),
    ),
    "HTTP: requests": ("requests.adapters:HTTPAdapter.send", "requests.adapters:HTTPAdapter.build_response"),
    "HTTP: urllib3": (
        "urllib3.connectionpool:HTTPConnectionPool.urlopen",
        "urllib3.connectionpool:HTTPConnectionPool._make_request",
        "urllib3.connection:HTTPConnection.request",
    ),
    "HTTP: head of the answer": ("connections:TimedHTTPConnection.getresponse",),
    "HTTP: socket": ("http.client:HTTPConnection.send", "connections:_UntilDeadline.readinto"),
    "reply: JSON, checks": (
        *("service:ServiceTransport.post", "service:ServiceTransport.poll"),
        *("api.decoding:decode_accepted", "api.decoding:decode_task_page"),
    ),
    "image: read": ("service:ServiceTransport._read",),
    "image: SHA-256": ("service:_facts",),
    "image: format, body": (
        *("service:ServiceTransport.load", "service:inspect_image", "service:ServiceTransport._wrap"),
    ),
    "engine: decisions": (
        *("engine.core:Core.submit", "engine.core:Core.next_post", "engine.core:Core.loaded", "engine.core:Core.turn"),
        *("engine.core:Core.accepted", "engine.core:Core.next_poll", "engine.core:Core.polled"),
        *("engine.core:Core.next_flush", "engine.core:Core.flushed", "engine.core:Core.take_outcomes"),
    ),
    "engine: threads, locks": (
        *("engine.engine:Engine._send_loop", "engine.engine:Engine._poll_loop", "engine.engine:Engine._flush_loop"),
        *("engine.engine:Engine._next", "engine.engine:Engine._send", "engine.engine:Engine._wait_for_turn"),
        *("engine.engine:Engine._post", "engine.engine:Engine._poll", "engine.engine:Engine._wait_until"),
    ),
    "journal: encode": ("lake.journal:encode_records",),
    "journal: write": (
        *("service:JournalWriter.write", "lake.journal:Journal.append", "storage.local:LocalBackend.write_bytes"),
    ),
    "end: tally": ("transforms.publish_tables:_TallyFn.process",),
    "end: tables": ("transforms.publish_tables:write_shard",),
    "end: accounts, _SUCCESS": ("transforms.publish_tables:complete",),
}


class Clock:
    """Exclusive CPU time of named places, over all threads."""

    def __init__(self) -> None:
        """Nothing spent yet."""
        self.spent: dict[str, float] = defaultdict(float)
        self.marks: dict[str, tuple[float, float]] = {}
        self._stacks = threading.local()
        self._lock = threading.Lock()

    def mark(self, name: str) -> None:
        """A phase has begun, if it had not."""
        self.marks.setdefault(name, (time.monotonic(), time.process_time()))

    def enter(self, place: str) -> None:
        """The thread's time belongs to this place from now on."""
        stack = self._stack
        now = time.thread_time()
        if stack:
            self._add(stack[-1][0], now - stack[-1][1])
        stack.append([place, now])

    def leave(self) -> None:
        """It belongs to the place before again."""
        stack = self._stack
        now = time.thread_time()
        place, since = stack.pop()
        self._add(place, now - since)
        if stack:
            stack[-1][1] = now

    def wrap(self, place: str, target: str) -> None:
        """Charge a function, ``module:name`` or ``module:Class.name``, to a place."""
        module_name, _, path = target.partition(":")
        ours = (ROOT / "deepo_beam" / module_name.replace(".", "/")).with_suffix(".py").exists()
        owner: Any = importlib.import_module(f"deepo_beam.{module_name}" if ours else module_name)
        *classes, name = path.split(".")
        for each in classes:
            owner = getattr(owner, each)
        function = getattr(owner, name)

        @functools.wraps(function)
        def charged(*args: Any, **keywords: Any) -> Any:
            self.enter(place)
            try:
                result = function(*args, **keywords)
                return list(result) if place == "end: tally" else result  # a generator works when it is asked
            finally:
                self.leave()

        setattr(owner, name, charged)

    @property
    def _stack(self) -> list[list[Any]]:
        if not hasattr(self._stacks, "stack"):
            self._stacks.stack = []
        stack: list[list[Any]] = self._stacks.stack
        return stack

    def _add(self, place: str, seconds: float) -> None:
        with self._lock:
            self.spent[place] += seconds


def run_charged(arguments: list[str]) -> None:
    """Be ``deepo-beam`` and say what it spent."""
    clock = Clock()
    clock.mark("imports")
    from deepo_beam import cli
    from deepo_beam.engine.core import Core
    from deepo_beam.engine.engine import Session

    for place, targets in PLACES.items():
        for target in targets:
            clock.wrap(place, target)
    _before(Core, "accepted", lambda: clock.mark("labelling"))
    _after(Session, "wait", lambda: clock.mark("end"))
    clock.mark("start")
    try:
        cli.main(arguments)
    finally:
        clock.mark("over")
        _print(clock)


def _before(owner: Any, method: str, then: Callable[[], None]) -> None:
    function = getattr(owner, method)

    def called(*args: Any, **keywords: Any) -> Any:
        then()
        return function(*args, **keywords)

    setattr(owner, method, called)


def _after(owner: Any, method: str, then: Callable[[], None]) -> None:
    function = getattr(owner, method)

    def called(*args: Any, **keywords: Any) -> Any:
        result = function(*args, **keywords)
        then()
        return result

    setattr(owner, method, called)


def _print(clock: Clock) -> None:
    images = int(os.environ["IMAGES"])
    names = ["imports", "start", "labelling", "end", "over"]
    for name, following in pairwise(names):
        wall, cpu = (after - before for before, after in zip(clock.marks[name], clock.marks[following], strict=True))
        print(f"{name:10} {wall:6.2f} s wall {cpu:6.2f} s CPU")
    total = clock.marks["over"][1] - clock.marks["labelling"][1]
    clock.spent["Beam and the rest"] = total - sum(clock.spent.values())
    print(f"\nfrom the first post on, {1e6 * total / images:,.0f} us CPU an image")
    for place, seconds in sorted(clock.spent.items(), key=lambda item: -item[1]):
        print(f"{1e6 * seconds / images:7.0f} us {seconds / total:6.1%}  {place}")


def main() -> None:
    """Make images, start the server, and label in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--post-latency", type=float, default=0.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_server() as service:
        photographs, output = Path(folder) / "photographs", Path(folder) / "lake"
        sizes = ["--count", str(options.images), "--bytes", "80000"]
        subprocess.run([LOOPS.python, "-m", "benchmarks.bench.images", str(photographs), *sizes], check=True, cwd=ROOT)
        service.reset(post_latency_s=options.post_latency)
        label = [
            "label",
            str(photographs),
            "--output",
            str(output),
            "--spec",
            SPEC,
            "--api-url",
            service.url,
            "--quiet",
        ]
        code = f"from benchmarks.where_time_goes import run_charged; run_charged({label})"
        environment = {**os.environ, "DEEPOMATIC_API_KEY": "benchmark", "IMAGES": str(options.images)}
        subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env=environment)


if __name__ == "__main__":
    main()
