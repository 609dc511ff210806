"""An output in an object store: who holds it, and kills, against a mock of S3."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from chaos_tools import KILLS, SEED, Chaos, seeded, while_posting

from deepo_beam.emulator.testing import running_emulator


@dataclass
class Bucket:
    """One that is empty at first."""

    client: object
    name: str

    def copy_to(self, folder: Path) -> None:
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name):
            for key in (listed["Key"] for listed in page.get("Contents", ())):
                if not key.endswith("/"):  # Arrow leaves a marker where the last object of a folder was deleted
                    (folder / key).parent.mkdir(parents=True, exist_ok=True)
                    self.client.download_file(self.name, key, str(folder / key))


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    for name, value in {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            client = boto3.client("s3", endpoint_url=url)
            for _ in range(100):
                try:
                    client.create_bucket(Bucket="lake")
                    break
                except Exception:  # it is not up yet
                    time.sleep(0.1)
            yield Bucket(client, "lake")
        finally:
            server.kill()


@dataclass
class InBucket(Chaos):
    """``lake`` is a copy, made when it is looked at."""

    bucket: Bucket | None = None

    def while_dividing(self, process: subprocess.Popen[str]) -> None:
        """As soon as there is another journal, and a little later."""

        def copies() -> int:
            return self.bucket.client.list_objects_v2(Bucket="lake", Prefix="labels/journal-by-")["KeyCount"]

        before = copies()
        while process.poll() is None and copies() <= before:
            time.sleep(0.01)
        time.sleep(self.rng.random() * 0.3)

    @property
    def output(self) -> str:
        return "s3://lake/labels"

    @property
    def lake(self) -> Path:
        self.bucket.copy_to(self.folder / "copy")
        return self.folder / "copy" / "labels"


def test_in_a_bucket_the_second_run_is_refused_and_after_a_kill_the_next_one_goes_on(
    tmp_path: Path, bucket: Bucket
) -> None:
    seed = 100 * SEED + 90
    with seeded(seed) as rng, running_emulator(latency=0.2, seed=seed) as service:
        chaos = InBucket(tmp_path, service, rng, ("--rate", "30/s"), bucket)
        chaos.make_photos()
        first = chaos.start()
        while_posting(chaos, first)
        second = chaos.start()
        out, err = second.communicate(timeout=60)
        assert (second.returncode, out) == (7, "")
        assert f"pid {first.pid} on {socket.gethostname()}" in err

        os.kill(first.pid, signal.SIGKILL)
        first.communicate()
        chaos.flags = ()
        chaos.finish()
        chaos.check()


def test_a_run_that_slept_while_another_took_over_posts_no_more(tmp_path: Path, bucket: Bucket) -> None:
    seed = 100 * SEED + 95
    with seeded(seed) as rng, running_emulator(latency=0.2, seed=seed) as service:
        chaos = InBucket(tmp_path, service, rng, ("--rate", "20/s"), bucket)
        chaos.make_photos(200)
        sleeper = chaos.start()
        while_posting(chaos, sleeper)
        os.kill(sleeper.pid, signal.SIGSTOP)  # as a laptop that sleeps
        chaos.finish()
        posted = service.stats()["accepted"]
        os.kill(sleeper.pid, signal.SIGCONT)
        _, err = sleeper.communicate(timeout=60)
        assert sleeper.returncode == 5, err
        assert "Traceback" not in err
        # What it was sending when it fell asleep is all that may still come.
        assert service.stats()["accepted"] - posted <= 2
        chaos.flags = ()
        chaos.finish()
        chaos.check()


def test_in_a_bucket_a_re_bucketing_that_is_killed_again_and_again_loses_nothing(
    tmp_path: Path, bucket: Bucket
) -> None:
    seed = 100 * SEED + 97
    with seeded(seed) as rng, running_emulator(latency=0.1, seed=seed) as service:
        chaos = InBucket(tmp_path, service, rng, bucket=bucket)
        chaos.make_photos()
        chaos.kill_at(while_posting)
        for _ in range(KILLS):
            chaos.kill(chaos.divide(rng.choice([2, 3, 7])), InBucket.while_dividing)
        chaos.kill_at(while_posting)
        _, err = (ended := chaos.divide(4)).communicate(timeout=60)
        assert ended.returncode == 0, err
        chaos.finish()
        chaos.check()
