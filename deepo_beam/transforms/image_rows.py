"""Rows with a schema: images that can be labelled, and those that could not."""

# No "from __future__ import annotations" here: Beam's schemas read the annotations as they stand.

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Optional

import numpy as np
from apache_beam.coders import RowCoder
from apache_beam.coders.typecoders import registry
from apache_beam.utils.timestamp import Timestamp

from deepo_beam.text import clean_text
from deepo_beam.types import Failure, ImageRef, ImageResult


class ImageRow(NamedTuple):
    """An image to be labelled, in types that Beam's schemas know; see :class:`deepo_beam.types.ImageRef`.

    Attributes:
        location: what to open, where it is not ``image_uri``: a signed URL.
    """

    image_id: str
    image_uri: str
    crop: Optional[str]  # noqa: UP045 - Beam's schema inference reads these
    external_id: Optional[str]  # noqa: UP045
    attributes: Mapping[str, str]
    size_bytes: Optional[np.int64]  # noqa: UP045
    modified_at: Optional[Timestamp]  # noqa: UP045
    source: Optional[str]  # noqa: UP045
    location: Optional[str]  # noqa: UP045


class ErrorRow(NamedTuple):
    """An image that failed: the columns of ``errors`` but for the model and the times (docs/tables.md)."""

    image_id: str
    image_uri: str
    crop: Optional[str]  # noqa: UP045
    external_id: Optional[str]  # noqa: UP045
    attributes: Mapping[str, str]
    stage: str
    error_code: str
    error_message: str
    retryable: bool
    attempts: np.int32
    http_status: Optional[np.int32]  # noqa: UP045
    task_id: Optional[str]  # noqa: UP045
    source: Optional[str]  # noqa: UP045


registry.register_coder(ImageRow, RowCoder)
registry.register_coder(ErrorRow, RowCoder)


def image_row(image: ImageRef) -> ImageRow:
    """The row of a listed image. Pure."""
    return ImageRow(
        image_id=image.image_id,
        image_uri=image.image_uri,
        crop=image.crop,
        external_id=image.external_id,
        attributes=dict(image.attributes),
        size_bytes=None if image.size_bytes is None else np.int64(image.size_bytes),
        modified_at=None if image.modified_us is None else Timestamp(micros=image.modified_us),
        source=None if image.source is None else clean_text(image.source),
        location=None if image.location == image.image_uri else image.location,
    )


def rows_of_problem(image: ImageRef) -> Iterator[ErrorRow]:
    """One row of a listed image that cannot be used, none of another. Pure."""
    if image.problem is not None:
        yield _error_row(image, image.problem)


def rows_of_failure(result: ImageResult) -> Iterator[ErrorRow]:
    """One row of an image that failed, none of another. Pure."""
    if result.failure is not None:
        yield _error_row(result.image, result.failure, result)


def _error_row(image: ImageRef, failure: Failure, result: Optional[ImageResult] = None) -> ErrorRow:  # noqa: UP045
    return ErrorRow(
        image_id=image.image_id,
        image_uri=image.image_uri,
        crop=image.crop,
        external_id=image.external_id,
        attributes=dict(image.attributes),
        stage=failure.stage.value,
        error_code=failure.code.value,
        error_message=clean_text(failure.message),
        retryable=failure.retryable,
        attempts=np.int32(0 if result is None else result.attempts),
        http_status=None if failure.http_status is None else np.int32(failure.http_status),
        task_id=None if result is None else result.task_id,
        source=None if image.source is None else clean_text(image.source),
    )
