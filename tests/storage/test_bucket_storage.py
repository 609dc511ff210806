"""Buckets: addresses, listings and errors, on Arrow's file system over a folder and on a mock of S3."""

from pathlib import Path
from typing import Any

import pytest
from pyarrow.fs import AzureFileSystem, GcsFileSystem, LocalFileSystem, SubTreeFileSystem

from deepo_beam import storage
from deepo_beam.errors import ConfigError, ObjectNotFoundError, PermissionDeniedError, StorageError
from deepo_beam.storage import arrow

ODD_KEYS = ["a b.jpg", "a%20b", "a#b", "a?b", "a+b", "a[1].jpg", "ü.jpg", "sub/x.jpg", "x.csv.gz"]


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let every store be a folder of buckets; return the bucket ``lake``."""
    system = SubTreeFileSystem(str(tmp_path), LocalFileSystem())
    monkeypatch.setattr(arrow, "_connect", lambda _: system)
    monkeypatch.setenv("AWS_PROFILE", str(tmp_path))  # a file system of this test alone is kept for these
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path))
    monkeypatch.setenv("AZURE_STORAGE_KEY", str(tmp_path))
    (tmp_path / "lake").mkdir()
    return tmp_path / "lake"


@pytest.mark.parametrize(
    "root", ["s3://lake", "S3A://lake", "s3n://lake", "gs://lake", "gcs://lake", "azfs://acc/lake", "abfs://lake@acc.x"]
)
def test_each_scheme_reads_writes_and_lists_under_its_own_spelling(bucket: Path, root: str) -> None:
    for key in ODD_KEYS:
        (bucket / "p" / key).parent.mkdir(parents=True, exist_ok=True)
        storage.write_bytes(f"{root}/p/{key}", key.encode())
        assert (bucket / "p" / key).read_bytes() == key.encode()
        assert storage.read_bytes(f"{root}/p/{key}", max_bytes=2) == key.encode()[:3]
        assert storage.stat(f"{root}/p/{key}").uri == f"{root}/p/{key}"
    listed = [found.uri for found in storage.list_objects(f"{root}/p/")]
    assert listed == sorted(f"{root}/p/{key}" for key in ODD_KEYS)
    assert [found.uri for found in storage.list_objects(root)] == listed
    assert [found.uri for found in storage.glob(f"{root}/**/[s-z].jpg")] == [f"{root}/p/sub/x.jpg"]
    assert [found.uri for found in storage.glob(f"{root}/p/a[1].jpg")] == [f"{root}/p/a[1].jpg"]
    assert storage.is_folder(root)
    storage.delete(f"{root}/p/a b.jpg")
    storage.delete(f"{root}/p/a b.jpg")
    assert not storage.exists(f"{root}/p/a b.jpg")


def test_an_opened_object_streams_and_seeks(bucket: Path) -> None:
    (bucket / "x").write_bytes(b"one\ntwo\n")
    with storage.open_input("s3://lake/x") as stream:
        assert list(stream) == [b"one\n", b"two\n"]
        stream.seek(4)
        assert stream.read(3) == b"two"


@pytest.mark.usefixtures("bucket")
def test_what_is_missing_is_not_found_and_a_missing_folder_is_empty() -> None:
    for act in (storage.read_bytes, storage.open_input, storage.stat):
        with pytest.raises(ObjectNotFoundError, match="s3://lake/none"):
            act("s3://lake/none")
    assert list(storage.list_objects("s3://lake/none")) == []
    with pytest.raises(StorageError, match="is a folder"):
        storage.stat("s3://lake")
    with pytest.raises(StorageError, match="is a folder"):
        storage.write_bytes("s3://lake/x/", b"")


@pytest.mark.parametrize("uri", ["s3://", "s3:///key", "azfs://account", "abfs://@account/key"])
def test_an_address_without_a_bucket_is_refused(uri: str) -> None:
    with pytest.raises(ConfigError, match="names no"):
        storage.read_bytes(uri)


def test_a_wildcard_in_a_bucket_is_refused() -> None:
    with pytest.raises(ConfigError, match="name the bucket"):
        list(storage.glob("s3://la*/x.jpg"))


class _Failing:
    """A file system whose every read fails with the same error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def open_input_stream(self, path: str, compression: str | None) -> Any:
        raise self.error


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("AWS Error ACCESS_DENIED during HeadObject operation: No response body.", PermissionDeniedError),
        ("AWS Error INVALID_ACCESS_KEY_ID during GetObject operation", PermissionDeniedError),
        ("google::cloud::Status(PERMISSION_DENIED: no)", PermissionDeniedError),
        ("Response: 403 This request is not authorized. AuthenticationFailed", PermissionDeniedError),
        ("AWS Error NO_SUCH_BUCKET during GetObject operation", ObjectNotFoundError),
        ("AWS Error SLOW_DOWN during GetObject operation for key '403.jpg'", StorageError),
    ],
)
def test_what_arrow_says_decides_what_kind_of_error_it_is(
    monkeypatch: pytest.MonkeyPatch, message: str, expected: type[StorageError]
) -> None:
    monkeypatch.setattr(arrow, "_connect", lambda _: _Failing(OSError(message)))
    monkeypatch.setenv("AWS_PROFILE", message)
    with pytest.raises(StorageError, match=r"s3://lake/403\.jpg") as failure:
        storage.read_bytes("s3://lake/403.jpg")
    assert type(failure.value) is expected
    assert failure.value.retryable == (expected is not ObjectNotFoundError)


