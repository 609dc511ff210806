"""What crosses the wire, against a real HTTP server that answers as scripted."""

from __future__ import annotations

import gzip
import json
import pickle
import socket
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from email.utils import format_datetime
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from deepo_beam import __version__, errors
from deepo_beam.api import ApiSettings, Client, Credentials, TaskState
from deepo_beam.api.exchange import PIECE_BYTES
from deepo_beam.types import ModelKind, ModelRef

MODEL = ModelRef(ModelKind.SPEC, "echo-v1")
PENDING = {"status": "pending", "data": None}
OpenClient = Callable[..., Client]


def post(client: Client, body: bytes = b"{}") -> str:
    return client.post_inference(MODEL, body, "application/json")


def listing(*entries: Any, following: str | None = None) -> dict[str, Any]:
    return {"count": 999, "next": following, "previous": None, "results": list(entries)}


# --- what is sent ----------------------------------------------------------------------------------


def test_each_call_carries_the_key_and_the_name_of_this_program(server: Any, open_client: OpenClient, key: str) -> None:
    server.answer(body={"id": 1, "name": "me"})
    assert open_client().account().name == "me"
    (seen,) = server.seen
    assert (seen.method, seen.path) == ("GET", "/v0.7/accounts/me/")
    assert seen.headers["X-API-KEY"] == key
    assert seen.headers["User-Agent"] == f"deepo-beam/{__version__}"
    assert seen.headers["Accept-Encoding"] == "gzip"
    assert "Content-Type" not in seen.headers


@pytest.mark.parametrize("size", [0, 2, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES + 7])
def test_a_post_arrives_byte_for_byte_whatever_its_size(server: Any, open_client: OpenClient, size: int) -> None:
    server.answer(201, {"task_id": 12})
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    assert open_client().post_inference(MODEL, body, "multipart/form-data; boundary=b") == "12"
    (seen,) = server.seen
    assert (seen.method, seen.path) == ("POST", "/v0.7/recognition/public/echo-v1/inference")
    assert seen.headers["Content-Type"] == "multipart/form-data; boundary=b"
    assert "Transfer-Encoding" not in seen.headers
    assert seen.body == body


def test_a_large_body_is_not_sent_for_longer_than_a_call_may_take(
    server: Any, open_client: OpenClient, virtual_time: Any
) -> None:
    server.answer(201, {"task_id": 12})
    virtual_time.tick = 1.0
    with pytest.raises(errors.AnswerLostError, match=r"not done within 1\.5 s"):
        post(open_client(total_timeout_s=1.5), bytes(4 * PIECE_BYTES))


def test_a_path_before_the_version_is_kept(server: Any, open_client: OpenClient) -> None:
    server.answer(body={})
    open_client(host=f"{server.url}/gate").account()
    assert server.seen[0].path == "/gate/v0.7/accounts/me/"


# --- reads -----------------------------------------------------------------------------------------


def test_specifications_are_paged_by_offset_and_never_by_the_url_that_the_service_names(
    server: Any, open_client: OpenClient
) -> None:
    server.answer(body=listing({"id": "a"}, {"id": "b"}, following="http://evil.invalid/steal"))
    server.answer(body=listing({"id": "c"}, following=None))
    specs = list(open_client().specifications(public=True))
    assert [(spec.id, spec.public) for spec in specs] == [("a", True), ("b", True), ("c", True)]
    assert [seen.path for seen in server.seen] == [
        "/v0.7/recognition/public/?offset=0&limit=100",
        "/v0.7/recognition/public/?offset=2&limit=100",
    ]


def test_an_empty_page_ends_a_listing_that_promises_more(server: Any, open_client: OpenClient) -> None:
    server.answer(body=listing(following="?more"))
    assert list(open_client().specifications(public=False)) == []
    assert len(server.seen) == 1


