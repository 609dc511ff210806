"""One run at a time on an output on local disk: ``flock`` on its ``lock`` file, gone with its processes.

Every process of a run, its launcher first, keeps the file locked *shared*. A new run needs it *exclusive* for a moment,
so it waits until the last process of the one before is gone, and its own shared lock keeps out the next.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from contextlib import suppress
from pathlib import Path

from deepo_beam.errors import OutputHeldError, PreflightError, RunStoppedError
from deepo_beam.lake.holder import Holder

LOCK = "lock"  # the file's name, below the output
_ORPHANS_END_WITHIN_S = 30.0  # worker processes whose launcher was killed
_TAKING_ENDS_WITHIN_S = 1.0  # another worker of the same run may just be the first of it
_LOOKS_END_WITHIN_S = 0.5  # somebody may only have looked who holds the output
_LOOK_AGAIN_S = 0.1


class OutputLock:
    """A shared lock on an output, until closed."""

    def __init__(self, descriptor: int, leave_nothing: tuple[Path, ...] = ()) -> None:
        """Made by :func:`lock_for_run` and :func:`lock_for_worker`.

        Args:
            descriptor: of the locked file; -1 if the output cannot be made, and so is not locked either.
            leave_nothing: what was made only to be locked, the lock first.
        """
        self._descriptor = descriptor
        self._made = leave_nothing

    def close(self) -> None:
        """Unlock; an output that came to nothing is taken away again."""
        if self._descriptor < 0:
            return
        if self._made and not (self._made[0].parent / "dataset.json").exists():
            with suppress(OSError):  # somebody else has put something there
                for path in self._made:
                    path.rmdir() if path.is_dir() else path.unlink()
        os.close(self._descriptor)  # last: until then nobody else can take what is taken away


def lock_for_run(output: str, holder: Holder) -> OutputLock:
    """Hold a local output for a run that begins.

    An output that cannot be made is not held either: whoever writes to it first says what is wrong.

    Args:
        output: path of a folder.
        holder: who will be named to others.

    Raises:
        OutputHeldError: another run holds it; names host, pid and since when.
    """
    folder = Path(output)
    try:
        made = [path for path in (folder / LOCK, folder) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _open(output)
    except OSError:
        return OutputLock(-1)
    began = time.monotonic()
    patience = began + _ORPHANS_END_WITHIN_S
    while not _try(descriptor, fcntl.LOCK_EX):
        found = _read(descriptor)
        # Workers outlive a launcher that was killed, for a moment: that is waited for, not handed to the user.
        if time.monotonic() > (patience if _is_orphaned(found) else began + _LOOKS_END_WITHIN_S):
            os.close(descriptor)
            raise _held(output, found)
        time.sleep(_LOOK_AGAIN_S)
    if not _is_there(descriptor, output):  # its last holder has taken it away
        os.close(descriptor)
        return lock_for_run(output, holder)
    _take(descriptor, output, holder)
    return OutputLock(descriptor, tuple(made))


def lock_for_worker(output: str, holder: Holder, *, launched: bool) -> OutputLock:
    """Join the run that holds a local output.

    Args:
        output: path of a folder.
        holder: who will be named if this process is the first of its run.
        launched: the run has a launcher, which holds the output: without it nothing is to be done any more.

    Raises:
        OutputHeldError: another run holds it.
        PreflightError: there is no such folder here, though the launcher has one.
        RunStoppedError: the launcher is gone.
    """
    try:
        descriptor = _open(output)
    except OSError as error:
        if launched:
            raise _elsewhere(output, error) from None
        return OutputLock(-1)
    patience = time.monotonic() + _TAKING_ENDS_WITHIN_S
    while True:
        if _try(descriptor, fcntl.LOCK_EX):
            if launched:
                os.close(descriptor)
                raise RunStoppedError(f"the launcher of run {holder.run_id} is gone; the next run goes on")
            _take(descriptor, output, holder)
            return OutputLock(descriptor)
        shared = _try(descriptor, fcntl.LOCK_SH)
        found = _read(descriptor)
        if shared and found is not None and found.run_id == holder.run_id:
            return OutputLock(descriptor)
        if time.monotonic() > patience:
            os.close(descriptor)
            raise _held(output, found)
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        time.sleep(_LOOK_AGAIN_S)


def _elsewhere(output: str, error: OSError) -> PreflightError:
    return PreflightError(
        f"a worker on {socket.gethostname()} has no {output} ({error.strerror}): name an output in a store, or a folder"
        " that the launcher and all workers share"
    )


def find_holder(output: str) -> Holder | None:
    """Who holds a local output at this moment; does not hold it.

    Args:
        output: path of a folder.

    Returns:
        What it said of itself; of one that has just begun only that it is there (``run_id`` is empty). None: nobody.
    """
    try:
        descriptor = os.open(Path(output) / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return None if _try(descriptor, fcntl.LOCK_EX) else _read(descriptor) or Holder("", "", 0, "")
    finally:
        os.close(descriptor)  # and the lock with it


def _open(output: str) -> int:
    return os.open(Path(output) / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _is_there(descriptor: int, output: str) -> bool:
    """The file that is open is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(descriptor), (Path(output) / LOCK).stat())
    except FileNotFoundError:
        return False


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _take(descriptor: int, output: str, holder: Holder) -> None:
    """Say who holds the output, and let the run's other processes in."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, holder.encode(), 0)
    # Between the two kinds of lock the file is free for an instant.
    if not _try(descriptor, fcntl.LOCK_SH):
        os.close(descriptor)
        raise _held(output, None)


def _read(descriptor: int) -> Holder | None:
    return Holder.decode(os.pread(descriptor, 4096, 0))


def _is_orphaned(holder: Holder | None) -> bool:
    """Its launcher was on this machine, and is gone."""
    if holder is None or holder.host != socket.gethostname():
        return False
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _held(output: str, holder: Holder | None) -> OutputHeldError:
    who = "one that has just begun" if holder is None else str(holder)
    return OutputHeldError(f"another run holds {output}: {who}; wait for it, or stop it")
