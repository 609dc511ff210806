"""A real Flink cluster of separate processes on this machine, each ended by its pid."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

import requests
from parts import tool
from runner_parts import TESTBED, boot, flink_jars, flink_job_server
from servers import free_port, listens, running

ROOT = Path(__file__).parents[2]
_UP_WITHIN_S = 90.0
# Without the distribution's shell scripts every part of a TaskManager's memory has to be said.
_CONF = """\
jobmanager.rpc.address: localhost
jobmanager.rpc.port: {rpc}
jobmanager.bind-host: localhost
jobmanager.memory.process.size: 1024m
jobmanager.execution.failover-strategy: region
rest.address: localhost
rest.bind-address: localhost
rest.port: {rest}
taskmanager.host: localhost
taskmanager.bind-host: localhost
taskmanager.numberOfTaskSlots: {slots}
taskmanager.cpu.cores: {slots}
taskmanager.memory.framework.heap.size: 128m
taskmanager.memory.framework.off-heap.size: 64m
taskmanager.memory.task.heap.size: 384m
taskmanager.memory.task.off-heap.size: 0m
taskmanager.memory.managed.size: 128m
taskmanager.memory.network.min: 256m
taskmanager.memory.network.max: 256m
taskmanager.memory.jvm-metaspace.size: 256m
taskmanager.memory.jvm-overhead.min: 64m
taskmanager.memory.jvm-overhead.max: 64m
taskmanager.load-balance.mode: SLOTS
io.tmp.dirs: {tmp}
restart-strategy.type: fixed-delay
restart-strategy.fixed-delay.attempts: 5
restart-strategy.fixed-delay.delay: 1s
cluster.registration.error-delay: 300
cluster.registration.initial-timeout: 200
cluster.registration.refused-registration-delay: 500
heartbeat.interval: 1000
heartbeat.timeout: 5000
heartbeat.rpc-failure-threshold: 2
"""
_LOGGING = """\
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = console
appender.console.name = console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss,SSS} %-5p %c{1} - %m%n
"""
_UTIL = ("java.util", "java.util.concurrent", "java.util.concurrent.atomic", "java.util.concurrent.locks")
OPENED = (
    "java.lang",
    "java.lang.reflect",
    "java.net",
    "java.io",
    "java.nio",
    "java.text",
    "java.time",
    *_UTIL,
    "sun.nio.ch",
)
_EXPORTED = ("java.base/sun.net.util", "java.rmi/sun.rmi.registry", "java.security.jgss/sun.security.krb5")


@dataclass
class FlinkCluster:
    """One that runs.

    Attributes:
        folder: of its configuration, logs and temporary files.
        slots: of each TaskManager.
        rest: port of Flink's REST.
        jobs: port of Beam's job server.
        managers: the TaskManagers that were started, dead ones included.
    """

    folder: Path
    slots: int
    rest: int
    jobs: int
    managers: list[Popen[bytes]] = field(default_factory=list)
    ends: ExitStack = field(default_factory=ExitStack)

    def flags(self, parallelism: int, **environment: str) -> list[str]:
        """What to tell Beam; workers have ``environment`` beside that of their TaskManager."""
        worker = json.dumps({"command": str(TESTBED / "worker.sh"), "env": environment})
        return [
            "--runner=PortableRunner",
            f"--job_endpoint=localhost:{self.jobs}",
            "--environment_type=PROCESS",
            f"--environment_config={worker}",
            f"--parallelism={parallelism}",
        ]

    def get(self, path: str) -> dict:
        """What Flink's REST says."""
        reply = requests.get(f"http://localhost:{self.rest}{path}", timeout=10)
        reply.raise_for_status()
        return reply.json()

    def running_jobs(self) -> list[str]:
        """The ids of jobs that have not ended."""
        ended = ("FINISHED", "CANCELED", "FAILED")
        return [job["jid"] for job in self.get("/jobs/overview")["jobs"] if job["state"] not in ended]

    def last_job(self) -> str:
        """The id of the job that began last."""
        return max(self.get("/jobs/overview")["jobs"], key=lambda job: job["start-time"])["jid"]

    def cancel(self, job: str) -> None:
        """As a click on *Cancel* does."""
        requests.patch(f"http://localhost:{self.rest}/jobs/{job}?mode=cancel", timeout=10).raise_for_status()

    def start_manager(self) -> None:
        """One more TaskManager, as a cluster's keeper starts one for each that died."""
        wanted = 1 + len(self.alive())
        log = self.folder / f"taskmanager-{len(self.managers)}.log"
        memory = ["-Xms512m", "-Xmx512m", "-XX:MaxDirectMemorySize=512m", "-XX:MaxMetaspaceSize=256m"]
        entry = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
        manager = self.ends.enter_context(
            running(
                _flink(self.folder, *memory, entry=entry),
                log=log,
                ready=lambda: self._registered() >= wanted,
                within_s=_UP_WITHIN_S,
                env={
                    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                    "PYTHONPATH": str(ROOT),
                    "BEAM_BOOT": str(boot()),
                    "DEEPOMATIC_API_KEY": "any",
                    "TMPDIR": str(self.folder),
                },
                cwd=self.folder,  # a worker leaves a file where it starts
            )
        )
        self.managers.append(manager)

    def alive(self) -> list[Popen[bytes]]:
        """The TaskManagers that run."""
        return [manager for manager in self.managers if manager.poll() is None]

    def workers(self, manager: Popen[bytes]) -> list[int]:
        """The Python workers of a TaskManager, also of a dead one."""
        return [pid for pid in session(manager.pid) if b"sdk_worker_main" in _command_line(pid)]

    def end_orphans(self) -> None:
        """What TaskManagers that were killed have left running: workers are in process groups of their own."""
        for manager in self.managers:
            if manager.poll() is not None:
                for pid in session(manager.pid):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    def _registered(self) -> int:
        try:
            return self.get("/overview")["taskmanagers"]
        except requests.RequestException:
            return 0


