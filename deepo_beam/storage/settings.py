"""How stores are reached, as variables of the environment: the one way that gets to every process of a run. Pure.

Beam's options do not reach the workers of its own multi-processing, nor what is looked at before there is a pipeline.
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from deepo_beam.errors import ConfigError

#: Beam's options, and the variables that say the same to :mod:`deepo_beam.storage`.
VARIABLES: Mapping[str, str] = {
    "s3_endpoint_url": "AWS_ENDPOINT_URL",
    "s3_access_key_id": "AWS_ACCESS_KEY_ID",
    "s3_secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "s3_session_token": "AWS_SESSION_TOKEN",
    "s3_region_name": "AWS_REGION",
    "azure_connection_string": "AZURE_STORAGE_CONNECTION_STRING",
    "hdfs_host": "HDFS_HOST",
    "hdfs_port": "HDFS_PORT",
    "hdfs_user": "HADOOP_USER_NAME",
    "hdfs_full_urls": "HDFS_FULL_URLS",
}
_WEB_PORT = "9870"  # of a NameNode since Hadoop 3


class HdfsSettings(NamedTuple):
    """As Beam's file system takes them.

    Attributes:
        hdfs_host: of the NameNode.
        hdfs_port: of its web interface, for WebHDFS is spoken.
        hdfs_user: as whom.
        hdfs_full_urls: a URI names a host before the path, which is passed over.
    """

    hdfs_host: str
    hdfs_port: str
    hdfs_user: str
    hdfs_full_urls: bool


def store_variables(flags: Sequence[str]) -> dict[str, str]:
    """Beam's options of stores among its flags, as variables; the last one of a name wins.

    ``--s3_endpoint_url`` also wins over an AWS_ENDPOINT_URL_S3 of the environment.
    """
    given: dict[str, str] = {}
    for position, flag in enumerate(flags):
        name, is_set, value = flag.removeprefix("--").partition("=")
        if not flag.startswith("--") or name not in VARIABLES:
            continue
        if not is_set:
            value = "true" if name == "hdfs_full_urls" else "".join(flags[position + 1 : position + 2])
        given[VARIABLES[name]] = value
    if "AWS_ENDPOINT_URL" in given:
        given["AWS_ENDPOINT_URL_S3"] = given["AWS_ENDPOINT_URL"]
    if "AWS_ACCESS_KEY_ID" in given:
        given.setdefault("AWS_SESSION_TOKEN", "")  # one of the environment belongs to another key
    return given


def hdfs_settings(environment: Mapping[str, str]) -> HdfsSettings | None:
    """What HDFS_HOST, HDFS_PORT, HADOOP_USER_NAME and HDFS_FULL_URLS say; None without a host.

    Raises:
        ConfigError: the port is none, or there is no user.
    """
    host = environment.get("HDFS_HOST")
    if not host:
        return None
    port = environment.get("HDFS_PORT") or _WEB_PORT
    if not port.isascii() or not port.isdigit():
        raise ConfigError(f"HDFS_PORT is {port!r}: give the port of the NameNode's web interface, such as {_WEB_PORT}")
    user = environment.get("HADOOP_USER_NAME") or _own_name()
    full = environment.get("HDFS_FULL_URLS", "").lower() in ("1", "true", "yes")
    return HdfsSettings(host, port, user, full)


def _own_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        raise ConfigError("this user has no name: set HADOOP_USER_NAME to the one that HDFS knows") from None
