"""From the journal to the tables: whole or not at all, each labelling once, whatever is killed when."""

import hashlib
import io
import json
from collections import Counter
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from lake_samples import failure, image, success
from memory_store import KillableStore, KilledError

from deepo_beam.lake.complete import complete, roll_forward
from deepo_beam.lake.journal import FIRST_JOURNAL, History, Journal, segment_name
from deepo_beam.lake.listing import read_listing, write_listing
from deepo_beam.lake.plan import Disposition, PlannedEntry
from deepo_beam.lake.publish import (
    Intent,
    commit,
    coverage,
    decode_intent,
    encode_intent,
    is_published,
    load_intents,
    next_number,
    plan_publish,
    run_uri,
    write_intent,
    write_shard,
)
from deepo_beam.lake.schemas import ERRORS, IMAGES, LABELS
from deepo_beam.lake.shard import ROWS_PER_SHARD
from deepo_beam.lake.summary import Summary, summarise
from deepo_beam.lake.tally import BucketTally, tally_bucket
from deepo_beam.records import Finished, Record

OUT = "mem://out"
CONFIG = {"versions": {"deepo_beam": "0"}, "config": {"spec": "echo-v1"}}


def journal(store: KillableStore, run_id: str, **records: list[Record]) -> None:
    """Appends one segment for each bucket, ``b3`` being bucket 3."""
    for bucket, its in records.items():
        number = len(store.below(f"{OUT}/journal"))
        Journal(OUT, FIRST_JOURNAL, store).append(int(bucket[1:]), segment_name(run_id, "0a1b2c3d", number), its)


def done(run_id: str, *numbers: int) -> list[Record]:
    """Outcomes of images; each third one failed."""
    return [Finished(run_id, (failure if number % 3 == 2 else success)(number)) for number in numbers]


def intend(store: KillableStore, run_id: str, buckets: tuple[int, ...] = (0, 1, 2)) -> Intent:
    """The first half of a publish, up to its intent."""
    store.objects[run_uri(OUT, run_id, "config.json", store)] = json.dumps(CONFIG | {"started": run_id}).encode()
    finished, _ = load_intents(OUT, FIRST_JOURNAL, store)
    covered = coverage(finished)
    tallies = []
    for bucket in buckets:
        records = Journal(OUT, FIRST_JOURNAL, store).read_records(bucket)
        own = {r.image_id for rs in records.values() for r in rs if isinstance(r, Finished) and r.run_id == run_id}
        planned = [PlannedEntry(image(int(image_id, 16)), Disposition.LABEL) for image_id in sorted(own)]
        listed = KillableStore()  # an earlier step of the run: no write of the publish
        write_listing(OUT, run_id, bucket, planned, listed)
        store.objects |= listed.objects
        listing = read_listing(OUT, run_id, bucket, store)
        tallies.append(
            tally_bucket(bucket, listing, History({}, records), covered=covered.get(bucket, {}), run_id=run_id)
        )
    summary = summarise(tallies, [], run_id=run_id, output=OUT, model="spec echo-v1", model_version_id=11, seconds=2.0)
    return write_intent(
        OUT,
        plan_publish(tallies, summary, FIRST_JOURNAL, number=next_number(OUT, FIRST_JOURNAL, finished, store)),
        store,
    )


def publish(store: KillableStore, run_id: str) -> Summary:
    """A whole publish, as the pipeline does it."""
    intent = intend(store, run_id)
    covered = coverage(other for other in load_intents(OUT, FIRST_JOURNAL, store)[0] if other.run_id != run_id)
    files = [file for number in range(len(intent.shards)) for file in write_shard(OUT, intent, number, covered, store)]
    return complete(OUT, intent, files, store)


def rows(store: KillableStore, table: str) -> list[dict]:
    """The union over all runs."""
    parts = [pq.read_table(io.BytesIO(data)) for data in store.below(f"{OUT}/{table}").values()]
    return [row for part in parts for row in part.to_pylist()]


def ids(store: KillableStore, table: str) -> Counter[str]:
    return Counter(row["image_id"] for row in rows(store, table))


def image_ids(*numbers: int) -> list[str]:
    return [image(number).image_id for number in numbers]


# --- one publish -------------------------------------------------------------------------------------


def test_a_publish_writes_each_outcome_once_and_says_so_in_manifest_and_summary() -> None:
    store = KillableStore()
    journal(store, "run-a", b0=done("run-a", 0, 1, 2), b1=done("run-a", 3, 4, 5))
    summary = publish(store, "run-a")

    assert ids(store, "images") == Counter(image_ids(0, 1, 2, 3, 4, 5))
    assert ids(store, "labels") == Counter(dict.fromkeys(image_ids(0, 1, 3, 4), 2))
    assert ids(store, "errors") == Counter(image_ids(2, 5))
    assert (summary.published, summary.labels, summary.failed, summary.adds_up) == (6, 8, 2, True)
    assert json.loads(store.objects[f"{OUT}/runs/run-a/summary.json"])["labels"] == 8
    assert is_published(OUT, "run-a", store)


