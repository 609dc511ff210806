"""Where an object is: store, account, bucket, key. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from deepo_beam.errors import ConfigError
from deepo_beam.identity import SCHEME, SCHEME_ALIASES


@dataclass(frozen=True, slots=True)
class Place:
    """An object's address, taken apart.

    Attributes:
        scheme: ``s3``, ``gs`` or ``abfs``.
        account: of Azure, empty for the others.
        container: the bucket or container.
        key: the object's name, byte for byte; empty for the container itself.
        prefix: the URI up to the key, as it was written.
    """

    scheme: str
    account: str
    container: str
    key: str
    prefix: str

    @property
    def path(self) -> str:
        """As ``pyarrow.fs`` wants it: container/key."""
        return f"{self.container}/{self.key}".rstrip("/")


def parse_place(uri: str) -> Place:
    """Take a URI apart.

    Azure is ``abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/key`` as Hadoop writes it, or
    ``azfs://ACCOUNT/CONTAINER/key`` as Beam does; each form under each of the schemes abfs, abfss and azfs.

    Raises:
        ConfigError: no bucket, or no container, is named.
    """
    match = SCHEME.match(uri)
    scheme = match.group(1).lower() if match else ""
    scheme = SCHEME_ALIASES.get(scheme, scheme)
    start = match.end() if match else 0
    host, _, key = uri[start:].partition("/")
    account, container = "", host.lower()
    if scheme == "abfs" and "@" in host:
        container, _, server = host.lower().partition("@")
        account = server.partition(".")[0]
    elif scheme == "abfs":
        account = container
        container, _, key = key.partition("/")
    if not container:
        raise ConfigError(f"{uri!r} names no {'container' if scheme == 'abfs' else 'bucket'}; add it")
    prefix = uri[: len(uri) - len(key)]
    return Place(scheme, account, container, key, prefix if prefix.endswith("/") else f"{prefix}/")