def test_stores_are_reached_as_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1234/")
    expected = GcsFileSystem(
        anonymous=True, scheme="http", endpoint_override="127.0.0.1:1234", retry_time_limit=arrow._GCS_RETRY
    )
    assert arrow._connect_gcs().equals(expected)
    monkeypatch.setenv(
        "AZURE_STORAGE_CONNECTION_STRING",
        "DefaultEndpointsProtocol=http;AccountName=acc;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:1235/acc;",
    )
    emulated = AzureFileSystem(
        "acc",
        account_key="a2V5",
        blob_storage_authority="127.0.0.1:1235",
        blob_storage_scheme="http",
        dfs_storage_authority="127.0.0.1:1235",
        dfs_storage_scheme="http",
    )
    assert arrow._connect_azure("acc", "c").equals(emulated)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "AccountName=acc;AccountKey=a2V5;EndpointSuffix=x")
    assert arrow._connect_azure("acc", "c").equals(AzureFileSystem("acc", account_key="a2V5"))


def test_s3_is_spoken_for_real(monkeypatch: pytest.MonkeyPatch) -> None:
    server_module = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    boto3 = pytest.importorskip("boto3", reason="moto[server] is not installed")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
        client.create_bucket(Bucket="lake")
        for key in ODD_KEYS:
            storage.write_bytes(f"s3://lake/p/{key}", key.encode())
            assert storage.read_bytes(f"s3://lake/p/{key}") == key.encode()
        storage.write_bytes("s3://lake/p/empty", b"")
        assert storage.read_bytes("s3://lake/p/empty") == b""
        listed = [found.uri for found in storage.list_objects("s3://lake/p")]
        assert listed == sorted(f"s3://lake/p/{key}" for key in [*ODD_KEYS, "empty"])
        odd = ["d/a", "d/a/1", "d/a-b/1", "d/a.b", "d/x//1", "d/y/", "d/z/./1", "d/z/../1", "e//1", "e/a/1"]
        for key in odd:  # of which Arrow would not write all
            client.put_object(Bucket="lake", Key=key, Body=b"1")
        for folder in ("d", "e"):  # in e, a prefix has an empty name
            listed = [found.uri for found in storage.list_objects(f"s3://lake/{folder}")]
            assert listed == sorted(f"s3://lake/{key}" for key in odd if key[0] == folder and key[-1] != "/")
        with pytest.raises(ObjectNotFoundError, match="no bucket 'none'"):
            storage.write_bytes("s3://none/x", b"")
        with pytest.raises(StorageError, match="Empty path component"):
            storage.read_bytes("s3://lake/a//b")
        storage.delete("s3://lake/p/none")
    finally:
        server.stop()


@pytest.mark.parametrize("root", ["s3://lake", "gs://lake"])
def test_folders_are_listed_by_name(bucket: Path, root: str) -> None:
    for key in ("runs/b/x", "runs/a/deep/y", "runs/file"):
        (bucket / key).parent.mkdir(parents=True, exist_ok=True)
        storage.write_bytes(f"{root}/{key}", b"1")
    assert list(storage.list_folders(f"{root}/runs")) == [f"{root}/runs/a", f"{root}/runs/b"]
    assert list(storage.list_folders(f"{root}/none")) == []