def test_the_manifest_names_every_file_with_its_rows_size_and_hash() -> None:
    store = KillableStore()
    journal(store, "run-a", b0=done("run-a", 0, 1, 2))
    publish(store, "run-a")
    manifest = json.loads(store.objects[f"{OUT}/runs/run-a/manifest.json"])
    written = {f"{OUT}/{file['path']}": file for file in manifest["files"]}
    on_disk = {
        uri: data for table in ("labels", "images", "errors") for uri, data in store.below(f"{OUT}/{table}").items()
    }

    assert manifest["run_id"] == "run-a"
    assert CONFIG.items() <= manifest.items()
    assert written.keys() == on_disk.keys()
    for uri, data in on_disk.items():
        assert written[uri]["sha256"] == hashlib.sha256(data).hexdigest()
        assert written[uri]["size_bytes"] == len(data)
        assert written[uri]["rows"] == pq.read_metadata(io.BytesIO(data)).num_rows


def test_the_manifest_of_a_run_says_what_it_began_with_whoever_completes_it() -> None:
    store = KillableStore()
    journal(store, "run-a", b0=done("run-a", 0))
    intend(store, "run-a")
    roll_forward(OUT, FIRST_JOURNAL, store)
    assert json.loads(store.objects[f"{OUT}/runs/run-a/manifest.json"])["started"] == "run-a"


def test_the_rows_of_a_shard_are_in_the_order_of_their_uris_whatever_bucket_they_were_in() -> None:
    store = KillableStore()
    journal(store, "run-a", b0=done("run-a", 4, 1), b1=done("run-a", 3, 0), b2=done("run-a", 6))
    publish(store, "run-a")
    for table in ("images", "labels"):
        uris = [row["image_uri"] for row in rows(store, table)]
        assert uris == sorted(uris)
    places = [(row["image_uri"], row["output_index"], row["prediction_index"]) for row in rows(store, "labels")]
    assert places == sorted(places)


def test_the_mark_of_success_is_written_after_everything_else() -> None:
    store = KillableStore()
    journal(store, "run-a", b0=done("run-a", 0, 1))
    publish(store, "run-a")
    assert store.writes[-1] == f"{OUT}/runs/run-a/_SUCCESS"
    assert store.writes[1] == f"{OUT}/runs/run-a/publish.json"


def test_the_first_publish_makes_tables_that_can_be_read_even_if_there_is_nothing_in_them() -> None:
    store = KillableStore()
    assert publish(store, "run-a").published == 0
    for table, schema in (("labels", LABELS), ("images", IMAGES), ("errors", ERRORS)):
        (data,) = store.below(f"{OUT}/{table}").values()
        seen = pq.read_table(io.BytesIO(data))
        assert (seen.num_rows, seen.schema.names) == (0, schema.names)


def test_a_run_without_failures_has_an_errors_table_too() -> None:
    store = KillableStore()
    journal(store, "run-a", b0=done("run-a", 0))
    publish(store, "run-a")
    assert list(store.below(f"{OUT}/errors")) == [f"{OUT}/errors/run_id=run-a/part-00000.parquet"]
    assert rows(store, "errors") == []


def test_a_second_publish_publishes_only_what_is_new() -> None:
    store = KillableStore()
    journal(store, "run-a", b0=done("run-a", 0, 1))
    publish(store, "run-a")
    before = dict(store.objects)
    journal(store, "run-b", b0=done("run-b", 3), b2=done("run-b", 4))
    assert publish(store, "run-b").published == 2

    assert ids(store, "images") == Counter(image_ids(0, 1, 3, 4))
    assert before.items() <= store.objects.items()


def test_a_later_publish_of_nothing_new_writes_no_table() -> None:
    store = KillableStore()
    journal(store, "run-a", b0=done("run-a", 0, 1))
    publish(store, "run-a")
    tables = store.below(f"{OUT}/images")
    assert publish(store, "run-b").published == 0
    assert store.below(f"{OUT}/images") == tables
    assert is_published(OUT, "run-b", store)


def test_what_a_run_left_unpublished_is_published_by_the_next_one() -> None:
    store = KillableStore()
    journal(store, "run-a", b0=done("run-a", 0, 1))
    journal(store, "run-b", b0=done("run-b", 3))
    publish(store, "run-b")
    assert ids(store, "images") == Counter(image_ids(0, 1, 3))
    assert all("run_id=run-b" in uri for uri in store.below(f"{OUT}/images"))


