"""A segment of the journal as columns, of which only those are decoded that are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from deepo_beam.lake.schemas import FORMAT_VERSION, FORMAT_VERSION_KEY, JOURNAL


class Segment:
    """One small Parquet file; columns are read by name.

    Columns that are not in the schema are ignored; nullable ones that are missing read as null, so segments
    of older and newer versions of this package can be read as long as the format version is the same.

    Args:
        data: of the segment.

    Attributes:
        has_outcomes: it may hold ``finished`` records; one of claims alone has none of their columns.

    Raises:
        ValueError: the bytes are no segment, or have a format version that is not known.
    """

    def __init__(self, data: bytes) -> None:
        self._size = len(data)
        with _named_errors():
            self._file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        version = (self._file.metadata.metadata or {}).get(FORMAT_VERSION_KEY.encode())
        if version != str(FORMAT_VERSION).encode():
            seen = "none" if version is None else version.decode(errors="replace")
            raise ValueError(f"journal format version is {seen}, this program reads {FORMAT_VERSION}")
        # Of leaves: as an Arrow schema the same costs a quarter of opening the file.
        self.has_outcomes = "status" in self._file.schema.names

    def __len__(self) -> int:
        """Bytes."""
        return self._size

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Some columns of :data:`deepo_beam.lake.schemas.JOURNAL`, in this order.

        Raises:
            ValueError: one is damaged, or missing though each record needs it.
        """
        with _named_errors():
            # Not with threads: a segment is small, and buckets are read beside each other already.
            found = self._file.read(columns=list(names), use_threads=False)  # those that it has
        present = set(found.column_names)
        columns = []
        for name in names:
            field = JOURNAL.field(name)
            if name in present:
                columns.append(found[name])
            elif field.nullable:
                columns.append(pa.nulls(found.num_rows, field.type))
            else:
                raise ValueError(f"column {name} is missing")
        return pa.table(columns, names=list(names))


@contextmanager
def _named_errors() -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"not a readable Parquet file: {error}") from error
