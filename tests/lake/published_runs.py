"""Three runs on one output in memory, the last of which is about to publish; and damage to tables."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
from lake_samples import failure, image, success
from memory_store import KillableStore

from deepo_beam.lake.complete import complete
from deepo_beam.lake.journal import FIRST_JOURNAL, Journal, segment_name
from deepo_beam.lake.listing import read_listing, write_listing
from deepo_beam.lake.plan import PlanRules, plan_bucket
from deepo_beam.lake.publish import (
    Intent,
    coverage,
    load_intents,
    next_number,
    plan_publish,
    write_intent,
    write_shard,
)
from deepo_beam.lake.summary import Summary, summarise
from deepo_beam.lake.tally import known_of, tally_bucket
from deepo_beam.records import Finished, Noted, Record
from deepo_beam.types import ImageResult

OUT = "mem://out"
FIRST, KILLED, LAST = "run-a", "run-k", "run-z"


def finished(run: str, *results: ImageResult) -> list[Record]:
    return [Finished(run, result) for result in results]


def append(store: KillableStore, run: str, bucket: int, records: list[Record]) -> None:
    Journal(OUT, FIRST_JOURNAL, store).append(bucket, segment_name(run, "0" * 8, len(store.objects)), records)


def intend(store: KillableStore, run: str, learnt: dict[int, list[Record]], listed: dict[int, list[int]]) -> Intent:
    """A run up to its intent: it lists images by number, plans them, and learns what it learns."""
    done, _ = load_intents(OUT, FIRST_JOURNAL, store)
    covered, tallies = coverage(done), []
    for bucket, numbers in listed.items():
        before = covered.get(bucket, {})
        known = known_of(Journal(OUT, FIRST_JOURNAL, store).read_history(bucket, before), before)
        entries = [
            image(number, line=line, modified_us=9 if number == 4 else None) for line, number in enumerate(numbers)
        ]
        write_listing(OUT, run, bucket, plan_bucket(entries, known, PlanRules(run, retry="none")), store)
        append(store, run, bucket, learnt.get(bucket, []))
        history = Journal(OUT, FIRST_JOURNAL, store).read_history(bucket, before)
        listing = read_listing(OUT, run, bucket, store)
        tallies.append(tally_bucket(bucket, listing, history, covered=before, run_id=run))
    summary = summarise(tallies, [], run_id=run, output=OUT, model="spec echo-v1", model_version_id=11, seconds=1.0)
    return write_intent(
        OUT, plan_publish(tallies, summary, FIRST_JOURNAL, number=next_number(OUT, FIRST_JOURNAL, done, store)), store
    )


def write(store: KillableStore, intent: Intent) -> list:
    covered = coverage(load_intents(OUT, FIRST_JOURNAL, store)[0])
    return [file for number in range(len(intent.shards)) for file in write_shard(OUT, intent, number, covered, store)]


def publish(store: KillableStore, intent: Intent) -> Summary:
    return complete(OUT, intent, write(store, intent), store)


def before() -> tuple[KillableStore, Intent]:
    """One run is published, one was killed with two results in the journal, and the last one is about to publish.

    Its listing has every disposition: 0 and 1 reused, 2 skipped, 3 and 4 compared and unchanged, 6 labelled, 7 failed,
    8 not attempted, 10 reused from the killed run, 0 a duplicate; 11 is of the killed run and not listed.
    """
    store = KillableStore()
    first = {
        0: finished(FIRST, *map(success, (0, 1)), failure(2)),
        1: finished(FIRST, *map(success, (3, 4)), failure(5)),
    }
    publish(store, intend(store, FIRST, first, {0: [0, 1, 2], 1: [3, 4, 5]}))
    append(store, KILLED, 0, finished(KILLED, success(10)))
    append(store, KILLED, 1, finished(KILLED, success(11)))
    unchanged = Noted(LAST, image(4).image_id, 0, None, 9)
    learnt = {0: finished(LAST, success(6)), 1: [*finished(LAST, failure(7)), unchanged]}
    return store, intend(store, LAST, learnt, {0: [0, 1, 2, 0, 6, 10], 1: [3, 4, 7, 8]})


def rewrite(store: KillableStore, path: str, change: str, row: int) -> str:
    """Drop or double a row of a file, or turn its status; returns its image id."""
    uri = f"{OUT}/{path}"
    table = pq.read_table(io.BytesIO(store.objects[uri]))
    rows = table.to_pylist()
    image_id = rows[row]["image_id"]
    if change == "drop":
        del rows[row]
    elif change == "double":
        rows.append(rows[row])
    else:
        rows[row]["status"] = "succeeded" if rows[row]["status"] == "failed" else "failed"
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, table.schema), sink)
    store.objects[uri] = sink.getvalue()
    return image_id
