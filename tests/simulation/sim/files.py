"""Segments, listings and tables as Python objects: encoding Parquet would be nine tenths of a simulation.

Some seeds do without (``real_files``), and have their accounts checked from the tables as well. Patched are the names
by which the lake's modules call their codecs, and their threads, for what threads do is done by events.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence, Set
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq

from deepo_beam.lake import audit, compact, complete, heartbeat, holding, journal, listing, manifest, rebucket, shard
from deepo_beam.lake.flatten import flatten_predictions
from deepo_beam.lake.records import KINDS, decode_records
from deepo_beam.lake.settled import Settled, in_brief
from deepo_beam.records import Accepted, Claimed, Finished, Noted, Record, Released
from deepo_beam.types import ImageResult

_KIND = {Claimed: "claimed", Released: "released", Accepted: "accepted", Finished: "finished", Noted: "noted"}


class Packed(bytes):
    """Bytes that depend on the content, and the content."""

    content: Any

    @classmethod
    def of(cls, content: Sequence[object], keys: object) -> Packed:
        packed = cls(hashlib.md5(repr(keys).encode()).digest())
        packed.content = content
        return packed


class InlineExecutor:
    """Does at once what is asked for: threads would not be in virtual time."""

    def __init__(self, *arguments: object, **options: object) -> None:
        pass

    def __enter__(self) -> InlineExecutor:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def map(self, function: Callable[..., Any], *items: Iterable[Any]) -> Iterator[Any]:
        return iter([function(*each) for each in zip(*items, strict=True)])


class IdleThread:
    """Never runs: the simulation does, in virtual time, what it would."""

    def __init__(self, **options: object) -> None:
        pass

    def start(self) -> None:
        pass

    def join(self) -> None:
        pass


class Rows:
    """Stands for :class:`deepo_beam.lake.tables.TableFile`; its tables are lists."""

    def __init__(self, schema: object) -> None:
        self._rows: list[tuple[Any, ...]] = []

    @property
    def rows(self) -> int:
        return len(self._rows)

    def add(self, table: list[tuple[Any, ...]]) -> None:
        self._rows += table

    def close(self) -> bytes:
        rows = sorted(self._rows)
        return Packed.of(rows, rows)


@contextmanager
def simulated_files(*, real: bool) -> Iterator[None]:
    """While the block runs, nothing is encoded (``real``: all of it is)."""
    with ExitStack() as stack:
        for module in (audit, compact, listing, manifest, rebucket):
            stack.enter_context(patch.object(module, "ThreadPoolExecutor", InlineExecutor))
        threads = SimpleNamespace(Thread=IdleThread, Event=threading.Event, Lock=threading.Lock)
        for threaded in (heartbeat, holding):
            stack.enter_context(patch.object(threaded, "threading", threads))
        if not real:
            for owner, names in _STANDINS.items():
                for name, standin in names.items():
                    stack.enter_context(patch.object(owner, name, standin))
        yield


def records_of(data: bytes) -> list[Record]:
    """What a segment says."""
    return list(data.content) if isinstance(data, Packed) else decode_records(data)


def rows_of(table: str, data: bytes) -> list[tuple[Any, ...]]:
    """The rows of a file of a table, in the columns of :func:`_image_rows` and its like."""
    if isinstance(data, Packed):
        return list(data.content)
    columns = pq.read_table(pa.BufferReader(data), columns=list(_COLUMNS[table]))
    for index, field in enumerate(columns.schema):
        if pa.types.is_timestamp(field.type):
            columns = columns.set_column(index, field.name, columns.column(index).cast(pa.int64()))
    rows = zip(*(columns[name].to_pylist() for name in _COLUMNS[table]), strict=True)
    return [tuple("" if value is None else value for value in row) for row in rows]


_COLUMNS = {
    "images": ("image_id", "status", "finished_at", "task_id"),
    "labels": ("image_id", "predicted_at", "label_name"),
    "errors": ("image_id", "last_seen", "error_code"),
}


def _image_rows(results: Iterable[ImageResult]) -> list[tuple[Any, ...]]:
    return [(each.image.image_id, each.status.value, each.finished_us, each.task_id or "") for each in results]


def _label_rows(results: Iterable[ImageResult]) -> list[tuple[Any, ...]]:
    return [
        (row.image_id, row.predicted_us, row.label_name) for result in results for row in flatten_predictions(result)
    ]


def _error_rows(failed: Iterable[Any]) -> list[tuple[Any, ...]]:
    return [(each.result.image.image_id, each.last_seen_us, each.result.failure.code.value) for each in failed]


def _pack_records(records: Sequence[Record], rows: None) -> bytes:
    # What would not be kept of them (where they stood in the listing) is taken along; nothing looks at it.
    return Packed.of(records, [_key(record) for record in records])


def _key(record: Record) -> tuple[Any, ...]:
    if isinstance(record, Finished):
        return ("finished", record.run_id, record.image_id, record.generation, record.result.finished_us)
    return (record,)


def _unpack_records(data: bytes, kinds: Set[str] = KINDS) -> list[Record]:
    assert isinstance(data, Packed)
    if kinds >= KINDS:
        return list(data.content)
    return [record for record in data.content if _KIND[type(record)] in kinds]


def _read_history(
    self: journal.Journal,
    bucket: int,
    covered: Collection[str],
    kinds: Set[str] = KINDS,
    *,
    run_id: str | None = None,
) -> journal.History:
    """What is fresh is found in files alone."""
    segments = self.read_records(bucket)
    images: dict[str, list[tuple[Record, bool]]] = {}
    for name, records in segments.items():
        for record in records:
            images.setdefault(record.image_id, []).append((record, journal.is_covered(name, covered)))
    settled = {image_id: outcome for image_id, entries in images.items() if (outcome := settled_by(entries))}
    others = {
        name: [record for record in records if record.image_id not in settled and _KIND[type(record)] in kinds]
        for name, records in segments.items()
    }
    return journal.History(settled, others)


def _read_outcomes(
    self: journal.Journal, bucket: int, covered: Collection[str]
) -> tuple[None, dict[str, list[Record]]]:
    """The shorter way for outcomes of settled images is for files alone."""
    return None, {name: records for name, records in self.read_records(bucket).items() if name in covered}


def _read_unpublished(
    self: journal.Journal, bucket: int, covered: Collection[str], names: Collection[str]
) -> tuple[None, dict[str, list[Record]]]:
    """Nor are there rows without records."""
    segments = self.read_records(bucket, journal.OUTCOMES)
    return None, {
        name: records for name, records in segments.items() if journal.is_covered(name, covered) or name in names
    }


def settled_by(entries: Sequence[tuple[Record, bool]]) -> Settled | None:
    """What :mod:`deepo_beam.lake.settled` finds in columns, from (record, covered) of one image."""
    outcomes = [record for record, _ in entries if isinstance(record, Finished)]
    plain = all(is_covered and not isinstance(record, Noted) for record, is_covered in entries)
    if not plain or len(outcomes) != 1 or len({record.generation for record, _ in entries}) != 1:
        return None
    return in_brief(outcomes[0]) if outcomes[0].result.failure is None else None


def _write_listing(output: str, run_id: str, bucket: int, planned: Sequence[Any], store: Any) -> None:
    entries = [listing.ListedEntry(entry.image.image_id, entry.disposition, entry.conflict) for entry in planned]
    store.write_bytes(listing.listing_uri(output, run_id, bucket, store), Packed.of(entries, entries))


def _read_listing(output: str, run_id: str, bucket: int, store: Any) -> list[listing.ListedEntry]:
    data = store.read_bytes(listing.listing_uri(output, run_id, bucket, store))
    assert isinstance(data, Packed)
    return list(data.content)


_STANDINS: dict[Any, dict[str, Any]] = {
    journal: {"encode_records": _pack_records, "decode_segment": _unpack_records, "Segment": lambda data: data},
    journal.Journal: {
        "read_history": _read_history,
        "read_outcomes": _read_outcomes,
        "read_unpublished": _read_unpublished,
    },
    listing: {"write_listing": _write_listing, "read_listing": _read_listing},
    complete: {"audit": lambda output, intent, files, store: None},  # it reads the tables as Parquet
    shard: {
        "TableFile": Rows,
        "images_table": _image_rows,
        "labels_table": _label_rows,
        "errors_table": _error_rows,
    },
}
