"""What is said when a job ends elsewhere before its work did."""

from __future__ import annotations

import pytest

from deepo_beam.errors import OutputHeldError, PreflightError, RunStoppedError
from deepo_beam.runners import explain_failure

ON_A_WORKER = """\
Pipeline BeamApp-root-1 failed in state FAILED: java.lang.RuntimeException: Error received from SDK harness: \
Traceback (most recent call last):
  File "apache_beam/runners/common.py", line 1498, in process
  File "/deepo_beam/api/credentials.py", line 51, in resolve
    raise PreflightError(f"{source} is empty")
deepo_beam.errors.%s: no API key: set the environment variable DEEPOMATIC_API_KEY [while running 'Label']

	at org.apache.beam.runners.fnexecution.control.FnApiControlClient.handle(FnApiControlClient.java:180)
"""


@pytest.mark.parametrize("kind", [PreflightError, OutputHeldError])
def test_an_error_of_a_worker_elsewhere_is_that_error_here(kind: type[Exception]) -> None:
    error = explain_failure(ON_A_WORKER % kind.__name__)
    assert type(error) is kind
    assert str(error) == "no API key: set the environment variable DEEPOMATIC_API_KEY"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("Pipeline a-1 failed in state CANCELLED: unknown error", "the job is cancelled; the next run goes on"),
        (
            "Pipeline a-1 failed in state FAILED: java.lang.Exception: no slots.\n\tat x",
            "failed: java.lang.Exception: no",
        ),
        ("Channel closed prematurely.", "a worker process ended before its work did; the next run goes on"),
    ],
)
def test_a_job_that_is_ended_from_outside_can_be_resumed(message: str, said: str) -> None:
    error = explain_failure(message)
    assert isinstance(error, RunStoppedError)
    assert said in str(error)


@pytest.mark.parametrize("message", ["something else", ON_A_WORKER.replace("deepo_beam.errors.%s", "ValueError")])
def test_what_nobody_explains_is_a_bug(message: str) -> None:
    assert explain_failure(message) is None
