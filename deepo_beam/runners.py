"""What ended a job that ran elsewhere: a runner hands on text, in which there may be an error of ours."""

from __future__ import annotations

import re

from deepo_beam import errors
from deepo_beam.errors import DeepoBeamError, RunStoppedError

_OURS = re.compile(r"\bdeepo_beam\.errors\.(\w+): ([^\n]*)")
_FAILED = re.compile(r"Pipeline \S+ failed in state (\w+): (.*)", re.DOTALL)
_WORKER_GONE = "Channel closed prematurely"  # said by Beam's own runner
_GOES_ON = "the next run goes on"


def explain_failure(message: str) -> DeepoBeamError | None:
    """Say in a sentence why a job ended before its work did. Pure.

    Args:
        message: of what Beam raised.

    Returns:
        The error to raise: ours, if a worker raised one (with its exit code); else one that can be resumed. None: the
        runner did not say that a job failed, so that this is a bug.
    """
    if ours := _OURS.findall(message):
        name, text = ours[-1]
        kind = getattr(errors, name, RunStoppedError)
        return kind(text.partition(" [while running '")[0])
    if _WORKER_GONE in message:
        return RunStoppedError(f"a worker process ended before its work did; {_GOES_ON}")
    failed = _FAILED.match(message)
    if failed is None or "Traceback (most recent call last)" in message:
        return None
    state, reason = failed[1].lower(), failed[2].strip().partition("\n")[0]
    because = "" if reason in ("", "unknown error") else f": {reason.rstrip('.')}"
    return RunStoppedError(f"the runner says that the job is {state}{because}; {_GOES_ON}")
