"""What the benchmark of growth counts, and what it makes of its looks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.growth import Watch, make_names

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, sys
from benchmarks.store_calls import count_calls
from deepo_beam import storage
output, photos = sys.argv[1:]
counts = count_calls(output)
storage.write_bytes(f"{output}/journal/x", b"four")
storage.read_bytes(f"{output}/journal/x")
storage.write_bytes(f"{output}/labels/run/part", b"")
assert len(list(storage.list_objects(photos))) == 1001
assert list(storage.list_folders(f"{output}/none")) == []
print(json.dumps(counts))
"""


def test_calls_are_counted_by_what_they_are_about_as_an_object_store_would(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(1001):
        (photos / f"{number}.jpg").touch()

    arguments = [sys.executable, "-c", PROGRAM, str(tmp_path / "out"), str(photos)]
    told = subprocess.run(arguments, check=True, capture_output=True, text=True, cwd=ROOT)

    counts = {
        "journal PUT": 1,
        "journal bytes": 4,
        "journal GET": 1,
        "tables PUT": 1,
        "tables bytes": 0,
        "images LIST": 2,
        "none LIST": 1,
    }
    assert json.loads(told.stdout) == counts


def test_a_peak_is_of_the_time_that_is_asked_for() -> None:
    watch = Watch(1, [(10.0, 5_000_000, 1.0), (20.0, 9_000_000, 2.5), (30.0, 7_000_000, 3.0)])

    assert (watch.peak_mb(), watch.peak_mb(until=15.0), watch.peak_mb(since=25.0)) == (9.0, 5.0, 7.0)
    assert (watch.cpu_s(until=20.0), watch.cpu_s(), watch.peak_mb(since=31.0)) == (2.5, 3.0, 0.0)


def test_names_are_spread_over_folders_and_over_few_files(tmp_path: Path) -> None:
    make_names(tmp_path / "photos", 1001)

    names = sorted((tmp_path / "photos").rglob("*.jpg"))
    assert len(names) == 1001
    assert {name.parent.name for name in names} == {"000000", "000001"}
    assert len({name.stat().st_ino for name in names}) == 200
