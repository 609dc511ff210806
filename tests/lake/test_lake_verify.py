"""Verify finds what was done to an output, names it, and changes nothing."""

import json

import pytest
from lake_samples import DATASET, failure, image, success
from memory_store import KillableStore
from published_runs import FIRST, LAST, OUT, append, before, finished, intend, publish, rewrite, write

from deepo_beam.lake.compact import compact
from deepo_beam.lake.complete import roll_forward
from deepo_beam.lake.journal import FIRST_JOURNAL, Journal
from deepo_beam.lake.verify import Verification, verify


def whole() -> KillableStore:
    store, intent = before()
    publish(store, intent)
    return store


def check(store: KillableStore, **how) -> Verification:
    """A check, which must not write."""
    untouched = dict(store.objects)
    found = verify(OUT, DATASET, store=store, **how)
    assert store.objects == untouched
    return found


def findings(store: KillableStore, **how) -> set[tuple[str, str]]:
    return {(one.kind, one.path) for one in check(store, **how).findings}


def test_an_output_that_is_whole_gives_no_finding_and_says_what_was_looked_at() -> None:
    store = whole()
    found = check(store)
    assert found.findings == []
    rows = 6 + 2 + 8 + 4 + 1 + 6
    assert found.checked == {"runs": 2, "files": 6, "rows": rows, "segments": 6}


@pytest.mark.parametrize("table", ["images", "labels", "errors"])
def test_a_file_that_is_gone_or_has_other_bytes_is_found(table: str) -> None:
    path = f"{table}/run_id={FIRST}/part-00000.parquet"
    store = whole()
    data = store.objects.pop(f"{OUT}/{path}")
    assert findings(store) == {("missing", path)}
    store.objects[f"{OUT}/{path}"] = data[:-1]
    assert findings(store) == {("altered", path)}
    flipped = bytearray(data)
    flipped[10] ^= 1
    store.objects[f"{OUT}/{path}"] = bytes(flipped)
    assert ("altered", path) in findings(store)


def test_a_file_with_other_rows_is_altered_even_where_the_manifest_knows_its_bytes() -> None:
    store, path = whole(), f"errors/run_id={LAST}/part-00000.parquet"
    uri = f"{OUT}/runs/{LAST}/manifest.json"
    store.objects[uri] = store.objects[uri].replace(b'"rows": 1,', b'"rows": 2,')
    assert findings(store) == {("altered", path)}


def test_a_file_that_no_run_made_is_extra() -> None:
    store = whole()
    store.objects[f"{OUT}/labels/run_id={FIRST}/part-00001.parquet"] = b""
    store.objects[f"{OUT}/images/notes.txt"] = b""
    assert findings(store) == {("extra", f"labels/run_id={FIRST}/part-00001.parquet"), ("extra", "images/notes.txt")}


def test_a_manifest_that_is_gone_or_damaged_is_found_and_leaves_its_files_unknown() -> None:
    store, path = whole(), f"runs/{LAST}/manifest.json"
    store.objects[f"{OUT}/{path}"] = b"{"
    assert ("unreadable", path) in findings(store)
    del store.objects[f"{OUT}/{path}"]
    parts = {("extra", f"{table}/run_id={LAST}/part-00000.parquet") for table in ("images", "labels", "errors")}
    assert findings(store) == {("missing", path)} | parts


def test_a_publish_that_was_cut_off_is_unfinished_unless_its_run_is_at_work() -> None:
    store, intent = before()
    write(store, intent)
    assert findings(store) == {("unfinished", f"runs/{LAST}/publish.json")}
    assert findings(store, held=True) == set()
    roll_forward(OUT, FIRST_JOURNAL, store)
    assert findings(store) == set()


def test_a_segment_that_a_publish_which_was_cut_off_needs_is_missed_before_it_is_completed() -> None:
    store, intent = before()
    bucket, (name, *_) = next(iter(intent.segments.items()))
    del store.objects[f"{Journal(OUT, FIRST_JOURNAL, store).bucket_folder(bucket)}/{name}"]
    found = verify(OUT, DATASET, store=store).findings
    assert ("missing", name) in {(finding.kind, finding.path.rpartition("/")[2]) for finding in found}


def test_what_a_write_that_was_cut_off_left_is_named() -> None:
    left = f"{OUT}/labels/run_id={FIRST}/.0a1b.tmp"
    assert findings(whole(), temporaries=[left]) == {("temporary", f"labels/run_id={FIRST}/.0a1b.tmp")}
    assert findings(whole(), temporaries=[left], held=True) == set()


def test_an_image_twice_in_a_partition_is_named() -> None:
    store = whole()
    touched = rewrite(store, f"images/run_id={FIRST}/part-00000.parquet", "double", 1)
    (finding,) = (one for one in check(store).findings if one.kind == "duplicate")
    assert (finding.path, touched in finding.message) == (f"images/run_id={FIRST}", True)


def test_one_labelling_in_two_partitions_is_named_and_two_labellings_of_one_image_are_in_order() -> None:
    store = KillableStore()
    publish(store, intend(store, "run-a", {0: finished("run-a", failure(0), success(1))}, {0: [0, 1]}))
    again = finished("run-b", success(0, generation=1, finished_us=1_770_000_000_000_000, task_id="43"))
    append(store, "run-b", 0, again)
    publish(store, intend(store, "run-b", {}, {0: [0]}))
    assert findings(store) == set()
    # As if the mark of what the first run covers had been lost: everything of it is published once more.
    uri = f"{OUT}/runs/run-a/publish.json"
    intent = json.loads(store.objects[uri])
    store.objects[uri] = json.dumps(intent | {"segments": {}}).encode()
    publish(store, intend(store, "run-c", {}, {0: [1]}))
    (finding,) = check(store).findings
    assert (finding.kind, finding.path) == ("duplicate", "images/run_id=run-c")
    assert image(1).image_id in finding.message
    assert "images/run_id=run-a" in finding.message


def test_a_segment_that_is_gone_or_damaged_is_found() -> None:
    store = whole()
    name = next(name for name in Journal(OUT, FIRST_JOURNAL, store).segments(0) if name.startswith(FIRST))
    path = f"journal/bucket=00000/{name}"
    data = store.objects.pop(f"{OUT}/{path}")
    assert findings(store) == {("missing", path)}
    store.objects[f"{OUT}/{path}"] = data[: len(data) // 2]
    assert findings(store) == {("unreadable", path)}


def test_segments_that_were_compacted_are_in_order() -> None:
    store = whole()
    assert compact(OUT, DATASET, store)
    assert findings(store) == set()


def test_a_compaction_that_was_cut_off_is_told_with_its_mend() -> None:
    store = whole()
    compact(OUT, DATASET, store)
    del store.objects[f"{OUT}/journal/compacted_runs.json"]
    found = check(store).findings
    assert {one.kind for one in found} == {"missing"}
    assert all(f"deepo-beam compact {OUT}" in one.message for one in found)
    compact(OUT, DATASET, store)
    assert findings(store) == set()
