"""Whether the service is down, and who is to blame for a call that failed."""

import pytest

from deepo_beam.engine.blame import Blame
from deepo_beam.engine.breaker import Breaker
from deepo_beam.engine.work import Job, Work
from deepo_beam.records import Reason
from deepo_beam.types import ImageRef


def opened(threshold: int = 3, now: float = 10.0) -> Breaker:
    breaker = Breaker(threshold)
    for _ in range(threshold):
        breaker.failed(now, probe=False)
    return breaker


def probe(breaker: Breaker, now: float) -> None:
    assert breaker.may_post(now) == 0.0
    breaker.failed(now, probe=breaker.starts_post())


def test_it_opens_at_so_many_failures_in_a_row() -> None:
    breaker = Breaker(3)
    breaker.failed(10.0, probe=False)
    breaker.failed(10.1, probe=False)
    assert not breaker.open
    assert breaker.may_post(10.1) == 0.0
    breaker.failed(10.2, probe=False)
    assert breaker.open
    assert breaker.down_since == 10.2


def test_an_answer_between_begins_the_row_anew() -> None:
    breaker = Breaker(3)
    for _ in range(5):
        breaker.failed(1.0, probe=False)
        breaker.failed(1.0, probe=False)
        breaker.answered()
    assert not breaker.open


def test_while_open_one_post_at_a_time_asks_after_a_second() -> None:
    breaker = opened(now=10.0)
    assert breaker.may_post(10.0) == pytest.approx(1.0)
    assert breaker.may_post(10.9) == pytest.approx(0.1)
    assert breaker.may_post(11.0) == 0.0
    breaker.starts_post()
    assert breaker.may_post(50.0) == float("inf")


def test_each_probe_that_fails_doubles_the_pause_up_to_half_a_minute() -> None:
    breaker, now, pauses = opened(now=0.0), 0.0, []
    for _ in range(8):
        pauses.append(breaker.may_post(now))
        now += pauses[-1]
        probe(breaker, now)
    assert pauses == pytest.approx([1, 2, 4, 8, 16, 30, 30, 30])
    assert breaker.down_since == 0.0


def test_any_answer_closes_it_and_the_next_outage_begins_with_the_short_pause() -> None:
    breaker = opened(now=0.0)
    probe(breaker, 1.0)
    breaker.answered()
    assert not breaker.open
    assert breaker.may_post(1.0) == 0.0
    for _ in range(3):
        breaker.failed(5.0, probe=False)
    assert breaker.may_post(5.0) == pytest.approx(1.0)


def test_posts_that_were_out_when_it_opened_neither_let_a_second_one_through_nor_make_the_pause_longer() -> None:
    breaker = opened(now=0.0)
    breaker.failed(0.2, probe=False)  # one that was on its way
    assert breaker.may_post(0.2) == pytest.approx(0.8)
    breaker.starts_post()
    breaker.failed(1.1, probe=False)
    assert breaker.may_post(1.1) == float("inf")  # the probe is still out


# --- blame -------------------------------------------------------------------------------------------


def job(number: int = 0) -> Job:
    image = ImageRef(f"{number:032x}", f"/{number}", f"/{number}")
    return Job(Work(1, 0, image), queued_at=0.0, reason=Reason.FIRST, attempt=0)


def test_a_failed_call_is_only_suspected_of_its_image() -> None:
    blame, one = Blame(20), job()
    blame.failed(one, 3.0)
    blame.failed(one, 5.0)
    assert (one.tries, one.suspected, one.first_failed_at) == (0, 2, 3.0)


def test_when_the_service_accepts_another_call_the_failures_before_were_their_images_own() -> None:
    blame, one, other = Blame(20), job(1), job(2)
    blame.failed(one, 3.0)
    blame.failed(other, 3.0)
    blame.failed(one, 4.0)
    blame.accepted()
    assert (one.tries, one.suspected) == (2, 0)
    assert (other.tries, other.suspected) == (1, 0)
    blame.accepted()
    assert (one.tries, other.tries) == (2, 1)


def test_when_the_service_is_down_every_suspect_is_acquitted() -> None:
    blame, jobs = Blame(4), [job(number) for number in range(4)]
    for one in jobs:
        blame.failed(one, 3.0)
    assert blame.breaker.open
    blame.accepted()
    assert [(one.tries, one.suspected, one.first_failed_at) for one in jobs] == [(0, 0, None)] * 4


def test_what_fails_while_the_service_is_down_is_charged_to_nobody() -> None:
    blame, one = Blame(2), job()
    for now in range(10):
        blame.failed(one, float(now))
    blame.accepted()
    assert (one.tries, one.suspected, one.first_failed_at) == (0, 0, None)


def test_an_outage_does_not_acquit_of_what_was_proved_before() -> None:
    blame, one = Blame(2), job()
    blame.failed(one, 1.0)
    blame.accepted()
    blame.failed(one, 2.0)
    blame.failed(one, 3.0)
    assert blame.breaker.open
    assert (one.tries, one.suspected) == (1, 0)


def test_one_that_rests_because_others_post_cannot_see_how_long_the_service_is_down() -> None:
    breaker = Breaker(1)
    breaker.rest(0.0)
    assert breaker.down_since is None
    breaker.failed(1.0, probe=False)
    breaker.rest(500.0)
    assert breaker.down_since == 500.0
    assert breaker.may_post(500.0) == 0.0
