"""What is done with each entry of a listing, given what the journal knows."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lake_samples import failure, image, success
from record_strategies import records_of, small

from deepo_beam.errors import ErrorCode, Stage
from deepo_beam.lake.merge import ImageState, merge
from deepo_beam.lake.plan import Disposition, Labelling, PlannedEntry, PlanRules, plan_bucket, share_calls
from deepo_beam.records import Accepted, Claimed, Finished, Noted, Reason, Record, Released
from deepo_beam.types import Facts, Failure, ImageRef, ImageResult, Status

THIS, EARLIER = "run-b", "run-a"
FOR_GOOD = Failure(Stage.VALIDATE, ErrorCode.NOT_AN_IMAGE, "text", retryable=False)


def claimed(attempt: int = 1, run: str = EARLIER, generation: int = 0, reason: Reason = Reason.FIRST) -> Claimed:
    return Claimed(run, image().image_id, generation, attempt, reason, 0)


def accepted(attempt: int = 1, task_id: str = "7", generation: int = 0) -> Accepted:
    return Accepted(EARLIER, image(), generation, attempt, task_id, 11, Facts(), 0)


def released(attempt: int = 1, run: str = EARLIER, *, sent: bool = True) -> Released:
    return Released(run, image().image_id, 0, attempt, sent)


def finished(result: ImageResult, run: str = EARLIER) -> Finished:
    return Finished(run, result)


def states(*records: Record) -> dict[str, ImageState]:
    return merge((record, None) for record in records)


def plan(entries: list[ImageRef], *records: Record, **changes: object) -> list[PlannedEntry]:
    rules = PlanRules(THIS, **changes)
    return plan_bucket(entries, states(*records), rules)


def plan_one(*records: Record, **changes: object) -> PlannedEntry:
    (planned,) = plan([image()], *records, **changes)
    return planned


# --- one image ---------------------------------------------------------------------------------------


def test_an_image_that_the_journal_does_not_know_is_labelled_for_the_first_time() -> None:
    assert plan_one() == PlannedEntry(image(), Disposition.LABEL, labelling=Labelling(image()))


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.NO_DETECTION])
def test_an_image_that_was_labelled_before_is_reused(status: Status) -> None:
    assert plan_one(finished(success(status=status))) == PlannedEntry(image(), Disposition.REUSED)


def test_an_image_that_this_run_has_finished_is_its_own_and_is_not_asked_for_again() -> None:
    for result in (success(), failure(), failure(failure=FOR_GOOD)):
        planned = plan_one(finished(result, THIS), retry="all")
        assert planned == PlannedEntry(image(), Disposition.LABEL, labelling=None, result=result)


def test_a_retryable_failure_of_an_earlier_run_is_tried_again_as_the_next_generation() -> None:
    planned = plan_one(finished(failure(attempts=2)))
    assert planned.disposition is Disposition.LABEL
    assert (planned.labelling.generation, planned.labelling.failed_attempts) == (1, 2)
    assert (planned.labelling.attempts_used, planned.labelling.resume) == (0, None)


@pytest.mark.parametrize(
    ("retry", "retryable", "disposition"),
    [
        ("failed", True, Disposition.LABEL),
        ("failed", False, Disposition.SKIPPED),
        ("none", True, Disposition.SKIPPED),
        ("none", False, Disposition.SKIPPED),
        ("all", True, Disposition.LABEL),
        ("all", False, Disposition.LABEL),
    ],
)
def test_which_failures_are_tried_again_is_as_asked(retry: str, retryable: bool, disposition: Disposition) -> None:
    why = replace(FOR_GOOD, retryable=retryable)
    planned = plan_one(finished(failure(failure=why, attempts=1)), retry=retry)
    assert planned.disposition is disposition
    assert (planned.labelling is None) == (disposition is Disposition.SKIPPED)


@pytest.mark.parametrize("retry", ["failed", "all"])
@pytest.mark.parametrize(("attempts", "expected"), [(4, Disposition.LABEL), (5, Disposition.SKIPPED)])
def test_an_image_whose_attempts_are_used_up_is_skipped(retry: str, attempts: int, expected: Disposition) -> None:
    assert plan_one(finished(failure(attempts=attempts)), retry=retry, max_attempts=5).disposition is expected


def test_attempts_are_counted_over_all_runs() -> None:
    lives = [finished(failure(attempts=2)), finished(failure(attempts=3, generation=1), "run-a2")]
    assert plan_one(*lives, max_attempts=5).disposition is Disposition.SKIPPED
    again = plan_one(*lives, max_attempts=6).labelling
    assert (again.generation, again.failed_attempts) == (2, 5)


def test_a_claim_that_nothing_answers_is_in_doubt_and_goes_on_counting() -> None:
    labelling = plan_one(claimed(1), released(1), claimed(2)).labelling
    assert (labelling.reason, labelling.resume, labelling.attempts_used) == (Reason.IN_DOUBT, None, 2)
    assert labelling.generation == 0


def test_a_claim_that_was_released_leaves_no_doubt() -> None:
    labelling = plan_one(claimed(), released()).labelling
    assert (labelling.reason, labelling.attempts_used) == (Reason.FIRST, 1)


def test_an_accepted_task_is_taken_up_again() -> None:
    labelling = plan_one(claimed(), accepted()).labelling
    assert (labelling.resume, labelling.attempts_used) == (accepted(), 1)


@pytest.mark.parametrize("sent", [True, False])
def test_a_call_after_a_task_that_was_given_up_may_be_billed_twice_whatever_came_of_the_calls_between(
    sent: bool,
) -> None:
    # The task of the first call was lost; the second call was refused, or never made, and then the run was killed.
    lives = [claimed(1), accepted(1), claimed(2, reason=Reason.TASK_LOST), released(2, sent=sent)]
    labelling = plan_one(*lives).labelling
    assert labelling.resume is None
    assert labelling.reason.may_bill_twice


def test_trying_a_failed_image_again_may_be_billed_twice_if_one_of_its_calls_was_accepted() -> None:
    billed = [claimed(), accepted(), finished(failure(failure=replace(FOR_GOOD, retryable=True)))]
    assert plan_one(*billed).labelling.reason.may_bill_twice


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (ErrorCode.ANSWER_UNKNOWN, Reason.ANSWER_UNKNOWN),
        (ErrorCode.TASK_LOST, Reason.TASK_LOST),
        (ErrorCode.TASK_STUCK, Reason.TASK_LOST),
        (ErrorCode.TASK_ERROR, Reason.TASK_ERROR),
    ],
)
def test_why_an_image_that_was_billed_is_paid_for_again_is_said_by_its_failure(code: ErrorCode, reason: Reason) -> None:
    spoiled = failure(failure=Failure(Stage.POLL, code, "no answer", retryable=True))
    planned = plan_one(claimed(), accepted(), finished(spoiled))
    assert planned.labelling is not None
    assert planned.labelling.reason is reason


def test_trying_a_failed_image_again_is_no_second_bill_if_each_call_was_refused() -> None:
    refused = [claimed(1), released(1), claimed(2), released(2), finished(failure(attempts=2))]
    assert not plan_one(*refused).labelling.reason.may_bill_twice


def test_a_new_try_that_was_cut_short_goes_on_in_its_generation() -> None:
    labelling = plan_one(finished(failure(attempts=3)), claimed(1, "run-a2", generation=1)).labelling
    assert (labelling.generation, labelling.failed_attempts, labelling.attempts_used) == (1, 3, 1)
    assert labelling.reason is Reason.IN_DOUBT


# --- duplicates --------------------------------------------------------------------------------------


def test_of_several_entries_of_one_image_the_first_by_input_and_line_wins_in_whatever_order_they_come() -> None:
    entries = [image(input_index=index, line=line) for index, line in [(1, 1), (0, 9), (0, 2)]]
    planned = plan(entries)
    assert [(entry.image.input_index, entry.image.line) for entry in planned] == [(0, 2), (0, 9), (1, 1)]
    assert [entry.disposition for entry in planned] == [Disposition.LABEL] + 2 * [Disposition.DUPLICATE]
    assert [entry.labelling is None for entry in planned] == [False, True, True]


def test_a_duplicate_of_a_known_image_is_a_duplicate_and_not_reused() -> None:
    planned = plan([image(line=1), image(line=2)], finished(success()))
    assert [entry.disposition for entry in planned] == [Disposition.REUSED, Disposition.DUPLICATE]


@pytest.mark.parametrize(
    ("changes", "conflict"),
    [
        ({}, False),
        ({"location": "s3a://lake/0000.jpg", "source": "other.csv:2", "size_bytes": 7, "modified_us": 8}, False),
        ({"attributes": (("site", "b"),)}, True),
        ({"attributes": ()}, True),
        ({"external_id": "other"}, True),
        ({"external_id": None}, True),
    ],
)
def test_a_duplicate_conflicts_if_its_attributes_or_own_id_differ(changes: dict, conflict: bool) -> None:
    first = image(line=1, external_id="mine", attributes=(("site", "a"),))
    planned = plan([first, first._replace(line=2, **changes)])
    assert [entry.conflict for entry in planned] == [False, conflict]


def test_a_third_entry_conflicts_with_the_first_and_not_with_the_second() -> None:
    lines = [image(line=line, external_id=own) for line, own in [(1, "a"), (2, "b"), (3, "a")]]
    assert [entry.conflict for entry in plan(lines)] == [False, True, False]


# --- laws --------------------------------------------------------------------------------------------

numbers = st.integers(0, 3)
some_entries = st.lists(
    st.builds(
        lambda number, **changes: image(number, **changes),
        numbers,
        input_index=small,
        line=small,
        external_id=st.sampled_from([None, "a", "b"]),
    ),
    max_size=8,
)
some_results = st.builds(
    lambda make, number, **changes: make(number, **changes),
    st.sampled_from([success, failure]),
    numbers,
    generation=small,
    attempts=st.integers(1, 3),
)
some_records = records_of(numbers.map(image), some_results)
journals = st.lists(some_records, max_size=10)
retries = st.sampled_from(["failed", "none", "all"])


@given(some_entries, journals, retries, st.integers(1, 5))
def test_each_entry_is_planned_once_and_each_image_labelled_at_most_once(
    entries: list[ImageRef], records: list[Record], retry: str, max_attempts: int
) -> None:
    planned = plan(entries, *records, retry=retry, max_attempts=max_attempts)
    assert Counter(entry.image for entry in planned) == Counter(entries)
    labelled = Counter(entry.image.image_id for entry in planned if entry.labelling is not None)
    assert all(count == 1 for count in labelled.values())
    firsts = Counter(e.image.image_id for e in planned if e.disposition is not Disposition.DUPLICATE)
    assert firsts == Counter({entry.image_id for entry in entries})
    for entry in planned:
        assert entry.labelling is None or (entry.disposition, entry.labelling.image) == (
            Disposition.LABEL,
            entry.image,
        )


@given(some_entries, journals, st.randoms(use_true_random=False))
def test_the_order_of_the_entries_decides_nothing(entries: list[ImageRef], records: list[Record], rng) -> None:
    shuffled = list(entries)
    rng.shuffle(shuffled)

    def decisions(planned: list[PlannedEntry]) -> Counter:
        return Counter((e.image.image_id, e.image.input_index, e.image.line, e.disposition) for e in planned)

    assert decisions(plan(shuffled, *records)) == decisions(plan(entries, *records))


@given(journals, retries, st.integers(1, 5))
def test_a_call_never_goes_over_the_attempts_allowed_nor_under_an_ordinal_that_was_used(
    records: list[Record], retry: str, max_attempts: int
) -> None:
    known = states(*records)
    for entry in plan([image(n) for n in range(4)], *records, retry=retry, max_attempts=max_attempts):
        state, labelling = known.get(entry.image.image_id), entry.labelling
        if state is None or labelling is None:
            continue
        if labelling.generation == state.generation:
            assert labelling.attempts_used == state.attempts_used
        else:
            assert labelling.generation == state.generation + 1
            assert state.failed_attempts < max_attempts


# --- images that are labelled, and may be labelled again ----------------------------------------------

LISTED = {"size_bytes": 80_000, "modified_us": 1_000}


def listed(**changes: object) -> ImageRef:
    return image(**{**LISTED, **changes})


def known(*records: Record, covered: bool = True, now: ImageRef | None = None, **rules: object) -> PlannedEntry:
    """What is planned for an image that was labelled when it was listed as ``LISTED``."""
    result = success(image=listed())
    found = merge((record, 1 if covered else None) for record in (finished(result), *records))
    (planned,) = plan_bucket([now or listed()], found, PlanRules(THIS, **rules))
    return planned


@pytest.mark.parametrize("detect", ["listing", "stat"])
@pytest.mark.parametrize("change", [{"size_bytes": 80_001}, {"modified_us": 999}, {"modified_us": 1_001}])
def test_an_image_that_is_listed_otherwise_than_when_it_was_labelled_is_compared(
    change: dict[str, int], detect: str
) -> None:
    planned = known(now=listed(**change), detect_changes=detect)
    assert planned.disposition is Disposition.COMPARE
    assert planned.labelling == Labelling(
        listed(**change), generation=1, known_sha256="a" * 64, labelled_us=success().finished_us
    )


def test_changes_are_not_looked_for_if_nobody_wants_to_know() -> None:
    planned = known(now=listed(size_bytes=1), detect_changes="never")
    assert planned.disposition is Disposition.REUSED


@pytest.mark.parametrize(
    "unsaid", [{"modified_us": None}, {"size_bytes": None}, {"size_bytes": None, "modified_us": None}]
)
def test_what_a_listing_does_not_say_has_not_changed(unsaid: dict[str, None]) -> None:
    assert known(now=listed(**unsaid)).disposition is Disposition.REUSED


def test_a_size_that_nobody_knew_when_it_was_labelled_is_no_change() -> None:
    by_url = finished(success(image=image(modified_us=1_000, size_bytes=None), facts=Facts()))
    (planned,) = plan_bucket([listed()], merge([(by_url, 1)]), PlanRules(THIS))
    assert planned.disposition is Disposition.REUSED


def test_an_image_that_was_found_unchanged_under_a_new_time_is_not_read_for_it_again() -> None:
    note = Noted(EARLIER, image().image_id, 0, 80_000, 2_000)
    assert known(note, now=listed(modified_us=2_000)).disposition is Disposition.REUSED
    assert known(note, now=listed(modified_us=1_000)).disposition is Disposition.REUSED
    assert known(note, now=listed(modified_us=3_000)).disposition is Disposition.COMPARE


def test_a_changed_image_whose_bytes_were_never_read_here_is_labelled_at_once() -> None:
    by_url = finished(success(image=listed(), facts=Facts()))
    (planned,) = plan_bucket([listed(modified_us=5)], merge([(by_url, 1)]), PlanRules(THIS))
    assert planned.disposition is Disposition.LABEL
    assert planned.labelling == Labelling(listed(modified_us=5), generation=1, labelled_us=success().finished_us)


def test_a_failed_image_that_is_not_tried_again_is_compared_when_it_is_listed_otherwise() -> None:
    spoiled = finished(failure(image=listed(), failure=FOR_GOOD))
    found = merge([(spoiled, 1)])
    (same,) = plan_bucket([listed()], found, PlanRules(THIS))
    (other,) = plan_bucket([listed(size_bytes=5)], found, PlanRules(THIS))
    assert (same.disposition, other.disposition) == (Disposition.SKIPPED, Disposition.COMPARE)


@pytest.mark.parametrize(
    ("relabel", "version", "again"),
    [
        ("none", 12, False),
        ("outdated", 11, False),
        ("outdated", 12, True),
        ("outdated", None, False),
        ("all", 11, True),
        ("all", None, True),
    ],
)
def test_known_images_are_labelled_again_only_on_request(relabel: str, version: int | None, again: bool) -> None:
    planned = known(relabel=relabel, model_version_id=version)
    assert planned.disposition is (Disposition.LABEL if again else Disposition.REUSED)
    if again:
        assert planned.labelling == Labelling(listed(), generation=1, labelled_us=success().finished_us)


def test_an_image_without_a_known_version_is_not_outdated() -> None:
    unpinned = finished(success(image=listed(), model_version_id=None))
    rules = PlanRules(THIS, relabel="outdated", model_version_id=12)
    (planned,) = plan_bucket([listed()], merge([(unpinned, 1)]), rules)
    assert planned.disposition is Disposition.REUSED


def test_what_a_killed_run_labelled_anew_is_not_labelled_anew_once_more() -> None:
    assert known(covered=False, relabel="all").disposition is Disposition.REUSED


# --- sharing out a budget -----------------------------------------------------------------------------


@given(st.dictionaries(st.integers(0, 300), st.integers(0, 1000)), st.integers(0, 5000))
def test_a_budget_is_shared_out_to_the_last_call_and_no_bucket_gets_more_than_its_work_while_calls_are_few(
    work: dict[int, int], calls: int
) -> None:
    shares = share_calls(work, calls)
    total = sum(work.values())
    assert set(shares) == set(work)
    assert sum(shares.values()) == (calls if total else 0)
    for bucket, labellings in work.items():
        assert abs(shares[bucket] - calls * labellings / max(1, total)) < 1
        if calls <= total:
            assert shares[bucket] <= labellings
        else:
            assert shares[bucket] >= labellings
