"""S3: a MinIO of our own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from parts import go_program
from servers import free_port, listens, running
from store_tools import Store

VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"
USER, PASSWORD = "testing1", "testing12"
BUCKET = "lake"


def minio() -> Path:
    """The server's binary."""
    return go_program("minio", "github.com/minio/minio", VERSION)


@contextmanager
def running_minio(folder: Path) -> Iterator[Store]:
    """A server with an empty bucket, for as long as the block."""
    port = free_port()
    (folder / "data").mkdir()
    command = [minio(), "server", "--quiet", "--address", f"127.0.0.1:{port}", folder / "data"]
    settings = {
        "MINIO_ROOT_USER": USER,
        "MINIO_ROOT_PASSWORD": PASSWORD,
        "MINIO_UPDATE": "off",
        "MINIO_CALLHOME_ENABLE": "off",
        "HOME": str(folder),
    }
    with running(command, log=folder / "log", ready=lambda: listens(port), env=settings):
        environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": USER,
            "AWS_SECRET_ACCESS_KEY": PASSWORD,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        client = client_of(environment)
        client.create_bucket(Bucket=BUCKET)
        put = lambda key, data: client.put_object(Bucket=BUCKET, Key=key, Body=data)  # noqa: E731
        flags = (f"--s3_endpoint_url={environment['AWS_ENDPOINT_URL']}", "--s3_region_name=us-east-1")
        flags += (f"--s3_access_key_id={USER}", f"--s3_secret_access_key={PASSWORD}")
        yield Store("s3", f"s3://{BUCKET}", environment, put, flags)


def client_of(environment: dict[str, str]) -> Any:
    """boto3's client with these settings."""
    return boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_DEFAULT_REGION"],
    )
