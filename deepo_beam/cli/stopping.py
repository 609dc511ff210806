"""Ctrl-C, SIGTERM and SIGHUP: the first stops in order, the second at once, and is as safe as kill -9."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from deepo_beam import bulk
from deepo_beam.run import RunPlan
from deepo_beam.transforms import labelling_process

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def on_signals(plan: RunPlan) -> Iterator[None]:
    """Handle them while the block runs, in a thread of their own.

    Python runs a handler in the main thread alone, which waits for the runner: a signal that another thread took, or
    that came just before the wait, would be heard at its end, when every image is paid for.
    """
    # One that is ignored, as by nohup, stays so.
    heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    hearing, told = socket.socketpair()
    with hearing:
        told.setblocking(False)
        listener = threading.Thread(target=_listen, args=(hearing, heard, plan), name="deepo-beam-signals", daemon=True)
        listener.start()
        wakeup_before = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
        before = {number: signal.signal(number, lambda *_: None) for number in heard}
        try:
            with labelling_process.launching():
                yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(wakeup_before)
            told.close()
            listener.join()
            labelling_process.forget_stop()


def _listen(hearing: socket.socket, heard: list[signal.Signals], plan: RunPlan) -> None:
    while number := hearing.recv(1):
        if number[0] in heard:
            _stop(signal.Signals(number[0]), plan)


def _stop(number: signal.Signals, plan: RunPlan) -> None:
    if labelling_process.stopping():
        os._exit(128 + number)
    reason = f"stopped by {number.name}; the next run goes on"
    labelling_process.will_stop(reason)  # so that a second signal ends it even if a store is slow to be told
    threading.Thread(target=bulk.stop_run, args=(plan, reason), name="deepo-beam-stop", daemon=True).start()
    said = f"\n{number.name}: posting stops, waiting for what is in flight; once more ends at once\n"
    threading.Thread(target=_say, args=(said,), name="deepo-beam-said", daemon=True).start()


def _say(text: str) -> None:
    # Who reads may have heard the signal, too, and be gone; or it reads no more.
    with suppress(OSError, ValueError, SystemExit):
        sys.stderr.write(text)
