"""``runs/<id>/listing/``: every entry of a run's input and what became of it; half of the accounting."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from deepo_beam import storage
from deepo_beam.errors import StorageError
from deepo_beam.lake.journal import Store
from deepo_beam.lake.plan import Disposition, PlannedEntry
from deepo_beam.lake.schemas import LISTING, record_batch

_READS_AT_ONCE = 8  # they wait for the store
_DISPOSITIONS = {disposition.value: disposition for disposition in Disposition}


class ListedEntry(NamedTuple):
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
        ListedEntry(image_id, _DISPOSITIONS[disposition], conflict)
        for image_id, disposition, conflict in zip(
            *(columns[name].to_pylist() for name in columns.column_names), strict=True
        )
    ]


def listed_buckets(output: str, run_id: str, store: Store = storage) -> list[int]:
    """The buckets (>= 0) into which something of the input fell, sorted.

    Raises:
        StorageError: the store cannot list them.
    """
    folder = store.join(output, "runs", run_id, "listing")
    names = (listed.uri.rpartition("/")[2] for listed in store.list_objects(folder, recursive=False))
    return sorted(int(name[len("bucket-") : -len(".parquet")]) for name in names)


def read_listing_columns(output: str, run_id: str, store: Store = storage) -> pa.Table:
    """What the accounting joins: the columns ``image_id`` and ``disposition`` of all buckets.

    Raises:
        StorageError: it cannot be read.
    """
    columns = ["image_id", "disposition"]

    def read(bucket: int) -> pa.Table:
        uri = listing_uri(output, run_id, bucket, store)
        data = store.read_bytes(uri)
        try:
            with pq.ParquetFile(pa.BufferReader(data)) as file:
                return file.read(columns=columns, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise StorageError(f"{uri} cannot be read: {error}") from error

    with ThreadPoolExecutor(_READS_AT_ONCE, thread_name_prefix="deepo-beam-listing") as pool:
        tables = list(pool.map(read, listed_buckets(output, run_id, store)))
    empty = pa.table({name: pa.array([], pa.string()) for name in columns})
    return pa.concat_tables([empty, *tables], promote_options="default")


def _row(entry: PlannedEntry) -> tuple[object, ...]:
    """In the columns of :data:`deepo_beam.lake.schemas.LISTING`."""
    image = entry.image
    named = (image.image_id, image.image_uri, image.crop, image.external_id, image.source, image.line)
    return (*named, image.size_bytes, image.modified_us, entry.disposition.value, entry.conflict)
