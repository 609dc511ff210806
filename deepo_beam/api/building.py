"""Paths and bodies of requests; pure, but for the random boundary of a multipart body.

Paths start after ``https://HOST/v0.7``. Reads end in a slash, as the official client sends them; an
inference is posted to ``.../inference`` without one.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Sequence
from urllib.parse import quote, urlencode

import pybase64

from deepo_beam.errors import ConfigError
from deepo_beam.types import ModelKind, ModelRef

JSON_TYPE = "application/json"
MAX_TASKS_PER_CALL = 100
PAGE_SIZE = 100

ACCOUNT_PATH = "/accounts/me/"

_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}", re.ASCII)
_MEDIA_TYPE = re.compile(r"image/[a-z0-9][a-z0-9.+-]{0,60}", re.ASCII)


def is_public(spec_id: str) -> bool:
    """Whether a specification is public: private ids are integers (Deepomatic API v0.7, specifications)."""
    return not (spec_id.isascii() and spec_id.isdigit())


def collection_path(*, public: bool, offset: int = 0) -> str:
    """Path of one page of 100 specifications, from the ``offset``-th on."""
    return f"/recognition/{'public' if public else 'specs'}/?{_paging(offset)}"


def specification_path(spec_id: str) -> str:
    """Path of one specification.

    Raises:
        ConfigError: the id has characters that no id has.
    """
    return f"/recognition/{'public' if is_public(spec_id) else 'specs'}/{_checked(spec_id)}/"


def versions_path(spec_id: str, *, offset: int = 0) -> str:
    """Path of one page of the versions of a specification; ConfigError as for `specification_path`."""
    return f"{specification_path(spec_id)}versions/?{_paging(offset)}"


def version_path(version_id: str) -> str:
    """Path of one version.

    Raises:
        ConfigError: the id is not all digits.
    """
    if is_public(version_id):
        raise ConfigError(f"model version id {version_id!r}: versions have integer ids; a name belongs to --spec")
    return f"/recognition/versions/{_checked(version_id)}/"


def inference_path(model: ModelRef) -> str:
    """Where an image for this model is posted to.

    A specification of digits only is private, any other is public, as the official tools tell them apart.

    Raises:
        ConfigError: the id cannot be one.
    """
    path = version_path(model.id) if model.kind is ModelKind.VERSION else specification_path(model.id)
    return f"{path}inference"


def task_path(task_id: str) -> str:
    """Path of one task."""
    return f"/tasks/{quote(task_id, safe='')}/"


def tasks_path(task_ids: Sequence[str], *, offset: int = 0) -> str:
    """Path of a list of tasks, the id repeated as a parameter.

    Raises:
        ValueError: not 1 to 100 ids.
    """
    if not 1 <= len(task_ids) <= MAX_TASKS_PER_CALL:
        raise ValueError(f"tasks: 1 to {MAX_TASKS_PER_CALL} ids a call, not {len(task_ids)}")
    return f"/tasks/?{urlencode([('task_ids', task_id) for task_id in task_ids])}&{_paging(offset)}"


def json_body(
    image: bytes,
    media_type: str,
    *,
    crop: str | None = None,
    show_discarded: bool = False,
    max_predictions: int | None = None,
) -> bytes:
    """An image as base64 in JSON, put together as bytes: the image is never text, and copied once.

    Args:
        image: the file, untouched.
        media_type: ``image/jpeg`` and the like.
        crop: JSON text ``{"bbox": {...}}`` or ``{"polygon": [...]}``, 0..1 of the image, None for all of it.
        show_discarded: also ask for labels below their threshold.
        max_predictions: at most so many labels, None for the service's own limit.

    Returns:
        The body; its type is ``application/json``.

    Raises:
        ConfigError: ``crop`` is neither, or ``media_type`` is none of an image.
    """
    return b"".join(
        (
            b'{"inputs":[{"image":{"source":"data:',
            _media_type(media_type),
            b";base64,",
            pybase64.b64encode(image),
            b'"',
            _crop_json(crop),
            b"}}]",
            _options_json(show_discarded, max_predictions),
            b"}",
        )
    )


def url_body(
    url: str, *, crop: str | None = None, show_discarded: bool = False, max_predictions: int | None = None
) -> bytes:
    """An image by its URL, which the service fetches; arguments and result as for `json_body`.

    Raises:
        ConfigError: the URL is not http(s), or ``crop`` is neither bbox nor polygon.
    """
    if not url.lower().startswith(("http://", "https://")):
        raise ConfigError(f"{url[:200]!r} cannot be sent by URL: it is not http(s); use another --payload")
    source = json.dumps(url).encode("ascii")
    options = _options_json(show_discarded, max_predictions)
    return b'{"inputs":[{"image":{"source":' + source + _crop_json(crop) + b"}}]" + options + b"}"


def multipart_body(
    image: bytes,
    media_type: str,
    *,
    crop: str | None = None,
    show_discarded: bool = False,
    max_predictions: int | None = None,
) -> tuple[bytes, str]:
    """An image as a file part, a third smaller than base64; arguments and errors as for `json_body`.

    Part names are flattened as the official client does it: ``inputs[0]image.bbox.xmin``, booleans as the
    texts ``True`` and ``False``.

    Returns:
        The body and its content type, which holds the boundary.
    """
    boundary = secrets.token_hex(16)  # random, so that no image can be made to contain it
    fields: list[tuple[str, object]] = [("show_discarded", show_discarded)]
    if max_predictions is not None:
        fields.append(("max_predictions", max_predictions))
    fields.extend(_flatten("inputs[0]image", _parse_crop(crop)))
    pieces = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="inputs[0]image.source"; filename="image"\r\n'
    pieces += [head.encode("ascii"), b"Content-Type: ", _media_type(media_type), b"\r\n\r\n", image]
    pieces.append(f"\r\n--{boundary}--\r\n".encode("ascii"))
    return b"".join(pieces), f"multipart/form-data; boundary={boundary}"


def _paging(offset: int) -> str:
    return f"offset={offset}&limit={PAGE_SIZE}"


def _checked(text: str) -> str:
    if not _ID.fullmatch(text):
        raise ConfigError(f"id {text[:100]!r}: ids are letters, digits, '.', '_' and '-'; check its spelling")
    return text


def _media_type(text: str) -> bytes:
    if not _MEDIA_TYPE.fullmatch(text):
        raise ConfigError(f"media type {text[:100]!r}: expected one of an image, such as image/jpeg")
    return text.encode("ascii")


def _options_json(show_discarded: bool, max_predictions: int | None) -> bytes:
    limit = b"" if max_predictions is None else b',"max_predictions":%d' % max_predictions
    return b',"show_discarded":' + (b"true" if show_discarded else b"false") + limit


def _parse_crop(crop: str | None) -> dict[str, object]:
    if crop is None:
        return {}
    try:
        parsed = json.loads(crop)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict) or set(parsed) not in ({"bbox"}, {"polygon"}):
        raise ConfigError(f'crop {crop[:200]!r}: expected {{"bbox": {{...}}}} or {{"polygon": [...]}}')
    return parsed


def _crop_json(crop: str | None) -> bytes:
    parsed = _parse_crop(crop)
    return b"," + json.dumps(parsed, separators=(",", ":"))[1:-1].encode("ascii") if parsed else b""


def _flatten(prefix: str, value: object) -> Iterator[tuple[str, object]]:
    """Part names of nested JSON: ``.key`` below an object, ``[i]`` for an array, no dot after ``[i]``."""
    if isinstance(value, dict):
        dot = "" if prefix.endswith("]") else "."
        for key, inner in value.items():
            yield from _flatten(f"{prefix}{dot}{key}", inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _flatten(f"{prefix}[{index}]", inner)
    else:
        yield prefix, value
