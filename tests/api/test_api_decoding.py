"""Any reply becomes a value or the right error; no reply gets through unchecked."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepo_beam import errors
from deepo_beam.api import Account, LabelInfo, OutputSpec, TaskState, decoding
from deepo_beam.api.replies import raise_for_status

PREDICTION = {"label_id": 1, "label_name": "cat", "score": 0.9, "threshold": 0.5}
DATA = {"outputs": [{"labels": {"predicted": [PREDICTION], "discarded": []}}]}
TASK = {"id": "7", "status": "success", "error": None, "data": DATA}
SPEC = {
    "id": 42,
    "name": "faces",
    "description": "d",
    "task_id": 2,
    "update_date": "2026-11-24T00:00:00Z",
    "metadata": {"a": 1},
    "outputs": [{"labels": {"roi": "BBOX", "exclusive": False, "labels": [{"id": 3, "name": "face"}]}}],
    "current_version_id": 13,
}
DETECTION = OutputSpec("BBOX", False, ())


def reply(value: Any, status: int = 200, **headers: str) -> tuple[int, dict[str, str], bytes]:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return status, {name.replace("_", "-"): text for name, text in headers.items()}, body


def page(*entries: Any, following: Any = None) -> tuple[int, dict[str, str], bytes]:
    return reply({"count": len(entries), "next": following, "previous": None, "results": list(entries)})


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, errors.RedirectError),
        (304, errors.RedirectError),
        (400, errors.BadRequestError),
        (401, errors.AuthenticationError),
        (402, errors.EndpointError),
        (403, errors.ForbiddenError),
        (404, errors.NotFoundError),
        (407, errors.EndpointError),
        (408, errors.ServiceUnavailableError),
        (413, errors.PayloadTooLargeError),
        (415, errors.BadRequestError),
        (422, errors.BadRequestError),
        (429, errors.ThrottledError),
        (500, errors.ServerError),
        (502, errors.ServerError),
        (503, errors.ServiceUnavailableError),
        (504, errors.ServerError),
        (199, errors.BadReplyError),
        (999, errors.BadReplyError),
    ],
)
def test_each_status_has_its_error(status: int, kind: type[errors.ApiError]) -> None:
    with pytest.raises(errors.ApiError) as caught:
        decoding.decode_account(*reply({"error": "the reason"}, status))
    assert type(caught.value) is kind
    assert caught.value.status == status
    assert str(status) in str(caught.value)


@pytest.mark.parametrize("status", [200, 201, 202, 299])
def test_2xx_is_no_error(status: int) -> None:
    raise_for_status(status, {}, b"")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"error": "too big"}, "HTTP 400: too big"),
        ({"detail": "too big"}, "HTTP 400: too big"),
        ({"error": {"inputs": ["empty"]}}, 'HTTP 400: {"error": {"inputs": ["empty"]}}'),
        (["odd"], 'HTTP 400: ["odd"]'),
        ({"error": "a\x1b[31m\nb\u202ec\ud800"}, "HTTP 400: a [31m b c\ufffd"),
        (b"plain", "HTTP 400: plain"),
        (b"\xff\x00", "HTTP 400: \ufffd"),
        (b" ", "HTTP 400: no message"),
        (b"\n<html>  <h1>Bad\nGateway</h1>", "HTTP 400: an HTML page: <html> <h1>Bad Gateway</h1>"),
        (b"[" * 100_000, f"HTTP 400: {'[' * 299}…"),
    ],
)
def test_an_error_shows_the_message_of_the_service_on_one_line(body: Any, text: str) -> None:
    with pytest.raises(errors.BadRequestError) as caught:
        raise_for_status(*reply(body, 400))
    assert str(caught.value) == text


def test_a_message_is_cut_to_300_characters() -> None:
    with pytest.raises(errors.ServerError) as caught:
        raise_for_status(*reply({"error": "x" * 10_000}, 500))
    assert str(caught.value) == f"HTTP 500: {'x' * 299}…"


def test_an_error_names_the_request_if_the_service_did() -> None:
    with pytest.raises(errors.ServerError, match=r"HTTP 500: no \(request id abc-1\)$"):
        raise_for_status(*reply({"error": "no"}, 500, X_Request_ID="abc-1"))


def test_a_redirect_names_its_target() -> None:
    with pytest.raises(errors.RedirectError, match=r"redirect to 'https://evil\.example/', not followed"):
        raise_for_status(*reply(b"", 302, Location="https://evil.example/"))


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry_After": "12"}, 12.0),
        ({"retry_after": "Tue, 24 Nov 2026 12:00:09 GMT", "Date": "Tue, 24 Nov 2026 12:00:00 GMT"}, 9.0),
        ({"retry_after": "Tue, 24 Nov 2026 12:00:09 GMT", "Date": "now"}, None),
        ({"retry_after": "Tue, 24 Nov 2026 12:00:09 GMT"}, None),
        ({"Retry_After": "soon"}, None),
        ({}, None),
    ],
)
def test_throttling_carries_the_wait_that_was_asked_for(
    status: int, headers: dict[str, str], seconds: float | None
) -> None:
    with pytest.raises((errors.ThrottledError, errors.ServiceUnavailableError)) as caught:
        raise_for_status(*reply({}, status, **headers))
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize(
    ("body", "flaw"),
    [
        (b"", "the body is empty"),
        (b" \n", "the body is empty"),
        (b"<!doctype html><title>Hi</title>", "the body is an HTML page: <!doctype html><title>Hi</title>"),
        (b'{"task_id": "1', "the body is not JSON, or was cut"),
        (b'{"task_id": "\xff"}', "the body is not JSON, or was cut"),
        (b'{"task_id": ' + b"9" * 10_000 + b"}", "the body is not JSON, or was cut"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"[]", "a JSON array of 0, not a JSON object"),
        (b"null", "null, not a JSON object"),
        (b"NaN", "nan, not a JSON object"),
    ],
)
@pytest.mark.parametrize("decode", [decoding.decode_accepted, decoding.decode_tasks, decoding.decode_account])
def test_a_2xx_reply_that_is_no_json_object_is_a_bad_reply(decode: Any, body: bytes, flaw: str) -> None:
    with pytest.raises(errors.BadReplyError, match=flaw) as caught:
        decode(*reply(body))
    assert caught.value.maybe_billed
    assert caught.value.__context__ is None, "the parser's error would keep the whole reply alive"
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(("raw", "text"), [("abc-1", "abc-1"), (17, "17"), ("0017", "0017")])
def test_a_task_id_is_kept_as_text(raw: Any, text: str) -> None:
    assert decoding.decode_accepted(*reply({"task_id": raw, "new": 1}, 201)) == text


@pytest.mark.parametrize("raw", [None, True, "", 1.5, {}, "a\nb", "\ud800", "x" * 257])
def test_a_task_id_that_is_none_is_a_bad_reply(raw: Any) -> None:
    with pytest.raises(errors.BadReplyError, match="task_id is "):
        decoding.decode_accepted(*reply({"task_id": raw}))


def test_an_account_is_read() -> None:
    assert decoding.decode_account(*reply({"id": 5, "name": "me", "x": []})) == Account("5", "me")
    assert decoding.decode_account(*reply({})) == Account(None, None)


def test_a_specification_is_read_whole() -> None:
    spec = decoding.decode_specification(*reply(SPEC | {"new": 1}), public=False)
    assert (spec.id, spec.name, spec.description, spec.task_id) == ("42", "faces", "d", "2")
    assert (spec.current_version_id, spec.public) == (13, False)
    assert spec.metadata == {"a": 1}
    assert spec.outputs == (OutputSpec("BBOX", False, (LabelInfo(3, "face"),)),)
    assert pickle.loads(pickle.dumps(spec)) == spec


def test_fields_that_lists_hide_are_none() -> None:
    listed = {key: SPEC[key] for key in ("id", "name")}
    (spec,) = decoding.decode_specifications(*page(listed), public=True).results
    assert spec.outputs is None
    assert spec.current_version_id is None


@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        ({"id": None}, "id is null"),
        ({"current_version_id": "13"}, "current_version_id is '13'"),
        ({"outputs": 3}, "outputs is 3"),
        ({"outputs": [{}]}, "labels is null"),
        ({"outputs": [{"labels": {"roi": "MASK", "labels": []}}]}, "roi is 'MASK', expected NONE or BBOX"),
        ({"outputs": [{"labels": {"roi": "NONE", "labels": [{"id": "1", "name": "a"}]}}]}, "label's id is"),
        ({"outputs": [{"labels": {"roi": "NONE", "labels": [{"id": 1}]}}]}, "label's name is null"),
    ],
)
def test_a_specification_of_another_shape_is_a_bad_reply(change: dict[str, Any], flaw: str) -> None:
    with pytest.raises(errors.BadReplyError, match=flaw):
        decoding.decode_specification(*reply(SPEC | change), public=False)


def test_a_version_is_read() -> None:
    raw = {"id": 13, "spec_id": 3, "network_id": 9, "post_processings": [], "update_date": "2026"}
    version = decoding.decode_version(*reply(raw))
    assert (version.id, version.spec_id, version.network_id) == (13, "3", "9")
    assert decoding.decode_versions(*page(raw)).results == (version,)


@pytest.mark.parametrize(
    ("following", "more"), [(None, False), ("", False), ("/tasks/?offset=1", True), ("http://evil/", True)]
)
def test_a_page_says_whether_more_follow(following: Any, more: bool) -> None:
    assert decoding.decode_versions(*page(following=following)).has_next is more


def test_a_page_without_results_is_a_bad_reply() -> None:
    with pytest.raises(errors.BadReplyError, match="results is null, expected an array"):
        decoding.decode_tasks(*reply({"count": 0}))


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({"status": "pending", "data": None}, TaskState.PENDING),
        ({"status": "success"}, TaskState.SUCCESS),
        ({"status": "error", "error": "cannot decode"}, TaskState.ERROR),
    ],
)
def test_a_task_has_its_state(change: dict[str, Any], state: TaskState) -> None:
    task = decoding.decode_task(*reply(TASK | change))
    assert (task.id, task.state, task.problem) == ("7", state, None)
    assert (task.outputs is not None) is (state is TaskState.SUCCESS)
    assert (task.error is not None) is (state is TaskState.ERROR)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("no\nway", "no way"),
        (None, "the service gave no reason"),
        ("\x00", "the service gave no reason"),
        ({"code": 3}, "a JSON object of 1"),
        ("x" * 999, "x" * 299 + "…"),
    ],
)
def test_the_error_of_a_task_is_text_on_one_line(raw: Any, text: str) -> None:
    assert decoding.decode_task(*reply(TASK | {"status": "error", "error": raw})).error == text


@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        ({"status": "started"}, "task 7: status is 'started', expected pending, success or error"),
        ({"status": None}, "task 7: status is null"),
        ({"status": ["success"]}, "task 7: status is a JSON array of 1"),
        ({"data": None}, "task 7: outputs is null"),
        ({"data": {"outputs": []}}, "task 7: outputs is a JSON array of 0"),
        ({"data": {"outputs": [{"labels": {"predicted": [PREDICTION | {"score": 2}]}}]}}, "score is 2"),
    ],
)
def test_one_bad_task_spoils_only_itself(change: dict[str, Any], flaw: str) -> None:
    entries = [TASK | {"id": str(number)} for number in range(100)]
    entries[7] = TASK | change
    tasks = decoding.decode_tasks(*page(*entries))
    assert [task.id for task in tasks] == [str(number) for number in range(100)]
    bad = tasks.pop(7)
    assert flaw in str(bad.problem)
    assert isinstance(bad.problem, errors.BadResultError)
    assert bad.outputs is None
    assert all(task.outputs and not task.problem for task in tasks)


def test_a_detection_without_boxes_is_the_problem_of_its_task() -> None:
    (task,) = decoding.decode_tasks(*page(TASK), [DETECTION])
    assert "no roi.bbox" in str(task.problem)


@pytest.mark.parametrize("entry", [None, 3, "x", [], {}, {"id": None}, {"id": True}, {"id": "\n"}])
def test_an_entry_that_is_nobodys_task_is_left_out(entry: Any) -> None:
    assert [task.id for task in decoding.decode_tasks(*page(entry, TASK))] == ["7"]


def test_a_single_task_without_an_id_is_a_bad_reply() -> None:
    with pytest.raises(errors.BadReplyError, match="id is null"):
        decoding.decode_task(*reply(TASK | {"id": None}))


DECODERS = (
    decoding.decode_accepted,
    decoding.decode_task,
    decoding.decode_tasks,
    decoding.decode_version,
    decoding.decode_account,
)


@given(
    decode=st.sampled_from(DECODERS),
    status=st.integers(100, 599),
    body=st.binary(max_size=60),
    cut=st.none() | st.integers(0, 400),
)
def test_no_reply_raises_anything_but_an_api_error(decode: Any, status: int, body: bytes, cut: int | None) -> None:
    whole = json.dumps({"task_id": 1, "id": "1", "status": "success", "results": [TASK], "data": DATA})
    try:
        decode(status, {}, body if cut is None else whole.encode()[:cut])
    except errors.ApiError as error:
        assert error.status == status  # noqa: PT017 - either way is right, and each has its promise
    else:
        assert 200 <= status < 300
