"""How fast ``deepo-beam label`` is, from the first post to ``_SUCCESS``, beside the emulator on the same machine.

``.venv/bin/python benchmarks/label_throughput.py [--images 5000] [--bytes 80000] [--latency 0.2] [--rounds 3]``

Every round labels the same distinct images into a new output and prints images/s, CPU milliseconds per image
and peak memory of the command, as JSON on the last line. The emulator takes part of the two cores, as it would
where a stranger tries this; its own ceiling is measured by ``emulator_ceiling.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from deepo_beam.emulator.testing import running_emulator

FIRST_POST = """
    SELECT min(epoch(finished_at) - (wait_ms + submit_ms) / 1000.0)
    FROM read_parquet('{}/images/*/*.parquet') WHERE calls > 0
"""


def make_images(folder: Path, count: int, size: int) -> None:
    """Files that are JPEGs by their headers and distinct by their content; nobody decodes them here."""
    from PIL import Image

    Image.effect_noise((64, 64), 80).save(folder / "template.jpg")
    template = (folder / "template.jpg").read_bytes()
    (folder / "template.jpg").unlink()
    padding = os.urandom(max(0, size - len(template) - 8))
    for number in range(count):
        (folder / f"{number:06d}.jpg").write_bytes(template + number.to_bytes(8, "big") + padding)


def one_round(photos: Path, output: Path, url: str) -> dict[str, float]:
    """Label everything once."""
    environment = {**os.environ, "DEEPOMATIC_API_URL": url, "DEEPOMATIC_API_KEY": "any"}
    command = [sys.executable, "-m", "deepo_beam", "label", str(photos), "--output", str(output)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.time()
    done = subprocess.run(
        [*command, "--spec", "echo-v1", "--json", "--quiet"], env=environment, check=True, capture_output=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    summary = json.loads(done.stdout)
    first_post = duckdb.sql(FIRST_POST.format(output)).fetchall()[0][0]
    end = (output / "runs" / summary["run_id"] / "_SUCCESS").stat().st_mtime
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "images_per_s": summary["listed"] / (end - first_post),
        "start_s": first_post - started,
        "cpu_ms_per_image": 1000 * cpu / summary["listed"],
        "polls_per_image": summary["polls"] / summary["listed"],
        "peak_mb": after.ru_maxrss / 1000,
    }


def main() -> None:
    """Run the rounds and print their medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--bytes", type=int, default=80_000)
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_emulator(latency=options.latency) as service:
        photos = Path(folder) / "photos"
        photos.mkdir()
        make_images(photos, options.images, options.bytes)
        rounds = []
        for number in range(options.rounds):
            rounds.append(one_round(photos, Path(folder) / f"lake-{number}", service.url))
            print("  ".join(f"{name} {value:.2f}" for name, value in rounds[-1].items()))
    medians = {name: round(statistics.median(each[name] for each in rounds), 3) for name in rounds[0]}
    print(json.dumps({"images": options.images, "bytes": options.bytes, "latency_s": options.latency, **medians}))


if __name__ == "__main__":
    main()
