"""From the journal to the tables: an intent first, then its files, then ``_SUCCESS``.

The intent (``runs/<id>/publish.json``) names the segments that it covers and the shards that it will write,
so that whoever finds it without ``_SUCCESS`` can finish it: names and contents are determined by it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from deepo_beam import storage
from deepo_beam.errors import DamagedError, ObjectNotFoundError, StorageError
from deepo_beam.lake.documents import read_document
from deepo_beam.lake.journal import Journal, Store, is_covered
from deepo_beam.lake.manifest import PublishedFile, write_manifest
from deepo_beam.lake.shard import ROWS_PER_SHARD, Outcome, Shard
from deepo_beam.lake.summary import Summary
from deepo_beam.lake.tally import BucketTally, Segments, states_of, to_publish
from deepo_beam.records import Record


@dataclass(frozen=True, slots=True)
class Intent:
    """What a publish will do.

    Attributes:
        run_id: whose partition is written.
        number: 1, 2, ... in the order of publishes: of two outcomes of a labelling the tables have that of the
            earlier one.
        journal: what is published, by the name of its folder.
        segments: covered segments by bucket.
        shards: buckets of each shard; shard k is ``part-<k>.parquet`` of every table.
        summary: of the run, as far as it was known then.
    """

    run_id: str
    number: int
    journal: str
    segments: Mapping[int, tuple[str, ...]]
    shards: tuple[tuple[int, ...], ...]
    summary: Summary


def run_uri(output: str, run_id: str, name: str, store: Store = storage) -> str:
    """A file of a run: ``publish.json``, ``summary.json``, ``manifest.json``, ``_SUCCESS``, ``config.json``."""
    return store.join(output, "runs", run_id, name)


def is_published(output: str, run_id: str, store: Store = storage) -> bool:
    """The run is complete.

    Raises:
        StorageError: the store cannot say.
    """
    return _read(run_uri(output, run_id, "_SUCCESS", store), store) is not None


def load_intents(
    output: str, journal: str, store: Store = storage, *, tell: Callable[[DamagedError], None] | None = None
) -> tuple[list[Intent], list[Intent]]:
    """The intents that were completed, and those that were not; without those whose segments were compacted.

    Nor one that was planned before a compaction and arrived after it, from a process that had slept: what it was to
    publish is in the tables, or will be published by the next run.

    Args:
        output: of the runs.
        journal: in force. Intents of another one are left out: all it said was taken over, and whoever wrote one
            since did not know.
        store: where it is.
        tell: hears of each that is damaged, which is then left out.

    Raises:
        DamagedError: one was altered, or is gone, and nobody is to be told.
        StorageError: they cannot be read.
    """
    folders = store.list_folders(store.join(output, "runs"))
    compacted = compacted_runs(output, journal, store) or set()
    run_ids = {folder.rpartition("/")[2] for folder in folders} - compacted
    done: list[Intent] = []
    left: list[Intent] = []
    for run_id in sorted(run_ids):
        complete = is_published(output, run_id, store)
        try:
            intent = _load_intent(output, run_id, store, complete=complete)
        except DamagedError as error:
            if tell is None:
                raise
            tell(error)
            continue
        if intent is not None and intent.journal == journal and (complete or intent.number > len(compacted)):
            (done if complete else left).append(intent)
    return done, left


def _load_intent(output: str, run_id: str, store: Store, *, complete: bool) -> Intent | None:
    uri = run_uri(output, run_id, "publish.json", store)
    intent = read_document(uri, store, _intent_of, "publish intent")
    if intent is None and complete:
        raise DamagedError(
            f"{uri} is gone, and run {run_id} is complete: restore it from a copy; without it what that run published"
            " would be published again"
        )
    return intent


def compacted_runs(output: str, journal: str, store: Store = storage) -> set[str] | None:
    """The complete runs of which no covered segment stands in a journal any more; None: it has no such list.

    Raises:
        StorageError: they cannot be read.
    """
    return read_document(_compacted_uri(output, journal, store), store, _names_of, "list of compacted runs")


def write_compacted_runs(output: str, journal: str, run_ids: Iterable[str], store: Store = storage) -> None:
    """Say that the intents of these runs need not be read any more.

    Raises:
        StorageError: it may or may not have been written.
    """
    store.write_bytes(_compacted_uri(output, journal, store), json.dumps(sorted(run_ids), indent=0).encode())


def _compacted_uri(output: str, journal: str, store: Store) -> str:
    return store.join(output, journal, "compacted_runs.json")


def coverage(intents: Iterable[Intent]) -> dict[int, dict[str, int]]:
    """Covered segments by bucket, each with the number of the first publish that covers it."""
    covered: dict[int, dict[str, int]] = {}
    for intent in sorted(intents, key=lambda intent: intent.number):
        for bucket, names in intent.segments.items():
            of_bucket = covered.setdefault(bucket, {})
            for name in names:
                of_bucket.setdefault(name, intent.number)
    return covered


def next_number(output: str, journal: str, done: Collection[Intent], store: Store = storage) -> int:
    """Of the publish that comes after all complete ones.

    Args:
        output: of them.
        journal: in force.
        done: the complete intents that name it, from :func:`load_intents`.
        store: where it is.

    Raises:
        StorageError: those that were compacted cannot be read.
    """
    return 1 + len(done) + len(compacted_runs(output, journal, store) or ())


def plan_publish(tallies: Sequence[BucketTally], summary: Summary, journal: str, *, number: int) -> Intent:
    """Share out the rows. Pure.

    Args:
        tallies: of every bucket with something in it.
        summary: of the run.
        journal: in force.
        number: of the publish, from :func:`next_number`; the tables of the first are made even if they are empty.
    """
    shards: list[tuple[int, ...]] = []
    shard: list[int] = []
    rows = 0
    ordered = sorted(tallies, key=lambda tally: tally.bucket)
    for tally in (tally for tally in ordered if tally.images):
        size = tally.images + tally.labels
        if shard and rows + size > ROWS_PER_SHARD:
            shards.append(tuple(shard))
            shard, rows = [], 0
        shard.append(tally.bucket)
        rows += size
    if shard or (number == 1 and not shards):
        shards.append(tuple(shard))
    segments = {tally.bucket: tally.segments for tally in ordered if tally.segments}
    return Intent(summary.run_id, number, journal, segments, tuple(shards), summary)


def write_intent(output: str, intent: Intent, store: Store = storage) -> Intent:
    """Make an intent durable and return it; one that is there already stands.

    Raises:
        StorageError: it may or may not have been written.
    """
    uri = run_uri(output, intent.run_id, "publish.json", store)
    existing = read_document(uri, store, _intent_of, "publish intent")
    if existing is not None:
        return existing
    store.write_bytes(uri, encode_intent(intent))
    return intent


def write_shard(
    output: str, intent: Intent, number: int, covered: Mapping[int, Mapping[str, int]], store: Store = storage
) -> list[PublishedFile]:
    """Write one file of each table; again gives the same files.

    Args:
        output: of the run.
        intent: durable.
        number: of the shard, from 0.
        covered: by publishes before this one, see :func:`coverage`.
        store: where to write.

    Raises:
        StorageError: some of it may have been written; write it again.
    """
    journal, shard = Journal(output, intent.journal, store), Shard()
    for bucket in intent.shards[number]:
        before, names = covered.get(bucket, {}), intent.segments.get(bucket, ())
        rows, segments = journal.read_unpublished(bucket, before, names)
        _check_all_there(journal, intent, bucket, segments)
        if rows:
            shard.add_rows(rows)
        shard.add(_outcomes(segments, before))
    return shard.write(output, f"run_id={intent.run_id}/", number, store)


def _outcomes(segments: Segments, covered: Mapping[str, int]) -> Iterator[Outcome]:
    for state in to_publish(states_of(segments, covered)):
        assert state.to_publish is not None
        yield Outcome(state.to_publish.result, state.failed_since_us)


def segments_to_publish(
    journal: Journal, intent: Intent, bucket: int, covered: Collection[str], kinds: Set[str]
) -> dict[str, list[Record]]:
    """The records that a publish is made of, by segment: none that was written after its intent.

    Without those of the images that are settled, which it does not change.

    Args:
        journal: of the output.
        intent: of the publish.
        bucket: which.
        covered: its segments that publishes before this one cover.
        kinds: of the records that are wanted.

    Raises:
        StorageError: a segment that the intent names is gone, or one cannot be read.
    """
    records = journal.read_history(bucket, covered, kinds).segments
    _check_all_there(journal, intent, bucket, records)
    names = intent.segments.get(bucket, ())
    return {name: found for name, found in records.items() if is_covered(name, covered) or name in names}


def _check_all_there(journal: Journal, intent: Intent, bucket: int, found: Collection[str]) -> None:
    if missing := sorted(set(intent.segments.get(bucket, ())).difference(found)):
        raise StorageError(
            f"{journal.bucket_folder(bucket)}/{missing[0]} is gone, which run {intent.run_id} is to publish:"
            " restore it from a copy"
        )


def commit(
    output: str,
    intent: Intent,
    files: Iterable[PublishedFile],
    store: Store = storage,
    *,
    seconds: float | None = None,
    accounting: str | None = None,
) -> Summary:
    """Write manifest, summary and ``_SUCCESS``: the run is complete.

    The manifest repeats what the run began with (``config.json``: versions and configuration).

    Args:
        output: of the run.
        intent: durable.
        files: of all shards.
        store: where to write.
        seconds: wall time of the run by now; None keeps that of the intent.
        accounting: what is wrong with its accounts, None for nothing.

    Raises:
        StorageError: it is not known to be complete.
    """
    entries = list(files)
    labels = sum(file.rows for file in entries if file.path.startswith("labels/"))
    summary = dataclasses.replace(intent.summary, labels=labels).checked(accounting)
    if seconds is not None:
        summary = summary.after(seconds)
    uri = run_uri(output, intent.run_id, "config.json", store)
    facts = {"run_id": intent.run_id, **(read_document(uri, store, dict, "configuration of a run") or {})}
    write_manifest(run_uri(output, intent.run_id, "manifest.json", store), facts, entries, store)
    uri = run_uri(output, intent.run_id, "summary.json", store)
    store.write_bytes(uri, json.dumps(dataclasses.asdict(summary), indent=2).encode() + b"\n")
    # One byte, for some stores have no empty objects.
    store.write_bytes(run_uri(output, intent.run_id, "_SUCCESS", store), b"\n")
    return summary


def read_summary(output: str, run_id: str, store: Store = storage) -> Summary:
    """What a complete run reported.

    Raises:
        DamagedError: it was altered, or is gone.
        StorageError: it cannot be read.
    """
    uri = run_uri(output, run_id, "summary.json", store)
    summary = read_document(uri, store, lambda values: Summary(**values), "summary")
    if summary is None:
        raise DamagedError(f"{uri} is gone, and run {run_id} is complete: restore it from a copy")
    return summary


def encode_intent(intent: Intent) -> bytes:
    """As JSON."""
    return json.dumps(dataclasses.asdict(intent)).encode()


def decode_intent(data: bytes) -> Intent:
    """The inverse of :func:`encode_intent`."""
    return _intent_of(json.loads(data))


def _intent_of(values: Any) -> Intent:
    return Intent(
        run_id=values["run_id"],
        number=int(values["number"]),
        journal=values["journal"],
        segments={int(bucket): tuple(names) for bucket, names in values["segments"].items()},
        shards=tuple(tuple(shard) for shard in values["shards"]),
        summary=Summary(**values["summary"]),
    )


def _names_of(values: Any) -> set[str]:
    if not isinstance(values, list):
        raise TypeError(f"{type(values).__name__}, expected a list")
    return {str(name) for name in values}


def _read(uri: str, store: Store) -> bytes | None:
    try:
        return store.read_bytes(uri)
    except ObjectNotFoundError:
        return None
