"""A store that refuses, or asks to slow down; and one with very many objects."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import boto3
import pytest
from e2e_tools import assert_clear, finish, process
from store_tools import Store
from test_stores_bulk import label, put_pictures

from deepo_beam import storage
from deepo_beam.emulator.testing import RunningEmulator
from deepo_beam.errors import PermissionDeniedError

MANY = 20_000
SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"


def reader_of(folder: str) -> dict[str, str]:
    """Credentials of one who may read and list this folder of the bucket, and nothing else."""
    allowed = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket", "s3:GetBucketLocation"]}
    to = {"Resource": ["arn:aws:s3:::lake", f"arn:aws:s3:::lake/{folder}/*"]}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed | to]})
    given = boto3.client("sts").assume_role(
        RoleArn="arn:any:iam::any:role/any", RoleSessionName="reader", Policy=policy
    )
    credentials = given["Credentials"]
    return {
        "AWS_ACCESS_KEY_ID": credentials["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": credentials["SecretAccessKey"],
        "AWS_SESSION_TOKEN": credentials["SessionToken"],
    }


def test_who_may_not_write_the_output_is_told_so_before_anything_is_sent(
    minio: Store, service: RunningEmulator
) -> None:
    put_pictures(minio, 3)
    ended = label(minio, service, **reader_of(minio.folder.rstrip("/")))
    assert_clear(ended, 6, f"{minio.root}/lake", "refused", "credentials")
    assert service.stats()["accepted"] == 0


def test_who_may_not_read_the_images_is_told_so(minio: Store, service: RunningEmulator, tmp_path) -> None:
    put_pictures(minio, 3)
    line = ["label", f"{minio.root}/photos", "--output", str(tmp_path / "lake"), "--spec", "echo-v1"]
    for credentials in (reader_of("elsewhere"), {"AWS_SECRET_ACCESS_KEY": "wrong"}):
        if "AWS_SESSION_TOKEN" in credentials:
            line[1] = f"{minio.root}/photos/a/0/image-000.png"  # which one may list, but not read
        else:
            line[1] = f"{minio.root}/photos"
        ended = finish(process(*line, "--json", "--quiet", "--api-url", service.url, environ=credentials))
        if ended.code == 6:
            assert_clear(ended, 6, f"{minio.root}/photos", "refused", "credentials")
        else:
            assert (ended.code, ended.summary["errors_by_code"]) == (3, {"permission_denied": 1}), ended
    assert service.stats()["accepted"] == 0


class _Proxy(ThreadingHTTPServer):
    """Passes everything on to a store, but for the first requests of each kind, which are answered 503 SlowDown."""

    daemon_threads = True

    def __init__(self, store: str, refused_of_each: int) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.store = urlsplit(store).netloc
        self.refused_of_each = refused_of_each
        self.seen = Counter[str]()
        self.lock = threading.Lock()

    def refuses(self, method: str, path: str) -> bool:
        kind = "LIST" if "list-type" in path else method
        with self.lock:
            self.seen[kind] += 1
            return self.seen[kind] <= self.refused_of_each


class _Passing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Proxy

    def _pass(self) -> None:
        body = self._body()
        if self.server.refuses(self.command, self.path):
            self._answer(503, [("Content-Type", "application/xml")], SLOW_DOWN)
            return
        upstream = HTTPConnection(self.server.store, timeout=30)
        # As it came, its Host too: that is signed.
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "expect"):
                upstream.putheader(name, value)
        upstream.putheader("Content-Length", str(len(body)))
        upstream.endheaders(body)
        reply = upstream.getresponse()
        data = reply.read()
        length = reply.getheader("Content-Length", "0") if self.command == "HEAD" else None
        self._answer(reply.status, reply.getheaders(), data, length)
        upstream.close()

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes, length: str | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _pass  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def proxy_before(store: Store, refused_of_each: int) -> Iterator[_Proxy]:
    with _Proxy(store.environment["AWS_ENDPOINT_URL"], refused_of_each) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()


def test_a_store_that_asks_to_slow_down_is_asked_again(minio: Store, service: RunningEmulator) -> None:
    put_pictures(minio, 6)
    with proxy_before(minio, refused_of_each=2) as proxy:
        ended = label(minio, service, AWS_ENDPOINT_URL=f"http://127.0.0.1:{proxy.server_port}")
    assert ended.code == 0, ended.err
    assert (ended.summary["calls"], ended.summary["failed"]) == (6, 0)
    assert {"LIST", "GET", "PUT", "HEAD"} <= {kind for kind, count in proxy.seen.items() if count > 2}


def test_a_store_that_is_always_throttled_ends_the_run_with_its_reason(minio: Store, service: RunningEmulator) -> None:
    put_pictures(minio, 2)
    with proxy_before(minio, refused_of_each=10**9) as proxy:
        ended = label(minio, service, AWS_ENDPOINT_URL=f"http://127.0.0.1:{proxy.server_port}")
    assert_clear(ended, 6, "cannot be read", minio.root)
    assert service.stats()["accepted"] == 0


def test_a_wrong_key_is_a_refusal_not_a_missing_object(minio: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = minio.put("x", b"1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    for act in (storage.read_bytes, storage.stat, storage.open_input, lambda uri: list(storage.list_objects(uri))):
        with pytest.raises(PermissionDeniedError, match=uri):
            act(uri)


def test_many_objects_are_listed_prefix_by_prefix_and_counted(minio: Store) -> None:
    names = [f"many/{number % 40:02}/{number:06}" for number in range(MANY)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda name: storage.write_bytes(f"{minio.root}/{name}", b"1"), names))
    with proxy_before(minio, refused_of_each=0) as proxy, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.server_port}")
        listed = [found.uri for found in storage.list_objects(f"{minio.root}/many")]
    assert listed == sorted(f"{minio.root}/{name}" for name in names)
    assert proxy.seen["LIST"] <= 1 + 40 + 5  # each prefix has 500, a call tells 1,000
