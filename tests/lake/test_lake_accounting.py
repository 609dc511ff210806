"""The accounts from two sources: whatever happens to a table, the next run says so and names the images."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lake_samples import failure, image, success
from memory_store import KillableStore
from published_runs import FIRST, KILLED, LAST, OUT, append, before, finished, publish, rewrite, write

from deepo_beam.lake import accounting
from deepo_beam.lake.accounting import Tables, agrees, doubled, named, outcome_difference, unaccounted
from deepo_beam.lake.audit import read_columns
from deepo_beam.lake.complete import complete, roll_forward
from deepo_beam.lake.journal import FIRST_JOURNAL, Journal
from deepo_beam.lake.listing import read_listing, write_listing
from deepo_beam.lake.plan import Disposition, PlannedEntry
from deepo_beam.lake.publish import plan_publish, write_intent
from deepo_beam.lake.summary import Summary, summarise
from deepo_beam.lake.tally import tally_bucket

IN_FIRST = [image(number).image_id for number in (0, 1, 2, 3, 4)]  # of those that the last run lists


@pytest.fixture(params=[100_000, 0], ids=["at once", "by ranges of ids"], autouse=True, scope="module")
def _few_and_many_rows(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(accounting, "_MANY", request.param)
        yield


CHANGES = st.sampled_from(["drop", "double", "status"])


def test_accounts_that_are_in_order_are_in_order() -> None:
    store, intent = before()
    summary = publish(store, intent)
    assert (summary.accounting, summary.exit_code) == (None, 5)  # 8 was not attempted
    assert [getattr(summary, name) for name in ("succeeded", "failed", "reused", "skipped")] == [1, 1, 5, 1]
    assert (summary.duplicate, summary.not_attempted, summary.published) == (1, 1, 4)


@settings(max_examples=40)
@given(CHANGES, st.integers(0, 4))
def test_a_row_of_an_earlier_run_that_is_lost_doubled_or_turned_is_found_and_named(change: str, number: int) -> None:
    store, intent = before()
    touched = rewrite(store, f"images/run_id={FIRST}/part-00000.parquet", change, number)
    summary = publish(store, intent)
    assert summary.exit_code == 4
    assert touched in summary.accounting if touched in IN_FIRST else summary.accounting
    others = [image_id for image_id in IN_FIRST if image_id != touched]
    assert not any(image_id in summary.accounting for image_id in others)


@settings(max_examples=40)
@given(CHANGES, st.integers(0, 3))
def test_a_row_of_this_run_that_is_lost_doubled_or_turned_is_found_and_named(change: str, number: int) -> None:
    store, intent = before()
    files = write(store, intent)
    touched = rewrite(store, f"images/run_id={LAST}/part-00000.parquet", change, number)
    summary = complete(OUT, intent, files, store)
    assert (summary.exit_code, touched in summary.accounting) == (4, True)
    assert sum(image(number).image_id in summary.accounting for number in (6, 7, 10, 11)) == 1


@pytest.mark.parametrize("change", ["drop", "double"])
def test_a_failure_without_its_row_in_errors_or_with_two_is_named(change: str) -> None:
    store, intent = before()
    files = write(store, intent)
    touched = rewrite(store, f"errors/run_id={LAST}/part-00000.parquet", change, 0)
    assert touched in complete(OUT, intent, files, store).accounting


@pytest.mark.parametrize("run", [FIRST, LAST])
@pytest.mark.parametrize("table", ["images", "labels", "errors"])
@pytest.mark.parametrize("damage", [None, b"no Parquet"])
def test_a_file_that_is_gone_or_damaged_is_told_and_its_images_are_named(run, table, damage) -> None:
    store, intent = before()
    files = write(store, intent)
    path = f"{table}/run_id={run}/part-00000.parquet"
    del store.objects[f"{OUT}/{path}"]
    if damage is not None:
        store.objects[f"{OUT}/{path}"] = damage
    summary = complete(OUT, intent, files, store)
    read = table == "images" or (table, run) == ("errors", LAST)
    if damage is not None and not read:  # `verify` reads it whole; the accounts need only what they join
        assert summary.accounting is None
        return
    assert summary.exit_code == 4
    assert f"{path} is gone" in summary.accounting or f"{path} cannot be read" in summary.accounting
    lost = {("images", FIRST): IN_FIRST, ("images", LAST): [image(n).image_id for n in (6, 7, 10, 11)]}
    for image_id in lost.get((table, run), []):
        assert image_id in summary.accounting


def test_a_manifest_that_is_gone_is_told() -> None:
    store, intent = before()
    del store.objects[f"{OUT}/runs/{FIRST}/manifest.json"]
    assert f"runs/{FIRST}/manifest.json is gone" in publish(store, intent).accounting


def test_a_publish_that_is_rolled_forward_is_checked_too() -> None:
    store, _ = before()
    touched = rewrite(store, f"images/run_id={FIRST}/part-00000.parquet", "drop", 0)
    (summary,) = roll_forward(OUT, FIRST_JOURNAL, store)
    assert (summary.exit_code, touched in summary.accounting) == (4, True)


def test_what_a_killed_run_had_failed_and_this_one_published_and_did_not_come_to_is_in_order() -> None:
    store = KillableStore()
    append(store, KILLED, 0, finished(KILLED, failure(0), success(1)))
    planned = [PlannedEntry(image(number), Disposition.LABEL) for number in (0, 2)]  # 0 was to be tried again
    write_listing(OUT, LAST, 0, planned, store)
    history = Journal(OUT, FIRST_JOURNAL, store).read_history(0, {})
    tally = tally_bucket(0, read_listing(OUT, LAST, 0, store), history, covered={}, run_id=LAST)
    summary = summarise([tally], [], run_id=LAST, output=OUT, model="m", model_version_id=None, seconds=1.0)
    seen = publish(store, write_intent(OUT, plan_publish([tally], summary, FIRST_JOURNAL, number=1), store))
    assert (seen.accounting, seen.not_attempted, seen.published) == (None, 2, 2)


def test_labels_that_came_after_an_unpublished_failure_was_planned_to_be_skipped_are_in_order() -> None:
    store = KillableStore()
    append(store, KILLED, 0, finished(KILLED, failure(0)))
    write_listing(OUT, LAST, 0, [PlannedEntry(image(0), Disposition.SKIPPED)], store)
    append(store, KILLED, 0, finished(KILLED, success(0)))  # by a process that outlived its run
    history = Journal(OUT, FIRST_JOURNAL, store).read_history(0, {})
    tally = tally_bucket(0, read_listing(OUT, LAST, 0, store), history, covered={}, run_id=LAST)
    summary = summarise([tally], [], run_id=LAST, output=OUT, model="m", model_version_id=None, seconds=1.0)
    seen = publish(store, write_intent(OUT, plan_publish([tally], summary, FIRST_JOURNAL, number=1), store))
    assert (seen.accounting, seen.skipped, seen.published, seen.labels > 0) == (None, 1, 1, True)


def test_a_summary_that_counts_otherwise_than_the_journal_is_told() -> None:
    summary = Summary("r", OUT, "m", None, listed=3, succeeded=2, failed=1)
    assert outcome_difference({"succeeded": 2, "failed": 1}, summary) is None
    assert outcome_difference({"succeeded": 3}, summary) == "succeeded 2 and 3, failed 1 and 0"


def test_the_first_twenty_images_are_named_and_the_others_counted() -> None:
    assert named(["a"]) == "1 image (a)"
    text = named([f"i{number:04d}" for number in range(1_234)])
    assert text.startswith("1,234 images (i0000, ")
    assert text.endswith(", i0019 and 1,214 more)")


def columns(*ids: str) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(ids, pa.string())])


@given(st.lists(st.sampled_from(["", "0", "1f", "2", "8", "9a", "f", "g", "é"])))
def test_ids_that_stand_in_a_column_more_than_once_are_found(ids: list[str]) -> None:
    assert doubled(columns(*ids)) == sorted(name for name, count in Counter(ids).items() if count > 1)


def test_an_empty_listing_and_empty_tables_are_in_order() -> None:
    nothing = columns()
    listing = pa.table({"image_id": nothing, "disposition": nothing})
    tables = Tables(nothing, nothing, nothing, nothing, nothing)
    assert unaccounted(listing, tables) == []
    assert agrees(listing, tables, Summary("r", OUT, "m", None))
    assert not agrees(listing, tables, Summary("r", OUT, "m", None, listed=1, not_attempted=1))


def test_an_image_that_was_compared_is_not_skipped_if_no_table_has_its_failure() -> None:
    nothing = columns()
    listing = pa.table({"image_id": columns("a"), "disposition": columns("compare")})
    labelled = Tables(nothing, nothing, nothing, labelled=columns("a"), failed=nothing)
    assert agrees(listing, labelled, Summary("r", OUT, "m", None, listed=1, reused=1))
    assert not agrees(listing, labelled, Summary("r", OUT, "m", None, listed=1, skipped=1))


def test_an_image_that_was_reused_makes_up_for_none_that_was_compared() -> None:
    nothing = columns()
    listing = pa.table({"image_id": columns("a", "b"), "disposition": columns("reused", "compare")})
    tables = Tables(nothing, nothing, nothing, labelled=columns("a", "b"), failed=nothing)
    assert agrees(listing, tables, Summary("r", OUT, "m", None, listed=2, reused=1, not_attempted=1))
    assert not agrees(listing, tables, Summary("r", OUT, "m", None, listed=2, not_attempted=2))


@pytest.mark.parametrize("told", [3, 5])
def test_a_file_with_more_or_fewer_rows_than_its_manifest_says_is_a_problem(told: int) -> None:
    store, intent = before()
    file = next(file for file in write(store, intent) if file.path.startswith("images/"))
    assert (file.rows, read_columns(OUT, file, ["image_id"], store).problem) == (4, None)
    found = read_columns(OUT, replace(file, rows=told), ["image_id"], store)
    assert found.problem == f"{file.path} has 4 rows, and had {told}"
