"""The simulation can fail: each deliberate bug in production code is found within a few lives."""

from __future__ import annotations

import functools

import pytest
from sim.mutants import MUTANTS, Mutant
from simulate import failure_of

LIVES = 700  # from the one that showed it when it was made: other code may have moved it


@functools.cache
def _well(seed: int) -> bool:
    return failure_of(seed) is None


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_deliberate_bug_is_found(mutant: Mutant) -> None:
    assert _well(mutant.seed), "fails without it"
    with mutant.bug():
        assert any(failure_of(seed) for seed in range(mutant.seed, mutant.seed + LIVES)), "not found"


def test_no_bug_is_listed_twice() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 20
