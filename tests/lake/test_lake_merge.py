import random
from collections.abc import Callable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from lake_samples import failure, image, success
from record_strategies import runs, some_entries

from deepo_beam.lake.merge import ImageState, merge
from deepo_beam.records import Accepted, Claimed, Finished, Reason, Record, Released
from deepo_beam.types import Facts, ImageResult, Status

ID = image(0).image_id


def claimed(attempt: int, run: str = "run-a", generation: int = 0, at: int = 0) -> Claimed:
    return Claimed(run, ID, generation, attempt, Reason.FIRST, at)


def released(attempt: int, run: str = "run-a", generation: int = 0) -> Released:
    return Released(run, ID, generation, attempt, sent=True)


def accepted(attempt: int, task_id: str, run: str = "run-a", generation: int = 0) -> Accepted:
    return Accepted(run, image(0), generation, attempt, task_id, 11, Facts(), 0)


def finished(result: ImageResult, run: str = "run-a", generation: int = 0, **changes: object) -> Finished:
    return Finished(run, replace(result, generation=generation, **changes))


def state(*records: Record, published: tuple[Record, ...] = ()) -> ImageState:
    entries = [(record, None) for record in records] + [(record, 1) for record in published]
    return merge(entries)[ID]


# --- laws -------------------------------------------------------------------------------------------


@given(some_entries, st.randoms(use_true_random=False))
def test_order_and_repetition_of_records_change_nothing(entries: list, rng: random.Random) -> None:
    again = entries + [rng.choice(entries) for _ in range(5) if entries]
    rng.shuffle(again)
    assert merge(again) == merge(entries)


@given(some_entries, st.integers(0, 14))
def test_a_record_that_also_stands_in_a_compacted_segment_counts_once(entries: list, cut: int) -> None:
    assert merge(entries + entries[:cut]) == merge(entries)


@given(some_entries)
def test_images_do_not_influence_each_other(entries: list) -> None:
    apart: dict[str, ImageState] = {}
    for image_id in sorted({record.image_id for record, _ in entries}):
        apart |= merge([entry for entry in entries if entry[0].image_id == image_id])
    assert merge(entries) == apart
    assert list(merge(entries)) == sorted(apart)


@given(some_entries)
def test_what_is_published_is_never_published_again_but_for_labels_after_a_failure(entries: list) -> None:
    for image_id, merged in merge(entries).items():
        outcome = merged.to_publish
        outcomes = [(r, n) for r, n in entries if isinstance(r, Finished) and r.image_id == image_id]
        newest = max((record.generation for record, _ in outcomes), default=-1)
        of_newest = [(record, number) for record, number in outcomes if record.generation == newest]
        labelled = [entry for entry in of_newest if entry[0].result.status is not Status.FAILED]
        in_tables = any(number is not None for _, number in labelled or of_newest)
        assert (outcome is None) == (newest < 0 or in_tables)
        assert outcome is None or outcome.generation == newest


# A call as it happened: was it charged, and which record of its answer outlived the crash?
calls = st.lists(st.tuples(runs, st.booleans(), st.booleans()), max_size=6)


@given(calls, st.booleans())
def test_whatever_a_crash_lost_no_charged_call_goes_uncounted(calls: list, overlapping: bool) -> None:
    records: list[Record] = []
    charged = 0
    for number, (run, was_charged, is_recorded) in enumerate(calls, start=1):
        attempt = 1 if overlapping else number  # bundle attempts that overlap claim under one ordinal
        records.append(claimed(attempt, run, at=number))
        charged += was_charged
        if is_recorded:
            records.append(accepted(attempt, str(number), run) if was_charged else released(attempt, run))
    if records:
        assert state(*records).maybe_billed >= charged
        assert state(*records, finished(success())).maybe_billed >= charged


@given(calls, st.booleans(), st.sampled_from([success, failure]), st.sets(st.integers(1, 6)))
def test_an_outcome_says_all_that_the_records_of_its_accepted_tasks_would(
    calls: list, overlapping: bool, make: Callable, left_out: set[int]
) -> None:
    every, fewer = [finished(make())], [finished(make())]
    for number, (run, was_charged, is_recorded) in enumerate(calls, start=1):
        attempt = 1 if overlapping else number
        records = [claimed(attempt, run, at=number)]
        if is_recorded:
            records.append(accepted(attempt, str(number), run) if was_charged else released(attempt, run))
        every += records
        fewer += records[:1] if was_charged and number in left_out else records
    assert state(*fewer) == state(*every)


# --- one life after the other -----------------------------------------------------------------------


def test_no_records_give_no_states() -> None:
    assert merge([]) == {}


def test_a_claim_without_an_answer_is_in_doubt() -> None:
    seen = state(claimed(1))
    assert (seen.in_doubt, seen.maybe_billed, seen.accepted, seen.finished) == (1, 1, None, None)
    assert seen.claims == (claimed(1),)
    assert (seen.attempts_used, seen.claimed_runs) == (1, ("run-a",))


def test_a_released_claim_leaves_nothing_but_its_ordinal() -> None:
    seen = state(released(1), claimed(1))
    assert (seen.in_doubt, seen.maybe_billed, seen.claims, seen.attempts_used) == (0, 0, (), 1)


