"""Replies meant to hurt: too long, too slow, too deep, from elsewhere, or from nobody who can prove who he is."""

from __future__ import annotations

import itertools
import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from urllib3.exceptions import InsecureRequestWarning

from deepo_beam import errors
from deepo_beam.api import Client
from deepo_beam.types import ModelKind, ModelRef

OpenClient = Callable[..., Client]
MODEL = ModelRef(ModelKind.SPEC, "echo-v1")
SELF_SIGNED = Path(__file__).parent.parent / "tls" / "self_signed.pem"  # for photos.test and 127.0.0.1, until 2126
MB = 1_000_000


def post(client: Client) -> str:
    return client.post_inference(MODEL, b"{}", "application/json")


def until_hung_up(server: Any, head: bytes, pieces: Callable[[], Iterator[bytes]]) -> list[int]:
    """Let the server send pieces for as long as anybody listens; returns how many bytes it got rid of."""
    sent = [0]

    def send(handler: Any) -> None:
        handler.close_connection = True
        handler.wfile.write(head)
        for piece in pieces():
            handler.wfile.write(piece)
            sent[0] += len(piece)

    server.script.append(send)
    return sent


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"Content-Length: 1000000000\r\n\r\n", b" " * 65536),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b" " * 65536 + b"\r\n"),
        (b"Connection: close\r\n\r\n", b" " * 65536),
    ],
    ids=["length", "chunked", "until-close"],
)
@pytest.mark.parametrize("status", [200, 500])
def test_a_reply_of_a_gigabyte_is_cut_in_bounded_memory(
    status: int, head: bytes, piece: bytes, server: Any, open_client: OpenClient
) -> None:
    sent = until_hung_up(server, b"HTTP/1.1 %d x\r\n" % status + head, lambda: itertools.repeat(piece, 16_000))
    client = open_client(max_reply_bytes=8 * MB)
    tracemalloc.start()
    try:
        with pytest.raises((errors.BadReplyError, errors.ServerError)) as caught:
            post(client)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(caught.value, errors.BadReplyError if status == 200 else errors.ServerError)
    assert peak < 25 * MB
    assert sent[0] < 100 * MB, "the connection was cut"


@pytest.mark.parametrize(
    ("head", "drop"),
    [(b"HTTP/1.1 200 OK\r\nX-Drip: ", b"x"), (b"", b"HTTP/1.1 100 Continue\r\n\r\n")],
    ids=["header", "continue"],
)
def test_the_head_of_an_answer_that_drips_is_not_waited_for(
    head: bytes, drop: bytes, server: Any, open_client: OpenClient
) -> None:
    def drops() -> Iterator[bytes]:
        while True:
            time.sleep(0.01)
            yield drop

    until_hung_up(server, head, drops)
    began = time.monotonic()
    with pytest.raises(errors.AnswerLostError):
        post(open_client(read_timeout_s=0.2))
    assert time.monotonic() - began < 2


def test_a_connection_is_kept_with_all_of_its_time_for_the_next_answer(server: Any, open_client: OpenClient) -> None:
    def late(handler: Any) -> None:
        time.sleep(0.3)
        handler.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"task_id": 1}')

    server.script.append(late)
    client = open_client(read_timeout_s=0.5)
    assert [post(client) for _ in range(3)] == ["1"] * 3
    assert len({seen.connection for seen in server.seen}) == 1


@pytest.mark.parametrize("body", [b"[" * MB, b'{"a":' * MB, b'{"task_id": ' + b"9" * MB + b"}"])
def test_json_that_is_nested_a_million_times_or_has_a_million_digits_is_a_bad_reply(
    body: bytes, server: Any, open_client: OpenClient
) -> None:
    server.answer(200, body)
    with pytest.raises(errors.BadReplyError) as caught:
        post(open_client())
    assert len(str(caught.value)) < 1000


def test_a_redirect_to_another_host_takes_neither_key_nor_body_there(
    server: Any, open_client: OpenClient, key: str
) -> None:
    other = type(server)()
    threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    other.answer(200, {"task_id": 1})
    try:
        for status in (301, 302, 303, 307, 308):
            server.script.clear()
            server.answer(status, b"", Location=f"{other.url}/v0.7/accounts/me/")
            client = open_client()
            for call in (client.account, lambda: post(client)):  # noqa: B023 - called in this very turn
                with pytest.raises(errors.RedirectError, match="not followed"):
                    call()
    finally:
        other.shutdown()
        other.server_close()
    assert other.seen == []
    assert {seen.headers["X-API-KEY"] for seen in server.seen} == {key}


def test_a_server_that_cannot_prove_its_name_never_sees_the_key(
    server: Any, open_client: OpenClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(SELF_SIGNED)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.answer(200, {"name": "me"})
    host = server.url.replace("http:", "https:")

    with pytest.raises(errors.ConnectError, match=r"TLS refused .*name your CA in REQUESTS_CA_BUNDLE") as caught:
        open_client(host=host).account()
    assert not caught.value.retryable
    assert server.seen == []

    with pytest.warns(InsecureRequestWarning):
        assert open_client(host=host, verify_tls=False).account().name == "me"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(SELF_SIGNED))
    assert open_client(host=host).account().name == "me"
    with pytest.raises(errors.ConnectError, match="TLS refused"):
        open_client(host=host.replace("127.0.0.1", "localhost")).account()
