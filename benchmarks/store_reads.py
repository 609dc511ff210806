"""How fast images come out of an S3 store: by our storage, by a bare pyarrow.fs loop, and by Beam's FileSystems.

    python -m benchmarks.store_reads s3://bucket/folder

with AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_DEFAULT_REGION in the environment.

Writes images to the folder if they are not there yet, and reads them in one process, by one thread and by many, in
alternating rounds. Prints images/s and CPU milliseconds an image (of the reader alone), medians of the rounds, and the
two ratios that are wanted. Beam makes a client for each image and is given fewer of them.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from pyarrow.fs import S3FileSystem

from deepo_beam import storage

OURS, BARE, BEAM = "deepo_beam.storage", "bare pyarrow.fs", "Beam's FileSystems"

Read = Callable[[str], bytes]


class Measured(NamedTuple):
    """One reader at one number of threads."""

    images_per_s: float
    cpu_ms: float


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="s3://bucket/folder")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--bytes", type=int, default=80_000)
    parser.add_argument("--beam-images", type=int, default=30)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    uris = write_images(options.folder.rstrip("/"), options.images, options.bytes)
    readers: dict[str, tuple[Read, int]] = {
        OURS: (storage.read_bytes, options.images),
        BARE: (bare_reader(), options.images),
        BEAM: (beam_reader(), options.beam_images),
    }
    found: dict[tuple[int, str], list[Measured]] = {}
    for _ in range(options.rounds):
        for threads in (1, options.threads):
            for name, (read, count) in readers.items():
                found.setdefault((threads, name), []).append(measure(read, uris[:count], threads, options.bytes))
    print(f"{'threads':>7} {'reader':<20} {'images/s':>9} {'CPU ms/image':>13}")
    rates: dict[tuple[int, str], float] = {}
    for (threads, name), rounds in found.items():
        rates[threads, name] = statistics.median(one.images_per_s for one in rounds)
        cpu_ms = statistics.median(one.cpu_ms for one in rounds)
        print(f"{threads:>7} {name:<20} {rates[threads, name]:>9,.1f} {cpu_ms:>13.2f}")
    for threads in (1, options.threads):
        ours, bare, beam = (rates[threads, name] for name in (OURS, BARE, BEAM))
        print(f"{threads} threads: {ours / beam:,.0f} x Beam's (wanted: 100), bare loop {bare / ours:.2f} x ours (1.5)")


def measure(read: Read, uris: list[str], threads: int, size: int) -> Measured:
    """Reads each object once."""
    began, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(threads) as pool:
        sizes = set(map(len, map(read, uris) if threads == 1 else pool.map(read, uris)))
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    if sizes != {size}:
        raise RuntimeError(f"objects of {size} bytes came as {sizes}")
    return Measured(len(uris) / seconds, cpu / len(uris) * 1000)


def write_images(folder: str, count: int, size: int) -> list[str]:
    """Random bytes of which no two are the same; those that are there are kept."""
    uris = [f"{folder}/{number:05}.jpg" for number in range(count)]
    there = {found.uri: found.size_bytes for found in storage.list_objects(folder)}
    for uri in uris:
        if there.get(uri) != size:
            storage.write_bytes(uri, random.randbytes(size))
    return uris


def bare_reader() -> Read:
    """The least that reads with pyarrow."""
    scheme, _, host = os.environ["AWS_ENDPOINT_URL"].partition("://")
    system = S3FileSystem(endpoint_override=host, scheme=scheme, region=os.environ["AWS_DEFAULT_REGION"])

    def read(uri: str) -> bytes:
        with system.open_input_stream(uri.removeprefix("s3://")) as stream:
            return bytes(stream.read())

    return read


def beam_reader() -> Read:
    """As Beam's own transforms read."""
    options = {
        "s3_endpoint_url": os.environ["AWS_ENDPOINT_URL"],
        "s3_access_key_id": os.environ["AWS_ACCESS_KEY_ID"],
        "s3_secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"],
        "s3_region_name": os.environ["AWS_DEFAULT_REGION"],
    }
    FileSystems.set_options(PipelineOptions([f"--{name}={value}" for name, value in options.items()]))

    def read(uri: str) -> bytes:
        with FileSystems.open(uri, compression_type=CompressionTypes.UNCOMPRESSED) as stream:
            return bytes(stream.read())

    return read


if __name__ == "__main__":
    main()
