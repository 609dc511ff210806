"""DuckDB, pandas, Polars and Spark read an output as docs/tables.md says: the same rows as deepo-beam itself."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from e2e_tools import ROOT, label, write_pictures

from deepo_beam import read_labels, read_table
from deepo_beam.emulator.testing import RunningEmulator
from deepo_beam.lake.schemas import IMAGES, LABELS

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
SECTION = re.search(r"^## Reading them$(.*?)^## ", (ROOT / "docs" / "tables.md").read_text(), re.DOTALL | re.MULTILINE)
BLOCKS = re.findall(r"^```python\n(.*?)^```$", SECTION[1] if SECTION else "", re.DOTALL | re.MULTILINE)
ENGINES = ("duckdb", "pandas", "polars", "pyspark")


@pytest.fixture(scope="module", params=[(), ("2026-11-24", "2026-11-25")], ids=["usual run ids", "dates as run ids"])
def lake(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, service: RunningEmulator) -> Path:
    """Two runs: in the second some are labelled again, some are new, and one fails that had labels."""
    home = tmp_path_factory.mktemp("home")
    paths = list(write_pictures(home / "photos", 20))
    first, second = (["--run-id", run_id] for run_id in request.param) if request.param else ([], [])
    columns = ("--id-column", "sku", "--show-discarded")
    listed = _list(home / "first.csv", paths[:16])
    assert label(listed, home / "lake", service, *columns, *first).code == 0
    Path(paths[3]).write_bytes(b"")
    listed = _list(home / "second.csv", [*paths[:6], *paths[16:]])
    assert label(listed, home / "lake", service, *columns, "--relabel", "all", *second).code == 0
    return home / "lake"


def _list(path: Path, images: list[str]) -> Path:
    rows = [f"{image},{number},{'north' if number % 2 else ''}" for number, image in enumerate(images)]
    path.write_text("\n".join(["image_uri,sku,site", *rows, ""]))
    return path


@pytest.fixture(scope="module", autouse=True)
def quiet_spark() -> Iterator[None]:
    """One on loopback without a page of its own, ended with the tests."""
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    os.environ["PYSPARK_SUBMIT_ARGS"] = "--master local[1] --conf spark.ui.enabled=false pyspark-shell"
    yield
    from pyspark.sql import SparkSession

    session = SparkSession.getActiveSession()
    if session is not None:
        session.stop()


def read(engine: str, lake: Path) -> dict[str, Any]:
    """What the block of the documentation defines: ``labels``, ``images`` and ``newest``."""
    text, names = BLOCKS[0], {}
    (block,) = (text for text in BLOCKS if f"import {engine}" in text or f"from {engine}" in text)
    for each in (text, block):
        exec(each.replace("lake/", f"{lake}/"), names)
    return names


def rows(engine: str, table: Any) -> list[dict[str, Any]]:
    """The rows of an engine's table, in its own types."""
    if engine == "duckdb":
        return table.arrow().read_all().to_pylist()
    if engine == "pandas":
        return table.to_dict("records")
    if engine == "polars":
        return table.to_dicts()
    return [row.asDict() for row in table.collect()]


def plain(found: list[dict[str, Any]], schema: pa.Schema) -> list[tuple[Any, ...]]:
    """Rows that can be compared, sorted."""
    kinds = {**{field.name: field.type for field in schema}, "run_id": pa.string()}
    assert all(set(row) == set(kinds) for row in found)
    return sorted((tuple(_plain(row[name], kind) for name, kind in kinds.items()) for row in found), key=repr)


def _plain(value: Any, kind: pa.DataType) -> Any:
    if pa.types.is_map(kind):
        pairs = value.items() if isinstance(value, dict) else value
        return sorted(tuple(pair.values()) if isinstance(pair, dict) else tuple(pair) for pair in pairs)
    if value is None or value != value:  # pandas has NaN and NaT for nulls, which are not equal to themselves
        return None
    if pa.types.is_timestamp(kind):
        aware = value if value.tzinfo is not None else value.astimezone(timezone.utc)
        return (aware - EPOCH) // timedelta(microseconds=1)
    if pa.types.is_integer(kind):
        return int(value)
    if pa.types.is_floating(kind):
        return float(value)
    return value if pa.types.is_boolean(kind) else str(value)


def test_each_engine_has_a_block() -> None:
    assert len(BLOCKS) == 1 + len(ENGINES)


@pytest.mark.parametrize("engine", ENGINES)
def test_labels_and_images_are_read_with_every_value_and_their_run(engine: str, lake: Path) -> None:
    found = read(engine, lake)
    for name, schema in (("labels", LABELS), ("images", IMAGES)):
        expected = plain(read_table(str(lake), name).to_pylist(), schema)
        assert len({row[-1] for row in expected}) == 2
        assert plain(rows(engine, found[name]), schema) == expected


@pytest.mark.parametrize("engine", ENGINES)
def test_the_newest_labelling_of_each_image_is_the_same(engine: str, lake: Path) -> None:
    expected = plain(read_labels(str(lake), latest=True).to_pylist(), LABELS)
    assert 0 < len(expected) < read_labels(str(lake)).num_rows
    assert plain(rows(engine, read(engine, lake)["newest"]), LABELS) == expected
