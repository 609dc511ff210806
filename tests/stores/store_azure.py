"""Azure Blob Storage: azurite."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlencode

import requests
from parts import npm_package, tool
from servers import free_port, listens, running
from store_tools import Store

VERSION = "3.35.0"
CONTAINER = "lake"
ACCOUNT = "devstoreaccount1"
# Azurite's own, known to everybody.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@contextmanager
def running_azurite(folder: Path) -> Iterator[Store]:
    """A server with an empty container, for as long as the block."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/{ACCOUNT}"
    program = npm_package("azurite", VERSION) / "dist" / "src" / "blob" / "main.js"
    command = [tool("node", "apt-get install nodejs"), program, "--blobHost", "127.0.0.1", "--blobPort", str(port)]
    command += ["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent"]
    with running(command, log=folder / "log", ready=lambda: listens(port), cwd=folder):
        token = account_token()
        requests.put(f"{url}/{CONTAINER}?restype=container&{token}", timeout=10).raise_for_status()

        def put(key: str, data: bytes) -> None:
            to = f"{url}/{CONTAINER}/{quote(key)}?{token}"
            headers = {"x-ms-blob-type": "BlockBlob", "x-ms-version": "2019-12-12"}
            requests.put(to, data=data, headers=headers, timeout=10).raise_for_status()

        text = f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={url};"
        environment = {"AZURE_STORAGE_CONNECTION_STRING": text}
        flags = (f"--azure_connection_string={text}",)
        yield Store("azure", f"azfs://{ACCOUNT}/{CONTAINER}", environment, put, flags)


def account_token(until: str = "2099-01-01T00:00:00Z") -> str:
    """A shared access signature of the account for everything with blobs, by the protocol's version 2019-12-12."""
    given = {"sv": "2019-12-12", "ss": "b", "srt": "sco", "sp": "rwdlac", "se": until}
    lines = [ACCOUNT, given["sp"], given["ss"], given["srt"], "", until, "", "", given["sv"], ""]
    signed = hmac.new(base64.b64decode(KEY), "\n".join(lines).encode(), hashlib.sha256).digest()
    return urlencode(given | {"sig": base64.b64encode(signed).decode()})
