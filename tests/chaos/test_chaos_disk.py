"""A disk that is full, for a while or for good: the output is on a small disk of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from chaos_tools import KILLS, SEED, Chaos, seeded, while_posting

from deepo_beam.emulator.testing import running_emulator

_MOUNTS = 'mount -t tmpfs -o size=3m none "$0" && echo mounted && exec cat'


class SmallDisk:
    """3 MB at ``folder``, in a mount namespace of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.holder = subprocess.Popen(["unshare", "-rm", "sh", "-c", _MOUNTS, str(folder)], text=True, **pipes)
        self.works = self.holder.stdout.readline() == "mounted\n"
        self.inside = ("nsenter", f"--target={self.holder.pid}", "--user", "--mount", "--preserve-credentials")
        self.seen_from_here = Path(f"/proc/{self.holder.pid}/root{folder}")

    def fill(self) -> None:
        with (
            suppress(OSError),  # at the first write that finds no room: the command writes, too
            (self.seen_from_here / "filler").open("wb", buffering=0) as filler,
        ):
            while True:
                filler.write(bytes(4096))

    def empty(self) -> None:
        (self.seen_from_here / "filler").unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    if sys.platform != "linux":
        pytest.skip("needs mount namespaces")
    made = SmallDisk(tmp_path / "disk")
    try:
        if not made.works:
            pytest.skip("this machine lets nobody mount a disk of their own")
        yield made
    finally:
        made.holder.kill()
        made.holder.communicate()


class OnSmallDisk(Chaos):
    """The command's output is on the disk; ``lake`` is where it is seen from here."""

    disk: SmallDisk

    @property
    def lake(self) -> Path:
        return self.disk.seen_from_here / "lake"

    @property
    def output(self) -> Path:
        return self.folder / "disk" / "lake"

    @property
    def prefix(self) -> tuple[str, ...]:
        return self.disk.inside


def test_a_disk_that_is_full_for_a_while_stops_nothing(tmp_path: Path, disk: SmallDisk) -> None:
    seed = 100 * SEED + 70
    with seeded(seed) as rng, running_emulator(latency=0.1, seed=seed) as service:
        chaos = OnSmallDisk(tmp_path, service, rng, ("--rate", "60/s"))
        chaos.disk = disk
        chaos.make_photos()
        process = chaos.start()
        while_posting(chaos, process)
        disk.fill()
        time.sleep(8)  # claims are for two seconds, so it has come to a halt
        posted = service.stats()["accepted"]
        time.sleep(2)
        assert service.stats()["accepted"] == posted
        disk.empty()
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        chaos.check()


@pytest.mark.skipif(KILLS < 5, reason="it takes more than a minute until a run gives up a store: CHAOS_KILLS=5")
def test_a_disk_that_stays_full_ends_the_run_with_5_and_the_same_command_finishes(
    tmp_path: Path, disk: SmallDisk
) -> None:
    seed = 100 * SEED + 80
    with seeded(seed) as rng, running_emulator(latency=0.1, seed=seed) as service:
        chaos = OnSmallDisk(tmp_path, service, rng, ("--rate", "60/s"))
        chaos.disk = disk
        chaos.make_photos()
        process = chaos.start()
        while_posting(chaos, process)
        disk.fill()
        _, err = process.communicate(timeout=180)
        assert process.returncode == 5, err
        assert "No space left" in err
        assert "Traceback" not in err
        disk.empty()
        chaos.finish()
        chaos.check()
