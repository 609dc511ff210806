"""The Deepomatic v0.7 protocol and a thin HTTP shell around it.

``building`` makes paths and bodies, ``decoding`` turns replies into ``values`` or errors; both are pure.
``Client`` carries them over HTTP with ``requests``. Nothing here knows of Beam.
"""

from deepo_beam.api.building import (
    JSON_TYPE,
    MAX_TASKS_PER_CALL,
    inference_path,
    is_public,
    json_body,
    multipart_body,
    url_body,
)
from deepo_beam.api.client import Client
from deepo_beam.api.credentials import Credentials, redact
from deepo_beam.api.outputs import clean_outputs, encode_outputs, parse_outputs
from deepo_beam.api.retry import RetryPolicy, full_jitter_s, parse_retry_after, retrying
from deepo_beam.api.settings import ApiSettings
from deepo_beam.api.values import (
    Account,
    BBox,
    LabelInfo,
    Output,
    OutputSpec,
    Page,
    Prediction,
    Specification,
    Task,
    TaskState,
    Version,
)

__all__ = [
    "JSON_TYPE",
    "MAX_TASKS_PER_CALL",
    "Account",
    "ApiSettings",
    "BBox",
    "Client",
    "Credentials",
    "LabelInfo",
    "Output",
    "OutputSpec",
    "Page",
    "Prediction",
    "RetryPolicy",
    "Specification",
    "Task",
    "TaskState",
    "Version",
    "clean_outputs",
    "encode_outputs",
    "full_jitter_s",
    "inference_path",
    "is_public",
    "json_body",
    "multipart_body",
    "parse_outputs",
    "parse_retry_after",
    "redact",
    "retrying",
    "url_body",
]
