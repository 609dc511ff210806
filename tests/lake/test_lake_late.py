"""Outcomes that come late, of a process that outlived its run: the journal goes on knowing what is in the tables."""

import io

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lake_samples import DATASET, failure, image, success
from memory_store import KillableStore
from published_runs import OUT, append, finished, intend, publish

from deepo_beam.lake.compact import compact
from deepo_beam.lake.journal import FIRST_JOURNAL, Journal
from deepo_beam.lake.merge import ImageState
from deepo_beam.lake.publish import coverage, load_intents
from deepo_beam.lake.summary import Summary
from deepo_beam.lake.tally import states_of
from deepo_beam.types import ImageResult


def night(store: KillableStore, run: str, *learnt: ImageResult) -> Summary:
    """A run that lists image 0, and learns something of it or nothing."""
    return publish(store, intend(store, run, {0: finished(run, *learnt)}, {0: [0]}))


def known(store: KillableStore) -> ImageState:
    """What the journal says of image 0."""
    covered = coverage(load_intents(OUT, FIRST_JOURNAL, store)[0])
    return states_of(Journal(OUT, FIRST_JOURNAL, store).read_records(0), covered.get(0, {}))[image(0).image_id]


def published(store: KillableStore) -> list[tuple[str, str]]:
    """Task and status of every row of images, by run."""
    uris = sorted(uri for uri in store.objects if uri.startswith(f"{OUT}/images/"))
    tables = [pq.read_table(io.BytesIO(store.objects[uri]), columns=["task_id", "status"]) for uri in uris]
    return [(row["task_id"], row["status"]) for table in tables for row in table.to_pylist()]


@pytest.mark.parametrize("compacted", [False, True])
def test_labels_that_come_after_their_failure_was_published_are_published_once(compacted: bool) -> None:
    store = KillableStore()
    assert night(store, "run-a", failure(0, task_id="43")).failed == 1
    append(store, "run-a", 0, finished("run-a", success(0, task_id="45")))
    seen = night(store, "run-b")
    assert (seen.accounting, seen.reused, seen.published) == (None, 1, 1)
    for run in ("run-c", "run-d"):
        if compacted:
            compact(OUT, DATASET, store)
        seen = night(store, run)
        assert (seen.accounting, seen.reused, seen.published) == (None, 1, 0)
    assert published(store) == [("43", "failed"), ("45", "succeeded")]


@pytest.mark.parametrize("compacted", [False, True])
@pytest.mark.parametrize("late", [success, failure])
def test_an_outcome_that_was_passed_over_never_passes_for_the_one_in_the_tables(late, compacted: bool) -> None:
    store = KillableStore()
    night(store, "run-a", success(0, task_id="45", model_version_id=11))
    append(store, "run-a", 0, finished("run-a", late(0, task_id="43", model_version_id=12)))
    for run in ("run-b", "run-c", "run-d"):
        if compacted:
            compact(OUT, DATASET, store)
        seen = night(store, run)
        assert (seen.accounting, seen.reused, seen.published) == (None, 1, 0)
        state = known(store)
        assert state.published
        assert (state.finished.result.task_id, state.finished.result.model_version_id) == ("45", 11)
    assert published(store) == [("45", "succeeded")]


outcomes = st.tuples(st.sampled_from([success, failure]), st.integers(0, 1), st.integers(1, 12).map(str))
nights = st.lists(st.tuples(st.lists(outcomes, max_size=3), st.booleans()), min_size=1, max_size=5)


@settings(max_examples=60)
@given(nights)
def test_whatever_comes_when_what_is_known_as_published_is_in_the_tables_and_there_once(history: list) -> None:
    store = KillableStore()
    for number, (found, compacted) in enumerate(history):
        if compacted:
            compact(OUT, DATASET, store)
        night(store, f"run-{number}", *(make(0, generation=g, task_id=f"{g}-{task}") for make, g, task in found))
        if rows := published(store):
            state = known(store)
            assert state.published
            assert (state.finished.result.task_id, state.finished.result.status.value) == rows[-1]
        for generation in "01":
            statuses = [status for task, status in rows if task.startswith(generation)]
            assert statuses in ([], ["failed"], ["succeeded"], ["failed", "succeeded"])
