"""Replies in, values out: pure, and forgiving only about what the API does not promise.

Every ``decode_*`` takes ``(status, headers, body)`` of a whole reply, so that ``decode_task(*reply)`` works,
raises for any status but 2xx as :func:`deepo_beam.api.replies.raise_for_status` does, and raises
BadReplyError for a 2xx reply that is not what the Deepomatic API v0.7 promises. Unknown fields are ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from deepo_beam.api.outputs import clean_outputs
from deepo_beam.api.replies import bad_reply, json_object
from deepo_beam.api.text import clean_name, one_line, shown
from deepo_beam.api.values import (
    Account,
    LabelInfo,
    OutputSpec,
    Page,
    Specification,
    Task,
    TaskState,
    Version,
)
from deepo_beam.errors import BadResultError
from deepo_beam.text import clean_text

T = TypeVar("T")
Json = Mapping[str, object]

_MAX_TASK_ID = 256  # it goes into URLs and tables


class _FlawError(Exception):
    """A field that is not what it should be; never leaves this module."""


def decode_account(status: int, headers: Mapping[str, str], body: bytes) -> Account:
    """``GET /accounts/me``. Its fields are not documented, so none of them is required."""
    raw = json_object(status, headers, body)
    return Account(id=_id_text(raw.get("id")), name=_optional_text(raw.get("name")))


def decode_specification(status: int, headers: Mapping[str, str], body: bytes, *, public: bool) -> Specification:
    """``GET`` on one specification, all fields."""
    return _decode(status, headers, body, lambda raw: _specification(raw, public))


def decode_specifications(status: int, headers: Mapping[str, str], body: bytes, *, public: bool) -> Page[Specification]:
    """``GET`` on a collection of specifications, one page; their outputs are hidden."""
    return decode_page(status, headers, body, lambda raw: _specification(raw, public))


def decode_version(status: int, headers: Mapping[str, str], body: bytes) -> Version:
    """``GET`` on one version."""
    return _decode(status, headers, body, _version)


def decode_versions(status: int, headers: Mapping[str, str], body: bytes) -> Page[Version]:
    """``GET`` on the versions of a specification, one page."""
    return decode_page(status, headers, body, _version)


def decode_accepted(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """The task id that a posted inference was given, as text (the service sends text or an integer)."""
    raw = json_object(status, headers, body)
    task_id = _id_text(raw.get("task_id"))
    if task_id is None:
        raise bad_reply(status, headers, f"task_id is {shown(raw.get('task_id'))}, expected an id")
    return task_id


def decode_task(
    status: int, headers: Mapping[str, str], body: bytes, expected: Sequence[OutputSpec] | None = None
) -> Task:
    """``GET`` on one task; ``expected`` are the outputs of the specification, None checks less.

    A result or a status that cannot be trusted is the ``problem`` of the task that is returned.
    """
    return _decode(status, headers, body, lambda raw: _task(raw, expected))


def decode_tasks(
    status: int, headers: Mapping[str, str], body: bytes, expected: Sequence[OutputSpec] | None = None
) -> list[Task]:
    """``GET`` on many tasks, one page of at most 100; see `decode_task_page`."""
    return list(decode_task_page(status, headers, body, expected).results)


def decode_task_page(
    status: int, headers: Mapping[str, str], body: bytes, expected: Sequence[OutputSpec] | None = None
) -> Page[Task]:
    """``GET`` on many tasks: one page, where one bad task spoils only itself.

    An entry without an id is left out, as if the service did not know it: nobody can tell whose it is.
    """
    page = decode_page(status, headers, body, lambda raw: _task_or_none(raw, expected))
    return Page(tuple(task for task in page.results if task is not None), page.has_next)


def decode_page(status: int, headers: Mapping[str, str], body: bytes, item: Callable[[object], T]) -> Page[T]:
    """One page ``{count, next, previous, results}`` of a collection, its entries decoded by ``item``.

    ``next`` is a URL or a path; only whether it is there is used, so no host but ours is ever asked.
    """

    def page(raw: object) -> Page[T]:
        fields = _object("the body", raw)
        results = _array("results", fields.get("results"))
        return Page(tuple(item(entry) for entry in results), bool(fields.get("next")))

    return _decode(status, headers, body, page)


def _decode(status: int, headers: Mapping[str, str], body: bytes, item: Callable[[object], T]) -> T:
    raw = json_object(status, headers, body)
    try:
        return item(raw)
    except _FlawError as error:
        flaw = str(error)
    raise bad_reply(status, headers, flaw)


def _specification(entry: object, public: bool) -> Specification:
    raw = _object("a specification", entry)
    metadata = raw.get("metadata")
    outputs = raw.get("outputs")
    return Specification(
        id=_required_id("id", raw.get("id")),
        name=clean_name(_optional_text(raw.get("name")) or ""),
        description=_optional_text(raw.get("description")) or "",
        task_id=_id_text(raw.get("task_id")),
        update_date=_optional_text(raw.get("update_date")),
        metadata=metadata if isinstance(metadata, dict) else {},
        outputs=None if outputs is None else tuple(_output_spec(o) for o in _array("outputs", outputs)),
        current_version_id=_optional_integer("current_version_id", raw.get("current_version_id")),
        public=public,
    )


def _output_spec(raw: object) -> OutputSpec:
    labels = _object("outputs[].labels", _object("outputs[]", raw).get("labels"))
    roi = labels.get("roi")
    if roi != "NONE" and roi != "BBOX":
        raise _FlawError(f"outputs[].labels.roi is {shown(roi)}, expected NONE or BBOX")
    infos = (_object("a label", info) for info in _array("outputs[].labels.labels", labels.get("labels")))
    return OutputSpec(
        roi="BBOX" if roi == "BBOX" else "NONE",
        exclusive=labels.get("exclusive") is True,
        labels=tuple(
            LabelInfo(
                _integer("a label's id", info.get("id")),
                clean_name(_text("a label's name", info.get("name"))),
            )
            for info in infos
        ),
    )


def _version(entry: object) -> Version:
    raw = _object("a version", entry)
    return Version(
        id=_integer("id", raw.get("id")),
        spec_id=_id_text(raw.get("spec_id")),
        network_id=_id_text(raw.get("network_id")),
        post_processings=raw.get("post_processings"),
        update_date=_optional_text(raw.get("update_date")),
    )


def _task_or_none(entry: object, expected: Sequence[OutputSpec] | None) -> Task | None:
    has_id = isinstance(entry, dict) and _id_text(entry.get("id")) is not None
    return _task(entry, expected) if has_id else None


def _task(entry: object, expected: Sequence[OutputSpec] | None) -> Task:
    raw = _object("a task", entry)
    task_id = _required_id("id", raw.get("id"))
    status = raw.get("status")
    if status == "pending":
        return Task(task_id, TaskState.PENDING)
    if status == "error":
        return Task(task_id, TaskState.ERROR, error=_error_text(raw.get("error")))
    if status != "success":
        flaw = f"status is {shown(status)}, expected pending, success or error"
        return Task(task_id, TaskState.UNKNOWN, problem=BadResultError(f"task {task_id}: {flaw}"))
    data = raw.get("data")
    try:
        outputs = clean_outputs(data.get("outputs") if isinstance(data, dict) else None, expected)
    except BadResultError as error:
        flaw = str(error)
    else:
        return Task(task_id, TaskState.SUCCESS, outputs=outputs)
    return Task(task_id, TaskState.SUCCESS, problem=BadResultError(f"task {task_id}: {flaw}"))


def _error_text(raw: object) -> str:
    text = one_line(raw) if isinstance(raw, str) else shown(raw)
    return text if raw and text else "the service gave no reason"


def _id_text(raw: object) -> str | None:
    """An id, text or integer in JSON, as text; None for what is none."""
    text = str(raw) if isinstance(raw, int) and not isinstance(raw, bool) else raw
    if not isinstance(text, str) or not 1 <= len(text) <= _MAX_TASK_ID:
        return None
    return text if text.isascii() and text.isprintable() else None


def _required_id(name: str, raw: object) -> str:
    text = _id_text(raw)
    if text is None:
        raise _FlawError(f"{name} is {shown(raw)}, expected an id")
    return text


def _optional_text(raw: object) -> str | None:
    return clean_text(raw) if isinstance(raw, str) else None


def _text(name: str, raw: object) -> str:
    if not isinstance(raw, str):
        raise _FlawError(f"{name} is {shown(raw)}, expected text")
    return raw


def _integer(name: str, raw: object) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int):
        raise _FlawError(f"{name} is {shown(raw)}, expected an integer")
    return raw


def _optional_integer(name: str, raw: object) -> int | None:
    return None if raw is None else _integer(name, raw)


def _array(name: str, raw: object) -> list[object]:
    if not isinstance(raw, list):
        raise _FlawError(f"{name} is {shown(raw)}, expected an array")
    return raw


def _object(name: str, raw: object) -> Json:
    if not isinstance(raw, dict):
        raise _FlawError(f"{name} is {shown(raw)}, expected an object")
    return raw
