"""The command killed again and again, with images and output in MinIO."""

from __future__ import annotations

import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from chaos_tools import KILLS, SEED, Chaos, seeded, while_posting
from store_tools import Store

from deepo_beam import storage
from deepo_beam.emulator.testing import running_emulator


@dataclass
class InStore(Chaos):
    """``lake`` is a copy, made anew when it is looked at."""

    store: Store | None = None

    @property
    def photos(self) -> str:
        assert self.store is not None
        return f"{self.store.root}/photos"

    @property
    def output(self) -> str:  # type: ignore[override]
        assert self.store is not None
        return f"{self.store.root}/lake"

    @property
    def lake(self) -> Path:
        assert self.store is not None
        shutil.rmtree(self.folder / "copy", ignore_errors=True)
        (self.folder / "copy").mkdir()
        return self.store.copy_to(self.folder / "copy", "lake")

    def upload(self) -> None:
        """The images, as they are in ``photos``."""
        assert self.store is not None
        for path in (self.folder / "photos").iterdir():
            self.store.put(f"photos/{path.name}", path.read_bytes())


def while_publishing(chaos: InStore, process: subprocess.Popen[str]) -> None:
    """As soon as there is another intent, and a little later."""

    def intents() -> int:
        return sum(found.uri.endswith("/publish.json") for found in storage.list_objects(f"{chaos.output}/runs"))

    before = intents()
    while process.poll() is None and intents() <= before:
        time.sleep(0.01)
    time.sleep(chaos.rng.random() * 0.1)


def test_killed_again_and_again_nothing_is_lost_or_doubled(minio: Store, tmp_path: Path) -> None:
    seed = 100 * SEED + 80
    with seeded(seed) as rng, running_emulator(latency=0.2, seed=seed) as service:
        chaos = InStore(tmp_path, service, rng, ("--rate", "60/s"), store=minio)
        chaos.make_photos()
        chaos.upload()
        killed = sum(chaos.kill_at(while_posting) for _ in range(KILLS))
        chaos.flags = ()
        killed += chaos.kill_at(while_publishing)
        assert killed >= KILLS
        chaos.finish()
        chaos.check()
