"""Reading the tables of an output: the union of its complete runs, or of each image the newest labelling.

The same in SQL, for whatever reads Parquet: ``latest.sql`` beside this file, over the tables ``labels`` and ``images``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc

from deepo_beam import storage
from deepo_beam.errors import ConfigError
from deepo_beam.identity import normalise_uri
from deepo_beam.lake.audit import read_sound
from deepo_beam.lake.dataset import find_dataset
from deepo_beam.lake.journal import Store
from deepo_beam.lake.manifest import READS_AT_ONCE, PublishedFile, complete_runs, read_manifest
from deepo_beam.lake.publish import run_uri
from deepo_beam.lake.schemas import ERRORS, IMAGES, LABELS

Table = Literal["labels", "images", "errors"]
_NONE = pa.array([], pa.string())
_SCHEMAS = {"labels": LABELS, "images": IMAGES, "errors": ERRORS}


def read_table(
    output: str, table: Table, *, latest: bool = False, columns: Sequence[str] | None = None, store: Store = storage
) -> pa.Table:
    """Read ``labels``, ``images`` or ``errors`` of the complete runs of an output into memory.

    Args:
        output: the folder that ``label`` wrote to.
        table: which one.
        latest: of each image only the rows of the run that labelled it last; an image that failed after that keeps
            its labels, and one that was never labelled has none. Not for ``errors``.
        columns: names of columns, None for all; ``run_id`` is one of them.
        store: where it is.

    Returns:
        The columns of docs/tables.md and ``run_id``, in no order.

    Raises:
        ConfigError: there is no output, no such table or column, or ``latest`` of ``errors``.
        StorageError: something cannot be read.
    """
    names = [*_names(table), "run_id"] if columns is None else list(columns)
    if unknown := sorted(set(names) - {*_names(table), "run_id"}):
        raise ConfigError(f"{table} has no column {unknown[0]!r}: it has {', '.join(_names(table))}, run_id")
    if latest and table == "errors":
        raise ConfigError("errors has no newest labelling: each row is of an image that has none, or had one before")
    output = normalise_uri(output)
    if find_dataset(output, store) is None:
        raise ConfigError(f"{output} is no output of deepo-beam label: it has no dataset.json")
    runs = complete_runs(output, store)
    newest = _newest(output, runs, store) if latest else None
    parts = [part.select(names) for part in _parts(output, table, names, runs, newest, store)]
    return pa.concat_tables(parts) if parts else _empty(table).select(names)


def read_labels(output: str, *, latest: bool = False, columns: Sequence[str] | None = None) -> pa.Table:
    """:func:`read_table` of ``labels``: one row per label."""
    return read_table(output, "labels", latest=latest, columns=columns)


def _newest(output: str, runs: Sequence[str], store: Store) -> dict[str, pa.Array]:
    """By run the ids of the images that it labelled last of all."""
    names = ["image_id", "status", "finished_at", "run_id"]
    images = pa.concat_tables([_empty("images").select(names), *_parts(output, "images", names, runs, None, store)])
    labelled = images.filter(pc.field("status") != "failed")
    ordered = labelled.sort_by([(name, "ascending") for name in ("image_id", "finished_at", "run_id")])
    newest = ordered.group_by("image_id", use_threads=False).aggregate([("run_id", "last")])
    by_run = newest.group_by("run_id_last", use_threads=False).aggregate([("image_id", "list")])
    found = zip(by_run["run_id_last"].to_pylist(), by_run["image_id_list"], strict=True)
    return {run: ids.values for run, ids in found}


def _parts(
    output: str,
    table: Table,
    names: Sequence[str],
    runs: Sequence[str],
    newest: dict[str, pa.Array] | None,
    store: Store,
) -> Iterator[pa.Table]:
    """What each file of a table holds, or of that the rows of ``newest``; with ``names`` and ``run_id``."""
    read = [name for name in _names(table) if name in names or (newest is not None and name == "image_id")]

    def read_file(run: str, file: PublishedFile) -> pa.Table:
        part = read_sound(output, file, read, store)
        part = part.append_column("run_id", pa.repeat(pa.scalar(run), part.num_rows))
        return part if newest is None else part.filter(pc.is_in(part["image_id"], newest.get(run, _NONE)))

    with ThreadPoolExecutor(READS_AT_ONCE, thread_name_prefix="deepo-beam-read") as pool:
        files = [(run, file) for run in runs for file in _files(output, run, table, store)]
        yield from pool.map(lambda each: read_file(*each), files)


def _files(output: str, run: str, table: Table, store: Store) -> list[PublishedFile]:
    named = read_manifest(run_uri(output, run, "manifest.json", store), store)
    return [file for file in named if file.path.startswith(f"{table}/")]


def _names(table: str) -> list[str]:
    if table not in get_args(Table):
        raise ConfigError(f"there is no table {table!r}: labels, images and errors")
    return list(_SCHEMAS[table].names)


def _empty(table: str) -> pa.Table:
    return _SCHEMAS[table].empty_table().append_column("run_id", pa.array([], pa.string()))
