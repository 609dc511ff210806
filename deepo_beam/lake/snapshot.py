"""A snapshot: each image's newest labelling in tables of their own, made from the journal, without a call."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from deepo_beam import storage
from deepo_beam.errors import ConfigError
from deepo_beam.lake.audit import read_sound
from deepo_beam.lake.dataset import Dataset
from deepo_beam.lake.journal import OUTCOMES, Journal, Store
from deepo_beam.lake.manifest import PublishedFile, complete_runs, read_manifest, versions, write_manifest
from deepo_beam.lake.publish import coverage, load_intents, run_uri
from deepo_beam.lake.shard import ROWS_PER_SHARD, Outcome, Shard
from deepo_beam.lake.tally import states_of
from deepo_beam.lake.thresholds import KnownLabel, apply_thresholds

_BATCH = 4_000  # images between two looks at the size of a shard


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was written: where, and how many rows."""

    folder: str
    images: int
    labels: int
    errors: int


def snapshot_uri(output: str, run_id: str, store: Store = storage) -> str:
    """Where the snapshot of a run is, unless it was asked for elsewhere."""
    return store.join(output, "snapshots", run_id)


def check_snapshot_folder(output: str, folder: str, store: Store = storage) -> None:
    """Refuse a folder that something is in, or that is a part of the output.

    Raises:
        ConfigError: it cannot be written to.
        StorageError: it cannot be listed.
    """
    if folder == output or folder.startswith(f"{output}/"):
        raise ConfigError(f"--to {folder} is in the output: readers of its tables would read both; give another")
    if (first := next(iter(store.list_objects(folder)), None)) is not None:
        raise ConfigError(f"--to {folder} is not empty ({first.uri}): give another, or delete it")


def write_snapshot(
    output: str,
    dataset: Dataset,
    run_id: str,
    folder: str,
    *,
    thresholds: Mapping[int, float] | None = None,
    store: Store = storage,
) -> Snapshot:
    """Write all that the journal knows, shard by shard; then a manifest and ``_SUCCESS``.

    Args:
        output: held by the caller.
        dataset: what it is about.
        run_id: names the snapshot.
        folder: normalised URI of an empty folder, or of none.
        thresholds: by label id (0..1); other labels keep those that the model had.
        store: where to read and write.

    Raises:
        StorageError: it is not complete: it has no ``_SUCCESS``.
    """
    files: list[PublishedFile] = []
    shard, number = Shard(), 0
    for outcomes in _newest(output, dataset, thresholds or {}, store):
        shard.add(outcomes)
        if shard.rows >= ROWS_PER_SHARD:
            files += shard.write(folder, "", number, store)
            shard, number = Shard(), number + 1
    files += shard.write(folder, "", number, store)
    counts = {
        name: sum(file.rows for file in files if file.path.startswith(name)) for name in ("images", "labels", "errors")
    }
    facts = {
        "snapshot": run_id,
        "output": output,
        "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": versions(),
        "dataset": dataclasses.asdict(dataset),
        "thresholds": {str(label): threshold for label, threshold in (thresholds or {}).items()},
        **counts,
    }
    write_manifest(store.join(folder, "manifest.json"), facts, files, store)
    store.write_bytes(store.join(folder, "_SUCCESS"), b"\n")
    return Snapshot(folder, **counts)


def _newest(output: str, dataset: Dataset, thresholds: Mapping[int, float], store: Store) -> Iterator[list[Outcome]]:
    """The newest outcome of every image that has one, a few thousand at a time."""
    done, _ = load_intents(output, dataset.journal, store)
    covered, journal = coverage(done), Journal(output, dataset.journal, store)
    for bucket in range(dataset.buckets):
        states = states_of(journal.read_records(bucket, OUTCOMES), covered.get(bucket, {}))
        outcomes = []
        for state in states.values():
            assert state.finished is not None  # outcomes alone are read, so the newest generation has one
            outcomes.append(Outcome(apply_thresholds(state.finished.result, thresholds), state.failed_since_us))
        yield from (outcomes[at : at + _BATCH] for at in range(0, len(outcomes), _BATCH))


def known_labels(output: str, store: Store = storage) -> list[KnownLabel]:
    """The labels in the tables of all complete runs, with the highest threshold of each, by id and name.

    Raises:
        StorageError: a table cannot be read.
    """
    columns = ["label_id", "label_name", "threshold"]
    files = [
        file
        for run_id in complete_runs(output, store)
        for file in read_manifest(run_uri(output, run_id, "manifest.json", store), store)
        if file.path.startswith("labels/") and file.rows
    ]
    parts = [_highest(read_sound(output, file, columns, store)) for file in files]
    if not parts:
        return []
    rows = _highest(pa.concat_tables(parts)).sort_by([("label_id", "ascending"), ("label_name", "ascending")])
    return [KnownLabel(row["label_id"], row["label_name"], row["threshold"]) for row in rows.to_pylist()]


def _highest(table: pa.Table) -> pa.Table:
    grouped = table.group_by(["label_id", "label_name"]).aggregate([("threshold", "max")])
    return grouped.select(["label_id", "label_name", "threshold_max"]).rename_columns(table.column_names)
