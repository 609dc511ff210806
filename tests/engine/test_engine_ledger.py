"""Claims are durable before they are used; facts follow soon; each has a lane; nothing waits for both."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepo_beam.engine.budget import Budget
from deepo_beam.engine.ledger import Flush, Ledger, by_bucket, claim_target, claims_per_s
from deepo_beam.engine.settings import EngineSettings
from deepo_beam.engine.work import Entry, Job, Work
from deepo_beam.records import Accepted, Claimed, Finished, Reason, Released
from deepo_beam.types import Facts, ImageRef, ImageResult, ModelKind, ModelRef, Status

NEVER = float("inf")
MODEL = ModelRef(ModelKind.VERSION, "20")
SETTINGS = EngineSettings(flush_interval_s=2.0, flush_stall_s=5.0)


def job(number: int = 0, owner: int = 1, **changes: object) -> Job:
    image = ImageRef(f"{number:032x}", f"/{number}", f"/{number}")
    return Job(Work(owner, number % 4, image, **changes), queued_at=0.0, reason=Reason.FIRST, attempt=0)


def fact(number: int = 0, owner: int = 1) -> Entry:
    return Entry(owner, number % 4, Released("run", f"{number:032x}", 0, 1, sent=True))


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(SETTINGS, "run", Budget(pooled=True), 0.0)


def claim(ledger: Ledger, now: float = 0.0, posts_per_s: float = 50.0) -> Flush | float:
    return ledger.next_claims(now, posts_per_s=posts_per_s, wall_us=7)


# --- claims ------------------------------------------------------------------------------------------


def test_a_job_may_be_used_only_when_its_claim_is_durable(ledger: Ledger) -> None:
    ledger.backlog.append(one := job(3))
    flush = claim(ledger)
    assert not ledger.claimed
    assert [entry.record for entry in flush.entries] == [Claimed("run", one.work.image.image_id, 0, 1, Reason.FIRST, 7)]
    assert (flush.number, flush.claims, flush.entries[0].bucket, one.attempt) == (1, True, 3, 1)
    ledger.flushed(flush)
    assert list(ledger.claimed) == [one]


def test_claims_go_on_counting_where_an_earlier_run_left_off(ledger: Ledger) -> None:
    waiting = job(generation=2, attempts_used=4)
    waiting.attempt, waiting.reason = waiting.work.attempts_used, Reason.IN_DOUBT
    ledger.backlog.append(waiting)
    (entry,) = claim(ledger).entries
    assert (entry.record.attempt, entry.record.generation, entry.record.reason) == (5, 2, Reason.IN_DOUBT)


@pytest.mark.parametrize(("per_s", "left", "claims"), [(250.0, 250, 250), (1000.0, 375, 125)])
def test_a_second_s_worth_of_claims_is_left_when_they_are_renewed_or_three_quarters(
    ledger: Ledger, per_s: float, left: int, claims: int
) -> None:
    ledger.backlog.extend(job(number) for number in range(1000))
    ledger.flushed(claim(ledger, posts_per_s=per_s))
    assert len(ledger.claimed) == 500
    for _ in range(499 - left):
        ledger.claimed.popleft()
    assert claim(ledger, posts_per_s=per_s) == NEVER
    ledger.claimed.popleft()
    assert len(claim(ledger, posts_per_s=per_s).entries) == claims


def test_claims_are_made_for_two_seconds_of_posting_and_renewed_at_half_of_it(ledger: Ledger) -> None:
    ledger.backlog.extend(job(number) for number in range(100))
    first = claim(ledger, posts_per_s=10.0)
    assert len(first.entries) == 20
    ledger.flushed(first)
    for _ in range(9):
        ledger.claimed.popleft()
    assert claim(ledger, posts_per_s=10.0) == NEVER
    ledger.claimed.popleft()
    assert len(claim(ledger, posts_per_s=10.0).entries) == 10
    assert [one.work.image.image_id for one in ledger.claimed] == [f"{n:032x}" for n in range(10, 20)]


def test_no_claim_is_made_while_one_is_being_written_or_nothing_may_be_posted(ledger: Ledger) -> None:
    ledger.backlog.extend(job(number) for number in range(500))
    assert claim(ledger, posts_per_s=0.0) == NEVER
    assert isinstance(claim(ledger, posts_per_s=1.0), Flush)
    assert claim(ledger, posts_per_s=100.0) == NEVER
    assert claim(Ledger(SETTINGS, "run", Budget(pooled=True), 0.0)) == NEVER


@pytest.mark.parametrize(("per_s", "target"), [(0.01, 1), (0.5, 1), (1.2, 3), (100.0, 200), (1e6, 500)])
def test_one_to_five_hundred_calls_are_claimed_ahead(per_s: float, target: int) -> None:
    assert claim_target(per_s) == target


@pytest.mark.parametrize(
    ("observed", "allowed", "expected"),
    [(0.0, None, 50.0), (10.0, None, 50.0), (100.0, None, 200.0), (100.0, 60.0, 60.0), (0.0, 5.0, 5.0)],
)
def test_twice_what_was_seen_is_expected_but_no_more_than_is_allowed(
    observed: float, allowed: float | None, expected: float
) -> None:
    assert claims_per_s(observed, allowed) == expected


# --- facts -------------------------------------------------------------------------------------------


def test_facts_are_written_together_every_interval(ledger: Ledger) -> None:
    assert ledger.next_facts(0.0) == NEVER
    for number in range(3):
        ledger.record(fact(number))
    assert ledger.next_facts(1.0) == 2.0
    flush = ledger.next_facts(2.0)
    assert (flush.claims, flush.entries) == (False, (fact(0), fact(1), fact(2)))
    ledger.flushed(flush)
    ledger.record(fact(4))
    assert ledger.next_facts(2.5) == 4.0


def accepted(number: int, task_id: str = "7", generation: int = 0) -> Entry:
    image = job(number).work.image
    return Entry(1, number % 4, Accepted("run", image, generation, 1, task_id, None, Facts(), 0))


def finished(number: int, generation: int = 0, status: Status = Status.SUCCEEDED) -> Entry:
    result = ImageResult(job(number).work.image, MODEL, None, status, task_id="7", generation=generation)
    return Entry(1, number % 4, Finished("run", result))


@pytest.mark.parametrize("status", Status)
def test_a_task_whose_outcome_is_written_with_it_needs_no_record_of_its_own(ledger: Ledger, status: Status) -> None:
    entries = [accepted(1), accepted(2), accepted(1, "8"), finished(1, status=status), accepted(3, generation=1)]
    for entry in [*entries, finished(3)]:
        ledger.record(entry)
    ledger.hurry()
    flush = ledger.next_facts(0.0)
    assert flush.entries == (accepted(2), finished(1, status=status), accepted(3, generation=1), finished(3))
    ledger.flushed(flush)
    assert ledger.unwritten(1) == 0


def test_facts_are_written_at_once_when_somebody_waits_or_there_are_many(ledger: Ledger) -> None:
    ledger.record(fact())
    ledger.hurry()
    flush = ledger.next_facts(0.1)
    assert len(flush.entries) == 1
    ledger.flushed(flush)
    for number in range(5_000):
        assert ledger.next_facts(0.2) in (NEVER, 2.1)
        ledger.record(fact(number))
    assert len(ledger.next_facts(0.2).entries) == 5_000


def test_a_hurry_is_over_with_the_next_write(ledger: Ledger) -> None:
    ledger.record(fact())
    ledger.hurry()
    ledger.flushed(ledger.next_facts(0.1))
    ledger.record(fact(1))
    assert ledger.next_facts(0.2) == 2.1


def test_what_an_owner_has_unwritten_is_known_until_it_is_durable(ledger: Ledger) -> None:
    ledger.record(fact(0, owner=1))
    ledger.record(fact(1, owner=2))
    ledger.backlog.append(job(owner=1))
    claims = claim(ledger)
    assert (ledger.unwritten(1), ledger.unwritten(2), ledger.unwritten(3)) == (2, 1, 0)
    ledger.flushed(claims)
    assert (ledger.unwritten(1), ledger.unwritten(2)) == (1, 1)
    ledger.flushed(ledger.next_facts(2.0))
    assert (ledger.unwritten(1), ledger.unwritten(2)) == (0, 0)


# --- lanes -------------------------------------------------------------------------------------------


def test_a_slow_write_of_facts_keeps_no_claim_waiting_and_the_other_way_round(ledger: Ledger) -> None:
    ledger.record(fact())
    facts = ledger.next_facts(2.0)
    ledger.backlog.append(job())
    claims = claim(ledger, 2.0)
    assert isinstance(claims, Flush)
    assert (facts.number, claims.number) == (1, 2)
    ledger.flushed(claims)
    assert len(ledger.claimed) == 1
    ledger.record(fact(1))
    assert ledger.next_facts(9.0) == NEVER  # its lane is busy
    ledger.flushed(facts)
    assert isinstance(ledger.next_facts(9.0), Flush)


def test_a_flush_that_failed_is_written_again_as_it_is_after_its_pause(ledger: Ledger) -> None:
    ledger.backlog.append(job(0))
    flush = claim(ledger)
    ledger.backlog.append(job(1))
    ledger.flush_failed(flush, 1.0, pause_s=0.5)
    assert claim(ledger, 1.2) == 1.5
    assert claim(ledger, 1.5) is flush
    assert claim(ledger, 1.5) == NEVER
    assert not ledger.claimed
    ledger.flushed(flush)
    assert len(ledger.claimed) == 1


def test_facts_that_came_after_a_failed_flush_do_not_change_it(ledger: Ledger) -> None:
    ledger.record(fact(0))
    flush = ledger.next_facts(2.0)
    ledger.flush_failed(flush, 2.1, pause_s=0.5)
    ledger.record(fact(1))
    ledger.hurry()
    assert ledger.next_facts(2.6) is flush
    ledger.flushed(flush)
    assert ledger.next_facts(2.7).entries == (fact(1),)


def test_nothing_may_be_posted_while_a_write_is_overdue(ledger: Ledger) -> None:
    ledger.record(fact())
    flush = ledger.next_facts(2.0)
    assert not ledger.stalled(7.0)
    assert ledger.stalled(7.1)
    ledger.flush_failed(flush, 7.2, pause_s=0.5)
    assert ledger.stalled(7.3)
    ledger.next_facts(7.8)
    assert ledger.stalled(7.9)
    ledger.flushed(flush)
    assert not ledger.stalled(8.0)


def test_a_store_fails_since_the_first_of_its_failures_in_a_row(ledger: Ledger) -> None:
    ledger.backlog.append(job())
    flush = claim(ledger)
    assert ledger.failing_for_s(3.0) == 3.0  # it does not answer, which is no better
    ledger.flush_failed(flush, 1.0, pause_s=0.5)
    ledger.flush_failed(claim(ledger, 2.0), 3.0, pause_s=0.5)
    assert ledger.failing_for_s(10.0) == 9.0
    ledger.flushed(claim(ledger, 11.0))
    assert ledger.failing_for_s(12.0) == 0.0


# --- giving up ---------------------------------------------------------------------------------------


def three_stages(ledger: Ledger) -> tuple[Job, Job, Job, Flush]:
    """A job with a claim, one whose claim is being written, one without."""
    ledger.backlog.append(claimed := job(1, owner=1))
    ledger.flushed(claim(ledger))
    ledger.backlog.append(claiming := job(2, owner=1))
    flush = claim(ledger)
    ledger.backlog.append(waiting := job(3, owner=2))
    return claimed, claiming, waiting, flush


def test_withdrawing_gives_every_job_back_and_those_with_a_claim_know_it(ledger: Ledger) -> None:
    claimed, claiming, waiting, flush = three_stages(ledger)
    assert set(ledger.jobs()) == {claimed, claiming, waiting}
    withdrawn = ledger.withdraw()
    assert {one for one in withdrawn if one.claimed} == {claimed, claiming}
    assert ([one for one in withdrawn if not one.claimed], ledger.jobs()) == ([waiting], [])
    ledger.flushed(flush)
    assert not ledger.claimed


def test_cancelled_jobs_are_dropped_and_told(ledger: Ledger) -> None:
    claimed, claiming, waiting, flush = three_stages(ledger)
    for one in (claimed, claiming, waiting):
        one.cancelled = one.work.owner == 1
    assert set(ledger.remove_cancelled()) == {claimed, claiming}
    assert ledger.jobs() == [waiting]
    ledger.flushed(flush)
    assert list(ledger.claimed) == []


def test_entries_are_sorted_into_one_list_for_each_bucket() -> None:
    entries = [fact(number) for number in range(6)]
    assert by_bucket(entries) == {0: [fact(0), fact(4)], 1: [fact(1), fact(5)], 2: [fact(2)], 3: [fact(3)]}


steps = st.lists(st.sampled_from(["job", "fact", "claims", "facts", "ok", "fail", "use"]), max_size=60)


@given(steps)
def test_whatever_fails_each_claim_is_durable_before_its_job_is_used_and_no_entry_is_lost(  # noqa: C901 - a table of events
    script: list[str],
) -> None:
    ledger, now = Ledger(SETTINGS, "run", Budget(pooled=True), 0.0), 0.0
    out: list[Flush] = []
    durable: list[Entry] = []
    recorded = queued = 0
    for step in script:
        now += 1.0
        if step == "job":
            ledger.backlog.append(job(queued))
            queued += 1
        elif step == "fact":
            ledger.record(fact(recorded))
            recorded += 1
        elif step in ("claims", "facts"):
            flush = claim(ledger, now) if step == "claims" else ledger.next_facts(now)
            out += [flush] if isinstance(flush, Flush) else []
            assert len({each.claims for each in out}) == len(out), "a lane has one flush at a time"
        elif out and step == "ok":
            durable += (done := out.pop()).entries
            ledger.flushed(done)
        elif out and step == "fail":
            ledger.flush_failed(out.pop(), now, pause_s=0.5)
        elif step == "use" and ledger.claimed:
            used = ledger.claimed.popleft()
            assert any(entry.record.image_id == used.work.image.image_id for entry in durable)
    for _ in range(3):  # the store answers again
        now += 10.0
        for flush in (*out, claim(ledger, now), ledger.next_facts(now)):
            if isinstance(flush, Flush):
                durable += flush.entries
                ledger.flushed(flush)
        out = []
    facts = [entry for entry in durable if isinstance(entry.record, Released)]
    assert sorted(entry.record.image_id for entry in facts) == [f"{number:032x}" for number in range(recorded)]
    assert ledger.unwritten(1) == 0
    claims = [entry.record.image_id for entry in durable if isinstance(entry.record, Claimed)]
    assert len(claims) == len(set(claims))
