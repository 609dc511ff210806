"""``runs/<id>/listing/``: every entry of a run's input and what became of it; half of the accounting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from deepo_beam import storage
from deepo_beam.lake.journal import Store
from deepo_beam.lake.plan import Disposition, PlannedEntry
from deepo_beam.lake.schemas import LISTING, record_batch


@dataclass(frozen=True, slots=True)
class ListedEntry:
    """What the accounting needs of an entry."""

    image_id: str
    disposition: Disposition
    conflict: bool


def listing_uri(output: str, run_id: str, bucket: int, store: Store = storage) -> str:
    """Where the listing of a bucket (>= 0) is."""
    return store.join(output, "runs", run_id, "listing", f"bucket-{bucket:05d}.parquet")


def write_listing(
    output: str, run_id: str, bucket: int, planned: Sequence[PlannedEntry], store: Store = storage
) -> None:
    """Write the entries of a bucket; again with the same ones changes nothing.

    Raises:
        StorageError: it cannot be written.
    """
    rows = [_row(entry) for entry in planned]
    table = pa.Table.from_batches([record_batch(LISTING, rows)])
    sink = pa.BufferOutputStream()
    # One small file a bucket, read once: statistics and dictionaries would cost more than they save.
    pq.write_table(table, sink, compression="snappy", use_dictionary=False, write_statistics=False)
    store.write_bytes(listing_uri(output, run_id, bucket, store), bytes(sink.getvalue()))


def read_listing(output: str, run_id: str, bucket: int, store: Store = storage) -> list[ListedEntry]:
    """The entries of a bucket in the order of the listing.

    Raises:
        ObjectNotFoundError: nothing of the input fell into that bucket.
        StorageError: it cannot be read.
    """
    data = store.read_bytes(listing_uri(output, run_id, bucket, store))
    with pq.ParquetFile(pa.BufferReader(data)) as file:
        columns = file.read(columns=["image_id", "disposition", "conflict"], use_threads=False)
    return [
        ListedEntry(image_id, Disposition(disposition), conflict)
        for image_id, disposition, conflict in zip(
            *(columns[name].to_pylist() for name in columns.column_names), strict=True
        )
    ]


def _row(entry: PlannedEntry) -> dict[str, object]:
    image = entry.image
    return {
        "image_id": image.image_id,
        "image_uri": image.image_uri,
        "crop": image.crop,
        "external_id": image.external_id,
        "source": image.source,
        "line": image.line,
        "size_bytes": image.size_bytes,
        "modified_at": image.modified_us,
        "disposition": entry.disposition.value,
        "conflict": entry.conflict,
    }
