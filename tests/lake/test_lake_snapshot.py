"""Snapshots and leftovers: from the journal alone, beside the union, whole or without a mark."""

import io
import json
from collections import Counter

import pyarrow.parquet as pq
import pytest
from lake_samples import DATASET, failure, image, outputs, success
from memory_store import KillableStore, KilledError
from published_runs import KILLED, OUT, append, before, finished, intend, publish

from deepo_beam.errors import ConfigError, StorageError
from deepo_beam.lake import snapshot as snapshots
from deepo_beam.lake.compact import compact
from deepo_beam.lake.leftover import publish_leftover
from deepo_beam.lake.snapshot import check_snapshot_folder, known_labels, snapshot_uri, write_snapshot
from deepo_beam.lake.thresholds import KnownLabel
from deepo_beam.lake.verify import verify
from deepo_beam.records import Claimed, Reason
from deepo_beam.types import Status

RUN = "run-s"
SNAPSHOT = f"{OUT}/snapshots/{RUN}"


def take(store: KillableStore, folder: str = SNAPSHOT, **how):
    return write_snapshot(OUT, DATASET, RUN, folder, store=store, **how)


def rows(store: KillableStore, folder: str, table: str) -> list[dict]:
    found = sorted(store.below(f"{folder}/{table}").items())
    return [row for _, data in found for row in pq.read_table(io.BytesIO(data)).to_pylist()]


def relabelled() -> KillableStore:
    """Images that failed and succeeded, the other way round, and one known to the journal only."""
    store = KillableStore()
    publish(store, intend(store, "run-a", {0: finished("run-a", failure(0), success(1))}, {0: [0, 1]}))
    later = {"generation": 1, "finished_us": 1_770_000_000_000_000}
    append(store, "run-b", 0, finished("run-b", success(0, **later), failure(1, **later)))
    append(store, KILLED, 1, finished(KILLED, success(3)))
    publish(store, intend(store, "run-b", {}, {0: [0, 1]}))
    append(store, KILLED, 1, finished(KILLED, success(4)))
    return store


def test_a_snapshot_has_the_newest_labelling_of_each_image_once() -> None:
    store = relabelled()
    made = take(store)
    images = {row["image_id"]: row["status"] for row in rows(store, SNAPSHOT, "images")}
    newest = {0: "succeeded", 1: "failed", 3: "succeeded", 4: "succeeded"}
    assert images == {image(number).image_id: status for number, status in newest.items()}
    assert Counter(row["image_id"] for row in rows(store, SNAPSHOT, "labels")) == {
        image(number).image_id: 2 for number in (0, 3, 4)
    }
    assert [row["image_id"] for row in rows(store, SNAPSHOT, "errors")] == [image(1).image_id]
    assert (made.images, made.labels, made.errors) == (4, 6, 1)


def test_an_image_whose_new_labelling_was_only_begun_keeps_the_old_one() -> None:
    store = KillableStore()
    publish(store, intend(store, "run-a", {0: finished("run-a", success(0))}, {0: [0]}))
    append(store, KILLED, 0, [Claimed(KILLED, image(0).image_id, 1, 1, Reason.FIRST, 0)])
    assert take(store).images == 1
    assert [row["image_id"] for row in rows(store, SNAPSHOT, "images")] == [image(0).image_id]


def test_a_compacted_journal_gives_the_same_snapshot() -> None:
    stores = [relabelled(), relabelled()]
    compact(OUT, DATASET, stores[1])
    for store in stores:
        take(store)
    for table in ("labels", "images"):
        assert rows(stores[0], SNAPSHOT, table) == rows(stores[1], SNAPSHOT, table)


def test_a_snapshot_touches_nothing_else_and_its_mark_comes_last() -> None:
    store = relabelled()
    untouched = dict(store.objects)
    store.writes.clear()
    take(store)
    assert store.writes[-2:] == [f"{SNAPSHOT}/manifest.json", f"{SNAPSHOT}/_SUCCESS"]
    assert {uri: data for uri, data in store.objects.items() if not uri.startswith(SNAPSHOT)} == untouched


def test_a_snapshot_of_nothing_can_be_read() -> None:
    store = KillableStore()
    assert take(store).images == 0
    for table in ("labels", "images", "errors"):
        assert rows(store, SNAPSHOT, table) == []


def test_a_large_snapshot_is_made_of_several_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "ROWS_PER_SHARD", 3)
    monkeypatch.setattr(snapshots, "_BATCH", 1)
    monkeypatch.setattr("deepo_beam.lake.shard._IMAGES_AT_ONCE", 1)
    store = relabelled()
    take(store)
    assert len(store.below(f"{SNAPSHOT}/images")) > 1
    assert len(rows(store, SNAPSHOT, "images")) == 4
    assert len(rows(store, SNAPSHOT, "labels")) == 6


