"""The official Python client, as its users would go about it.

    python -m benchmarks.bench.peers.official_client FOLDER URL --way post-then-wait|inference --threads 1

``post-then-wait`` posts everything, then waits for a hundred tasks at a time with ``Task.batch_wait``; ``inference``
posts and waits for each image in its thread.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from deepomatic.api.client import Client
from deepomatic.api.inputs import ImageInput

from benchmarks.bench.service import PAGE, VERSION_ID


def main() -> None:
    """Label."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("url")
    parser.add_argument("--way", choices=["post-then-wait", "inference"], required=True)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    client = Client(api_key="benchmark", host=options.url)
    version = client.RecognitionVersion.retrieve(VERSION_ID)
    waits = options.way == "inference"

    def infer(path: Path) -> Any:
        image = ImageInput(path.read_bytes(), encoding="binary")
        return version.inference(inputs=[image], return_task=True, wait_task=waits)

    with ThreadPoolExecutor(options.threads) as pool:
        tasks = list(pool.map(infer, sorted(options.folder.iterdir())))
    done = len(tasks) if waits else 0
    for start in range(done, len(tasks), PAGE):
        done += len(client.Task.batch_wait(tasks[start : start + PAGE])[1])
    if done != len(tasks):
        raise RuntimeError(f"{len(tasks) - done} images have no labels")


if __name__ == "__main__":
    main()
