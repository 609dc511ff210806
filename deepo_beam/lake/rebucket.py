"""Another number of buckets for an output: its journal is written anew, in a folder of its own.

The copy is whole, and the store lists all of it, before ``dataset.json`` is replaced, which is the switch: until then
nothing has changed, from then on everybody reads the new journal. What stands in any other one is taken over into the
one in force before it is deleted there, by whoever holds the output next: a switch that was cut off ends so, and so
nothing is lost that a process wrote late, which had not heard of the switch. A copy that never was in force just goes.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

from deepo_beam import storage
from deepo_beam.errors import StorageError
from deepo_beam.identity import bucket_of
from deepo_beam.lake.compact import compact_buckets, essential
from deepo_beam.lake.dataset import Dataset, write_dataset
from deepo_beam.lake.journal import COMPACTED, FIRST_JOURNAL, Journal, Store, is_covered, numbered
from deepo_beam.lake.manifest import complete_runs
from deepo_beam.lake.publish import compacted_runs, coverage, load_intents, write_compacted_runs
from deepo_beam.records import Record

MOVED = ".moved.parquet"  # how the name of a segment ends that was copied, and that no publish covers yet
_LATER = f"{FIRST_JOURNAL}-by-"  # and the run that made it; not what somebody might call a copy of their own
RECORDS_AT_ONCE = 100_000  # are held as Python objects, before they are written
_BUCKETS_AT_ONCE = 4


def rebucket(
    output: str,
    dataset: Dataset,
    buckets: int,
    run_id: str,
    *,
    check_held: Callable[[], None],
    store: Store = storage,
) -> Dataset:
    """Divide the journal of an output into another number of buckets.

    Args:
        output: held by the caller, swept (:func:`sweep`), every intent of it completed, and compacted.
        dataset: what it is about.
        buckets: that it is to have (>= 1).
        run_id: names the new journal.
        check_held: raises if the output is not held any more.
        store: where it is.

    Returns:
        What the output is about from now on.

    Raises:
        StorageError: the journal in force is the old one or the new one, as ``dataset.json`` says; either is whole.
        RunStoppedError: the same, and another run holds the output.
    """
    if any(load_intents(output, dataset.journal, store)):
        raise StorageError(f"the store does not list all of {output}/{dataset.journal} yet: try again later")
    new = dataclasses.replace(dataset, buckets=buckets, journal=f"{_LATER}{run_id}")
    copied = _copy(output, dataset.journal, new, store)
    check_held()
    write_dataset(output, new, store)
    _mark(output, new, store)
    check_held()
    _delete(Journal(output, dataset.journal, store), copied)
    compact_buckets(Journal(output, new.journal, store), buckets, {})  # one segment of what came in several batches
    return new


def sweep(output: str, dataset: Dataset, *, check_held: Callable[[], None], store: Store = storage) -> int:
    """Take over into the journal in force what stands in others, and delete it there; before anything is planned.

    Args:
        output: held by the caller.
        dataset: what it is about.
        check_held: raises if the output is not held any more.
        store: where it is.

    Returns:
        How many segments were taken over, or were of a copy that had been cut off.

    Raises:
        StorageError: some of it may have been done; all may be done again.
        RunStoppedError: the same, and another run holds the output.
    """
    if not _was_in_force(output, dataset.journal, store):
        _mark(output, dataset, store)
    swept = 0
    for name, segments in other_journals(output, dataset, store):
        found: Mapping[int, Sequence[str]] = segments
        if _was_in_force(output, name, store):
            found = _copy(output, name, dataset, store)
        check_held()  # after the list: whatever is in it, nobody else is just writing
        _delete(Journal(output, name, store), found)
        swept += sum(map(len, found.values()))
    return swept


def other_journals(output: str, dataset: Dataset, store: Store = storage) -> Iterator[tuple[str, dict[int, list[str]]]]:
    """The journals beside the one in force, by the name of their folder, with their segments; those that have some.

    Raises:
        StorageError: the store cannot list them.
    """
    for folder in store.list_folders(output):
        name = folder.rpartition("/")[2]
        if name == dataset.journal or not (name == FIRST_JOURNAL or name.startswith(_LATER)):
            continue
        if segments := Journal(output, name, store).all_segments():
            yield name, segments


def _was_in_force(output: str, journal: str, store: Store) -> bool:
    """Not a mere copy: it is marked right after the switch to it, before anybody writes to it."""
    return journal == FIRST_JOURNAL or compacted_runs(output, journal, store) is not None


def _mark(output: str, dataset: Dataset, store: Store) -> None:
    """The complete runs name nothing in it, but for those that know it: then it is not new, and its mark was lost."""
    done, _ = load_intents(output, dataset.journal, store)
    runs = set(complete_runs(output, store)) - {intent.run_id for intent in done}
    write_compacted_runs(output, dataset.journal, runs, store)


def _delete(journal: Journal, segments: Mapping[int, Sequence[str]]) -> None:
    with ThreadPoolExecutor(_BUCKETS_AT_ONCE, thread_name_prefix="deepo-beam-rebucket") as pool:
        gone = [(bucket, name) for bucket, names in segments.items() for name in names]
        list(pool.map(lambda segment: journal.delete(*segment), gone))


def _copy(output: str, source: str, target: Dataset, store: Store) -> dict[int, list[str]]:
    """Write what a journal says into the one of ``target`` and its buckets, and see that the store lists it.

    Returns:
        The segments that were copied, by their bucket.
    """
    old, new = Journal(output, source, store), Journal(output, target.journal, store)
    covered = coverage(load_intents(output, source, store)[0])
    copied: dict[int, list[str]] = {}
    written: set[tuple[int, str]] = set()
    with ThreadPoolExecutor(_BUCKETS_AT_ONCE, thread_name_prefix="deepo-beam-rebucket") as pool:
        for batch in _batches(old, covered, pool):
            digest = hashlib.sha256(repr((source, batch.segments)).encode()).hexdigest()[:16]
            pieces = [
                (bucket, f"{digest}{ending}", records)
                for ending, kept in ((COMPACTED, batch.settled), (MOVED, batch.open))
                for bucket, records in _by_bucket(kept, target.buckets).items()
            ]
            list(pool.map(lambda piece: new.append(*piece), pieces))
            written.update((bucket, name) for bucket, name, _ in pieces)
            for bucket, name in batch.segments:
                copied.setdefault(bucket, []).append(name)
    listed = {(bucket, name) for bucket, names in new.all_segments().items() for name in names}
    if unlisted := sorted(written - listed):
        raise StorageError(f"{new.bucket_folder(unlisted[0][0])}/{unlisted[0][1]} is not listed yet: try again")
    return copied


@dataclasses.dataclass(slots=True)
class _Batch:
    """Segments that were read, and what they say: what complete publishes cover, and the rest."""

    segments: list[tuple[int, str]] = dataclasses.field(default_factory=list)
    settled: list[Record] = dataclasses.field(default_factory=list)
    open: list[Record] = dataclasses.field(default_factory=list)


def _batches(journal: Journal, covered: Mapping[int, Mapping[str, int]], pool: ThreadPoolExecutor) -> Iterator[_Batch]:
    """Whole buckets, until there is enough to be written."""
    buckets, batch = list(journal.all_segments()), _Batch()
    for at in range(0, len(buckets), _BUCKETS_AT_ONCE):
        some = buckets[at : at + _BUCKETS_AT_ONCE]
        for bucket, segments in zip(some, pool.map(journal.read_records, some), strict=True):
            before = covered.get(bucket, {})
            batch.segments += [(bucket, name) for name in segments]
            batch.settled += essential(
                numbered({name: records for name, records in segments.items() if is_covered(name, before)}, before)
            )
            batch.open += chain.from_iterable(
                records for name, records in segments.items() if not is_covered(name, before)
            )
        if len(batch.settled) + len(batch.open) >= RECORDS_AT_ONCE:
            yield batch
            batch = _Batch()
    if batch.segments:
        yield batch


def _by_bucket(records: Sequence[Record], buckets: int) -> dict[int, list[Record]]:
    found: dict[int, list[Record]] = {}
    for record in records:
        found.setdefault(bucket_of(record.image_id, buckets), []).append(record)
    return found
