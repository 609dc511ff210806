"""Images by http(s): what is read, what is refused, and that it ends."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deepo_beam import web
from deepo_beam.errors import (
    AddressRefusedError,
    ErrorCode,
    ObjectNotFoundError,
    PermissionDeniedError,
    StorageError,
    UnusableUrlError,
)
from deepo_beam.web import WebReader

LIMIT = 100_000
SECRET = "X-Amz-Signature=5ecret"


def here_only(address: str) -> bool:
    """For tests, the one address of this machine that stands for the public ones."""
    return address == "127.0.0.1"


@pytest.fixture
def reader() -> Iterator[WebReader]:
    reader = WebReader(allowed=here_only, total_s=5.0)
    yield reader
    reader.close()


def names(monkeypatch: pytest.MonkeyPatch, **addresses: list[str]) -> list[str]:
    """Let names resolve to addresses, the next ones each time they are asked for; returns what was asked for."""
    asked: list[str] = []
    genuine = socket.getaddrinfo

    def resolve(host: str, port: int, *args: Any, **options: Any) -> list[Any]:
        if host not in addresses:
            return genuine(host, port, *args, **options)
        asked.append(host)
        answers = addresses[host]
        text = answers.pop(0) if len(answers) > 1 else answers[0]
        return [entry for address in text.split() for entry in genuine(address, port, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


# --- what is read ----------------------------------------------------------------------------------------


def test_the_bytes_and_when_they_were_written(server: Any, reader: WebReader) -> None:
    url = server.page("/a.png", b"image", Last_Modified="Wed, 21 Oct 2015 07:28:00 GMT")
    read = reader.read(url, max_bytes=LIMIT)
    assert read == web.Download(b"image", 1_445_412_480_000_000)


@pytest.mark.parametrize("text", ["", "yesterday", "Wed, 99 Oct 2015 07:28:00 GMT", "Mon, 01 Jan 99999 00:00:00 GMT"])
def test_a_time_that_is_none_is_not_known(text: str, server: Any, reader: WebReader) -> None:
    assert reader.read(server.page("/a", b"x", Last_Modified=text), max_bytes=LIMIT).modified_us is None


def test_only_a_byte_more_than_the_limit_is_kept_of_a_body_without_end(server: Any, reader: WebReader) -> None:
    def endless() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        yield from itertools.repeat(b"10000\r\n" + bytes(65536) + b"\r\n")

    assert reader.read(server.raw("/endless", endless), max_bytes=LIMIT).data == bytes(LIMIT + 1)


def test_what_is_compressed_is_taken_as_it_is(server: Any, reader: WebReader) -> None:
    url = server.page("/a", b"\x1f\x8b bomb", Content_Encoding="gzip")
    assert reader.read(url, max_bytes=LIMIT).data == b"\x1f\x8b bomb"
    assert server.seen[0][1]["Accept-Encoding"] == "identity"


def test_connections_are_used_again(server: Any, reader: WebReader) -> None:
    url = server.page("/a", b"image")
    for _ in range(5):
        reader.read(url, max_bytes=LIMIT)
    assert len({port for _, _, port in server.seen}) == 1


def test_neither_key_nor_cookie_is_sent_and_a_password_to_its_own_host_only(
    open_server: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    names(monkeypatch, elsewhere=["127.0.0.1"])
    one, other = open_server(), open_server()
    one.page("/a", status=302, Location=other.url("/b", "elsewhere"), Set_Cookie="a=b")
    other.page("/b", b"image", Set_Cookie="a=b")
    with_password = one.url("/a").replace("://", "://me:p%40ss@")

    reader = WebReader(allowed=here_only)
    for _ in range(2):
        reader.read(with_password, max_bytes=LIMIT)

    basic = {"authorization"}
    sent = {"Host", "User-Agent", "Accept", "Accept-Encoding"}
    assert [set(headers) for _, headers, _ in one.seen] == [sent | basic] * 2
    assert [set(headers) for _, headers, _ in other.seen] == [sent] * 2
    assert "k3y-never-to-be-seen" not in repr(one.seen + other.seen)


def test_a_password_that_a_redirect_names_for_another_host_is_not_sent_there(open_server: Callable[..., Any]) -> None:
    one, other = open_server(), open_server()
    other.page("/b", b"image")
    one.page("/a", status=302, Location=other.url("/b").replace("://", "://me:p%40ss@"))
    WebReader(allowed=here_only).read(one.url("/a"), max_bytes=LIMIT)
    assert "authorization" not in {name.lower() for name in other.seen[0][1]}


# --- statuses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        *((status, ObjectNotFoundError, False) for status in (404, 410)),
        *((status, PermissionDeniedError, True) for status in (401, 403)),
        *((status, StorageError, True) for status in (408, 429, 500, 502, 503, 504)),
        *((status, StorageError, False) for status in (206, 300, 304, 400, 418)),
    ],
)
def test_a_status_is_an_error_with_its_code(
    status: int, kind: type[StorageError], retryable: bool, server: Any, reader: WebReader
) -> None:
    url = server.page("/a.png", b"", status)
    with pytest.raises(StorageError) as caught:
        reader.read(f"{url}?{SECRET}", max_bytes=LIMIT)
    assert (type(caught.value), caught.value.retryable) == (kind, retryable)
    assert f"{url}?...: the server answers {status}" in str(caught.value)


# --- redirects ----------------------------------------------------------------------------------------------


def test_five_redirects_are_followed_and_no_more(server: Any, reader: WebReader) -> None:
    for step in range(6):
        server.page(f"/{step}", status=(301, 302, 303, 307, 308, 301)[step], Location=f"/{step + 1}")
    server.page("/6", b"image")
    assert reader.read(server.url("/1"), max_bytes=LIMIT).data == b"image"
    with pytest.raises(StorageError, match="more than 5 redirects") as caught:
        reader.read(server.url("/0"), max_bytes=LIMIT)
    assert not caught.value.retryable


@pytest.mark.parametrize("target", ["ftp://h/a.png", "file:///etc/passwd", "data:image/png;base64,AA=="])
def test_a_redirect_to_what_is_no_http_is_refused(target: str, server: Any, reader: WebReader) -> None:
    with pytest.raises(AddressRefusedError, match="is no http"):
        reader.read(server.page("/a", status=302, Location=target), max_bytes=LIMIT)


def test_a_redirect_from_https_to_http_is_refused(
    open_server: Callable[..., Any], self_signed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(self_signed))
    plain, secure = open_server(), open_server(tls=True)
    url = secure.page("/a", status=302, Location=plain.page("/b", b"image"))
    with pytest.raises(AddressRefusedError, match="from https to http"):
        WebReader(allowed=here_only).read(url, max_bytes=LIMIT)
    assert plain.seen == []


# --- addresses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "0x7f000001", "2130706433", "127.1", "0", "[::ffff:127.0.0.1]"]
)
def test_this_machine_is_refused_however_it_is_written(host: str, server: Any) -> None:
    url = server.page("/a.png", b"image").replace("127.0.0.1", host)
    with pytest.raises(AddressRefusedError, match=r"no public address.*--allow-private-hosts") as caught:
        WebReader().read(f"{url}?{SECRET}", max_bytes=LIMIT)
    assert (caught.value.code, caught.value.retryable) == (ErrorCode.ADDRESS_REFUSED, False)
    assert SECRET not in str(caught.value)
    assert server.seen == []


def test_the_metadata_service_of_a_cloud_is_refused_without_being_asked() -> None:
    with pytest.raises(AddressRefusedError, match=r"host 169\.254\.169\.254 is at"):
        WebReader().read("http://169.254.169.254/latest/meta-data/iam/", max_bytes=LIMIT)


def test_private_hosts_are_read_if_that_is_allowed(server: Any) -> None:
    url = server.page("/a.png", b"image")
    assert WebReader(allow_private_hosts=True).read(url, max_bytes=LIMIT).data == b"image"


def test_a_redirect_to_a_private_address_is_refused(open_server: Callable[..., Any], reader: WebReader) -> None:
    one, inner = open_server(), open_server("127.0.0.2")
    url = one.page("/a", status=302, Location=inner.page("/secret?token=1", b"image"))
    with pytest.raises(AddressRefusedError) as caught:
        reader.read(url, max_bytes=LIMIT)
    assert f"{url}, redirected to {inner.url('/secret')}?...: host 127.0.0.2 is at" in str(caught.value)
    assert inner.seen == []


def test_a_name_that_resolves_to_a_private_address_is_refused(
    open_server: Callable[..., Any], reader: WebReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    names(monkeypatch, innocent=["127.0.0.2"])
    inner = open_server("127.0.0.2")
    inner.page("/a", b"image")
    with pytest.raises(AddressRefusedError, match=r"host innocent is at 127\.0\.0\.2"):
        reader.read(inner.url("/a", "innocent"), max_bytes=LIMIT)
    assert inner.seen == []


def test_of_the_addresses_of_a_name_only_those_that_are_allowed_are_asked(
    open_server: Callable[..., Any], reader: WebReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    names(monkeypatch, mixed=["127.0.0.2 127.0.0.1"])
    inner = open_server("127.0.0.2")
    inner.page("/a", b"secret")
    with pytest.raises(StorageError):  # nobody listens at the other one
        reader.read(inner.url("/a", "mixed"), max_bytes=LIMIT)
    assert inner.seen == []


def test_the_address_that_was_checked_is_the_one_that_is_asked(
    server: Any, reader: WebReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = names(monkeypatch, rebound=["127.0.0.1", "127.0.0.2"])
    server.page("/a", b"image")
    assert reader.read(server.url("/a", "rebound"), max_bytes=LIMIT).data == b"image"
    assert asked == ["rebound"]
    assert server.seen[0][1]["Host"] == f"rebound:{server.port}"


def test_of_several_addresses_only_the_public_ones_are_asked(
    open_server: Callable[..., Any], reader: WebReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    names(monkeypatch, both=["127.0.0.2 127.0.0.1"])
    server = open_server("0.0.0.0")
    server.page("/a", b"image")
    assert reader.read(server.url("/a", "both"), max_bytes=LIMIT).data == b"image"


@pytest.mark.parametrize(
    "url", ["http://a..b/x", "http://" + "a" * 70 + ".test/x", "http://[::1/x", "http://h:99999/x"]
)
def test_a_url_without_a_host_that_could_be_is_an_unusable_one(url: str, reader: WebReader) -> None:
    with pytest.raises(UnusableUrlError) as caught:
        reader.read(url, max_bytes=LIMIT)
    assert (caught.value.code, caught.value.retryable) == (ErrorCode.INVALID_URI, False)


def test_a_proxy_of_the_environment_is_used_only_where_private_hosts_are_allowed(
    open_server: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = open_server()
    proxy.page("http://photos.test/a", b"image")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
    asked = names(monkeypatch, **{"photos.test": ["127.0.0.2"]})

    with pytest.raises(AddressRefusedError):
        WebReader().read("http://photos.test/a", max_bytes=LIMIT)
    assert (proxy.seen, asked) == ([], ["photos.test"])
    assert WebReader(allow_private_hosts=True).read("http://photos.test/a", max_bytes=LIMIT).data == b"image"
    assert [path for path, _, _ in proxy.seen] == ["http://photos.test/a"]


# --- TLS ------------------------------------------------------------------------------------------------------


def test_tls_is_verified_by_name_though_the_address_was_resolved_before(
    open_server: Callable[..., Any], self_signed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names(monkeypatch, **{"photos.test": ["127.0.0.1"], "other.test": ["127.0.0.1"]})
    server = open_server(tls=True)
    server.page("/a", b"image")
    good, bad = server.url("/a", "photos.test"), server.url("/a", "other.test")

    with pytest.raises(StorageError, match="TLS refused"):
        WebReader(allowed=here_only).read(good, max_bytes=LIMIT)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(self_signed))
    assert WebReader(allowed=here_only).read(good, max_bytes=LIMIT).data == b"image"
    with pytest.raises(StorageError, match=r"TLS refused.*other\.test"):
        WebReader(allowed=here_only).read(bad, max_bytes=LIMIT)
    assert len(server.seen) == 1


# --- what never ends ---------------------------------------------------------------------------------------------


def dripping(head: bytes, drop: bytes) -> Callable[[], Iterator[bytes]]:
    def pieces() -> Iterator[bytes]:
        yield head
        while True:
            time.sleep(0.01)
            yield drop

    return pieces


@pytest.mark.parametrize(
    "pieces",
    [
        dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x"),
        dripping(b"HTTP/1.1 200 OK\r\nX-Drip: ", b"x"),
        dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ],
    ids=["body", "head", "continue", "chunks"],
)
def test_an_answer_that_drips_ends_in_time(pieces: Callable[[], Iterator[bytes]], server: Any) -> None:
    reader = WebReader(allowed=here_only, total_s=0.2)
    began = time.monotonic()
    with pytest.raises(StorageError, match=r"not there within 0\.2 s") as caught:
        reader.read(server.raw("/a", pieces), max_bytes=LIMIT)
    assert caught.value.retryable
    assert time.monotonic() - began < 2


def test_redirects_that_dawdle_have_the_time_of_one_image(server: Any) -> None:
    def slowly(handler: Any) -> None:
        time.sleep(0.15)
        handler.send_response(302)
        handler.send_header("Location", "/a")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    server.pages["/a"] = slowly
    with pytest.raises(StorageError, match=r"not there within 0\.2 s"):
        WebReader(allowed=here_only, total_s=0.2).read(server.url("/a"), max_bytes=LIMIT)
    assert len(server.seen) <= 2


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nx", b"SSH-2.0-OpenSSH\r\n"])
def test_an_answer_that_is_cut_or_none_is_worth_another_try(answer: bytes, server: Any, reader: WebReader) -> None:
    with pytest.raises(StorageError, match="cannot read it") as caught:
        reader.read(server.raw("/a", lambda: iter([answer])), max_bytes=LIMIT)
    assert (caught.value.code, caught.value.retryable) == (ErrorCode.READ_FAILED, True)


def test_nobody_who_listens_is_worth_another_try(reader: WebReader) -> None:
    with pytest.raises(StorageError, match=r"http://127\.0\.0\.1:1/a: cannot read it: .*refused") as caught:
        reader.read("http://127.0.0.1:1/a", max_bytes=LIMIT)
    assert caught.value.retryable
