"""Every error that deepo-beam raises on purpose, and the stable codes of ``errors/`` rows.

One root, :class:`DeepoBeamError`; below it configuration, storage, image, API and task errors. Two facts
decide what may be done after a failure, and each error knows them:

``retryable``
    the same call may succeed later, unchanged;
``maybe_billed``
    the service may have accepted (and charged) an inference although we hold no answer for it.

Anything that is not a :class:`DeepoBeamError` is a bug, and is never caught.
"""

from __future__ import annotations

import enum


class Stage(str, enum.Enum):
    """The step in which an image failed; the ``stage`` column of ``errors/``."""

    LIST = "list"
    READ = "read"
    VALIDATE = "validate"
    SUBMIT = "submit"
    POLL = "poll"
    PARSE = "parse"


class ErrorCode(str, enum.Enum):
    """The ``error_code`` column: stable, documented in docs/errors.md, never renamed."""

    INVALID_URI = "invalid_uri"
    BAD_MANIFEST_ROW = "bad_manifest_row"
    SCHEME_REFUSED = "scheme_refused"
    ADDRESS_REFUSED = "address_refused"
    OBJECT_MISSING = "object_missing"
    PERMISSION_DENIED = "permission_denied"
    READ_FAILED = "read_failed"
    EMPTY_FILE = "empty_file"
    NOT_AN_IMAGE = "not_an_image"
    TRUNCATED_IMAGE = "truncated_image"
    IMAGE_TOO_LARGE = "image_too_large"
    PAYLOAD_REFUSED = "payload_refused"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    THROTTLED = "throttled"
    SERVICE_UNAVAILABLE = "service_unavailable"
    ANSWER_UNKNOWN = "answer_unknown"
    TASK_ERROR = "task_error"
    TASK_LOST = "task_lost"
    TASK_STUCK = "task_stuck"
    BAD_RESULT = "bad_result"


class DeepoBeamError(Exception):
    """Root of all errors of this package.

    Attributes:
        retryable: the same call may succeed later, unchanged.
        maybe_billed: an inference may have been charged although no answer is held.
        exit_code: what the command exits with if this error ends it (0 to 7, see README).
    """

    retryable: bool = False
    maybe_billed: bool = False
    exit_code: int = 1


# --- the user's side -------------------------------------------------------------------------------


class ConfigError(DeepoBeamError):
    """An option, a file or a combination of them that cannot be meant; names the thing and the mend."""

    exit_code = 2


class DatasetMismatchError(ConfigError):
    """The output belongs to another dataset (model, host, crop rule or format)."""


class PreflightError(DeepoBeamError):
    """A check before the first call failed: key, model, output or input."""

    exit_code = 6


class RunStoppedError(DeepoBeamError):
    """The run ended before its work did and can be resumed by the same command."""

    exit_code = 5


class TooManyFailuresError(DeepoBeamError):
    """More images failed than the user allows; the run ended before its work did and can be resumed."""

    exit_code = 3


class OutputHeldError(DeepoBeamError):
    """Another run holds the output."""

    exit_code = 7


# --- storage ---------------------------------------------------------------------------------------


class StorageError(DeepoBeamError):
    """A storage operation failed. ``code`` is what the image's row in ``errors/`` would say."""

    code: ErrorCode = ErrorCode.READ_FAILED
    retryable = True
    exit_code = 5


class ObjectNotFoundError(StorageError):
    """The named object does not exist."""

    code = ErrorCode.OBJECT_MISSING
    retryable = False
    exit_code = 2


class PermissionDeniedError(StorageError):
    """The store refused access to the named object. Worth another try: permissions are mended, tokens renewed."""

    code = ErrorCode.PERMISSION_DENIED
    exit_code = 6


class DamagedError(StorageError):
    """A file of an output is not as it was written; somebody has to look after it."""

    retryable = False
    exit_code = 6


class AddressRefusedError(StorageError):
    """An http(s) image at an address that is not public, or behind a redirect that is not to be followed."""

    code = ErrorCode.ADDRESS_REFUSED
    retryable = False
    exit_code = 6


