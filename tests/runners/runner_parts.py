"""What real runners are made of, got once from PyPI, Maven and Go's proxy; see ``tests/testbed/parts.py``."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from apache_beam.version import __version__ as beam_version
from parts import go_program, maven, part, run

FLINK = "1.19.3"
JOB_SERVER = "2.62.0"  # the newest of Beam's Flink and Spark runners that the registry has; also in the poms
TESTBED = Path(__file__).parents[1] / "testbed" / "flink"
_BEAM_GO = "github.com/apache/beam/sdks/v2"


def flink_jars() -> list[Path]:
    """Flink's class path. PyPI has its distribution without the shell scripts."""
    return sorted(part("flink", FLINK, _make_flink).glob("*.jar"))


def _make_flink(folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="flink-") as aside:
        where = ["--python", sys.executable, "--no-cache", "--no-deps", "--target", aside]
        run([sys.executable, "-m", "uv", "pip", "install", "--quiet", *where, f"apache-flink-libraries=={FLINK}"])
        for jar in Path(aside).glob("pyflink/lib/*.jar"):
            if jar.name.startswith(("flink-dist-", "log4j-")):
                shutil.move(jar, folder / jar.name)


def flink_job_server() -> Path:
    """One jar, started with ``java -jar``."""
    name = "flink-job-server.jar"
    return maven("flink-job-server", JOB_SERVER, TESTBED / "pom.xml", "package", keep=name) / name


def spark_job_server() -> Path:
    """The folder of its jars, which are a class path."""
    pom = TESTBED.parent / "spark" / "pom.xml"
    return maven("spark-job-server", JOB_SERVER, pom, "dependency:copy-dependencies", keep="dependency/*.jar")


def boot() -> Path:
    """Beam's program that starts a Python worker, which containers have at ``/opt/apache/beam/boot``."""
    return go_program("beam-boot", f"{_BEAM_GO}/python/container", f"v{beam_version}")


def prism() -> Path:
    """The runner itself."""
    return go_program("prism", f"{_BEAM_GO}/go/cmd/prism", f"v{beam_version}")
