"""An output against the manifests of its complete runs and snapshots, and its journal. Reads only."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from deepo_beam import storage
from deepo_beam.errors import DamagedError, ObjectNotFoundError, StorageError
from deepo_beam.lake.accounting import doubled, named
from deepo_beam.lake.dataset import Dataset
from deepo_beam.lake.journal import COMPACTED, Journal, Store
from deepo_beam.lake.manifest import PublishedFile, complete_runs, read_manifest
from deepo_beam.lake.publish import Intent, load_intents, read_summary
from deepo_beam.lake.rebucket import other_journals
from deepo_beam.lake.records import decode_records
from deepo_beam.lake.shard import TABLES

_KEYS = ["image_id", "task_id", "finished_at"]  # one labelling
_NO_KIND = frozenset(("",))  # of record: a segment is read and checked, and nothing made of it


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        kind: ``missing``, ``altered``, ``damaged``, ``extra``, ``temporary``, ``unfinished``, ``duplicate`` or
            ``unreadable``.
        path: below the output.
        message: what is wrong, and what to do.
    """

    kind: str
    path: str
    message: str


@dataclass(slots=True)
class Verification:
    """What was looked at (``runs``, ``snapshots``, ``files``, ``rows``, ``segments``), and what was found."""

    checked: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def find(self, kind: str, path: str, message: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(kind, path, message))


def verify(
    output: str, dataset: Dataset, *, held: bool = False, temporaries: Collection[str] = (), store: Store = storage
) -> Verification:
    """Check everything; every file is read once.

    Args:
        output: normalised URI.
        dataset: what it is about.
        held: a run is at work: what it has begun is no finding.
        temporaries: URIs of objects that are still being written, or were.
        store: where it is.

    Raises:
        StorageError: the store cannot list.
    """
    found = Verification()
    done, left = load_intents(
        output, dataset.journal, store, tell=lambda error: found.find("damaged", _path_in(error, output), str(error))
    )
    complete = complete_runs(output, store)
    _check_runs(output, complete, {intent.run_id for intent in left} if not held else None, found, store)
    _check_snapshots(output, held, found, store)
    if not held:
        for intent in left:
            found.find(
                "unfinished",
                f"runs/{intent.run_id}/publish.json",
                f"this run began to publish and did not end: the next label, or `deepo-beam publish {output}`,"
                " completes it",
            )
        for uri in temporaries:
            found.find("temporary", _below(output, uri), "a write that was cut off left it: delete it")
        for name, segments in other_journals(output, dataset, store):
            found.find(
                "unfinished",
                name,
                f"{sum(map(len, segments.values())):,} segments of a journal that is not in force, left by a"
                f" re-bucketing that was cut off or a process that heard of it late: the next label, or `deepo-beam"
                f" compact {output}`, takes them over",
            )
    # A run at work may be compacting: what its intents name goes away then.
    _check_journal(output, dataset, [] if held else [*done, *left], found, store)
    return found


def _check_runs(
    output: str, complete: list[str], unfinished: Collection[str] | None, found: Verification, store: Store
) -> None:
    """Of the tables; ``unfinished``: runs whose files are told otherwise, None for any that is not complete."""
    rows: list[pa.Table] = []
    known: set[str] = set()
    for number, run_id in enumerate(complete):
        found.checked["runs"] += 1
        _check_run(output, run_id, found, store)
        for file in _manifest(output, run_id, f"runs/{run_id}", found, store):
            known.add(file.path)
            its_rows = _check_file(output, "", file, found, store)
            if its_rows is not None:
                rows.append(its_rows.append_column("run", pa.array([number] * its_rows.num_rows, pa.int32())))
    for name in TABLES:
        for listed in store.list_objects(store.join(output, name)):
            path = _below(output, listed.uri)
            run_id = path.split("/")[1].removeprefix("run_id=")
            told = run_id not in complete if unfinished is None else run_id in unfinished
            if path not in known and not told:
                found.find("extra", path, "no complete run made it, and whoever reads the table reads it: move it away")
    if rows:
        _check_rows(pa.concat_tables(rows), complete, found)


def _check_run(output: str, run_id: str, found: Verification, store: Store) -> None:
    """What no manifest names: its summary and its listing."""
    try:
        listed = read_summary(output, run_id, store).listed
    except StorageError as error:
        found.find("damaged", f"runs/{run_id}/summary.json", str(error))
        return
    folder = store.join(output, "runs", run_id, "listing")
    if listed and next(iter(store.list_objects(folder)), None) is None:
        found.find("missing", f"runs/{run_id}/listing", f"{run_id} listed {listed:,} entries: restore it from a copy")


def _path_in(error: DamagedError, output: str) -> str:
    return _below(output, str(error).partition(" ")[0])


def _manifest(output: str, run_id: str, folder: str, found: Verification, store: Store) -> list[PublishedFile]:
    path = f"{folder}/manifest.json"
    try:
        return read_manifest(store.join(output, path), store)
    except ObjectNotFoundError:
        found.find("missing", path, f"{run_id} is complete, and its manifest is gone: restore it from a copy")
    except StorageError as error:
        found.find("unreadable", path, str(error))
    return []