class UnusableUrlError(StorageError):
    """An http(s) URL that names no host that there could be."""

    code = ErrorCode.INVALID_URI
    retryable = False
    exit_code = 2


# --- images ----------------------------------------------------------------------------------------


class ImageError(DeepoBeamError):
    """The bytes cannot be sent as an image; nothing was posted. ``code`` goes into ``errors/``."""

    code: ErrorCode = ErrorCode.NOT_AN_IMAGE


class EmptyFileError(ImageError):
    """Zero bytes."""

    code = ErrorCode.EMPTY_FILE


class NotAnImageError(ImageError):
    """The content is none of JPEG, PNG, WebP, GIF, BMP and TIFF, or its header cannot be read."""

    code = ErrorCode.NOT_AN_IMAGE


class TruncatedImageError(ImageError):
    """The content ends before the format says that it does."""

    code = ErrorCode.TRUNCATED_IMAGE


class ImageTooLargeError(ImageError):
    """More bytes than ``--max-image-bytes``."""

    code = ErrorCode.IMAGE_TOO_LARGE


# --- the service -----------------------------------------------------------------------------------


class ApiError(DeepoBeamError):
    """Anything that went wrong between us and the service. ``code`` goes into ``errors/``.

    Attributes:
        status: the HTTP status (100..599), None where no reply was read.
    """

    code: ErrorCode = ErrorCode.ANSWER_UNKNOWN
    exit_code = 6

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class ConnectError(ApiError):
    """No connection was made, so nothing reached the service."""

    code = ErrorCode.SERVICE_UNAVAILABLE
    retryable = True


class AnswerLostError(ApiError):
    """The request may have arrived, the answer did not: cut, reset, or timed out."""

    code = ErrorCode.ANSWER_UNKNOWN
    retryable = True
    maybe_billed = True


class BadReplyError(ApiError):
    """A reply that is not what the API promises: HTML, empty, truncated JSON, wrong types."""

    code = ErrorCode.ANSWER_UNKNOWN
    retryable = True
    maybe_billed = True


class BadRequestError(ApiError):
    """400, 415, 422 and other 4xx without a class of their own: this request will never be taken."""

    code = ErrorCode.PAYLOAD_REFUSED


class PayloadTooLargeError(BadRequestError):
    """413: the body is above the service's limit."""

    code = ErrorCode.PAYLOAD_TOO_LARGE


class EndpointError(ApiError):
    """401, 403, 404 or a redirect: not this image's fault. Stops a run, marks nothing as failed."""

    code = ErrorCode.SERVICE_UNAVAILABLE


class AuthenticationError(EndpointError):
    """401: the key is missing or wrong."""


class ForbiddenError(EndpointError):
    """403: the key may not do this."""


class NotFoundError(EndpointError):
    """404: no such specification, version or task."""


class RedirectError(EndpointError):
    """3xx: never followed, for the key would follow."""


class ThrottledError(ApiError):
    """429: too many requests. Nothing was accepted.

    Attributes:
        retry_after: seconds to wait (>= 0) as the service asked, None where it did not.
    """

    code = ErrorCode.THROTTLED
    retryable = True

    def __init__(self, message: str, *, status: int | None = 429, retry_after: float | None = None) -> None:
        super().__init__(message, status=status)
        self.retry_after = retry_after


class ServiceUnavailableError(ApiError):
    """503: the service says that it took nothing.

    Attributes:
        retry_after: seconds to wait (>= 0) as the service asked, None where it did not.
    """

    code = ErrorCode.SERVICE_UNAVAILABLE
    retryable = True

    def __init__(self, message: str, *, status: int | None = 503, retry_after: float | None = None) -> None:
        super().__init__(message, status=status)
        self.retry_after = retry_after


class ServerError(ApiError):
    """500, 502, 504 and other 5xx: broken on the way, accepted or not."""

    code = ErrorCode.ANSWER_UNKNOWN
    retryable = True
    maybe_billed = True


# --- tasks -----------------------------------------------------------------------------------------


class BadResultError(ApiError):
    """A task succeeded with a result that cannot be trusted: no outputs, bad scores, no ``roi`` for BBOX."""

    code = ErrorCode.BAD_RESULT
    maybe_billed = True
