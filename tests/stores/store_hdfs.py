"""HDFS: a real NameNode and DataNode in one process, of which ``tests/testbed/hdfs`` is the program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import requests
from parts import maven, tool
from servers import free_port, running
from store_tools import Store

HADOOP = "3.4.1"
USER = "beam"
SOURCE = Path(__file__).parents[1] / "testbed" / "hdfs"
_OPENED = ("java.lang", "java.nio", "java.net", "java.util")  # Hadoop looks into these, and Java 17 shuts them


@contextmanager
def running_hdfs(folder: Path) -> Iterator[Store]:
    """An empty HDFS, for as long as the block; its superuser is the one that the command is told to be."""
    http, rpc = free_port(), free_port()
    jars = maven("hdfs", HADOOP, SOURCE / "pom.xml", "dependency:copy-dependencies", keep="dependency")
    command = [tool("java", "apt-get install openjdk-17-jdk-headless"), "-Xmx512m"]
    command += [part for name in _OPENED for part in ("--add-opens", f"java.base/{name}=ALL-UNNAMED")]
    command += ["-cp", f"{jars}/dependency/*", SOURCE / "OneNodeHdfs.java", str(http), str(rpc), folder / "data"]
    log = folder / "log"
    with running(command, log=log, ready=lambda: "READY" in log.read_text(), env={"HADOOP_USER_NAME": USER}):
        url = f"http://localhost:{http}/webhdfs/v1"

        def put(key: str, data: bytes) -> None:
            to = f"{url}/lake/{quote(key)}?op=CREATE&overwrite=true&user.name={USER}"
            requests.put(to, data=data, timeout=30).raise_for_status()

        environment = {"HDFS_HOST": "localhost", "HDFS_PORT": str(http), "HADOOP_USER_NAME": USER}
        flags = (f"--hdfs_host={environment['HDFS_HOST']}", f"--hdfs_port={http}", f"--hdfs_user={USER}")
        yield Store("hdfs", "hdfs://lake", environment, put, flags)