def test_other_thresholds_are_in_the_rows_and_in_the_manifest() -> None:
    store = relabelled()
    take(store, thresholds={3: 0.9, 5: 0.25})  # cat 0.875, mouse 0.25 and discarded
    labels = {(row["label_name"], row["threshold"], row["is_predicted"]) for row in rows(store, SNAPSHOT, "labels")}
    assert {(name, predicted) for name, _, predicted in labels} == {("cat", False), ("mouse", True)}
    assert json.loads(store.objects[f"{SNAPSHOT}/manifest.json"])["thresholds"] == {"3": 0.9, "5": 0.25}
    tops = {row["top_label"] for row in rows(store, SNAPSHOT, "images") if row["status"] == "succeeded"}
    assert tops == {"mouse"}


def test_the_files_of_a_snapshot_are_those_of_its_manifest() -> None:
    store = relabelled()
    take(store)
    found = verify(OUT, DATASET, store=store)
    assert (found.findings, found.checked["snapshots"]) == ([], 1)
    uri = f"{SNAPSHOT}/labels/part-00000.parquet"
    data = store.objects.pop(uri)
    store.objects[f"{SNAPSHOT}/labels/part-00001.parquet"] = data
    assert {(one.kind, one.path) for one in verify(OUT, DATASET, store=store).findings} == {
        ("missing", f"snapshots/{RUN}/labels/part-00000.parquet"),
        ("extra", f"snapshots/{RUN}/labels/part-00001.parquet"),
    }


def test_a_snapshot_that_was_cut_off_has_no_mark_and_is_found() -> None:
    store = relabelled()
    store.writes_left = 4  # three tables and the manifest
    with pytest.raises(KilledError):
        take(store)
    (finding,) = verify(OUT, DATASET, store=store).findings
    assert (finding.kind, finding.path) == ("unfinished", f"snapshots/{RUN}")
    assert verify(OUT, DATASET, store=store, held=True).findings == []


def test_a_folder_in_the_output_or_with_something_in_it_is_refused() -> None:
    store = relabelled()
    for folder in (OUT, f"{OUT}/labels/mine"):
        with pytest.raises(ConfigError, match="in the output"):
            check_snapshot_folder(OUT, folder, store)
    store.objects["mem://else/where/a.txt"] = b""
    with pytest.raises(ConfigError, match=r"not empty \(mem://else/where/a\.txt\)"):
        check_snapshot_folder(OUT, "mem://else/where", store)
    check_snapshot_folder(OUT, "mem://nowhere", store)
    check_snapshot_folder(OUT, f"{OUT}-of-today", store)
    assert snapshot_uri(OUT, RUN, store) == SNAPSHOT


def test_the_labels_of_all_runs_are_known_with_their_highest_threshold() -> None:
    store = KillableStore()
    assert known_labels(OUT, store) == []
    other = outputs(([{"label_id": 3, "label_name": "cat", "score": 0.9, "threshold": 0.75}], []))
    publish(store, intend(store, "run-a", {0: finished("run-a", success(0))}, {0: [0]}))
    publish(store, intend(store, "run-b", {0: finished("run-b", success(1, outputs=other))}, {0: [1]}))
    assert known_labels(OUT, store) == [KnownLabel(3, "cat", 0.75), KnownLabel(5, "mouse", 0.5)]
    del store.objects[f"{OUT}/labels/run_id=run-a/part-00000.parquet"]
    with pytest.raises(StorageError, match="is gone: see `deepo-beam verify"):
        known_labels(OUT, store)


# --- leftovers ---------------------------------------------------------------------------------------


def test_what_no_table_has_is_published_once_as_a_run_of_its_own() -> None:
    store, intent = before()
    publish(store, intent)
    append(store, KILLED, 1, finished(KILLED, success(13, status=Status.SUCCEEDED), failure(15)))
    summary = publish_leftover(OUT, DATASET, RUN, store)
    assert summary is not None
    assert (summary.run_id, summary.published, summary.listed, summary.accounting, summary.exit_code) == (
        RUN, 2, 0, None, 0,
    )  # fmt: skip
    partition = f"{OUT}/images/run_id={RUN}"
    data = store.objects[f"{partition}/part-00000.parquet"]
    assert pq.read_table(io.BytesIO(data))["image_id"].to_pylist() == [image(13).image_id, image(15).image_id]
    manifest = json.loads(store.objects[f"{OUT}/runs/{RUN}/manifest.json"])
    assert manifest["model"] == {"kind": "spec", "id": "echo-v1", "version_id": None}
    assert verify(OUT, DATASET, store=store).findings == []
    untouched = dict(store.objects)
    assert publish_leftover(OUT, DATASET, "run-t", store) is None
    assert store.objects == untouched
