"""A journal of many nights in few segments: it says the same, whenever compaction is killed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lake_samples import DATASET, failure, image, success
from memory_store import KillableStore, KilledError

from deepo_beam.lake.compact import compact, essential
from deepo_beam.lake.complete import roll_forward
from deepo_beam.lake.journal import COMPACTED, FIRST_JOURNAL, Journal, is_covered
from deepo_beam.lake.merge import ImageState, merge
from deepo_beam.lake.plan import PlanRules, plan_bucket
from deepo_beam.lake.publish import (
    commit,
    compacted_runs,
    coverage,
    load_intents,
    next_number,
    plan_publish,
    run_uri,
    write_intent,
    write_shard,
)
from deepo_beam.lake.summary import Summary
from deepo_beam.lake.tally import states_of, tally_bucket
from deepo_beam.records import Accepted, Claimed, Finished, Noted, Reason, Record, Released
from deepo_beam.types import Facts, ImageRef

OUT = "mem://out"
LISTED = {"size_bytes": 80_000, "modified_us": 1_000}


def listed(number: int = 0) -> ImageRef:
    return image(number, **LISTED)


def publish(store: KillableStore, run_id: str, *buckets: int) -> None:
    """Put all that is not in the tables yet into those of a run."""
    done, _ = load_intents(OUT, FIRST_JOURNAL, store)
    covered = coverage(done)
    tallies = [
        tally_bucket(
            bucket,
            [],
            Journal(OUT, FIRST_JOURNAL, store).read_history(bucket, covered.get(bucket, {})),
            covered=covered.get(bucket, {}),
            run_id=run_id,
        )
        for bucket in buckets
    ]
    intent = write_intent(
        OUT,
        plan_publish(
            tallies,
            Summary(run_id, OUT, "spec echo-v1", 11),
            FIRST_JOURNAL,
            number=next_number(OUT, FIRST_JOURNAL, done, store),
        ),
        store,
    )
    files = [file for number in range(len(intent.shards)) for file in write_shard(OUT, intent, number, covered, store)]
    commit(OUT, intent, files, store)


def nights(store: KillableStore, count: int = 3) -> None:
    """Every night two new images and one that failed again, in buckets 0 and 1."""
    journal = Journal(OUT, FIRST_JOURNAL, store)
    for night in range(count):
        run_id = f"run-{night}"
        for bucket in (0, 1):
            new = [success(10 * night + 100 * bucket + k) for k in range(2)]
            again = failure(90 + bucket, generation=night)
            claims = [Claimed(run_id, result.image.image_id, 0, 1, Reason.FIRST, 0) for result in new]
            journal.append(bucket, f"{run_id}-00000000-000001.parquet", claims)
            done = [Finished(run_id, result) for result in (*new, again)]
            journal.append(bucket, f"{run_id}-00000000-000002.parquet", done)
        publish(store, run_id, 0, 1)


def known(store: KillableStore) -> dict[int, dict[str, tuple]]:
    """What later runs ask the journal for."""
    journal, covered = Journal(OUT, FIRST_JOURNAL, store), coverage(load_intents(OUT, FIRST_JOURNAL, store)[0])
    return {
        bucket: {
            image_id: (state.finished, state.published, state.failed_attempts, state.failed_since_us, state.in_doubt)
            for image_id, state in states_of(journal.read_records(bucket), covered.get(bucket, {})).items()
        }
        for bucket in (0, 1)
    }


def test_many_segments_become_one_that_says_the_same() -> None:
    store = KillableStore()
    nights(store)
    before = known(store)
    assert compact(OUT, DATASET, store) == 12
    assert known(store) == before
    for bucket in (0, 1):
        (name,) = Journal(OUT, FIRST_JOURNAL, store).segments(bucket)
        assert name.endswith(COMPACTED)
    assert load_intents(OUT, FIRST_JOURNAL, store) == ([], [])
    assert compact(OUT, DATASET, store) == 0


def test_nights_after_a_compaction_publish_what_is_new_only() -> None:
    store = KillableStore()
    nights(store)
    compact(OUT, DATASET, store)
    Journal(OUT, FIRST_JOURNAL, store).append(0, "run-9-00000000-000001.parquet", [Finished("run-9", success(77))])
    publish(store, "run-9", 0, 1)
    ((intent,), _) = load_intents(OUT, FIRST_JOURNAL, store)
    assert intent.segments == {0: ("run-9-00000000-000001.parquet",)}
    assert intent.summary.run_id == "run-9"
    assert compact(OUT, DATASET, store) == 2  # the compacted segment of bucket 0, and the new one
    assert known(store)[0][image(77).image_id][1] is True


def test_what_was_compacted_before_stays_so() -> None:
    store = KillableStore()
    nights(store, 2)
    compact(OUT, DATASET, store)
    Journal(OUT, FIRST_JOURNAL, store).append(0, "run-9-00000000-000001.parquet", [Finished("run-9", success(77))])
    publish(store, "run-9", 0, 1)
    compact(OUT, DATASET, store)
    assert compacted_runs(OUT, FIRST_JOURNAL, store) == {"run-0", "run-1", "run-9"}


def test_a_publish_that_was_planned_before_a_compaction_and_arrives_after_it_is_nothing() -> None:
    """Its process looked whether it held the output, slept while others published and compacted, and wrote."""
    store = KillableStore()
    nights(store, 2)
    Journal(OUT, FIRST_JOURNAL, store).append(0, "run-8-00000000-000001.parquet", [Finished("run-8", success(77))])
    planned = dict(store.objects)
    publish(store, "run-8", 0, 1)
    intent = store.objects[run_uri(OUT, "run-8", "publish.json", store)]
    store.objects = planned
    publish(store, "run-9", 0, 1)
    compact(OUT, DATASET, store)
    store.objects[run_uri(OUT, "run-8", "publish.json", store)] = intent
    before = known(store)
    assert roll_forward(OUT, FIRST_JOURNAL, store) == []
    assert known(store) == before
    assert compact(OUT, DATASET, store) == 0


def test_a_record_in_two_segments_was_published_by_the_first() -> None:
    first, second = Finished("run-a", success(0, task_id="9")), Finished("run-b", success(0, task_id="10"))
    for entries in ([(second, 1), (first, 2), (second, 3)], [(second, 3), (first, 2), (second, 1)]):
        assert essential(entries) == [second]


def test_too_few_nights_are_left_as_they_are() -> None:
    store = KillableStore()
    nights(store, 3)
    assert compact(OUT, DATASET, store, at_least=4) == 0
    assert compact(OUT, DATASET, store, at_least=3) == 12


def test_what_no_complete_run_covers_is_left_alone() -> None:
    store = KillableStore()
    nights(store, 2)
    Journal(OUT, FIRST_JOURNAL, store).append(0, "run-8-00000000-000001.parquet", [Finished("run-8", success(77))])
    compact(OUT, DATASET, store)
    names = Journal(OUT, FIRST_JOURNAL, store).segments(0)
    assert len(names) == 2
    assert "run-8-00000000-000001.parquet" in names
    state = known(store)[0][image(77).image_id]
    assert state[1] is False


@pytest.mark.parametrize("writes", range(15))
def test_a_compaction_that_is_killed_anywhere_changes_nothing_and_can_be_done_again(writes: int) -> None:
    store = KillableStore()
    nights(store, 3)
    before = known(store)
    store.writes_left = writes
    try:
        compact(OUT, DATASET, store)
    except KilledError:
        pass
    else:
        pytest.fail("it was not killed: give more writes")
    store.writes_left = None
    assert known(store) == before
    compact(OUT, DATASET, store)
    assert known(store) == before
    assert [len(Journal(OUT, FIRST_JOURNAL, store).segments(bucket)) for bucket in (0, 1)] == [1, 1]


def test_no_run_can_write_a_segment_that_passes_for_a_compacted_one() -> None:
    assert is_covered(f"0123{COMPACTED}", ())
    assert not is_covered("a.compacted-00000000-000001.parquet", ())
    assert is_covered("x", {"x"})


def test_of_an_image_that_was_labelled_only_its_newest_labels_and_what_came_after_are_kept() -> None:
    old, new, later = success(0), success(0, generation=2), failure(0, generation=3)
    note = Noted("d", image(0).image_id, 2, 5, 6)
    records: list[Record] = [
        Finished("a", old),
        Claimed("b", image(0).image_id, 2, 1, Reason.FIRST, 0),
        Accepted("b", image(0), 2, 1, "7", 11, Facts(), 0),
        Finished("b", new),
        note,
        Finished("c", later),
        Claimed("c", image(0).image_id, 3, 1, Reason.TASK_LOST, 0),
        Finished("c", later),
    ]
    assert essential((record, 1) for record in records) == [Finished("b", new), note, Finished("c", later), records[6]]


attempts = st.integers(1, 2)
generations = st.integers(0, 3)
runs = st.sampled_from(["run-a", "run-b"])
some_records = st.one_of(
    st.builds(lambda run, g, a: Claimed(run, image().image_id, g, a, Reason.FIRST, 0), runs, generations, attempts),
    st.builds(lambda run, g, a: Released(run, image().image_id, g, a, True), runs, generations, attempts),
    st.builds(lambda run, g, a: Accepted(run, listed(), g, a, "7", 11, Facts(), 0), runs, generations, attempts),
    st.builds(
        lambda run, result, g, task: Finished(run, result(image=listed(), generation=g, task_id=task)),
        runs,
        st.sampled_from([success, failure]),
        generations,
        st.sampled_from(["6", "7"]),
    ),
    st.builds(lambda run, g: Noted(run, image().image_id, g, 80_000, 2_000), runs, generations),
)
histories = st.lists(st.tuples(some_records, st.integers(1, 3)), max_size=12)  # each covered by one of three publishes
rules = st.builds(
    PlanRules,
    st.just("run-c"),
    retry=st.sampled_from(["failed", "none", "all"]),
    max_attempts=st.integers(1, 5),
    relabel=st.sampled_from(["none", "outdated", "all"]),
    model_version_id=st.sampled_from([None, 11, 12]),
)


@settings(max_examples=300)
@given(histories, rules, st.sampled_from([1_000, 2_000, 3_000]))
def test_whatever_happened_the_same_is_planned_and_nothing_is_published_again(
    history: list[tuple[Record, int]], wanted: PlanRules, modified_us: int
) -> None:
    def seen(entries: list[tuple[Record, int]]) -> tuple:
        states: dict[str, ImageState] = merge(entries)
        planned = plan_bucket([image(**{**LISTED, "modified_us": modified_us})], states, wanted)
        return planned, [(state.finished, state.to_publish) for state in states.values()]

    kept = [(record, 0) for record in essential(history)]
    assert seen(kept) == seen(history)
    assert [(record, 0) for record in essential(kept)] == kept
    assert seen([*kept, *history]) == seen(history)
    assert essential([*kept, *history]) == essential(history)


def test_a_segment_that_the_store_does_not_list_yet_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    store = KillableStore()
    nights(store)
    before, hidden = known(store), f"{OUT}/journal/bucket=00001/run-2-00000000-000002.parquet"
    everything = KillableStore.list_objects
    with monkeypatch.context() as stale:
        stale.setattr(
            KillableStore,
            "list_objects",
            lambda self, folder, **how: (each for each in everything(self, folder, **how) if each.uri != hidden),
        )
        compact(OUT, DATASET, store)
    assert known(store) == before
    assert compact(OUT, DATASET, store) > 0
    assert hidden not in store.objects
    assert known(store) == before
