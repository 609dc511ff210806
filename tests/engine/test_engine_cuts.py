"""What follows from a cut, and what several processes know together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepo_beam.engine.cuts import Cut, cautious_rate, together


def test_after_a_refusal_the_rate_comes_near_probes_and_then_looks_for_a_quota_that_moved() -> None:
    rates = {second: cautious_rate(float(second), 100.0, sure=True) for second in range(40)}
    assert [rates[second] for second in (0, 2, 16)] == pytest.approx([90.0, 97.0, 100.0])
    assert rates[18] < 104.0  # gently at first, for the quota may have stayed
    assert rates[24] > 300.0
    assert list(rates.values()) == sorted(rates.values())


def test_a_rate_that_was_only_guessed_is_left_behind_quickly() -> None:
    assert cautious_rate(6.0, 10.0, sure=False) == pytest.approx(4 * 9.7)


@given(st.floats(0.0, 1e6), st.floats(0.0, 1e3), st.floats(1.0, 1e4), st.booleans())
def test_the_rate_only_grows_while_nothing_is_refused(calm_s: float, more_s: float, at: float, sure: bool) -> None:
    assert 0.9 * at <= cautious_rate(calm_s, at, sure=sure) <= cautious_rate(calm_s + more_s, at, sure=sure) + 1e-6


def test_nobody_who_was_refused_knows_nothing_together() -> None:
    assert together([]) is None
    assert together([None, None]) is None


def test_the_last_cut_is_in_force_with_the_mean_of_what_those_say_who_know_it() -> None:
    old, one, other = Cut(3, 500.0, False, 20.0), Cut(4, 90.0, False, 0.5), Cut(4, 110.0, True, 1.5)
    assert together([old, None, one, other]) == Cut(4, 100.0, True, 1.5)


cuts = st.builds(Cut, st.integers(1, 4), st.floats(1.0, 1e4), st.booleans(), st.floats(0.0, 60.0))


@given(st.lists(st.none() | cuts, min_size=1, max_size=6), st.randoms())
def test_together_is_the_same_in_any_order_and_within_what_was_told(told: list, rng) -> None:
    found = together(told)
    rng.shuffle(told)
    again = together(told)
    if found is None:
        assert again is None
        return
    last = [cut for cut in told if cut is not None and cut.number == found.number]
    assert (again.number, again.sure, again.calm_s) == (found.number, found.sure, found.calm_s)
    assert again.refused_at == pytest.approx(found.refused_at)
    assert found.number == max(cut.number for cut in told if cut is not None)
    rates = [cut.refused_at for cut in last]
    assert min(rates) * (1 - 1e-9) <= found.refused_at <= max(rates) * (1 + 1e-9)
