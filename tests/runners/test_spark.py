"""The command on Beam's Spark job server, with Spark in its own process; workers are threads of the command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flink_cluster import OPENED
from flink_jobs import check_here, job, rows
from parts import tool
from runner_parts import spark_job_server
from servers import free_port, listens, running

from deepo_beam.emulator.testing import running_emulator

IMAGES = 2000
PACKAGES = (*OPENED, "java.lang.invoke", "sun.security.action")


@pytest.fixture
def on_spark(tmp_path: Path) -> Iterator[list[str]]:
    port = free_port()
    command = [
        tool("java", "apt-get install openjdk-17-jdk-headless"),
        *(f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in PACKAGES),
        "-cp",
        f"{spark_job_server()}/*",
        "org.apache.beam.runners.spark.SparkJobServerDriver",
        "--spark-master-url=local[2]",
        "--job-host=localhost",
        f"--job-port={port}",
        f"--artifact-port={free_port()}",
        "--expansion-port=0",
        f"--artifacts-dir={tmp_path / 'artifacts'}",
    ]
    with running(command, log=tmp_path / "job-server.log", ready=lambda: listens(port), within_s=90, cwd=tmp_path):
        yield ["--runner=PortableRunner", f"--job_endpoint=localhost:{port}", "--environment_type=LOOPBACK"]


def test_the_tables_are_those_of_beams_own_runner(tmp_path: Path, on_spark: list[str]) -> None:
    with running_emulator(latency=0.2) as service:
        there, here = job(tmp_path, service, on_spark), job(tmp_path, service, [])
        there.make_photos(IMAGES)
        summary = there.label()
        assert summary["calls"] == service.stats()["accepted"] == IMAGES
        check_here(there)
        here.name = "here"
        here.label()
        for table in ("images", "labels"):
            assert rows(there.lake, table) == rows(here.lake, table)
