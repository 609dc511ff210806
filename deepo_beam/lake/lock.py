"""One run at a time on an output on local disk: ``flock`` on its ``lock`` file, gone with the process."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deepo_beam import storage
from deepo_beam.errors import OutputHeldError

LOCK = "lock"  # the file's name, below the output


@contextmanager
def held_output(output: str) -> Iterator[None]:
    """Hold an output while the block runs; does nothing where it is not on local disk.

    An output that cannot be made is not held either: whoever writes to it first says what is wrong. One that is
    left without a dataset is taken away again.

    Args:
        output: normalised URI.

    Raises:
        OutputHeldError: another run holds it; names host, pid and since when.
    """
    if not storage.is_local(output):
        yield
        return
    folder = Path(output)
    try:
        made_folder, made_lock = not folder.exists(), not (folder / LOCK).exists()
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError:
        yield
        return
    try:
        _lock(descriptor, output)
        yield
    finally:
        os.close(descriptor)
        if made_lock and not (folder / "dataset.json").exists():
            with suppress(OSError):  # somebody else has put something there
                (folder / LOCK).unlink()
                if made_folder:
                    folder.rmdir()


def _lock(descriptor: int, output: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 4096, 0).decode(errors="replace")
        raise OutputHeldError(f"another run holds {output}: {_describe(holder)}; wait for it, or stop it") from None
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    text = json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "since": now})
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)


def _describe(holder: str) -> str:
    try:
        values = json.loads(holder)
        return f"pid {values['pid']} on {values['host']} since {values['since']}"
    except (ValueError, KeyError, TypeError, RecursionError):  # it is just beginning
        return "one that has just begun"
