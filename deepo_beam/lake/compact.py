"""Fewer and smaller segments that say the same: for an output that has seen many nights.

Only what complete publishes cover is compacted, by whoever holds the output. The new segment is durable before the
old ones go, and says nothing that they do not, so a crash in between leaves the same state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from deepo_beam import storage
from deepo_beam.lake.dataset import Dataset
from deepo_beam.lake.journal import COMPACTED, Journal, Store, is_covered, numbered
from deepo_beam.lake.merge import earlier, standing_order
from deepo_beam.lake.publish import compacted_runs, coverage, load_intents, write_compacted_runs
from deepo_beam.records import Finished, Noted, Record
from deepo_beam.types import Status

NIGHTS = 32  # complete runs after which a run compacts by itself: so many intents are read at every start
_BUCKETS_AT_ONCE = 4  # they wait for the store; as Python objects, more would hold too much memory


def compact(output: str, dataset: Dataset, store: Store = storage, *, at_least: int = 1) -> int:
    """Put the covered segments of each bucket into one, and the intents that named them out of the way.

    Args:
        output: held by the caller, every intent of it completed.
        dataset: what it is about.
        store: where it is.
        at_least: with fewer complete runs (>= 1) since the last compaction nothing is done.

    Returns:
        How many segments were replaced.

    Raises:
        StorageError: the state is what it was, and all may be done again.
    """
    done, _ = load_intents(output, dataset.journal, store)
    if len(done) < at_least:
        return 0
    counts = compact_buckets(Journal(output, dataset.journal, store), dataset.buckets, coverage(done))
    if None not in counts:
        before = compacted_runs(output, dataset.journal, store) or set()
        write_compacted_runs(output, dataset.journal, before | {intent.run_id for intent in done}, store)
    return sum(count or 0 for count in counts)


def compact_buckets(journal: Journal, buckets: int, covered: Mapping[int, Mapping[str, int]]) -> list[int | None]:
    """:func:`compact_bucket` for each of so many buckets; ``covered``: its segments that publishes cover, by bucket."""
    with ThreadPoolExecutor(_BUCKETS_AT_ONCE, thread_name_prefix="deepo-beam-compact") as pool:
        return list(pool.map(lambda bucket: compact_bucket(journal, bucket, covered.get(bucket, {})), range(buckets)))


def compact_bucket(journal: Journal, bucket: int, covered: Mapping[str, int]) -> int | None:
    """Put the covered segments of a bucket into one.

    Args:
        journal: of an output that is held.
        bucket: which.
        covered: its segments that complete publishes cover, by their number.

    Returns:
        How many segments were replaced; 0 if nothing was to be done; None if the store does not list all of them yet:
        without its intent, one that is left would be taken for new.

    Raises:
        StorageError: the state is what it was, and all may be done again.
    """
    names = [name for name in journal.segments(bucket) if is_covered(name, covered)]
    if any(journal.holds(bucket, name) for name in set(covered).difference(names)):
        return None
    if not names or (len(names) == 1 and names[0].endswith(COMPACTED)):
        return 0
    settled, others = journal.read_outcomes(bucket, names)
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
    journal.append(bucket, f"{digest}{COMPACTED}", essential(numbered(others, covered)), settled)
    for name in names:
        journal.delete(bucket, name)
    return len(names)


def essential(entries: Iterable[tuple[Record, int | None]]) -> list[Record]:
    """The records without which something about an image would be forgotten. Pure.

    Of an image that was labelled: its newest labels, under which listings they were found unchanged, and whatever came
    after them; of one that never was: everything. Of several outcomes of one labelling only that in the tables: which
    one that is, no publish tells any more.

    Args:
        entries: (record, number of the publish) as in :func:`deepo_beam.lake.merge.merge`, in any order, all covered.

    Returns:
        Some of the records, once each, by image, in an order that depends on nothing else.
    """
    images: dict[str, dict[Record, int | None]] = {}
    for record, number in entries:
        of_image = images.setdefault(record.image_id, {})
        of_image[record] = earlier(number, of_image.get(record))
    kept: list[Record] = []
    for image_id in sorted(images):
        kept += _essential_of_image(_standing(images[image_id]))
    return kept


def _standing(records: Mapping[Record, int | None]) -> list[Record]:
    """The records of an image, without the outcomes that were passed over."""
    outcomes: dict[int, list[tuple[Finished, int | None]]] = {}
    for record, number in records.items():
        if isinstance(record, Finished):
            outcomes.setdefault(record.generation, []).append((record, number))
    passed_over: set[Record] = set()
    for found in outcomes.values():
        if len(found) > 1:
            passed_over.update(record for record, _ in sorted(found, key=standing_order)[1:])
    return [record for record in records if record not in passed_over] if passed_over else list(records)


def _essential_of_image(records: list[Record]) -> list[Record]:
    labelled = [
        record.generation
        for record in records
        if isinstance(record, Finished) and record.result.status is not Status.FAILED
    ]
    if not labelled:
        return records
    newest = max(labelled)
    return [
        record
        for record in records
        if record.generation > newest or (record.generation == newest and isinstance(record, (Finished, Noted)))
    ]
