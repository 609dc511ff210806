"""What a run did to a bucket, from its listing and its journal."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lake_samples import failure, image, outputs, prediction, success

from deepo_beam.errors import ErrorCode
from deepo_beam.lake.journal import NO_HISTORY, History
from deepo_beam.lake.listing import ListedEntry
from deepo_beam.lake.plan import Disposition, PlanRules, plan_bucket
from deepo_beam.lake.summary import OUTCOMES
from deepo_beam.lake.tables import labels_table
from deepo_beam.lake.tally import BucketTally, calls_by_image, calls_left, states_of, tally_bucket, to_publish
from deepo_beam.records import Accepted, Claimed, Finished, Noted, Reason, Record, Released
from deepo_beam.types import Facts, ImageResult, Status

THIS, EARLIER = "run-b", "run-a"
LABEL, REUSED, SKIPPED, DUPLICATE = Disposition.LABEL, Disposition.REUSED, Disposition.SKIPPED, Disposition.DUPLICATE


def listed(number: int = 0, disposition: Disposition = LABEL, *, conflict: bool = False) -> ListedEntry:
    return ListedEntry(image(number).image_id, disposition, conflict)


def finished(result: ImageResult, run: str = THIS) -> Finished:
    return Finished(run, result)


def claimed(number: int = 0, attempt: int = 1, reason: Reason = Reason.FIRST, run: str = THIS, **more: int) -> Claimed:
    return Claimed(run, image(number).image_id, more.get("generation", 0), attempt, reason, 0)


def released(number: int = 0, attempt: int = 1, run: str = THIS, *, sent: bool = True) -> Released:
    return Released(run, image(number).image_id, 0, attempt, sent)


def accepted(number: int = 0, attempt: int = 1, run: str = THIS) -> Accepted:
    return Accepted(run, image(number), 0, attempt, str(attempt), 11, Facts(), 0)


def tally(*records: Record, listing: list[ListedEntry] = [], published: tuple[Record, ...] = ()) -> BucketTally:  # noqa: B006 - never changed
    segments = {"new": list(records), "old": list(published)}
    return tally_bucket(3, listing, History({}, segments), covered={"old": 1}, run_id=THIS)


# --- the identity ------------------------------------------------------------------------------------


def test_an_empty_bucket_adds_nothing() -> None:
    seen = tally_bucket(3, [], NO_HISTORY, covered={}, run_id=THIS)
    assert (seen.bucket, seen.segments, seen.images, seen.labels, +seen.counts) == (3, (), 0, 0, Counter())


def test_each_outcome_of_this_run_is_counted_under_its_name() -> None:
    results = [success(0), success(1), success(2, status=Status.NO_DETECTION, outputs=outputs(([], []))), failure(3)]
    seen = tally(*map(finished, results), listing=[listed(number) for number in range(4)])
    assert +seen.counts == Counter(listed=4, succeeded=2, no_detection=1, failed=1)
    assert seen.errors_by_code == Counter({ErrorCode.THROTTLED.value: 1})


def test_duplicates_reused_and_skipped_are_what_the_listing_says() -> None:
    listing = [
        listed(0, REUSED),
        listed(0, DUPLICATE, conflict=True),
        listed(0, DUPLICATE),
        listed(1, SKIPPED),
    ]
    known = (finished(success(0), EARLIER), finished(failure(1), EARLIER))
    seen = tally(listing=listing, published=known)
    assert +seen.counts == Counter(listed=4, reused=1, duplicate=2, duplicate_conflicts=1, skipped=1)
    assert seen.errors_by_code == Counter()


def test_what_this_run_was_to_label_and_did_not_is_not_attempted() -> None:
    listing = [listed(number) for number in range(4)]
    records = [claimed(1), accepted(1), claimed(2), finished(failure(3), EARLIER)]
    assert +tally(*records, listing=listing).counts == Counter(listed=4, not_attempted=4, calls=2)


def test_an_outcome_of_an_earlier_generation_is_not_this_runs() -> None:
    old = finished(failure(0), EARLIER)
    assert tally(listing=[listed()], published=(old, claimed(run=EARLIER))).counts["not_attempted"] == 1
    again = finished(success(0, generation=1))
    assert tally(again, listing=[listed()], published=(old,)).counts["succeeded"] == 1


def test_reused_images_are_told_by_the_version_that_labelled_them() -> None:
    known = [finished(success(n, model_version_id=v), EARLIER) for n, v in enumerate([11, 11, 12, None])]
    seen = tally(listing=[listed(n, REUSED) for n in range(4)], published=tuple(known))
    assert seen.versions == Counter({"11": 2, "12": 1, "": 1})


# --- what there is to publish ------------------------------------------------------------------------


def test_outcomes_that_no_table_has_are_published_whoever_made_them() -> None:
    seen = tally(finished(success(0)), finished(success(1), EARLIER), published=(finished(success(2), EARLIER),))
    assert (seen.images, seen.segments) == (2, ("new",))


def test_the_rows_of_labels_are_counted_as_the_table_will_have_them() -> None:
    boxes = [prediction("cat", 0.9, (0.0, 0.0, 0.5, 0.5)), prediction("dog", 0.6, (0.5, 0.5, 1.0, 1.0))]
    results = [
        success(0, outputs=outputs((boxes, []), ([], [prediction("mouse", 0.25)]))),
        success(1),
        success(2, outputs=outputs(([], [])), status=Status.NO_DETECTION),
        failure(3),
    ]
    assert tally(*map(finished, results)).labels == labels_table(results).num_rows == 5


def test_segments_that_are_covered_give_nothing_to_publish() -> None:
    states = states_of({"old": [finished(success(0))], "new": [finished(success(1))]}, {"old": 1})
    assert [state.image_id for state in to_publish(states)] == [image(1).image_id]


# --- calls -------------------------------------------------------------------------------------------


def test_a_claim_is_a_call_unless_it_was_released_without_one() -> None:
    records = [claimed(0), claimed(1), accepted(1), claimed(2), released(2), claimed(3), released(3, sent=False)]
    seen = tally(*records)
    assert (seen.counts["calls"], seen.counts["retries"]) == (3, 0)


def test_calls_for_the_same_image_after_its_first_are_retries() -> None:
    records = [claimed(0, 1), released(0, 1), claimed(0, 2), released(0, 2, sent=False), claimed(0, 3), claimed(1, 1)]
    seen = tally(*records)
    assert (seen.counts["calls"], seen.counts["retries"]) == (3, 1)


def test_calls_of_an_earlier_run_are_not_this_runs() -> None:
    seen = tally(claimed(0, run=EARLIER), claimed(0, attempt=2))
    assert (seen.counts["calls"], seen.counts["retries"]) == (1, 0)


def test_a_release_answers_only_the_claim_of_its_own_run_and_attempt() -> None:
    answers = [released(0, 1, run=EARLIER, sent=False), released(0, 2, sent=False), released(1, sent=False)]
    assert tally(claimed(0, 1), *answers).counts["calls"] == 1


def test_calls_that_may_have_been_billed_twice_are_told_by_reason_unless_they_were_refused() -> None:
    reasons = [Reason.FIRST, Reason.REFUSED, Reason.IN_DOUBT, Reason.TASK_LOST, Reason.TASK_LOST, Reason.TASK_ERROR]
    records = [claimed(0, attempt, reason) for attempt, reason in enumerate(reasons, start=1)]
    seen = tally(*records, released(0, 1), released(0, 6), released(0, 3, sent=False))
    assert seen.billed_twice == Counter(task_lost=2)


def test_what_a_run_that_was_never_published_may_have_paid_twice_is_told_by_the_next_and_by_no_other() -> None:
    crashed = (claimed(0, 1, run=EARLIER), claimed(0, 2, Reason.ANSWER_UNKNOWN, run=EARLIER))
    assert tally(*crashed).billed_twice == Counter(answer_unknown=1)
    assert tally(*crashed).counts["calls"] == 0
    assert tally(published=crashed).billed_twice == Counter()


# --- laws --------------------------------------------------------------------------------------------

numbers, attempts, runs = st.integers(0, 3), st.integers(1, 3), st.sampled_from([THIS, EARLIER])
some_records = st.one_of(
    st.builds(claimed, numbers, attempts, st.sampled_from(Reason), runs),
    st.builds(
        lambda number, attempt, run, sent: released(number, attempt, run, sent=sent),
        numbers,
        attempts,
        runs,
        st.booleans(),
    ),
    st.builds(accepted, numbers, attempts, runs),
    st.builds(
        lambda make, number, run, generation: finished(make(number, generation=generation), run),
        st.sampled_from([success, failure]),
        numbers,
        runs,
        st.integers(0, 1),
    ),
)
journals = st.lists(some_records, max_size=12)


@given(st.lists(numbers, max_size=8), journals, journals, st.sampled_from(["failed", "none", "all"]))
def test_every_entry_of_a_listing_has_exactly_one_outcome(
    entries: list[int], before: list[Record], during: list[Record], retry: str
) -> None:
    # The listing was planned from what was there before this run, which then went on to write.
    before = [record for record in before if record.run_id == EARLIER]
    during = [record for record in during if record.run_id == THIS]
    images = [image(number, line=line) for line, number in enumerate(entries)]
    planned = plan_bucket(images, states_of({"a": before}, {}), PlanRules(THIS, retry=retry))
    listing = [ListedEntry(entry.image.image_id, entry.disposition, entry.conflict) for entry in planned]
    seen = tally_bucket(3, listing, History({}, {"a": before, "b": during}), covered={"a": 1}, run_id=THIS)
    assert seen.counts["listed"] == len(entries) == sum(seen.counts[name] for name in OUTCOMES)
    assert seen.counts["failed"] == seen.errors_by_code.total()
    assert seen.counts["reused"] == seen.versions.total()


@given(journals, journals)
def test_the_tallies_of_two_buckets_add_up_to_that_of_both_together(ones: list[Record], others: list[Record]) -> None:
    def moved(record: Record) -> Record:
        """The same of another image, as it would be in another bucket."""
        there = "f" + record.image_id[1:]
        if isinstance(record, Finished):
            result = record.result
            return replace(record, result=replace(result, image=result.image._replace(image_id=there)))
        if isinstance(record, Accepted):
            return replace(record, image=record.image._replace(image_id=there))
        return replace(record, image_id=there)

    others = [moved(record) for record in others]
    listings = [
        [ListedEntry(image_id, LABEL, False) for image_id in sorted({record.image_id for record in records})]
        for records in (ones, others)
    ]
    apart = [
        tally_bucket(0, listing, History({}, {"s": records}), covered={}, run_id=THIS)
        for listing, records in zip(listings, (ones, others), strict=True)
    ]
    both = tally_bucket(0, listings[0] + listings[1], History({}, {"s": ones + others}), covered={}, run_id=THIS)
    assert both.images == sum(part.images for part in apart)
    assert both.labels == sum(part.labels for part in apart)
    for name in ("counts", "billed_twice", "errors_by_code", "versions"):
        assert +getattr(both, name) == +(getattr(apart[0], name) + getattr(apart[1], name))


@given(journals)
def test_no_claim_that_was_not_released_is_forgotten_by_the_calls(records: list[Record]) -> None:
    def key(record: Claimed | Released) -> tuple:
        return record.image_id, record.generation, record.attempt

    of_this_run = [record for record in records if record.run_id == THIS]
    claims = {key(record) for record in of_this_run if isinstance(record, Claimed)}
    unsent = {key(record) for record in of_this_run if isinstance(record, Released) and not record.sent}
    assert tally(*records).counts["calls"] >= len(claims - unsent)
    different = {record for record in of_this_run if isinstance(record, Claimed)}
    assert tally(*records).counts["calls"] <= len(different)


def test_two_claims_under_one_ordinal_are_two_calls_of_attempts_that_overlapped() -> None:
    first = claimed(0)
    second = Claimed(THIS, first.image_id, 0, 1, Reason.FIRST, 5)
    seen = tally(first, second)
    assert seen.counts["calls"] == 2
    assert seen.billed_twice["overlap"] == 1
    assert tally(first, second, released(0)).billed_twice.total() == 0


def test_of_two_calls_of_which_one_was_refused_the_later_one_is_told_with_its_reason() -> None:
    first = claimed(0)
    later = Claimed(THIS, first.image_id, 0, 1, Reason.IN_DOUBT, 5)
    assert +tally(first, later, released(0)).billed_twice == Counter(in_doubt=1)


@pytest.mark.parametrize(
    ("result", "run", "count"),
    [
        (success(), THIS, "reused"),
        (failure(), THIS, "skipped"),
        (success(), EARLIER, "not_attempted"),
    ],
)
def test_an_image_that_was_compared_and_has_not_changed_is_known(result: ImageResult, run: str, count: str) -> None:
    records = [Finished(EARLIER, result), Noted(run, result.image.image_id, 0, 1, 2)]
    listing = [ListedEntry(result.image.image_id, Disposition.COMPARE, conflict=False)]
    tally = tally_bucket(0, listing, History({}, {"a": records}), covered={"a": 1}, run_id=THIS)
    assert tally.counts[count] == 1
    assert sum(tally.counts[name] for name in OUTCOMES) == 1


def test_calls_are_the_claims_of_a_run_that_were_not_given_back_unused() -> None:
    records = [
        Claimed(THIS, "a", 0, 1, Reason.FIRST, 1),
        Claimed(THIS, "a", 0, 2, Reason.REFUSED, 1),
        Released(THIS, "a", 0, 1, sent=True),
        Claimed(THIS, "b", 0, 1, Reason.FIRST, 1),
        Released(THIS, "b", 0, 1, sent=False),
        Claimed(EARLIER, "c", 0, 1, Reason.FIRST, 1),
    ]
    called = calls_by_image(records, THIS)
    assert (called["a", 0], called["b", 0], called.total()) == (2, 0, 2)


# --- attempts that overlapped ------------------------------------------------------------------------


def test_an_image_that_a_process_that_outlived_its_run_has_labelled_too_was_attempted_all_the_same() -> None:
    theirs, ours = success(0, task_id="1"), success(0, task_id="2")
    seen = tally(finished(theirs, EARLIER), finished(ours), listing=[listed()])
    assert +seen.counts == Counter(listed=1, succeeded=1)


def test_a_call_of_a_process_that_outlived_its_run_is_counted_beside_that_of_the_next_run() -> None:
    assert tally(claimed(0, run=EARLIER), claimed(0)).billed_twice["overlap"] == 1
    assert tally(claimed(0, run=EARLIER), claimed(0, 2, Reason.IN_DOUBT)).billed_twice["overlap"] == 0
    assert tally(claimed(0, run=EARLIER), released(0, run=EARLIER), claimed(0)).billed_twice["overlap"] == 0
    assert tally(claimed(0), claimed(0, generation=1)).billed_twice["overlap"] == 0


@pytest.mark.parametrize("reason", [Reason.FIRST, Reason.REFUSED])
def test_a_call_that_comes_after_the_tables_of_its_labelling_is_one_too_many(reason: Reason) -> None:
    late = claimed(0, 2, reason, run=EARLIER)
    assert tally(late, published=(claimed(0, run=EARLIER),)).billed_twice["overlap"] == 1
    assert tally(late, published=(finished(success(0), EARLIER),)).billed_twice["overlap"] == 1  # compacted
    assert tally(late, published=(finished(success(0, generation=1), EARLIER),)).billed_twice["overlap"] == 1
    assert tally(late, published=(claimed(0, run=EARLIER), released(0, run=EARLIER))).billed_twice["overlap"] == 0
    assert tally(late, published=(finished(success(1), EARLIER),)).billed_twice["overlap"] == 0


def test_a_covered_call_that_told_why_it_may_be_paid_twice_leaves_room_for_the_legitimate_one() -> None:
    assert tally(claimed(0), published=(claimed(0, 2, Reason.IN_DOUBT, EARLIER),)).billed_twice["overlap"] == 0


def test_what_earlier_attempts_of_a_bucket_claimed_is_spent() -> None:
    records = [
        claimed(0),
        claimed(1),
        released(1, sent=False),
        claimed(2),
        released(2, sent=True),
        claimed(3, run=EARLIER),
    ]
    assert calls_left(5, {"a": records[:3], "b": records[3:]}, THIS) == 3
    assert calls_left(1, {"a": records}, THIS) == 0
