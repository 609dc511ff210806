"""Reading back what was published, for :mod:`deepo_beam.lake.accounting`; and naming the images that do not add up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, groupby

import pyarrow as pa
import pyarrow.parquet as pq

from deepo_beam import storage
from deepo_beam.errors import ObjectNotFoundError, StorageError
from deepo_beam.lake.accounting import (
    Tables,
    agrees,
    doubled,
    named,
    not_in,
    outcome_difference,
    split_by_status,
    unaccounted,
)
from deepo_beam.lake.journal import Journal, Store
from deepo_beam.lake.listing import ListedEntry, listed_buckets, read_listing, read_listing_columns
from deepo_beam.lake.manifest import READS_AT_ONCE, PublishedFile, complete_runs, read_manifest
from deepo_beam.lake.plan import Disposition
from deepo_beam.lake.publish import Intent, coverage, load_intents, run_uri, segments_to_publish
from deepo_beam.lake.summary import OUTCOMES
from deepo_beam.lake.tally import COUNTED, outcome_of, states_of, to_publish

_SHOWN_FILES = 5


@dataclass(slots=True)
class _Problems:
    """Sentences for the user."""

    said: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    doubled: list[tuple[str, list[str]]] = field(default_factory=list)

    def text(self, output: str) -> str | None:
        said = list(self.said)
        if self.files:
            more = f" and {len(self.files) - _SHOWN_FILES:,} more" if len(self.files) > _SHOWN_FILES else ""
            said.insert(0, f"{'; '.join(self.files[:_SHOWN_FILES])}{more}")
        if not said:
            return None
        return (
            f"{'; '.join(said)}. `deepo-beam verify {output}` says what is missing or altered: restore it from a copy"
        )


def audit(output: str, intent: Intent, files: Sequence[PublishedFile], store: Store = storage) -> str | None:
    """Join the listing of a run, as written, with the tables of this run and all complete ones, as read back.

    Args:
        output: of the run.
        intent: of the run.
        files: that the run has written, all shards.
        store: where they are.

    Returns:
        What does not add up, with the image ids in question, for people; None: everything does.

    Raises:
        StorageError: the store cannot list; what cannot be read is part of the answer.
    """
    problems = _Problems()
    listing = read_listing_columns(output, intent.run_id, store)
    earlier = _present(output, _earlier_files(output, intent.run_id, problems, store), problems, store)
    files = _present(output, files, problems, store)
    tables = _read_tables(output, files, earlier, problems, store)
    wrong = [*problems.doubled, *unaccounted(listing, tables)]
    if wrong or not agrees(listing, tables, intent.summary):
        wrong += _against_journal(output, intent, tables, problems, store)
    problems.said += [f"{what}: {named(sorted(ids))}" for what, ids in wrong]
    return problems.text(output)


def _present(output: str, files: Sequence[PublishedFile], problems: _Problems, store: Store) -> list[PublishedFile]:
    """Those that are there, of every table; some of them are not read here."""
    folders = {store.join(output, partition_of(file)) for file in files}
    with ThreadPoolExecutor(READS_AT_ONCE, thread_name_prefix="deepo-beam-audit") as pool:
        listings = pool.map(lambda folder: list(store.list_objects(folder, recursive=False)), sorted(folders))
        present = {listed.uri for listing in listings for listed in listing}
    problems.files += [f"{file.path} is gone" for file in files if store.join(output, file.path) not in present]
    return [file for file in files if store.join(output, file.path) in present]


def _read_tables(
    output: str, files: Sequence[PublishedFile], earlier: Sequence[PublishedFile], problems: _Problems, store: Store
) -> Tables:
    def read(table: str, columns: list[str], chosen: Sequence[PublishedFile]) -> Iterator[tuple[str, pa.Table]]:
        """By partition; what cannot be read is a problem, and empty."""
        wanted = [file for file in chosen if file.path.startswith(f"{table}/")]
        with ThreadPoolExecutor(READS_AT_ONCE, thread_name_prefix="deepo-beam-audit") as pool:
            found = pool.map(lambda file: read_columns(output, file, columns, store), wanted)
            for partition, group in groupby(zip(wanted, found, strict=True), lambda pair: partition_of(pair[0])):
                parts = [part for _, part in group]
                problems.files += [part.problem for part in parts if part.problem]
                yield partition, _concat(part.table for part in parts)

    own = _concat(table for _, table in read("images", ["image_id", "status"], files))
    own_errors = _concat(table for _, table in read("errors", ["image_id"], files))
    by_status = [split_by_status(own)]
    for partition, images in read("images", ["image_id", "status"], earlier):
        by_status.append(split_by_status(images))
        if ids := doubled(images["image_id"]):
            problems.doubled.append((f"twice in {partition}", ids))
    labelled, failed = (_join(columns) for columns in zip(*by_status, strict=True))
    return Tables(own["image_id"], own["status"], own_errors["image_id"], labelled, failed)


@dataclass(frozen=True, slots=True)
class ReadBack:
    """Columns of a file of a table, without rows if it cannot be read, and what is wrong with it."""

    table: pa.Table
    problem: str | None = None


def partition_of(file: PublishedFile) -> str:
    """The folder that a file of a table is in."""
    return file.path.rpartition("/")[0]


def read_columns(output: str, file: PublishedFile, columns: list[str], store: Store = storage) -> ReadBack:
    """Read a file that a manifest names."""
    empty = pa.table({name: pa.array([], pa.string()) for name in columns})
    try:
        with store.open_input(store.join(output, file.path)) as stream, pq.ParquetFile(stream) as parquet:
            table = parquet.read(columns=columns, use_threads=False)
    except ObjectNotFoundError:
        return ReadBack(empty, f"{file.path} is gone")
    except (StorageError, pa.ArrowException, OSError) as error:
        return ReadBack(empty, f"{file.path} cannot be read ({error})")
    if table.column_names != columns:
        return ReadBack(empty, f"{file.path} lacks columns")
    if table.num_rows != file.rows:
        return ReadBack(table, f"{file.path} has {table.num_rows:,} rows, and had {file.rows:,}")
    return ReadBack(table)


def read_sound(output: str, file: PublishedFile, columns: list[str], store: Store = storage) -> pa.Table:
    """As :func:`read_columns`, where one file that cannot be read spoils the whole.

    Raises:
        StorageError: it is gone, altered, or cannot be read.
    """
    found = read_columns(output, file, columns, store)
    if found.problem:
        raise StorageError(f"{found.problem}: see `deepo-beam verify {output}`")
    return found.table


def _earlier_files(output: str, run_id: str, problems: _Problems, store: Store) -> list[PublishedFile]:
    """Of the complete runs, but for this one."""
    runs = [other for other in complete_runs(output, store) if other != run_id]

    def read(other: str) -> list[PublishedFile] | str:
        try:
            return read_manifest(run_uri(output, other, "manifest.json", store), store)
        except ObjectNotFoundError:
            return f"runs/{other}/manifest.json is gone"
        except StorageError as error:
            return str(error)

    files: list[PublishedFile] = []
    with ThreadPoolExecutor(READS_AT_ONCE, thread_name_prefix="deepo-beam-audit") as pool:
        for found in pool.map(read, runs):
            if isinstance(found, str):
                problems.files.append(found)
            else:
                files += found
    return files


def _against_journal(
    output: str, intent: Intent, tables: Tables, problems: _Problems, store: Store
) -> list[tuple[str, list[str]]]:
    """Compare row by row with what the journal says was to be published, and the summary with what it says of each."""
    done, _ = load_intents(output, intent.journal, store)
    covered = coverage(other for other in done if other.run_id != intent.run_id)
    journal = Journal(output, intent.journal, store)
    rows = dict(zip(tables.own.to_pylist(), tables.statuses.to_pylist(), strict=True))
    missing: list[str] = []
    other_status: list[str] = []
    told: dict[str, list[str]] = {name: [] for name in OUTCOMES}
    compared: dict[str, list[str]] = {name: [] for name in OUTCOMES}
    for bucket in sorted({*listed_buckets(output, intent.run_id, store), *chain.from_iterable(intent.shards)}):
        before = covered.get(bucket, {})
        states = states_of(segments_to_publish(journal, intent, bucket, before, COUNTED), before)
        for state in to_publish(states):
            assert state.to_publish is not None
            status = rows.pop(state.image_id, None)
            if status is None:
                missing.append(state.image_id)
            elif status != state.to_publish.result.status.value:
                other_status.append(state.image_id)
        for entry in _listed(output, intent.run_id, bucket, store):
            outcome = outcome_of(entry, states, intent.run_id)
            told[outcome].append(entry.image_id)
            if entry.disposition is Disposition.COMPARE:
                compared[outcome].append(entry.image_id)
    if difference := outcome_difference({name: len(ids) for name, ids in told.items()}, intent.summary):
        problems.said.append(f"the summary and the journal disagree: {difference}")
    found = {
        "settled by the journal, but not in images/": missing,
        "with another status in images/ than in the journal": other_status,
        "in images/ of this run, but not to be published by the journal": list(rows),
        "unchanged, but no table has their labelling": _without(compared["reused"], tables.labelled),
        "unchanged, but no table has their failure": _without(compared["skipped"], tables.failed),
    }
    return [(what, ids) for what, ids in found.items() if ids]


def _without(ids: list[str], known: pa.ChunkedArray) -> list[str]:
    missing: list[str] = not_in(pa.chunked_array([pa.array(ids, pa.string())]), known).to_pylist()
    return missing


def _listed(output: str, run_id: str, bucket: int, store: Store) -> list[ListedEntry]:
    try:
        return read_listing(output, run_id, bucket, store)
    except ObjectNotFoundError:
        return []


def _concat(tables: Iterable[pa.Table]) -> pa.Table:
    empty = pa.table({"image_id": pa.array([], pa.string()), "status": pa.array([], pa.string())})
    return pa.concat_tables([empty, *tables], promote_options="default")


def _join(columns: Sequence[pa.ChunkedArray]) -> pa.ChunkedArray:
    return pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.string())
