"""One file of each table, made together of the same labellings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import pyarrow as pa

from deepo_beam import storage
from deepo_beam.lake.journal import Store
from deepo_beam.lake.manifest import PublishedFile
from deepo_beam.lake.row_tables import tables_of_rows
from deepo_beam.lake.schemas import ERRORS, IMAGES, LABELS
from deepo_beam.lake.tables import FailedImage, TableFile, errors_table, images_table, labels_table
from deepo_beam.types import ImageResult, Status

ROWS_PER_SHARD = 500_000  # of images and labels together
_IMAGES_AT_ONCE = 4_000  # as Python objects, or being parsed; as finished rows they take a tenth of the memory
TABLES = {"labels": LABELS, "images": IMAGES, "errors": ERRORS}


class Outcome(NamedTuple):
    """A result, and since when its image fails (microseconds since 1970 UTC), None if it does not."""

    result: ImageResult
    failed_since_us: int | None


class Shard:
    """Rows in the making; what is added is sorted in batches of about 4,000 images."""

    def __init__(self) -> None:
        """Empty."""
        self._tables = {name: TableFile(schema) for name, schema in TABLES.items()}
        self._waiting: list[Outcome] = []
        self._rows: list[pa.Table] = []
        self._rows_waiting = 0

    @property
    def rows(self) -> int:
        """Of images and labels, but for those of the last images that were added."""
        return self._tables["images"].rows + self._tables["labels"].rows

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Append the rows of these images."""
        self._waiting += outcomes
        if len(self._waiting) >= _IMAGES_AT_ONCE:
            self._flush()

    def add_rows(self, rows: pa.Table) -> None:
        """Append the rows of labelled images, from :meth:`deepo_beam.lake.journal.Journal.read_unpublished`."""
        self._rows.append(rows)
        self._rows_waiting += rows.num_rows
        if self._rows_waiting >= _IMAGES_AT_ONCE:
            self._flush_rows()

    def write(self, folder: str, partition: str, number: int, store: Store = storage) -> list[PublishedFile]:
        """Write ``<table>/<partition>part-<number>.parquet`` of each table; nothing can be added any more.

        Args:
            folder: below which the tables are.
            partition: empty, or a folder below that of the table, with a slash at its end.
            number: of the shard, from 0.
            store: where to write.

        Raises:
            StorageError: some of it may have been written.
        """
        self._flush()
        self._flush_rows()
        files = []
        for name, table in self._tables.items():
            path = f"{name}/{partition}part-{number:05d}.parquet"
            data = table.close()
            store.write_bytes(store.join(folder, path), data)
            files.append(PublishedFile(path, table.rows, len(data), hashlib.sha256(data).hexdigest()))
        return files

    def _flush(self) -> None:
        results = [outcome.result for outcome in self._waiting]
        failed = [
            FailedImage(result, since or result.finished_us, result.finished_us)
            for result, since in self._waiting
            if result.status is Status.FAILED
        ]
        self._tables["labels"].add(labels_table(results))
        self._tables["images"].add(images_table(results))
        self._tables["errors"].add(errors_table(failed))
        self._waiting = []

    def _flush_rows(self) -> None:
        if self._rows_waiting:
            rows = pa.concat_tables(self._rows)
            for at in range(0, rows.num_rows, _IMAGES_AT_ONCE):
                for name, table in tables_of_rows(rows.slice(at, _IMAGES_AT_ONCE))._asdict().items():
                    self._tables[name].add(table)
        self._rows, self._rows_waiting = [], 0