def test_an_image_that_failed_and_then_succeeded_has_a_row_for_each_labelling() -> None:
    store = KillableStore()
    journal(store, "run-a", b0=[Finished("run-a", failure(2, finished_us=5))])
    publish(store, "run-a")
    journal(store, "run-b", b0=[Finished("run-b", success(2, generation=1))])
    publish(store, "run-b")
    assert [row["status"] for row in rows(store, "images")] == ["failed", "succeeded"]
    assert ids(store, "errors") == Counter(image_ids(2))


def test_an_error_is_first_seen_when_the_image_first_failed_since_it_last_succeeded() -> None:
    store = KillableStore()
    journal(store, "run-a", b0=[Finished("run-a", failure(2, finished_us=5_000_000))])
    publish(store, "run-a")
    journal(store, "run-b", b0=[Finished("run-b", failure(2, generation=1, finished_us=9_000_000))])
    publish(store, "run-b")
    later = rows(store, "errors")[-1]
    assert (later["first_seen"].second, later["last_seen"].second) == (5, 9)


def test_the_same_journal_gives_the_same_names_and_bytes() -> None:
    stores = []
    for order in ([0, 1, 2, 3], [3, 2, 1, 0]):
        store = KillableStore()
        journal(store, "run-a", b0=done("run-a", *order), b1=done("run-a", 4, 5))
        publish(store, "run-a")
        stores.append({name: data for name, data in store.objects.items() if "/journal/" not in name})
    assert stores[0] == stores[1]


def test_the_wall_time_of_a_run_is_known_at_its_end() -> None:
    store = KillableStore()
    journal(store, "run-a", b0=done("run-a", 0, 1))
    intent = intend(store, "run-a")
    files = write_shard(OUT, intent, 0, {}, store)
    summary = commit(OUT, intent, files, store, seconds=4.0)
    assert (summary.seconds, summary.images_per_s) == (4.0, 0.5)


# --- kills -------------------------------------------------------------------------------------------


def prepared() -> KillableStore:
    """One run published, another one finished and not published."""
    store = KillableStore()
    journal(store, "run-a", b0=done("run-a", 0, 1, 2))
    publish(store, "run-a")
    journal(
        store, "run-b", b0=done("run-b", 3, 4), b1=done("run-b", 5, 6), b2=[Finished("run-b", success(2, generation=1))]
    )
    store.writes.clear()
    return store


def writes_of_a_publish() -> int:
    store = prepared()
    publish(store, "run-b")
    return len(store.writes)


@pytest.mark.parametrize("kept", range(writes_of_a_publish()))
def test_a_publish_that_is_killed_at_any_write_is_completed_to_the_same_bytes(kept: int) -> None:
    unharmed = prepared()
    publish(unharmed, "run-b")

    store = prepared()
    store.writes_left = kept
    with pytest.raises(KilledError):
        publish(store, "run-b")
    store.writes_left = None
    assert not is_published(OUT, "run-b", store)
    completed = roll_forward(OUT, FIRST_JOURNAL, store)
    assert [summary.run_id for summary in completed] == (["run-b"] if kept else [])
    publish(store, "run-b" if kept == 0 else "run-c")

    assert ids(store, "images") == Counter(image_ids(0, 1, 2, 2, 3, 4, 5, 6))
    assert ids(store, "labels") == ids(unharmed, "labels")
    made = {name: data for name, data in store.objects.items() if "run-c" not in name}
    assert made == unharmed.objects


@pytest.mark.parametrize("kept", range(writes_of_a_publish() - 1))
def test_a_roll_forward_that_is_killed_itself_is_completed_by_the_next(kept: int) -> None:
    unharmed = prepared()
    publish(unharmed, "run-b")

    store = prepared()
    store.writes_left = 1
    with pytest.raises(KilledError):
        publish(store, "run-b")
    store.writes_left = kept
    with pytest.raises(KilledError):
        roll_forward(OUT, FIRST_JOURNAL, store)
    store.writes_left = None
    roll_forward(OUT, FIRST_JOURNAL, store)
    assert store.objects == unharmed.objects


def test_what_is_written_to_the_journal_after_the_intent_waits_for_the_next_publish() -> None:
    store = prepared()
    intend(store, "run-b")
    journal(store, "run-z", b0=done("run-z", 7))
    roll_forward(OUT, FIRST_JOURNAL, store)
    assert image(7).image_id not in ids(store, "images")
    publish(store, "run-c")
    assert ids(store, "images") == Counter(image_ids(0, 1, 2, 2, 3, 4, 5, 6, 7))


def test_two_intents_that_were_left_are_completed_in_order_and_publish_nothing_twice() -> None:
    store = KillableStore()
    journal(store, "run-a", b0=done("run-a", 0, 1))
    intend(store, "run-a")
    journal(store, "run-b", b0=done("run-b", 3))
    intend(store, "run-b")  # which did not know that the first will be completed
    assert [summary.run_id for summary in roll_forward(OUT, FIRST_JOURNAL, store)] == ["run-a", "run-b"]
    assert ids(store, "images") == Counter(image_ids(0, 1, 3))


