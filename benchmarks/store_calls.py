"""Runs the command and counts what it asks of the store.

``python -m benchmarks.store_calls COUNTS.json label ...``

Local files are counted as an object store would be: a write is a PUT, a listing a LIST for each 1,000 entries. The
counts are by what the name belongs to (``journal``, ``runs``, ``tables``, ``images``, ...) and by request.
"""

from __future__ import annotations

import atexit
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

from deepo_beam.cli import main
from deepo_beam.storage.local import LocalBackend

_REQUESTS = {"read_bytes": "GET", "open_input": "GET", "write_bytes": "PUT", "stat": "HEAD", "is_folder": "HEAD"}
_TABLES = ("labels", "images", "errors", "snapshots")
_KEYS_A_LIST = 1000  # of S3, GCS and Azure alike


def count_calls(output: str) -> Counter[str]:
    """Count from now on; the keys are ``area REQUEST`` and, of what is written, ``area bytes``."""
    counts: Counter[str] = Counter()

    def area(uri: str) -> str:
        if not uri.startswith(f"{output}/"):
            return "output" if uri.rstrip("/") == output else "images"
        name = uri[len(output) + 1 :].partition("/")[0]
        return "tables" if name in _TABLES else name

    def wrap(name: str, request: str) -> None:
        whole: Callable[..., Any] = getattr(LocalBackend, name)

        @wraps(whole)
        def counted(self: LocalBackend, uri: str, *arguments: Any) -> Any:
            where = area(uri)
            counts[f"{where} {request}"] += 1
            if request == "PUT":
                counts[f"{where} bytes"] += len(arguments[0])
            return whole(self, uri, *arguments)

        setattr(LocalBackend, name, counted)

    def wrap_listing(name: str) -> None:
        whole: Callable[..., Iterator[Any]] = getattr(LocalBackend, name)

        @wraps(whole)
        def counted(self: LocalBackend, folder: str, **settings: Any) -> Iterator[Any]:
            counts[f"{area(folder)} LIST"] += 1
            for number, found in enumerate(whole(self, folder, **settings)):
                counts[f"{area(folder)} LIST"] += bool(number) and not number % _KEYS_A_LIST
                yield found

        setattr(LocalBackend, name, counted)

    for name, request in _REQUESTS.items():
        wrap(name, request)
    wrap_listing("list_objects")
    wrap_listing("list_folders")
    return counts


def run() -> None:
    """Run the command; write what was counted when it ends."""
    found, arguments = Path(sys.argv[1]), sys.argv[2:]
    counts = count_calls(arguments[arguments.index("--output") + 1])
    atexit.register(lambda: found.write_text(json.dumps(dict(sorted(counts.items())))))
    main(arguments)


if __name__ == "__main__":
    run()
