"""Ctrl-C, SIGTERM and SIGHUP: the first stops in order, the second at once, and is as safe as kill -9."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from deepo_beam import bulk
from deepo_beam.run import RunPlan
from deepo_beam.transforms import labelling_process

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def on_signals(plan: RunPlan) -> Iterator[None]:
    """Handle them while the block runs."""

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the interface of a handler
        name = signal.Signals(number).name
        if labelling_process.stopping():
            os._exit(128 + number)
        sys.stderr.write(f"\n{name}: posting stops, waiting for what is in flight; once more ends at once\n")
        reason = f"stopped by {name}; the next run goes on"
        # The runner labels in this very thread, which may hold the locks that stopping takes.
        labelling_process.will_stop(reason)
        threading.Thread(target=bulk.stop_run, args=(plan, reason), name="deepo-beam-stop", daemon=True).start()

    # One that is ignored, as by nohup, stays so.
    heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in heard}
    try:
        with labelling_process.launching():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        labelling_process.forget_stop()
