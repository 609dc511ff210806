"""How time and memory grow with the number of images: the whole ``label``, then ``plan`` and ``label`` of known images.

``.venv/bin/python -m benchmarks.growth [--images 10000 100000 1000000] [--json growth.json]``

Small files, few of them different, under as many names as there are images, a thousand in a folder; the server is that
of ``make bench`` (with uvloop if ``make bench`` has made its environment) and labels what it gets 0.2 s later. Linux
alone: times and memory are those of /proc, of the command and all that descends from it. Prints a table, writes JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.bench import processes
from benchmarks.bench.environments import LOOPS, ROOT
from benchmarks.bench.images import numbered, picture
from benchmarks.bench.measure import Service, commit, running_server
from benchmarks.bench.service import SPEC

_DISTINCT = 200
_IMAGE_BYTES = 3000
_NAMES_A_FOLDER = 1000
_LOOK_S = 0.2
_SIZES = (10_000, 100_000, 1_000_000)
_COLUMNS = {
    "images": ("images", "{:,.0f}"),
    "start_s": ("start s", "{:.1f}"),
    "label_us": ("µs/image", "{:.0f}"),
    "label_cpu_us": ("CPU µs/image", "{:.0f}"),
    "end_s": ("end s", "{:.1f}"),
    "listed_mb": ("MB, listed", "{:.0f}"),
    "labelled_mb": ("MB, labelling", "{:.0f}"),
    "published_mb": ("MB, publishing", "{:.0f}"),
    "plan_s": ("plan s", "{:.1f}"),
    "plan_mb": ("plan MB", "{:.0f}"),
    "again_s": ("no-op s", "{:.1f}"),
    "again_mb": ("no-op MB", "{:.0f}"),
}


@dataclass
class Watch:
    """What a process and its descendants hold, looked at five times a second.

    Attributes:
        pid: of the process.
        looks: (seconds since 1970, resident bytes, CPU seconds so far).
    """

    pid: int
    looks: list[tuple[float, int, float]] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Watch:
        self._looker = threading.Thread(target=self._run)
        self._looker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._looker.join()

    def peak_mb(self, since: float = 0.0, until: float = float("inf")) -> float:
        """The most between two times; 0 if nobody looked."""
        return max((held for at, held, _ in self.looks if since <= at <= until), default=0) / 1e6

    def cpu_s(self, until: float = float("inf")) -> float:
        """Used up to a time."""
        return max((used for at, _, used in self.looks if at <= until), default=0.0)

    def _run(self) -> None:
        while not self._ended.wait(_LOOK_S):
            stats = processes.tree(self.pid)
            if stats:
                self.looks.append((time.time(), processes.resident_bytes(stats), processes.cpu_s(stats)))


def make_names(folder: Path, images: int) -> None:
    """So many names of few files."""
    files = folder.parent / "files"
    if not files.exists():
        files.mkdir()
        jpeg = picture(0, _IMAGE_BYTES // 2)
        for number in range(_DISTINCT):
            (files / f"{number}.jpg").write_bytes(numbered(jpeg, number, _IMAGE_BYTES))
    for start in range(0, images, _NAMES_A_FOLDER):
        names = folder / f"{start // _NAMES_A_FOLDER:06d}"
        names.mkdir(parents=True)
        for number in range(start, min(images, start + _NAMES_A_FOLDER)):
            (names / f"{number:08d}.jpg").hardlink_to(files / f"{number % _DISTINCT}.jpg")


def run(arguments: Sequence[str], counts: Path) -> tuple[Watch, float, float, dict[str, Any]]:
    """Run the command; return what it held, when it began and ended, and its JSON.

    Raises:
        subprocess.CalledProcessError: it failed; what it said is on standard error.
    """
    command = [sys.executable, "-m", "benchmarks.store_calls", str(counts), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DEEPOMATIC_API_KEY": "benchmark"}
    began = time.time()
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environment) as process,
        Watch(process.pid) as watch,
    ):
        said, _ = process.communicate()
    ended = time.time()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return watch, began, ended, json.loads(said)


def measure(folder: Path, images: int, service: Service) -> dict[str, Any]:
    """Label so many images, plan to do it again, and find nothing to do."""
    photos, output, counts = folder / f"photos-{images}", folder / f"lake-{images}", folder / "counts.json"
    make_names(photos, images)
    service.reset()
    asked = (str(photos), "--output", str(output), "--spec", SPEC, "--api-url", service.url, "--json")
    watch, began, _, summary = run(("label", *asked), counts)
    stats = service.stats()
    if summary["succeeded"] != images or stats["accepted"] != images:
        raise RuntimeError(f"{stats['accepted']:,} posts and {summary['succeeded']:,} labelled, of {images:,}")
    first, last = stats["first_post_at"], stats["last_post_at"]
    (success,) = output.glob("runs/*/_SUCCESS")
    ended = success.stat().st_mtime
    found = {
        "images": images,
        "start_s": first - began,
        "start_cpu_s": watch.cpu_s(until=first),
        "label_us": 1e6 * (ended - first) / images,
        "label_cpu_us": 1e6 * (watch.cpu_s() - watch.cpu_s(until=first)) / images,
        "end_s": ended - last,
        "listed_mb": watch.peak_mb(until=first),
        "labelled_mb": watch.peak_mb(first, last),
        "published_mb": watch.peak_mb(since=last),
        "store_calls": json.loads(counts.read_text()),
        "bytes": {name: _bytes_below(output / name) for name in ("journal", "labels", "images", "runs")},
    }
    for name, command in (("plan", "plan"), ("again", "label")):
        watch, began, ended, told = run((command, *asked), counts)
        if told.get("known", told.get("reused")) != images:
            raise RuntimeError(f"{command} of known images: {told}")
        found |= {f"{name}_s": ended - began, f"{name}_cpu_s": watch.cpu_s(), f"{name}_mb": watch.peak_mb()}
        found[f"{name}_store_calls"] = json.loads(counts.read_text())
    return found


def table(sizes: Sequence[dict[str, Any]]) -> str:
    """A row for each size, in Markdown."""
    head = [name for name, _ in _COLUMNS.values()]
    rows = [[shown.format(size[key]) for key, (_, shown) in _COLUMNS.items()] for size in sizes]
    lines = [head, ["---:"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> None:
    """Measure each size, the smallest first; one image before all, for what it takes to label anything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=list(_SIZES))
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks" / "results" / "growth-latest.json")
    parser.add_argument("--server-python", default=LOOPS.python if Path(LOOPS.python).exists() else sys.executable)
    options = parser.parse_args()
    sizes: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="deepo-growth-") as made, running_server(options.server_python) as service:
        for images in (1, *sorted(options.images)):
            sizes.append(measure(Path(made), images, service))
            print(table(sizes[-1:]).splitlines()[-1], flush=True)
            machine = {"cores": os.cpu_count(), "python": platform.python_version()}
            measured_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            about = {"measured_at": measured_at, "commit": commit(), "machine": machine, "image_bytes": _IMAGE_BYTES}
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps(_rounded({**about, "sizes": sizes}), indent=1) + "\n")
    print(table(sizes))
    print(f"written to {options.json}")


def _rounded(value: Any) -> Any:
    """To three digits behind the point, however deep."""
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return round(value, 3) if isinstance(value, float) else value


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
