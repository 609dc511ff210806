"""How many calls may be claimed, and what becomes of those who find none."""

from hypothesis import given
from hypothesis import strategies as st

from deepo_beam.engine.budget import Budget
from deepo_beam.engine.work import Job, Work
from deepo_beam.records import Reason
from deepo_beam.types import ImageRef


def job(bucket: int = 0) -> Job:
    return Job(Work(1, bucket, ImageRef("0" * 32, "/0", "/0")), 0.0, Reason.FIRST, 0)


def budget_of(calls: dict[int, int], labellings: int = 1, *, pooled: bool = True) -> Budget:
    """A budget with so many labellings open in each bucket."""
    budget = Budget(pooled=pooled)
    for bucket, allotted in calls.items():
        for _ in range(labellings):
            budget.opened(bucket)
        budget.allot(bucket, allotted)
    return budget


def test_a_bucket_without_an_allotment_has_no_limit() -> None:
    budget = budget_of({1: 0})
    assert all(budget.claim(job(0)) for _ in range(1000))
    assert not budget.claim(job(1))


def test_no_more_calls_are_claimed_than_were_allotted() -> None:
    budget = budget_of({0: 3, 1: 1})
    assert [budget.claim(job(0)) for _ in range(5)] == [True, True, True, False, False]
    assert [budget.claim(job(1)) for _ in range(2)] == [True, False]


def test_a_second_allotment_of_a_bucket_is_about_the_same_calls() -> None:
    budget = budget_of({0: 1})
    budget.allot(0, 5)
    assert [budget.claim(job()) for _ in range(2)] == [True, False]


def test_a_call_that_was_not_made_goes_to_the_one_that_waits() -> None:
    budget = budget_of({0: 1}, labellings=2)
    first, second = job(), job()
    assert budget.claim(first)
    assert not budget.claim(second)
    assert (budget.affordable(), budget.hopeless()) == ([], [])
    budget.returned(0)
    assert budget.affordable() == [second]
    assert budget.affordable() == []
    assert budget.claim(second)
    assert not budget.claim(job())


def test_when_the_last_call_is_on_the_wire_those_that_wait_are_told_so() -> None:
    budget = budget_of({0: 1}, labellings=3)
    budget.claim(job())
    waiting = [job(), job()]
    assert not any(budget.claim(one) for one in waiting)
    assert budget.hopeless() == waiting[1:]  # one call may still be returned
    budget.sent(0)
    assert budget.hopeless() == waiting[:1]


def test_what_a_finished_bucket_leaves_goes_to_the_others_of_the_process() -> None:
    budget = budget_of({0: 2, 1: 0})
    waiting = job(1)
    assert not budget.claim(waiting)
    assert budget.hopeless() == []
    budget.settled(0)
    assert budget.affordable() == [waiting]
    assert budget.claim(waiting)
    assert budget.claim(job(1))
    assert not budget.claim(job(1))


def test_what_a_bucket_without_work_was_allotted_goes_to_the_others() -> None:
    budget = budget_of({0: 0})
    budget.allot(1, 1)
    assert budget.claim(job(0))
    assert not budget.claim(job(0))


def test_where_another_process_may_label_the_bucket_again_nothing_is_passed_on() -> None:
    budget = budget_of({0: 2, 1: 0}, pooled=False)
    waiting = job(1)
    assert not budget.claim(waiting)
    assert budget.hopeless() == [waiting]
    budget.settled(0)
    assert not budget.claim(job(1))


def test_those_that_wait_can_be_taken_back() -> None:
    budget = budget_of({0: 0})
    waiting = job()
    budget.claim(waiting)
    assert (budget.withdraw(), budget.withdraw()) == ([waiting], [])


@given(
    st.dictionaries(st.integers(0, 3), st.integers(0, 6), min_size=1),
    st.booleans(),
    st.lists(st.tuples(st.sampled_from(["claim", "send", "return", "settle", "look"]), st.integers(0, 3)), max_size=60),
)
def test_the_budget_is_never_exceeded_and_whoever_waits_can_still_hope(
    calls: dict[int, int], pooled: bool, script: list[tuple[str, int]]
) -> None:
    budget = budget_of(calls, labellings=4, pooled=pooled)
    held, sent = dict.fromkeys(calls, 0), dict.fromkeys(calls, 0)
    open_ = dict.fromkeys(calls, 4)
    for step, bucket in script:
        if bucket not in calls:
            continue
        if step == "claim":
            held[bucket] += budget.claim(job(bucket))
        elif step == "send" and held[bucket]:
            budget.sent(bucket)
            held[bucket], sent[bucket] = held[bucket] - 1, sent[bucket] + 1
        elif step == "return" and held[bucket]:
            budget.returned(bucket)
            held[bucket] -= 1
        elif step == "settle" and open_[bucket] > 1 + held[bucket]:
            budget.settled(bucket)
            open_[bucket] -= 1
        else:
            for waiting in budget.affordable():
                assert budget.claim(waiting)
                held[waiting.work.bucket] += 1
            budget.hopeless()
        in_use = sum(sent.values()) + sum(held.values())
        assert in_use <= sum(calls.values())
        if not pooled:
            assert all(sent[each] + held[each] <= calls[each] for each in calls)
    budget.affordable()
    budget.hopeless()
    left = sum(calls.values()) - sum(sent.values())
    assert len(budget.withdraw()) <= left