def _check_file(output: str, folder: str, file: PublishedFile, found: Verification, store: Store) -> pa.Table | None:
    """Compare a file with its manifest; of ``images`` return the keys of its labellings."""
    path = folder + file.path
    mend = f"restore it from a copy; `deepo-beam publish {output} --all` writes all that the journal knows elsewhere"
    try:
        data = store.read_bytes(store.join(output, path))
    except ObjectNotFoundError:
        found.find("missing", path, f"its manifest has it, with {file.rows:,} rows: {mend}")
        return None
    except StorageError as error:
        found.find("unreadable", path, f"{error}: {mend}")
        return None
    found.checked["files"] += 1
    wrong = None
    if len(data) != file.size_bytes:
        wrong = f"it has {len(data):,} bytes, and had {file.size_bytes:,}"
    elif hashlib.sha256(data).hexdigest() != file.sha256:
        wrong = "its bytes are not those that were written (SHA-256)"
    keys = None
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as parquet:
            rows = parquet.metadata.num_rows
            keys = parquet.read(columns=_KEYS, use_threads=False) if file.path.startswith("images/") else None
        found.checked["rows"] += rows
        if wrong is None and rows != file.rows:
            wrong = f"it has {rows:,} rows, and its manifest says {file.rows:,}"
    except (pa.ArrowException, OSError) as error:
        wrong = f"{wrong}, and is no Parquet file any more" if wrong else f"it is no Parquet file ({error})"
    if wrong is not None:
        found.find("altered", path, f"{wrong}: {mend}")
    return keys if keys is not None and keys.column_names == _KEYS else None


def _check_rows(rows: pa.Table, complete: list[str], found: Verification) -> None:
    """No image twice in a partition, no labelling in two."""
    for number in rows["run"].unique().to_pylist():
        ids = rows.filter(pc.equal(rows["run"], number))["image_id"]
        if twice := doubled(ids):
            path = f"images/run_id={complete[number]}"
            found.find("duplicate", path, f"{named(twice)} more than once: count each once, and tell its makers")
    runs = rows.group_by(_KEYS).aggregate([("run", "min"), ("run", "max")])
    across = runs.filter(pc.not_equal(runs["run_min"], runs["run_max"]))
    pairs: dict[tuple[int, int], list[str]] = {}
    for image_id, first, last in zip(
        *(across[name].to_pylist() for name in ("image_id", "run_min", "run_max")), strict=True
    ):
        pairs.setdefault((first, last), []).append(image_id)
    for (first, last), ids in sorted(pairs.items()):
        message = (
            f"the same labelling of {named(sorted(ids))} is in images/run_id={complete[first]}, too: count it once"
        )
        found.find("duplicate", f"images/run_id={complete[last]}", message)


def _check_snapshots(output: str, held: bool, found: Verification, store: Store) -> None:
    for uri in store.list_folders(store.join(output, "snapshots")):
        folder = _below(output, uri)
        names = {listed.uri for listed in store.list_objects(uri)}
        if store.join(uri, "_SUCCESS") not in names:
            if not held:
                found.find("unfinished", folder, "this snapshot was cut off: delete it, and publish it again")
            continue
        found.checked["snapshots"] += 1
        known = {"manifest.json", "_SUCCESS"}
        for file in _manifest(output, folder, folder, found, store):
            known.add(file.path)
            _check_file(output, f"{folder}/", file, found, store)
        for extra in sorted(names - {store.join(uri, path) for path in known}):
            found.find("extra", _below(output, extra), "no snapshot made it: move it away")


def _check_journal(output: str, dataset: Dataset, intents: list[Intent], found: Verification, store: Store) -> None:
    journal = Journal(output, dataset.journal, store)
    for bucket in range(dataset.buckets):
        folder = _below(output, journal.bucket_folder(bucket))
        names = journal.segments(bucket)
        for name in names:
            found.checked["segments"] += 1
            try:
                decode_records(store.read_bytes(store.join(output, folder, name)), _NO_KIND)
            except ObjectNotFoundError:
                continue  # compacted a moment ago
            except (ValueError, StorageError) as error:
                message = f"{error}: restore it from a copy; what only it recorded would be paid for again"
                found.find("unreadable", f"{folder}/{name}", message)
        for name, run_id in _missing(bucket, names, intents):
            mend = "restore it from a copy"
            if any(other.endswith(COMPACTED) for other in names):
                mend += f"; or, if a compaction was cut off, end it with `deepo-beam compact {output}`"
            found.find("missing", f"{folder}/{name}", f"run {run_id} published what it records: {mend}")


def _missing(bucket: int, names: Collection[str], intents: list[Intent]) -> Iterator[tuple[str, str]]:
    there = set(names)
    for intent in intents:
        yield from ((name, intent.run_id) for name in intent.segments.get(bucket, ()) if name not in there)


def _below(output: str, uri: str) -> str:
    return uri[len(output) :].lstrip("/")


def as_json(found: Verification, output: str) -> Mapping[str, object]:
    """For machines."""
    findings = [{"kind": one.kind, "path": one.path, "message": one.message} for one in found.findings]
    return {"output": output, "checked": dict(found.checked), "findings": findings}
