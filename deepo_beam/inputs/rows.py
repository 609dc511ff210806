"""From a name, listed or written in a list, to one :class:`~deepo_beam.types.ImageRef`. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from typing import Any, NamedTuple

from deepo_beam import storage
from deepo_beam.errors import ConfigError, ErrorCode, Stage
from deepo_beam.identity import SCHEME, canonical_crop, image_id, normalise_uri, problem_id
from deepo_beam.text import clean_text, cut_middle
from deepo_beam.types import Failure, ImageRef

_LONGEST_TEXT = 1000  # characters of a bad row or a message that are kept
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_USER = re.compile(r"(?<=://)[^/@\s]*@")  # whoever reads errors/ need not know a password
_IN_A_BUCKET = re.compile(r"[^:/]+://[^/]+")


@dataclass(frozen=True, slots=True)
class InputOptions:
    """Which columns of a list mean something.

    Attributes:
        uri_column: the image's URI.
        id_column: the user's own id of the image, None for none.
        bbox_column, polygon_column: a crop, see :func:`deepo_beam.identity.canonical_crop`; None for none.
        crop_column: where neither is named, and rows have the column: a crop as our tables have it; None for none.
        allow_local: a list that is not on this machine may name files of this machine.
        own_list: a list that this run has made, and that may name anything; None for none.
        own_output: normalised URI of the run's output, whose files no folder and no glob names; None for none.
    """

    uri_column: str = "image_uri"
    id_column: str | None = None
    bbox_column: str | None = None
    polygon_column: str | None = None
    crop_column: str | None = None
    allow_local: bool = False
    own_list: str | None = None
    own_output: str | None = None

    def columns(self) -> tuple[str, ...]:
        """Return the columns named, all of which a list must have."""
        named = (self.uri_column, self.id_column, self.bbox_column, self.polygon_column)
        return tuple(name for name in named if name is not None)


class Microseconds(int):
    """A time as Parquet has it, since 1970 UTC: a ``datetime`` would cost more than all the rest of a row."""


class Row(NamedTuple):
    """What a reader found in one line of a list, before anything was made of it.

    Attributes:
        line: of the list, from 1 (of Parquet: the row).
        values: by column; None where the row could not be read.
        text: the row as it stands in the list, for whoever looks for it.
        problem: why it could not be read, as "the row ..." continues.
    """

    line: int
    values: Mapping[str, Any] | None = None
    text: str = ""
    problem: str = ""


class Origin(NamedTuple):
    """Where an image was named.

    Attributes:
        source: the input, and the line if it has lines: ``photos.csv:17``.
        input_index: the place of the input among the inputs, from 0.
        line: the place in the input, from 1.
    """

    source: str
    input_index: int
    line: int


def image_of_object(found: storage.StoredObject, origin: Origin) -> ImageRef:
    """Return the image of a listed object; one with a ``problem`` if its name cannot be used."""
    try:
        uri, location = _usable(found.uri)
    except ValueError as error:
        return _bad(origin, ErrorCode.INVALID_URI, str(error), found.uri)
    return _ref(origin, uri, location, size_bytes=found.size_bytes, modified_us=found.modified_us)


def image_of_row(row: Row, origin: Origin, folder: str | None, options: InputOptions) -> ImageRef:
    """Return the image of a row of a list; one with a ``problem`` if the row cannot be used.

    Args:
        row: the row.
        origin: where it stands.
        folder: what a relative URI is relative to; None: the working directory.
        options: which columns mean something. The others become attributes as text, but for ``size_bytes``
            (or ``size``) and ``modified_at`` where they hold a size and a time.
    """
    if row.values is None:
        return _bad(origin, ErrorCode.BAD_MANIFEST_ROW, f"the row {row.problem}", row.text)
    values = dict(row.values)
    text = values.pop(options.uri_column, None)
    if not isinstance(text, str) or not text:
        return _bad(origin, ErrorCode.BAD_MANIFEST_ROW, f"the row has no {options.uri_column}", row.text)
    try:
        uri, location = _usable(_resolved(text, folder))
    except ValueError as error:
        return _bad(origin, ErrorCode.INVALID_URI, str(error), text)
    if not values:  # most lists name images and nothing else
        return _ref(origin, uri, location)
    shapes = {"bbox": options.bbox_column, "polygon": options.polygon_column}
    given: Any = {shape: values.pop(column, None) for shape, column in shapes.items() if column}
    if options.crop_column is not None and not given:
        given = values.pop(options.crop_column, None)
    try:
        crop = canonical_crop(given) if given else None
    except ValueError as error:
        return _bad(origin, ErrorCode.BAD_MANIFEST_ROW, str(error), uri)
    own_id = None if options.id_column is None else values.pop(options.id_column, None)
    size, modified = _size(values), _modified(values)
    return _ref(origin, uri, location, crop, _text(own_id), attributes_of(values), size, modified)


def image_of_error(row: Row, origin: Origin, options: InputOptions) -> ImageRef | None:
    """Return the image of a row of ``errors/``; None if the row names none that could be read.

    A file that a list elsewhere was not allowed to name is not read by way of ``errors/`` either.
    """
    values = row.values or {}
    code = values.get("error_code")
    if code in (ErrorCode.INVALID_URI.value, ErrorCode.BAD_MANIFEST_ROW.value):
        return None
    if code == ErrorCode.SCHEME_REFUSED.value and not options.allow_local:
        return None
    try:
        uri, location = _usable(values.get("image_uri") or "")
        crop = canonical_crop(values.get("crop"))
    except ValueError:
        return None
    attributes = attributes_of(dict(values.get("attributes") or ()))
    return _ref(origin, uri, location, crop, _text(values.get("external_id")), attributes)


def refused_if_local(image: ImageRef, list_uri: str) -> ImageRef:
    """Return the image, failed if it is a file of this machine; ``list_uri`` is the list elsewhere that named it."""
    if image.problem is not None or not storage.is_local(image.location):
        return image
    message = (
        f"the list {list_uri} is not on this machine and names a file that is: {image.image_uri};"
        " if the list is trusted, allow it with --allow-scheme file"
    )
    origin = Origin(image.source or list_uri, image.input_index, image.line)
    return _bad(origin, ErrorCode.SCHEME_REFUSED, message, image.image_uri)


def _usable(text: str) -> tuple[str, str]:
    """Return the normalised URI of an image and what to open.

    Raises:
        ValueError: the text names nothing that can be opened.
    """
    uri = normalise_uri(text)
    if uri[0] == "/":
        # A local path is opened where it was when it was listed, whatever the worker's directory.
        return uri, uri
    scheme = uri.partition("://")[0]
    if scheme not in ("http", "https"):
        try:
            storage.check_scheme(scheme)
        except ConfigError as error:
            raise ValueError(str(error)) from error
    return uri, text


def _resolved(text: str, folder: str | None) -> str:
    """Make a relative URI of a list absolute."""
    if folder is None or text.startswith("/") or SCHEME.match(text):
        return text
    if storage.is_local(folder):
        return storage.join(folder, text)
    base, rest = folder.rstrip("/"), text
    while rest.startswith(("./", "../")):
        step, _, rest = rest.partition("/")
        base = base if step == "." else base.rpartition("/")[0]
    if not _IN_A_BUCKET.match(base):
        raise ValueError(f"{text!r} leads out of the bucket of {folder}")
    return f"{base}/{rest}"


def _ref(
    origin: Origin,
    uri: str,
    location: str,
    crop: str | None = None,
    external_id: str | None = None,
    attributes: tuple[tuple[str, str], ...] = (),
    size_bytes: int | None = None,
    modified_us: int | None = None,
) -> ImageRef:
    # By position: names would cost as much as the hash.
    known = (crop, external_id, attributes, size_bytes, modified_us)
    return ImageRef(image_id(uri, crop), uri, location, *known, *origin)


def _bad(origin: Origin, code: ErrorCode, message: str, text: str) -> ImageRef:
    """Return an image that has failed already: its identity is where it stands and what stands there."""
    return ImageRef(
        image_id=problem_id(origin.source, text),
        image_uri=clean_text(_USER.sub("", text), _LONGEST_TEXT),
        location="",
        source=origin.source,
        input_index=origin.input_index,
        line=origin.line,
        problem=Failure(
            stage=Stage.LIST,
            code=code,
            message=cut_middle(f"{origin.source}: {_USER.sub('', message)}", _LONGEST_TEXT),
            retryable=False,
        ),
    )


def attributes_of(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return what is left of a row as attributes: text by name, sorted; nothing for nulls and empty text."""
    if not values:
        return ()
    texts = ((clean_text(name), _text(value)) for name, value in values.items())
    return tuple(sorted((name, text) for name, text in texts if text is not None))


def _text(value: Any) -> str | None:
    """Return a value as text: times in ISO 8601, lists and objects as JSON; None for nothing."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (list, dict)):
        return clean_text(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_text))
    return str(value)


def _size(values: dict[str, Any]) -> int | None:
    """Take the size (bytes) out of the columns if one holds a size."""
    for column in ("size_bytes", "size"):
        value = values.get(column)
        if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 18:
            value = int(value)
        if isinstance(value, float) and value.is_integer():  # what data frames make of integers with gaps
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63:
            del values[column]
            return value
    return None


def _modified(values: dict[str, Any]) -> int | None:
    """Take the time (microseconds since 1970) out of the column if it holds one; UTC without a zone."""
    value = values.get("modified_at")
    if isinstance(value, Microseconds):
        del values["modified_at"]
        return int(value)
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    del values["modified_at"]
    aware = value if value.tzinfo is not None else value.replace(tzinfo=timezone.utc)
    return (aware - _EPOCH) // timedelta(microseconds=1)
