"""The key is looked for in everything that leaves the client."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from deepo_beam import errors
from deepo_beam.api import Client
from deepo_beam.types import ModelKind, ModelRef

OpenClient = Callable[..., Client]
MODEL = ModelRef(ModelKind.SPEC, "echo-v1")


def reachable(root: BaseException) -> Iterator[Any]:
    """The exception and all that hangs on it: causes, contexts, arguments, attributes."""
    seen: set[int] = set()
    todo: list[Any] = [root]
    while todo:
        thing = todo.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        yield thing
        if isinstance(thing, BaseException):
            todo += [thing.__cause__, thing.__context__, *thing.args]
        if isinstance(thing, dict):
            todo += [*thing.keys(), *thing.values()]
        elif isinstance(thing, (list, tuple, set)):
            todo += thing
        elif hasattr(thing, "__dict__") and not isinstance(thing, type):
            todo.append(vars(thing))


def frames(error: BaseException) -> Iterator[str]:
    """The local variables of our own code, as tracebacks with locals print them."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if "deepo_beam" in frame.f_code.co_filename and "/tests/" not in frame.f_code.co_filename:
            yield from (repr(value) for value in frame.f_locals.values())


def assert_clean(error: BaseException, key: str) -> None:
    for thing in reachable(error):
        assert not isinstance(thing, (requests.PreparedRequest, requests.Response, requests.Session))
        assert key not in repr(thing)
    for text in frames(error):
        assert key not in text
    assert key not in "".join(traceback.format_exception(type(error), error, error.__traceback__))


def closed(server: Any) -> None:
    server.raw(b"")


def cut(server: Any) -> None:
    server.raw(b"HTTP/1.1 200 ok\r\nContent-Length: 99\r\n\r\n{}")


def html(server: Any) -> None:
    server.answer(200, b"<html>")


def refused(server: Any) -> None:
    server.answer(401, {"error": "no"})


def too_long(server: Any) -> None:
    server.answer(200, b" " * 2_000_000)


@pytest.mark.parametrize("answer", [closed, cut, html, refused, too_long])
def test_no_exception_leads_to_the_key(
    server: Any, open_client: OpenClient, key: str, answer: Callable[[Any], None]
) -> None:
    answer(server)
    client = open_client(max_reply_bytes=1_000_000)
    for call in (client.account, lambda: client.post_inference(MODEL, b"{}", "application/json")):
        with pytest.raises(errors.ApiError) as caught:
            call()
        assert_clean(caught.value, key)


def test_no_exception_of_a_connection_leads_to_the_key(open_client: OpenClient, key: str) -> None:
    for host in ("http://127.0.0.1:1", "https://127.0.0.1:1"):
        with pytest.raises(errors.ConnectError) as caught:
            open_client(host=host).account()
        assert_clean(caught.value, key)


def test_no_exception_of_opening_leads_to_the_key(
    open_client: OpenClient, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent/ca.pem")
    for host in ("https://h", "http://*.h"):
        with pytest.raises(errors.ConfigError) as caught:
            open_client(host=host)
        assert_clean(caught.value, key)


@pytest.mark.parametrize("padding", [0, 285])
def test_a_server_that_sends_the_key_back_is_not_repeated(
    server: Any, open_client: OpenClient, key: str, padding: int
) -> None:
    echo = "x" * padding + key
    client = open_client()
    for status, headers in ((400, {"X_Request_Id": key}), (302, {"Location": f"http://evil.invalid/{key}"})):
        server.script.clear()
        server.answer(status, {"error": echo}, **headers)
        with pytest.raises(errors.ApiError) as caught:
            client.task("1")
        assert_clean(caught.value, key)
        assert key[:15] not in str(caught.value), "nor a part of it"
    server.script.clear()
    server.answer(200, {"id": 1, "status": "error", "error": echo})
    assert key[:15] not in repr(client.task("1"))


def test_a_short_key_is_not_struck_out_of_data(
    server: Any, open_client: OpenClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPOMATIC_API_KEY", "cat")
    server.answer(200, {"name": "catalogue"})
    assert open_client().account().name == "catalogue"


def test_neither_repr_nor_str_nor_pickle_has_the_key(open_client: OpenClient, key: str) -> None:
    client = open_client()
    for thing in (client, client._transport, client.settings, client._credentials):
        assert key not in repr(thing)
        assert key not in str(thing)
    assert key not in repr(vars(client))
    assert key.encode() not in pickle.dumps(client)


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy])
def test_the_part_that_holds_the_key_does_not_travel(open_client: OpenClient, take: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match="holds the API key"):
        take(open_client()._transport)


def test_no_log_has_the_key_even_when_all_is_logged(
    server: Any, open_client: OpenClient, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.answer(200, {"name": "me"})
    server.raw(b"")
    client = open_client()
    client.account()
    with pytest.raises(errors.AnswerLostError):
        client.task("1")
    assert "accounts/me" in caplog.text, "urllib3 logs its requests"
    assert key not in caplog.text
    assert key not in json.dumps([repr(vars(record)) for record in caplog.records])
