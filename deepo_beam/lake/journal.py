"""The journal of an output: segments of records in one folder per bucket; a thin shell over a store.

``<output>/journal/bucket=00042/<run id>-<writer>-<number>.parquet``. A segment is written once, whole, and
never changed; only compaction replaces segments by one that says the same. A journal with another number of buckets
is another journal, in a folder of its own beside the first; ``dataset.json`` names the one that is in force.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set, Sized
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

import pyarrow as pa

from deepo_beam import storage
from deepo_beam.errors import DamagedError, ObjectNotFoundError, StorageError
from deepo_beam.lake.records import KINDS, decode_segment, encode_records
from deepo_beam.lake.schemas import JOURNAL
from deepo_beam.lake.segment import Segment
from deepo_beam.lake.settled import (
    FRESH_KEYS,
    KEYS,
    NONE_FOUND,
    Found,
    Fresh,
    Settled,
    find_settled,
    fresh_of,
    outcome_rows,
    outcomes_of,
)
from deepo_beam.lake.unpublished import OUTCOME_KEYS, ROW_COLUMNS, split_outcomes
from deepo_beam.records import Record

FIRST_JOURNAL = "journal"  # the folder of an output's first journal
OUTCOMES = frozenset(("finished",))  # the kinds of record that tables are made of
COMPACTED = ".compacted.parquet"  # how the name of a compacted segment ends; no run can write one like it

# A compaction deletes the segments of a bucket in one go: one new look is enough, two if it was slow.
_MAX_LISTINGS = 5


class Listed(Protocol):
    """An object as a store lists it."""

    @property
    def uri(self) -> str:
        """Of the object, below the folder that was listed."""


class Store(Protocol):
    """What the journal needs of a store; :mod:`deepo_beam.storage` has it, and so has a model of one."""

    def read_bytes(self, uri: str) -> bytes:
        """The whole object; raises ObjectNotFoundError or StorageError."""

    def open_input(self, uri: str) -> BinaryIO:
        """The object as a seekable stream, which the caller closes; raises as :meth:`read_bytes`."""

    def write_bytes(self, uri: str, data: bytes) -> None:
        """Create or replace the object, atomically and durably; raises StorageError."""

    def list_objects(self, folder: str, *, recursive: bool = True) -> Iterable[Listed]:
        """The objects below a folder, complete ones only; a missing folder is empty."""

    def list_folders(self, folder: str) -> Iterable[str]:
        """The URIs of the folders in a folder; a missing folder has none."""

    def delete(self, uri: str) -> None:
        """Delete an object; a missing one is fine."""

    def join(self, base: str, *parts: str) -> str:
        """A URI below ``base``."""


def segment_name(run_id: str, writer: str, number: int) -> str:
    """The file name of a segment: ``<run id>-<writer>-<number>.parquet``.

    Args:
        run_id: the run that writes it.
        writer: 8 hex digits, chosen anew for each process and bundle attempt, so that no two write one name.
        number: 0, 1, ... of this writer.
    """
    return f"{run_id}-{writer}-{number:06d}.parquet"


def is_covered(name: str, covered: Collection[str]) -> bool:
    """What a segment says is in the tables: a complete publish named it, or it was compacted from such ones."""
    return name in covered or name.endswith(COMPACTED)


@dataclass(frozen=True, slots=True)
class History:
    """What the journal holds of a bucket.

    Attributes:
        settled: the images of which nothing is open.
        segments: the records of all others, by the name of their segment; every segment is named.
        fresh: the images that the run in question labelled in the ordinary way, and no table has yet.
    """

    settled: Mapping[str, Settled]
    segments: Mapping[str, list[Record]]
    fresh: Mapping[str, Fresh] = field(default_factory=dict)


NO_HISTORY = History({}, {})


def numbered(
    segments: Mapping[str, Iterable[Record]], covered: Mapping[str, int]
) -> Iterator[tuple[Record, int | None]]:
    """Every record with the publish that covers its segment, as :func:`deepo_beam.lake.merge.merge` wants them.

    Args:
        segments: records by segment.
        covered: segments to the number of the complete publish (>= 1) that covers them. A compacted one was covered
            before all of these: it counts as 0.
    """
    for name, records in segments.items():
        number = 0 if name.endswith(COMPACTED) else covered.get(name)
        for record in records:
            yield record, number


class Journal:
    """A journal below one output; ``name`` is that of its folder."""

    def __init__(self, output: str, name: str, store: Store = storage) -> None:
        self.name = name
        self._store = store
        self._folder = store.join(output, name)

    def bucket_folder(self, bucket: int) -> str:
        """The URI of the folder of a bucket (>= 0): its number has five digits."""
        return self._store.join(self._folder, f"bucket={bucket:05d}")

    def segments(self, bucket: int) -> list[str]:
        """The names of a bucket's segments, sorted; empty if it has none.

        Raises:
            StorageError: the store cannot list them.
        """
        listed = self._store.list_objects(self.bucket_folder(bucket), recursive=False)
        names = (entry.uri.rsplit("/", 1)[-1] for entry in listed)
        return sorted(name for name in names if name.endswith(".parquet"))

    def all_segments(self) -> dict[int, list[str]]:
        """The names of the segments of every bucket that has some, sorted; from one list of the store.

        Raises:
            StorageError: the store cannot list them.
        """
        found: dict[int, list[str]] = {}
        for listed in self._store.list_objects(self._folder):
            folder, _, name = listed.uri.rpartition("/")
            number = folder.rpartition("/bucket=")[2]
            if name.endswith(".parquet") and number.isdecimal():
                found.setdefault(int(number), []).append(name)
        return {bucket: sorted(found[bucket]) for bucket in sorted(found)}

    def append(self, bucket: int, segment: str, records: Sequence[Record], rows: pa.Table | None = None) -> None:
        """Write a segment; when this returns, its records outlive a crash. No records: nothing is written.

        Args:
            bucket: of all the records' images.
            segment: from :func:`segment_name`; the same name again replaces the segment, so that a write of
                which the end is unknown may be repeated.
            records: in any order.
            rows: more of them, from :meth:`read_outcomes`.

        Raises:
            StorageError: it may or may not have been written; write it again.
        """
        if records or rows:
            self._store.write_bytes(self._uri(bucket, segment), encode_records(records, rows))

    def holds(self, bucket: int, segment: str) -> bool:
        """Whether a segment is there, listed or not.

        Raises:
            StorageError: the store cannot say.
        """
        try:
            self._store.read_bytes(self._uri(bucket, segment))
        except ObjectNotFoundError:
            return False
        return True

    def delete(self, bucket: int, segment: str) -> None:
        """Take a segment away; one that is gone is fine.

        Raises:
            StorageError: it may still be there.
        """
        self._store.delete(self._uri(bucket, segment))

    def read_records(self, bucket: int, kinds: Set[str] = KINDS) -> dict[str, list[Record]]:
        """The records of a bucket by the name of their segment, sorted by it; all segments, of ``kinds`` only.

        Raises:
            StorageError: a segment cannot be read, is damaged, or is listed but missing each time.
        """
        records = {}
        for name, segment in self._open_segments(bucket).items():
            with self._named_damage(bucket, name, segment):
                records[name] = decode_segment(segment, kinds)
        return records

    def read_history(
        self, bucket: int, covered: Collection[str], kinds: Set[str] = KINDS, *, run_id: str | None = None
    ) -> History:
        """The same without a record in Python for the images of which nothing is open.

        Args:
            bucket: which.
            covered: the names of this bucket's segments that complete publishes cover.
            kinds: of the records that are wanted of other images.
            run_id: of a run whose labels need no records either; None: of none.

        Raises:
            StorageError: as :meth:`read_records`.
        """
        segments = self._open_segments(bucket)
        in_tables = {name for name in segments if is_covered(name, covered)}
        found, fresh = self._find_settled(bucket, segments, in_tables, run_id)
        settled: dict[str, Settled] = {}
        records: dict[str, list[Record]] = {}
        for name, segment in segments.items():
            with self._named_damage(bucket, name, segment):
                if name in in_tables:
                    settled |= outcomes_of(segment, found.settled)
                without = found.settled if name in in_tables else found.fresh
                records[name] = decode_segment(segment, kinds, without=without) if found.others else []
        return History(settled, records, fresh)

    def read_unpublished(
        self, bucket: int, covered: Collection[str], names: Collection[str]
    ) -> tuple[pa.Table | None, dict[str, list[Record]]]:
        """The outcomes of a bucket that a publish adds.

        Args:
            bucket: which.
            covered: the names of this bucket's segments that publishes before it cover.
            names: of the segments that it covers.

        Returns:
            The labels that are the only outcome of their image, as rows of
            :data:`deepo_beam.lake.unpublished.ROW_COLUMNS`, None for none; of all other images with an outcome that is
            not covered yet, all outcomes by segment. Each of these segments that is there is named.

        Raises:
            StorageError: as :meth:`read_records`.
        """
        opened = self._open_segments(bucket)
        in_tables = {name for name in opened if is_covered(name, covered)}
        segments = {name: segment for name, segment in opened.items() if name in in_tables or name in names}
        before: list[pa.Table] = []
        added: list[pa.Table] = []
        for name, segment in segments.items():
            if segment.has_outcomes:
                with self._named_damage(bucket, name, segment):
                    columns = segment.columns(OUTCOME_KEYS if name in in_tables else ROW_COLUMNS)
                (before if name in in_tables else added).append(columns)
        if not added:
            return None, {name: [] for name in segments}
        rows, others = split_outcomes(before, added)
        records: dict[str, list[Record]] = {}
        for name, segment in segments.items():
            with self._named_damage(bucket, name, segment):
                records[name] = decode_segment(segment, OUTCOMES, only=others) if len(others) else []
        return rows, records

    def read_outcomes(self, bucket: int, covered: Collection[str]) -> tuple[pa.Table | None, dict[str, list[Record]]]:
        """Some segments of a bucket, for compaction.

        Args:
            bucket: which.
            covered: the names of the segments; complete publishes cover them.

        Returns:
            The outcomes of images of which nothing is open in these segments, by image, as rows of
            :data:`deepo_beam.lake.schemas.JOURNAL`, None for none; the records of all others by segment.

        Raises:
            StorageError: as :meth:`read_records`.
        """
        segments = {name: segment for name, segment in self._open_segments(bucket).items() if name in covered}
        found, _ = self._find_settled(bucket, segments, covered)
        rows, records = [], {}
        for name, segment in segments.items():
            with self._named_damage(bucket, name, segment):
                records[name] = decode_segment(segment, without=found.settled) if found.others else []
                if segment.has_outcomes:
                    rows.append(outcome_rows(segment, JOURNAL.names, found.settled))
        return pa.concat_tables(rows).sort_by("image_id") if rows else None, records

    def _find_settled(
        self, bucket: int, segments: Mapping[str, Segment], covered: Collection[str], run_id: str | None = None
    ) -> tuple[Found, Mapping[str, Fresh]]:
        """Where nothing is covered and no run is asked for, nothing is looked for."""
        if not covered and run_id is None:
            return NONE_FOUND, {}
        in_tables: list[pa.Table] = []
        others: list[pa.Table] = []
        for name, segment in segments.items():
            with self._named_damage(bucket, name, segment):
                if name in covered:
                    in_tables.append(segment.columns(KEYS))
                else:
                    others.append(segment.columns(KEYS if run_id is None else FRESH_KEYS))
        found = find_settled(in_tables, others, run_id)
        return found, fresh_of(others, found.fresh)

    def _open_segments(self, bucket: int) -> dict[str, Segment]:
        """All of them, sorted by name; one that is gone by the time it is read was replaced: the list is read again."""
        known: dict[str, Segment] = {}
        missing = ""
        for _ in range(_MAX_LISTINGS):
            names = self.segments(bucket)
            try:
                for name in names:
                    if (missing := name) not in known:
                        data = self._store.read_bytes(self._uri(bucket, name))
                        with self._named_damage(bucket, name, data):
                            known[name] = Segment(data)
            except ObjectNotFoundError:
                continue
            return {name: known[name] for name in names}
        uri = self._uri(bucket, missing)
        raise StorageError(f"journal segment {uri} is listed, but was missing {_MAX_LISTINGS} times; try again")

    @contextmanager
    def _named_damage(self, bucket: int, name: str, segment: Sized) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise DamagedError(
                f"journal segment {self._uri(bucket, name)} ({len(segment)} bytes) cannot be read: {error};"
                " restore it from a copy, or remove it: what only it recorded is then labelled, and paid for, again"
            ) from error

    def _uri(self, bucket: int, segment: str) -> str:
        return self._store.join(self.bucket_folder(bucket), segment)
