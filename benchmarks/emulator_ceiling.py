"""How many posts a second the emulator accepts on one core, so that no benchmark measures the emulator.

    python -m benchmarks.emulator_ceiling --payload base64

The server runs on the last core, the load on the first: raw keep-alive connections that send prebuilt
requests with distinct random images of 100 kB, each as soon as the one before it was answered. Prints a line
per round, then one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import statistics

from benchmarks.bench.load import json_request, measure, multipart_request
from deepo_beam.emulator.testing import running_emulator

PATH = "/v0.7/recognition/public/echo-v1/inference"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--payload", choices=["base64", "multipart"], default="base64")
    parser.add_argument("--image-bytes", type=int, default=100_000)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    build = json_request if options.payload == "base64" else multipart_request
    source = random.Random(0)
    requests = itertools.cycle([build(PATH, source.randbytes(options.image_bytes)) for _ in range(options.images)])
    with running_emulator(command_prefix=("taskset", "-c", str(cores[-1]))) as emulator:
        os.sched_setaffinity(0, {cores[0]})
        port = int(emulator.url.rpartition(":")[2])
        rates = []
        for number in range(options.rounds):
            rates.append(asyncio.run(measure(port, requests, options.connections, options.seconds)))
            print(f"round {number + 1}: {rates[-1]:,.0f} accepted posts/s", flush=True)
        stats = emulator.stats()
    result = {
        "payload": options.payload,
        "image_bytes": options.image_bytes,
        "connections": options.connections,
        "posts_per_s": [round(rate) for rate in rates],
        "median_posts_per_s": round(statistics.median(rates)),
        "accepted": stats["accepted"],
        "distinct_images": stats["distinct_images"],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
