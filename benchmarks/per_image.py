"""What an image costs between the stages and in a worker, in bytes: ``.venv/bin/python -m benchmarks.per_image``.

Images as a store lists them, with URIs of 60 characters. Prints JSON: ``shuffle_bytes`` by the number of images that
travel in a batch; ``held_bytes``, what a worker holds of each image of the bucket that it labels; ``accounts_bytes``,
what Arrow holds of each image while the accounts of a run are checked.
"""

from __future__ import annotations

import json
import tracemalloc

import pyarrow as pa

from deepo_beam.identity import bucket_of, image_id
from deepo_beam.lake.accounting import Tables, agrees, split_by_status, unaccounted
from deepo_beam.lake.plan import PlanRules, plan_bucket, work_of
from deepo_beam.lake.summary import Summary
from deepo_beam.transforms._coders import ImageBatchCoder
from deepo_beam.transforms.group_images import ImageBatch
from deepo_beam.types import ImageRef

_IMAGES = 128_000
_BATCHES = (1, 4, 16, 64)
_URI = "s3://lake-of-photographs/photos/2026/{:03d}/{:08d}.jpg"  # 60 characters, or nearly


def refs() -> list[ImageRef]:
    """As listed, grouped as they fall into buckets."""
    uris = [_URI.format(number % 1000, number) for number in range(_IMAGES)]
    source = "s3://lake-of-photographs/photos"
    images = [
        ImageRef(
            image_id(uri, None), uri, uri, size_bytes=80_000 + line, modified_us=10**15 + line, source=source, line=line
        )
        for line, uri in enumerate(uris)
    ]
    return sorted(images, key=lambda image: bucket_of(image.image_id, 256))


def shuffle_bytes(images: list[ImageRef], batch: int) -> float:
    """Of an image, encoded with so many others."""
    coder = ImageBatchCoder()
    batches = [ImageBatch(images[start : start + batch]) for start in range(0, len(images), batch)]
    return sum(len(coder.encode(each)) for each in batches) / len(images)


def held_bytes(images: list[ImageRef]) -> float:
    """Of an image, decoded, planned, and handed to the engine."""
    coder = ImageBatchCoder()
    encoded = [coder.encode(ImageBatch(images[start : start + 64])) for start in range(0, len(images), 64)]
    tracemalloc.start()
    decoded = [image for batch in encoded for image in coder.decode(batch)]
    planned = plan_bucket(decoded, {}, PlanRules("run"))
    works = [work_of(entry.labelling, owner=1, bucket=1) for entry in planned if entry.labelling is not None]
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held / len(works)


def accounts_bytes(images: list[ImageRef]) -> float:
    """Of an image that was labelled, listing and tables included."""
    before = pa.total_allocated_bytes()
    ids = pa.array([image.image_id for image in images])
    listing = pa.table({"image_id": ids, "disposition": pa.array(["label"] * len(images))})
    rows = pa.table({"image_id": ids.take(pa.array(range(len(images)))), "status": ["succeeded"] * len(images)})
    labelled, failed = split_by_status(rows)
    no_errors = pa.chunked_array([], pa.string())
    tables = Tables(rows["image_id"], rows["status"], no_errors, labelled, failed)
    summary = Summary("run", "", "", None, listed=len(images), succeeded=len(images), published=len(images))
    if unaccounted(listing, tables) or not agrees(listing, tables, summary):
        raise RuntimeError("the accounts do not add up")
    return float(pa.default_memory_pool().max_memory() - before) / len(images)


def main() -> None:
    """Measure and print."""
    images = refs()
    accounts = round(accounts_bytes(images))  # first, for a pool remembers its highest level alone
    shuffled = {str(batch): round(shuffle_bytes(images, batch)) for batch in _BATCHES}
    print(json.dumps({"shuffle_bytes": shuffled, "held_bytes": round(held_bytes(images)), "accounts_bytes": accounts}))


if __name__ == "__main__":
    main()
