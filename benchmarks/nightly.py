"""How long a night takes on an output that knows a million images: ``plan``, and a run with nothing new.

``.venv/bin/python benchmarks/nightly.py [--images 1000000] [--nights 30] [--folder DIR]``

The journal and the tables are written as so many nights would have left them, then ``plan`` and ``label`` run as
commands, before and after ``compact``, then ``verify`` and ``publish --all``. Prints seconds and peak memory of each,
and all as JSON on the last line. A folder that is given is kept, and used again as it is.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq

from deepo_beam.emulator.testing import running_emulator
from deepo_beam.identity import bucket_of, image_id
from deepo_beam.lake.dataset import Dataset, write_dataset
from deepo_beam.lake.journal import Journal, segment_name
from deepo_beam.lake.publish import Intent, commit, write_intent
from deepo_beam.lake.shard import Outcome, Shard
from deepo_beam.lake.summary import Summary
from deepo_beam.records import Claimed, Finished, Reason
from deepo_beam.types import Facts, ImageInfo, ImageRef, ImageResult, ModelKind, ModelRef, Status, Timings

BUCKETS = 256
OUTPUTS = '[{"labels":{"predicted":[{"label_id":1,"label_name":"cat","score":0.9,"threshold":0.5}],"discarded":[]}}]'
MODEL = ModelRef(ModelKind.SPEC, "echo-v1")


def refs(images: int, night: int, nights: int) -> Iterator[ImageRef]:
    """The images that a night brought."""
    for number in range(night, images, nights):
        uri = f"s3://lake/photos/{number % 1000:03d}/{number:08d}.jpg"
        yield ImageRef(image_id(uri, None), uri, uri, size_bytes=80_000, modified_us=1_700_000_000_000_000 + number)


def finished(run_id: str, image: ImageRef) -> Finished:
    """As the engine records it."""
    facts = Facts(ImageInfo("image/jpeg", 640, 480), image.image_id * 2, 80_000, image.modified_us)
    result = ImageResult(
        image,
        MODEL,
        21,
        Status.SUCCEEDED,
        OUTPUTS,
        None,
        facts,
        "123456",
        1,
        1,
        Timings(5, 5, 230),
        1_760_000_000_000_000,
    )
    return Finished(run_id, result)


def make_output(output: str, images: int, nights: int, host: str) -> None:
    """A journal, and what as many complete runs leave beside it."""
    dataset = Dataset.of(MODEL, api_host=host, show_discarded=False, max_predictions=None, buckets=BUCKETS)
    write_dataset(output, dataset)
    journal = Journal(output, dataset.journal)
    for night in range(nights):
        run_id = f"night-{night:03d}"
        buckets: dict[int, list[ImageRef]] = {}
        shard = Shard()
        for image in refs(images, night, nights):
            buckets.setdefault(bucket_of(image.image_id, BUCKETS), []).append(image)
        names = (segment_name(run_id, "0" * 8, 1), segment_name(run_id, "0" * 8, 2))
        for bucket, found in buckets.items():
            claims = [Claimed(run_id, image.image_id, 0, 1, Reason.FIRST, 0) for image in found]
            journal.append(bucket, names[0], claims)
            journal.append(bucket, names[1], outcomes := [finished(run_id, image) for image in found])
            shard.add(Outcome(outcome.result, None) for outcome in outcomes)
        summary = Summary(run_id, output, str(MODEL), 21)
        covered = dict.fromkeys(buckets, names)
        intent = Intent(run_id, night + 1, dataset.journal, covered, (tuple(buckets),), summary)
        write_intent(output, intent)
        commit(output, intent, shard.write(output, f"run_id={run_id}/", 0))


def make_list(path: Path, images: int) -> None:
    """All images, with sizes and times as a listing would have them."""
    found = list(refs(images, 0, 1))
    times = pa.array([image.modified_us for image in found], pa.timestamp("us", "UTC"))
    columns = {"image_uri": [image.image_uri for image in found], "size": [80_000] * images, "modified_at": times}
    pq.write_table(pa.table(columns), path)


def make_all(output: str, list_file: Path, images: int, nights: int, host: str) -> None:
    """The output, and the list of its images."""
    with mock.patch("os.fsync"):  # of hundreds of thousands of segments, which would take most of the time
        make_output(output, images, nights, host)
    make_list(list_file, images)


def timed(*arguments: str, url: str) -> dict[str, float]:
    """Run the command."""
    environment = {**os.environ, "DEEPOMATIC_API_URL": url, "DEEPOMATIC_API_KEY": "any"}
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "deepo_beam", *arguments], env=environment, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, (arguments, out)
    found = json.loads(out) if out.startswith(b"{") else {}
    told = {name: found[name] for name in ("listed", "known", "reused", "calls") if name in found}
    return {"seconds": round(time.monotonic() - started, 1), "peak_mb": round(usage.ru_maxrss / 1000), **told}


def main() -> None:
    """Build, measure, compact, measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--nights", type=int, default=30)
    parser.add_argument("--folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made, running_emulator(port=18_321) as service:
        folder = Path(options.folder or made)
        output, images = str(folder / "lake"), folder / "images.parquet"
        if not images.exists():
            # In a process of its own: the peak memory of a child is at least that of the process that starts it.
            arguments = (output, images, options.images, options.nights, service.url)
            maker = multiprocessing.get_context("spawn").Process(target=make_all, args=arguments)
            maker.start()
            maker.join()
            assert maker.exitcode == 0
        common = (str(images), "--output", output, "--spec", "echo-v1", "--json")
        measured: dict[str, dict[str, float]] = {}
        measured["plan"] = timed("plan", *common, url=service.url)
        measured["compact"] = timed("compact", output, url=service.url)
        measured["plan, compacted"] = timed("plan", *common, url=service.url)
        measured["label, nothing new"] = timed("label", *common, "--quiet", url=service.url)
        measured["verify"] = timed("verify", output, "--json", url=service.url)
        measured["publish --all"] = timed("publish", output, "--all", url=service.url)
        for name, numbers in measured.items():
            print(f"{name:20} {numbers}")
        print(json.dumps({"images": options.images, "nights": options.nights, **measured}))


if __name__ == "__main__":
    main()