def test_a_listing_that_never_ends_is_given_up(
    server: Any, open_client: OpenClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepo_beam.api.client._MAX_PAGES", 3)
    server.answer(body=listing({"id": "a"}, following="?more"))
    with pytest.raises(errors.BadReplyError, match="after 3 pages there is still another one"):
        list(open_client().specifications(public=True))
    assert len(server.seen) == 3


def test_one_specification_and_its_versions_are_read(server: Any, open_client: OpenClient) -> None:
    server.answer(body={"id": 3, "current_version_id": None})
    server.answer(body=listing({"id": 13}))
    server.answer(body={"id": 13, "spec_id": 3})
    client = open_client()
    assert client.specification("3").current_version_id is None
    assert [version.id for version in client.versions("3")] == [13]
    assert client.version(13).spec_id == "3"
    assert [seen.path for seen in server.seen] == [
        "/v0.7/recognition/specs/3/",
        "/v0.7/recognition/specs/3/versions/?offset=0&limit=100",
        "/v0.7/recognition/versions/13/",
    ]


def test_tasks_that_the_service_forgot_are_missing(server: Any, open_client: OpenClient) -> None:
    server.answer(body=listing({"id": "2", **PENDING}))
    tasks = open_client().tasks(["1", "2"])
    assert [(task.id, task.state) for task in tasks] == [("2", TaskState.PENDING)]
    assert server.seen[0].path == "/v0.7/tasks/?task_ids=1&task_ids=2&offset=0&limit=100"


def test_tasks_on_smaller_pages_are_all_read(server: Any, open_client: OpenClient) -> None:
    for number in range(3):
        server.answer(body=listing({"id": str(number), **PENDING}, following="?x"))
    assert [task.id for task in open_client().tasks(["0", "1", "2"])] == ["0", "1", "2"]
    assert len(server.seen) == 3


def test_one_task_is_read_or_not_found(server: Any, open_client: OpenClient) -> None:
    server.answer(body={"id": 7, **PENDING})
    server.answer(404, {"detail": "Not found."})
    client = open_client()
    assert client.task("7").id == "7"
    with pytest.raises(errors.NotFoundError, match=r"HTTP 404: Not found\."):
        client.task("7")


def test_reads_are_tried_again_and_wait_as_the_service_asks(
    server: Any, open_client: OpenClient, virtual_time: Any
) -> None:
    now = format_datetime(datetime(2026, 11, 24, tzinfo=timezone.utc), usegmt=True)
    later = format_datetime(datetime(2026, 11, 24, 0, 0, 21, tzinfo=timezone.utc), usegmt=True)

    def date_form(handler: Any) -> None:
        handler.send_response_only(429)
        for name, value in (("Date", now), ("Retry-After", later), ("Content-Length", "0")):
            handler.send_header(name, value)
        handler.end_headers()

    server.answer(429, {"error": "slow"}, Retry_After="31")
    server.script.append(date_form)
    server.answer(503, b"")
    server.answer(body={"name": "me"})
    assert open_client().account().name == "me"
    assert virtual_time.slept[:2] == [31.0, 21.0]
    assert len(server.seen) == 4


def test_a_date_to_wait_for_is_read_by_our_clock_where_the_service_has_none(
    server: Any, open_client: OpenClient
) -> None:
    server.raw(b"HTTP/1.1 429 no\r\nRetry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(errors.ThrottledError) as caught:
        post(open_client())
    assert caught.value.retry_after == 3600.0


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_an_inference_is_posted_once_whatever_the_answer(server: Any, open_client: OpenClient, status: int) -> None:
    server.answer(status, {"error": "no"})
    with pytest.raises(errors.ApiError) as caught:
        post(open_client())
    assert caught.value.status == status
    assert len(server.seen) == 1


def test_a_wrong_key_is_said_at_once(server: Any, open_client: OpenClient) -> None:
    server.answer(401, {"detail": "Invalid key"})
    with pytest.raises(errors.AuthenticationError, match="HTTP 401: Invalid key"):
        open_client().account()
    assert len(server.seen) == 1


# --- replies that are none -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "flaw"),
    [(b"<html>hi</html>", "HTML page"), (b"", "empty"), (b'{"task_id":', "cut"), (b"[" * 99_999, "deeply")],
)
def test_a_2xx_reply_that_says_nothing_may_have_been_billed(
    server: Any, open_client: OpenClient, body: bytes, flaw: str
) -> None:
    server.answer(200, body)
    with pytest.raises(errors.BadReplyError, match=flaw) as caught:
        post(open_client())
    assert caught.value.maybe_billed


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_so_the_key_stays(server: Any, open_client: OpenClient, status: int) -> None:
    server.answer(status, b"x" * 100_000, Location=f"http://localhost:{server.server_address[1]}/elsewhere")
    with pytest.raises(errors.RedirectError, match="not followed"):
        post(open_client())
    assert len(server.seen) == 1


def test_the_endless_body_of_a_redirect_is_not_read(server: Any, open_client: OpenClient) -> None:
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    written: list[int] = []

    def endless(handler: Any) -> None:
        handler.wfile.write(b"HTTP/1.1 302 no\r\nLocation: /x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for count in range(2000):  # 130 MB
            handler.wfile.write(chunk)
            written.append(count)

    server.script.append(endless)
    with pytest.raises(errors.RedirectError):
        post(open_client())
    server.shutdown()
    assert len(written) < 1000


def test_a_reply_longer_than_the_limit_is_refused_unread(server: Any, open_client: OpenClient) -> None:
    server.answer(200, b" " * 1_000_000 + b"{}")
    with pytest.raises(errors.BadReplyError, match="longer than 100,000 bytes"):
        post(open_client(max_reply_bytes=100_000))


def test_a_compressed_reply_is_read(server: Any, open_client: OpenClient) -> None:
    server.answer(200, gzip.compress(b'{"task_id": "z"}'), Content_Encoding="gzip")
    assert post(open_client()) == "z"


@pytest.mark.parametrize(
    ("body", "encoding", "flaw"),
    [
        (gzip.compress(b" " * 10_000_000), "gzip", "longer than 100,000 bytes after decompression"),
        (gzip.compress(b'{"task_id": "z"}')[:-9], "gzip", "cut"),
        (b'{"task_id": "z"}', "gzip", "broken"),
        (zlib.compress(b'{"task_id": "z"}'), "deflate", "encoded as 'deflate'"),
        (b"x", "gzip, gzip", "encoded as 'gzip, gzip'"),
    ],
    ids=["huge", "cut", "broken", "deflate", "twice"],  # the bytes of gzip hold the time: no name for a test
)
def test_a_reply_that_cannot_be_decompressed_within_the_limit_is_refused(
    server: Any, open_client: OpenClient, body: bytes, encoding: str, flaw: str
) -> None:
    server.answer(200, body, Content_Encoding=encoding)
    with pytest.raises(errors.BadReplyError, match=flaw) as caught:
        post(open_client(max_reply_bytes=100_000))
    assert caught.value.status == 200


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nContent-Le",
        b'HTTP/1.1 201 Created\r\nContent-Length: 99\r\n\r\n{"task_id": 1}',
        b'HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n63\r\n{"task_id": 1}',
        b'HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\ne\r\n{"task_id": 1}\r\n',
        b'HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{"task_id": 1}\r\n',
        b'HTTP/1.1 201 Created\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{"task_id": 1}',
    ],
)
def test_an_answer_that_is_cut_or_garbled_is_lost_and_may_have_been_billed(
    server: Any, open_client: OpenClient, answer: bytes
) -> None:
    server.raw(answer)
    with pytest.raises((errors.AnswerLostError, errors.BadReplyError)) as caught:
        post(open_client())
    assert caught.value.maybe_billed
    assert caught.value.retryable
    assert len(server.seen) == 1


