"""Google Cloud Storage: an emulator, of which ``tests/testbed/gcs`` is the program."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import requests
from parts import go_source
from servers import free_port, listens, running
from store_tools import Store

SOURCE = Path(__file__).parents[1] / "testbed" / "gcs"
BUCKET = "lake"


@contextmanager
def running_gcs(folder: Path) -> Iterator[Store]:
    """A server with an empty bucket, for as long as the block."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    told = b"".join((SOURCE / name).read_bytes() for name in ("main.go", "go.mod", "go.sum"))
    program = go_source("gcs-emulator", hashlib.sha256(told).hexdigest()[:12], SOURCE)
    with running([program, "-address", f"127.0.0.1:{port}"], log=folder / "log", ready=lambda: listens(port)):
        made = requests.post(f"{url}/storage/v1/b", params={"project": "test"}, json={"name": BUCKET}, timeout=10)
        made.raise_for_status()

        def put(key: str, data: bytes) -> None:
            to = f"{url}/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={quote(key, safe='')}"
            requests.post(to, data=data, headers={"Content-Type": "image/gif"}, timeout=10).raise_for_status()

        yield Store("gcs", f"gs://{BUCKET}", {"STORAGE_EMULATOR_HOST": url}, put)