def test_an_accepted_claim_is_polled_and_not_in_doubt() -> None:
    seen = state(claimed(1), accepted(1, "A"))
    assert (seen.in_doubt, seen.maybe_billed, seen.accepted) == (0, 1, accepted(1, "A"))


def test_a_task_is_closed_by_a_later_claim_of_any_run() -> None:
    failed_task = (claimed(1), accepted(1, "1"))
    assert state(*failed_task, claimed(2)).accepted is None
    assert state(*failed_task, claimed(2, "run-b")).accepted is None
    again = state(*failed_task, claimed(2, "run-b"), accepted(2, "2", "run-b"))
    assert again.accepted == accepted(2, "2", "run-b")
    assert (again.in_doubt, again.maybe_billed) == (0, 2)


def test_a_task_is_closed_when_the_generation_is_finished() -> None:
    seen = state(claimed(1), accepted(1, "42"), finished(success()))
    assert (seen.accepted, seen.in_doubt, seen.maybe_billed) == (None, 0, 1)
    assert seen.finished == finished(success())


def test_a_claim_stays_perhaps_billed_although_a_later_one_was_finished() -> None:
    seen = state(claimed(1), claimed(2), accepted(2, "42"), finished(success()))
    assert (seen.in_doubt, seen.maybe_billed) == (0, 2)


def test_overlapping_claims_of_one_ordinal_need_an_answer_each() -> None:
    seen = state(claimed(1, at=1), claimed(1, at=2), accepted(1, "9"))
    assert (seen.in_doubt, seen.maybe_billed) == (1, 2)
    assert state(claimed(1, at=1), claimed(1, at=2), released(1)).claims == (claimed(1, at=2),)


def test_of_the_tasks_of_one_attempt_the_smallest_number_is_polled() -> None:
    assert state(accepted(1, "10"), accepted(1, "9")).accepted == accepted(1, "9")


def test_success_stands_over_failure_and_then_what_is_published_and_then_the_smallest_task_id() -> None:
    failed = finished(failure(), task_id="1")
    tenth, ninth = finished(success(), task_id="10"), finished(success(), task_id="9")
    assert state(failed, tenth, ninth).finished == ninth
    assert state(failed, tenth).finished == tenth
    shown = state(ninth, failed, published=(tenth,))
    assert (shown.finished, shown.published, shown.to_publish, shown.duplicates) == (tenth, True, None, 2)


def test_labels_that_come_after_a_failure_was_published_are_published_too() -> None:
    failed, late = finished(failure()), finished(success())
    seen = state(late, published=(failed,))
    assert (seen.finished, seen.published, seen.to_publish, seen.failed_attempts) == (late, False, late, 0)
    assert state(published=(failed, late)).to_publish is None


@given(st.permutations([1, 2, 3]), st.sampled_from([success, failure]))
def test_of_outcomes_that_are_all_covered_that_of_the_first_publish_stands(numbers: list, make: Callable) -> None:
    outcomes = [finished(make(), task_id=task_id) for task_id in ("8", "9", "10")]
    merged = merge(zip(outcomes, numbers, strict=True))[ID]
    assert (merged.finished, merged.published) == (outcomes[numbers.index(1)], True)


def test_a_new_generation_starts_afresh_and_keeps_the_last_outcome_at_hand() -> None:
    first = finished(success())
    seen = state(claimed(1), accepted(1, "42"), claimed(1, "run-b", generation=1), published=(first,))
    assert (seen.generation, seen.finished, seen.previous, seen.previous_published) == (1, None, first, True)
    assert (seen.in_doubt, seen.maybe_billed, seen.attempts_used, seen.superseded) == (1, 1, 1, True)
    assert seen.to_publish is None


def test_an_outcome_is_published_although_a_newer_generation_was_only_begun() -> None:
    first = finished(success())
    assert state(first, claimed(1, "run-b", generation=1)).to_publish == first


def test_only_the_newest_of_two_unpublished_outcomes_is_published() -> None:
    second = finished(success(), generation=1)
    seen = state(finished(success()), second)
    assert (seen.to_publish, seen.duplicates, seen.published) == (second, 0, False)


def test_failed_attempts_add_up_over_generations_since_the_last_success() -> None:
    lives = [
        finished(failure(), generation=0, attempts=5, finished_us=10),
        finished(success(), generation=1, attempts=1, finished_us=20),
        finished(failure(), generation=2, attempts=2, finished_us=30),
        finished(failure(), generation=3, attempts=3, finished_us=40),
        claimed(1, generation=4),
    ]
    seen = state(*lives)
    assert (seen.failed_attempts, seen.failed_since_us) == (5, 30)
    assert state(*lives, finished(success(), generation=4)).failed_attempts == 0
    assert state(lives[0]).failed_attempts == 5


def test_no_detection_is_a_success() -> None:
    nothing_seen = finished(success(), status=Status.NO_DETECTION)
    assert state(nothing_seen, finished(failure())).finished == nothing_seen
    assert state(nothing_seen).failed_attempts == 0