def test_a_connection_that_is_reset_loses_the_answer(server: Any, open_client: OpenClient) -> None:
    def reset(handler: Any) -> None:
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        handler.rfile.close()  # it shares the socket, which closes with the last of the two
        handler.connection.close()

    server.script.append(reset)
    with pytest.raises(errors.AnswerLostError):
        post(open_client())


def test_a_kept_connection_that_the_server_drops_loses_the_answer_of_a_post(
    server: Any, open_client: OpenClient
) -> None:
    server.answer(201, {"task_id": 1})
    server.raw(b"")
    client = open_client()
    post(client)
    with pytest.raises(errors.AnswerLostError, match="closed connection"):
        post(client)
    assert server.seen[0].connection == server.seen[1].connection
    assert len(server.seen) == 2


def test_silence_is_an_answer_lost(server: Any, open_client: OpenClient) -> None:
    release = threading.Event()
    server.script.append(lambda handler: release.wait(5))
    try:
        with pytest.raises(errors.AnswerLostError, match="timed out"):
            post(open_client(read_timeout_s=0.05))
    finally:
        release.set()


def test_a_body_that_drips_is_given_up_after_the_total_time(
    server: Any, open_client: OpenClient, virtual_time: Any
) -> None:
    release = threading.Event()

    def drip(handler: Any) -> None:
        handler.wfile.write(b"HTTP/1.1 201 Created\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(1000):
            handler.wfile.write(b" ")
            virtual_time.now += 30.0
            release.wait(0.01)

    server.script.append(drip)
    try:
        with pytest.raises(errors.AnswerLostError, match="not done within 120 s"):
            post(open_client())
    finally:
        release.set()


@pytest.mark.parametrize(
    "tail", [b"Content-Length: 9\r\n\r\nhal", b"Content-Length: 1\r\nContent-Encoding: gzip\r\n\r\nx"]
)
def test_an_error_status_counts_although_its_body_is_broken(server: Any, open_client: OpenClient, tail: bytes) -> None:
    server.raw(b"HTTP/1.1 413 no\r\n" + tail)
    with pytest.raises(errors.PayloadTooLargeError, match="HTTP 413: no message"):
        post(open_client())


def test_an_error_status_counts_although_its_body_is_huge(server: Any, open_client: OpenClient) -> None:
    server.answer(401, b"x" * 5_000_000)
    with pytest.raises(errors.AuthenticationError, match=r"HTTP 401: x{299}"):
        post(open_client())


def test_a_compressed_error_is_read(server: Any, open_client: OpenClient) -> None:
    server.answer(400, gzip.compress(b'{"error": "why"}'), Content_Encoding="gzip")
    with pytest.raises(errors.BadRequestError, match="HTTP 400: why"):
        post(open_client())


# --- connections -----------------------------------------------------------------------------------


def test_nobody_listening_is_no_connection_and_no_bill(open_client: OpenClient) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(errors.ConnectError, match=r"no connection \(.*refused") as caught:
            post(open_client(host=f"http://127.0.0.1:{port}"))
    assert caught.value.retryable
    assert not caught.value.maybe_billed


def test_tls_with_a_server_that_has_none_is_explained_and_not_tried_again(
    server: Any, open_client: OpenClient, virtual_time: Any
) -> None:
    with pytest.raises(errors.ConnectError, match=r"TLS refused .* check the URL") as caught:
        open_client(host=server.url.replace("http:", "https:")).account()
    assert not caught.value.retryable
    assert virtual_time.slept == []


def test_connections_are_kept_over_calls_and_errors(server: Any, open_client: OpenClient) -> None:
    server.answer(201, {"task_id": 1})
    server.answer(400, {"error": "no"})
    server.answer(200, gzip.compress(b'{"task_id": 2}'), Content_Encoding="gzip")
    server.raw(b'HTTP/1.1 201 ok\r\nTransfer-Encoding: chunked\r\n\r\nd\r\n{"task_id":3}\r\n0\r\n\r\n')
    client = open_client()
    post(client)
    with pytest.raises(errors.BadRequestError):
        post(client)
    post(client)
    post(client)
    assert len({seen.connection for seen in server.seen}) == 1


def test_many_threads_share_a_client_and_each_gets_its_own_answer(server: Any, open_client: OpenClient) -> None:
    def echo(handler: Any) -> None:
        body = json.dumps({"id": handler.path.split("/")[3], **PENDING}).encode()
        handler.wfile.write(b"HTTP/1.1 200 ok\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    server.script.append(echo)
    client = open_client()
    ids = [str(number) for number in range(200)]
    with ThreadPoolExecutor(8) as threads:
        assert [task.id for task in threads.map(client.task, ids)] == ids


def test_cookies_are_not_kept(server: Any, open_client: OpenClient) -> None:
    server.answer(201, {"task_id": 1}, Set_Cookie="a=b; Path=/")
    client = open_client()
    post(client)
    post(client)
    assert "Cookie" not in server.seen[1].headers


# --- the environment that requests honours ---------------------------------------------------------


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_of_the_environment_is_used(
    server: Any, open_client: OpenClient, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, server.url)
    server.answer(body={"name": "by proxy"})
    client = open_client(host="http://api.invalid")
    monkeypatch.delenv(name)  # it is asked for once
    assert client.account().name == "by proxy"
    assert server.seen[0].path == "http://api.invalid/v0.7/accounts/me/"


def test_hosts_without_a_proxy_are_asked_directly(
    server: Any, open_client: OpenClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server.answer(body={"name": "direct"})
    assert open_client().account().name == "direct"


def test_a_proxy_that_refuses_is_no_connection(open_client: OpenClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with pytest.raises(errors.ConnectError, match="refused"):
        post(open_client(host="http://api.invalid"))


def test_a_proxy_that_is_no_url_is_explained(open_client: OpenClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://")
    with pytest.raises(errors.ConfigError, match="check HTTP_PROXY"):
        post(open_client(host="http://api.invalid"))


def sent_options(client: Client, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the adapter is told about TLS."""
    options: dict[str, Any] = {}

    def send(adapter: HTTPAdapter, request: Any, **given: Any) -> Any:
        options.update(given)
        raise requests.ConnectTimeout

    monkeypatch.setattr(HTTPAdapter, "send", send)
    with pytest.raises(errors.ConnectError):
        post(client)
    return options


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_ca_bundle_of_the_environment_is_used(
    open_client: OpenClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, name: str
) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("")
    monkeypatch.setenv(name, str(bundle))
    assert sent_options(open_client(host="https://h"), monkeypatch)["verify"] == str(bundle)


def test_tls_is_verified_unless_told_not_to(
    open_client: OpenClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    assert sent_options(open_client(host="https://h"), monkeypatch)["verify"] is True
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path))
    assert sent_options(open_client(host="https://h", verify_tls=False), monkeypatch)["verify"] is False


def test_timeouts_are_handed_on_and_redirects_are_off(open_client: OpenClient, monkeypatch: pytest.MonkeyPatch) -> None:
    options = sent_options(open_client(host="http://h", connect_timeout_s=3.0, read_timeout_s=4.0), monkeypatch)
    assert options["timeout"] == (3.0, 4.0)
    assert options["stream"] is True


def test_a_ca_bundle_that_does_not_exist_is_explained(open_client: OpenClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent/ca.pem")
    with pytest.raises(errors.ConfigError, match=r"/nonexistent/ca\.pem \(REQUESTS_CA_BUNDLE\) does not exist"):
        open_client(host="https://h")


def test_a_host_that_requests_cannot_use_is_explained(open_client: OpenClient) -> None:
    with pytest.raises(errors.ConfigError, match=r"http://\*\.h cannot be used"):
        open_client(host="http://*.h")


# --- travelling ------------------------------------------------------------------------------------


def test_a_client_opens_anew_where_it_is_unpickled(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answer(body={})
    with Client(ApiSettings(host=server.url), Credentials(), pool_size=3) as client:
        pickled = pickle.dumps(client)
    monkeypatch.setenv("DEEPOMATIC_API_KEY", "the-key-of-the-worker")
    with pickle.loads(pickled) as copy:
        copy.account()
        assert copy.settings == client.settings
    assert server.seen[0].headers["X-API-KEY"] == "the-key-of-the-worker"


def test_a_client_without_a_key_does_not_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEEPOMATIC_API_KEY")
    with pytest.raises(errors.PreflightError, match="no API key"):
        Client(ApiSettings(), Credentials())
