"""Kill the real command again and again, until it is done; then see that nothing is lost, doubled or hidden."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from deepo_beam.emulator import echo_predictions
from deepo_beam.emulator.testing import RunningEmulator

ROOT = Path(__file__).parents[2]
IMAGES = int(os.environ.get("CHAOS_IMAGES", "300"))
KILLS = int(os.environ.get("CHAOS_KILLS", "3"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))
_ENDS_WITHIN_S = 120
_GIF = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)

Moment = Callable[["Chaos", subprocess.Popen[str]], None]


@dataclass
class Chaos:
    """One output that is labelled by a command that is killed.

    Attributes:
        folder: holds ``photos`` and ``lake``.
        service: the emulator.
        rng: decides on the moments.
        flags: of the command.
        buckets: of the output; None: whatever it has.
    """

    folder: Path
    service: RunningEmulator
    rng: random.Random
    flags: tuple[str, ...] = ()
    buckets: int | None = field(default=5, kw_only=True)

    @property
    def lake(self) -> Path:
        return self.folder / "lake"

    @property
    def output(self) -> Path:
        """The same, as the command calls it."""
        return self.lake

    @property
    def photos(self) -> str:
        """The folder of images, as the command calls it."""
        return str(self.folder / "photos")

    @property
    def prefix(self) -> tuple[str, ...]:
        """Before the command."""
        return ()

    def make_photos(self, count: int = IMAGES) -> None:
        """Tiny images, distinct by what follows the last block, which no reader looks at."""
        (self.folder / "photos").mkdir()
        for number in range(count):
            (self.folder / "photos" / f"{number:05d}.gif").write_bytes(_GIF + number.to_bytes(4, "big"))

    def start(self, *beam: str) -> subprocess.Popen[str]:
        arguments = [
            "label",
            self.photos,
            "--output",
            str(self.output),
            "--spec",
            "echo-v1",
            "--json",
            "--quiet",
            *self.flags,
        ]
        arguments += [] if self.buckets is None else ["--buckets", str(self.buckets)]
        return self._process(*arguments, *(["--", *beam] if beam else []))

    def divide(self, buckets: int) -> subprocess.Popen[str]:
        """Ask for another number of buckets."""
        self.buckets = None
        return self._process("compact", str(self.output), "--buckets", str(buckets))

    def _process(self, *arguments: str) -> subprocess.Popen[str]:
        command = [*self.prefix, sys.executable, "-m", "deepo_beam", *arguments]
        environment = {**os.environ, "DEEPOMATIC_API_URL": self.service.url, "DEEPOMATIC_API_KEY": "any"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, start_new_session=True, **pipes)

    def kill_at(self, moment: Moment) -> bool:
        """Start the command and kill it then; False: it had ended before."""
        return self.kill(self.start(), moment)

    def kill(self, process: subprocess.Popen[str], moment: Moment) -> bool:
        """The same for one that has been started."""
        moment(self, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return process.returncode == -signal.SIGKILL

    def finish(self) -> dict:
        """The same command, left alone until it is done."""
        process = self.start()
        try:
            out, err = process.communicate(timeout=_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(f"it hangs: {process.communicate()}") from None
        assert process.returncode == 0, err
        assert "Traceback" not in err
        return json.loads(out)

    # --- what must hold -----------------------------------------------------------------------------

    def check(self, *, failures: bool = False) -> None:
        """Every image once, with the labels of its bytes; every call told; a further run calls nothing.

        Args:
            failures: the service has faults, so an image may have failed in one run and succeeded in a later one.
        """
        self._check_images(failures=failures)
        self._check_bill()
        self._check_files()
        self._check_verified()
        before = self.service.stats()["accepted"]
        summary = self.finish()
        if not failures:
            assert (summary["calls"], self.service.stats()["accepted"]) == (0, before)
            assert summary["reused"] == summary["listed"]

    def _check_images(self, *, failures: bool) -> None:
        photos = {f"{self.photos}/{path.name}": path.read_bytes() for path in (self.folder / "photos").iterdir()}
        outcomes: dict[str, Counter[str]] = {uri: Counter() for uri in photos}
        for row in self._rows("images", "image_uri", "status"):
            outcomes[row["image_uri"]][row["status"]] += 1
        labels: dict[str, list[str]] = {uri: [] for uri in photos}
        for row in self._rows("labels", "image_uri", "label_name", "prediction_index", "is_predicted"):
            if row["is_predicted"]:
                labels[row["image_uri"]].append(row["label_name"])
        for uri, data in photos.items():
            failed = outcomes[uri].pop("failed", 0)
            assert failed == 0 or failures, uri
            if failures and not outcomes[uri]:
                assert failed, f"{uri} is in no table"
                continue
            assert outcomes[uri].total() == 1, f"{uri}: {outcomes[uri]}"
            expected = [label["label_name"] for label in echo_predictions(data)["labels"]["predicted"]]
            assert sorted(labels[uri]) == sorted(expected), uri

    def _check_bill(self) -> None:
        summaries = [json.loads(path.read_text()) for path in self.lake.glob("runs/*/summary.json")]
        stats = self.service.stats()
        told = Counter[str]()
        for summary in summaries:
            told.update(summary["billed_twice_by_kind"])
            assert summary["possibly_billed_twice"] == sum(summary["billed_twice_by_kind"].values())
        assert stats["accepted_again"] <= told.total(), (stats, told)
        assert set(+told) <= {"in_doubt", "answer_unknown", "task_lost", "task_error", "overlap"}

    def _check_verified(self) -> None:
        command = [*self.prefix, sys.executable, "-m", "deepo_beam", "verify", str(self.output)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stdout + ended.stderr

    def _check_files(self) -> None:
        """Whatever stands under a final name is whole."""
        for path in self.lake.rglob("*"):
            if path.suffix == ".parquet":
                pq.read_table(path)
            elif path.suffix == ".json" and not path.name.startswith("."):
                json.loads(path.read_text())
        for intent in self.lake.glob("runs/*/publish.json"):
            assert (intent.parent / "_SUCCESS").exists(), intent

    def _rows(self, table: str, *columns: str) -> Iterator[dict]:
        for path in self.lake.glob(f"{table}/run_id=*/*.parquet"):
            yield from pq.read_table(path, columns=list(columns), partitioning=None).to_pylist()


# --- moments ------------------------------------------------------------------------------------------


def while_posting(chaos: Chaos, process: subprocess.Popen[str]) -> None:
    """After some more calls, and a little later."""
    wanted = chaos.service.stats()["accepted"] + chaos.rng.randint(1, IMAGES // 4)
    _wait(process, lambda: chaos.service.stats()["accepted"] >= wanted)
    time.sleep(chaos.rng.random() * 0.3)


def while_publishing(chaos: Chaos, process: subprocess.Popen[str]) -> None:
    """As soon as the intent is there, and a little later."""
    before = set(chaos.lake.glob("runs/*/publish.json"))
    _wait(process, lambda: bool(set(chaos.lake.glob("runs/*/publish.json")) - before))
    time.sleep(chaos.rng.random() * 0.1)


def while_dividing(chaos: Chaos, process: subprocess.Popen[str]) -> None:
    """As soon as there is another journal, and a little later."""
    before = set(chaos.lake.glob("journal-by-*"))
    _wait(process, lambda: bool(set(chaos.lake.glob("journal-by-*")) - before))
    time.sleep(chaos.rng.random() * 0.15)


def any_time(chaos: Chaos, process: subprocess.Popen[str]) -> None:
    """From before the first call on."""
    time.sleep(1.5 + chaos.rng.random() * 3)


def _wait(process: subprocess.Popen[str], there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _ENDS_WITHIN_S
    while process.poll() is None and not there():
        assert time.monotonic() < deadline, "it hangs"
        time.sleep(0.003)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[random.Random]:
    """Random moments; a failure says how to see it again."""
    try:
        yield random.Random(seed)
    except BaseException:
        print(f"again: CHAOS_SEED={SEED} CHAOS_KILLS={KILLS} CHAOS_IMAGES={IMAGES} (seed {seed})", file=sys.stderr)
        raise