def test_nothing_is_rolled_forward_where_nothing_was_left() -> None:
    store = prepared()
    before = dict(store.objects)
    assert roll_forward(OUT, FIRST_JOURNAL, store) == []
    assert store.objects == before


# --- intents -----------------------------------------------------------------------------------------


def bucket_tally(bucket: int, images: int, labels: int = 0, segments: tuple[str, ...] = ("s",)) -> BucketTally:
    return BucketTally(bucket, segments, images, labels, Counter())


SUMMARY = Summary("run-a", OUT, "spec echo-v1", 11)


def test_an_intent_that_exists_stands() -> None:
    store = KillableStore()
    first = Intent("run-a", 1, FIRST_JOURNAL, {0: ("s1",)}, ((0,),), SUMMARY)
    other = replace(first, segments={0: ("s1", "s2")}, summary=replace(SUMMARY, listed=5))
    assert write_intent(OUT, first, store) == first
    assert write_intent(OUT, other, store) == first
    assert decode_intent(store.objects[run_uri(OUT, "run-a", "publish.json", store)]) == first


def test_an_intent_is_read_back_as_it_was_written() -> None:
    summary = replace(SUMMARY, listed=3, stopped="a signal", errors_by_code={"throttled": 1}, throttled_s=1.5)
    intent = Intent("run-a", 1, FIRST_JOURNAL, {0: ("s1", "s2"), 12: ()}, ((0, 12), ()), summary)
    assert decode_intent(encode_intent(intent)) == intent


def test_shards_are_shared_out_by_rows_and_hold_whole_buckets() -> None:
    half = ROWS_PER_SHARD // 2
    tallies = [bucket_tally(3, 10, half), bucket_tally(0, half - 10, 10), bucket_tally(1, half), bucket_tally(2, 1)]
    intent = plan_publish(tallies, SUMMARY, FIRST_JOURNAL, number=1)
    assert intent.shards == ((0, 1), (2, 3))


def test_a_bucket_larger_than_a_shard_is_one_shard() -> None:
    tallies = [bucket_tally(0, 1), bucket_tally(1, 2 * ROWS_PER_SHARD), bucket_tally(2, 1)]
    assert plan_publish(tallies, SUMMARY, FIRST_JOURNAL, number=2).shards == ((0,), (1,), (2,))


def test_no_shard_without_rows_comes_before_a_first_bucket_that_is_larger_than_a_shard() -> None:
    tallies = [bucket_tally(0, 2 * ROWS_PER_SHARD), bucket_tally(1, 1)]
    assert plan_publish(tallies, SUMMARY, FIRST_JOURNAL, number=1).shards == ((0,), (1,))


def test_buckets_with_nothing_to_publish_are_in_no_shard_but_are_covered() -> None:
    tallies = [bucket_tally(0, 0), bucket_tally(1, 2), bucket_tally(2, 0, 0, ())]
    intent = plan_publish(tallies, SUMMARY, FIRST_JOURNAL, number=2)
    assert intent.shards == ((1,),)
    assert intent.segments == {0: ("s",), 1: ("s",)}


@pytest.mark.parametrize(("number", "shards"), [(1, ((),)), (2, ())])
def test_only_the_first_publish_has_a_shard_without_rows(number: int, shards: tuple) -> None:
    assert plan_publish([bucket_tally(0, 0)], SUMMARY, FIRST_JOURNAL, number=number).shards == shards


def test_coverage_is_the_union_over_intents_with_the_first_publish_of_each_segment() -> None:
    first, second = (
        Intent("z", 1, FIRST_JOURNAL, {0: ("x",), 1: ("y",)}, (), SUMMARY),
        Intent("a", 2, FIRST_JOURNAL, {0: ("x", "z")}, (), SUMMARY),
    )
    assert coverage([second, first]) == coverage([first, second]) == {0: {"x": 1, "z": 2}, 1: {"y": 1}}


def test_publishes_are_numbered_in_their_order_whatever_the_runs_are_called() -> None:
    store = KillableStore()
    for run_id in ("run-c", "run-a", "run-b"):
        publish(store, run_id)
    numbers = {intent.run_id: intent.number for intent in load_intents(OUT, FIRST_JOURNAL, store)[0]}
    assert numbers == {"run-c": 1, "run-a": 2, "run-b": 3}


def test_intents_are_told_apart_by_the_mark_of_success() -> None:
    store = prepared()
    left = intend(store, "run-b")
    store.objects[f"{OUT}/runs/run-c/config.json"] = b"{}"  # a run that did not come as far
    complete, begun = load_intents(OUT, FIRST_JOURNAL, store)
    assert ([intent.run_id for intent in complete], begun) == (["run-a"], [left])