@contextmanager
def flink_cluster(folder: Path, *, managers: int, slots: int) -> Iterator[FlinkCluster]:
    """Start one on free ports, and end all of it."""
    cluster = FlinkCluster(folder, slots, rest=free_port(), jobs=free_port())
    conf = _CONF.format(rpc=free_port(), rest=cluster.rest, slots=slots, tmp=folder / "tmp")
    (folder / "flink-conf.yaml").write_text(conf)
    (folder / "log4j.properties").write_text(_LOGGING)
    with cluster.ends as ends:
        ends.callback(cluster.end_orphans)  # last
        entry = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
        ends.enter_context(
            running(
                _flink(folder, "-Xmx512m", entry=entry),
                log=folder / "jobmanager.log",
                ready=lambda: listens(cluster.rest),
                within_s=_UP_WITHIN_S,
            )
        )
        for _ in range(managers):
            cluster.start_manager()
        ends.enter_context(
            running(
                _job_server(cluster),
                log=folder / "job-server.log",
                ready=lambda: listens(cluster.jobs),
                within_s=_UP_WITHIN_S,
            )
        )
        yield cluster


def session(leader: int) -> list[int]:
    """The processes of a session, by /proc."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append(int(stat.parent.name))
    return found


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _java() -> list[str]:
    java = tool("java", "apt-get install openjdk-17-jdk-headless")
    return [
        java,
        *(f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in OPENED),
        *(f"--add-exports={name}=ALL-UNNAMED" for name in _EXPORTED),
    ]


def _flink(folder: Path, *options: str, entry: str) -> list[str]:
    logging = f"-Dlog4j.configurationFile=file:{folder / 'log4j.properties'}"
    class_path = os.pathsep.join(map(str, flink_jars()))
    return [*_java(), logging, *options, "-cp", class_path, entry, "--configDir", str(folder)]


def _job_server(cluster: FlinkCluster) -> list[str]:
    return [
        *_java(),
        "-Xmx1g",
        "-jar",
        str(flink_job_server()),
        f"--flink-master=localhost:{cluster.rest}",
        "--job-host=localhost",
        f"--job-port={cluster.jobs}",
        f"--artifact-port={free_port()}",
        "--expansion-port=0",
        f"--artifacts-dir={cluster.folder / 'artifacts'}",
    ]
