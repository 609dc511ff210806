"""Beam's own RunInference with a RemoteModelHandler, written as Beam's documentation of remote inference does it.

    python -m benchmarks.bench.peers.run_inference FOLDER URL

The pipeline reads the images, RunInference makes batches of them, and the handler asks the service for each batch:
since a call takes one image, it posts those of the batch one after the other, then polls for all of them. As in the
documentation there is one worker, and nothing but the handler is adapted to the service.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import pybase64
import requests
from apache_beam.ml.inference.base import PredictionResult, RemoteModelHandler, RunInference
from apache_beam.transforms.combiners import Count

from benchmarks.bench.service import VERSION_ID


class LabelHandler(RemoteModelHandler[bytes, PredictionResult, requests.Session]):
    """Labels images by the API."""

    def __init__(self, url: str) -> None:
        """``url``: of the service, without the version."""
        super().__init__(namespace="LabelHandler")
        self._api = f"{url}/v0.7"

    def create_client(self) -> requests.Session:
        """A session with the key."""
        session = requests.Session()
        session.headers["X-API-KEY"] = "benchmark"
        return session

    def request(
        self, batch: Sequence[bytes], model: requests.Session, inference_args: dict[str, Any] | None = None
    ) -> list[PredictionResult]:
        """Labels of a batch, in its order."""
        del inference_args  # of the base class; the service takes none
        ids = [self._post(model, image) for image in batch]
        labels: dict[str, Any] = {}
        while missing := [task_id for task_id in ids if task_id not in labels]:
            time.sleep(0.1)
            reply = model.get(f"{self._api}/tasks/", params={"task_ids": missing[:100]})
            reply.raise_for_status()
            labels |= {task["id"]: task["data"] for task in reply.json()["results"] if task["status"] == "success"}
        return [PredictionResult(len(image), labels[task_id]) for image, task_id in zip(batch, ids, strict=True)]

    def _post(self, session: requests.Session, image: bytes) -> str:
        source = f"data:image/jpeg;base64,{pybase64.b64encode(image).decode()}"
        url = f"{self._api}/recognition/versions/{VERSION_ID}/inference"
        reply = session.post(url, json={"inputs": [{"image": {"source": source}}]})
        reply.raise_for_status()
        task_id: str = reply.json()["task_id"]
        return task_id


def read(path: str) -> bytes:
    """An image."""
    return Path(path).read_bytes()


def main() -> None:
    """Label."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("url")
    options = parser.parse_args()
    images = sorted(str(path) for path in options.folder.iterdir())
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        predictions = pipeline | beam.Create(images) | beam.Map(read) | RunInference(LabelHandler(options.url))
        _ = predictions | Count.Globally() | beam.Map(check, images=len(images))


def check(labelled: int, images: int) -> None:
    """All of them are labelled."""
    if labelled != images:
        raise RuntimeError(f"{images} images, {labelled} labelled")


if __name__ == "__main__":
    main()
