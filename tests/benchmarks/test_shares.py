"""What the benchmark of shares counts, and the quota of its server."""

from __future__ import annotations

import json
import math

import pytest

from benchmarks.bench.report import PAGE, ROOT
from benchmarks.quota_server import Quota, parse_quota
from benchmarks.shares import Case, measures, most_above, table


def test_a_quota_moves_at_its_seconds_and_is_exceeded_by_what_was_saved_up() -> None:
    quota = Quota(parse_quota("0:100,10:10"))
    assert [quota.rate(second) for second in (0.0, 9.9, 10.0)] == [100.0, 100.0, 10.0]
    assert sum(quota.take(1.0 + call / 1000) for call in range(1000)) == pytest.approx(110, abs=1)
    assert sum(quota.take(20.0 + call / 1000) for call in range(1000)) == pytest.approx(12, abs=1)


def test_without_a_quota_everything_is_taken() -> None:
    assert Quota(parse_quota("")).rate(5.0) == math.inf
    assert all(Quota({}).take(0.0) for _ in range(100))


def test_the_most_calls_above_a_rate_are_those_of_the_worst_window() -> None:
    even = [second / 10 for second in range(100)]
    assert most_above(even, 10.0) == pytest.approx(1.0)
    assert most_above(sorted([*even, 5.0, 5.0, 5.0]), 10.0) == pytest.approx(4.0)


def test_what_is_used_is_a_share_of_the_smaller_of_rate_and_quota() -> None:
    posts = [(call / 100, call % 50 > 0) for call in range(4000)]
    found = measures(Case("", 2, 200.0, {0.0: 100.0, 30.0: 50.0}, seconds=30.0), posts)
    assert found["refused"] == pytest.approx(0.02)
    assert found["used"] == pytest.approx(3000 * 0.98 / 2500, abs=0.001)
    assert found["bound"] == 3.0


def test_the_page_shows_what_was_measured() -> None:
    kept = json.loads((ROOT / "benchmarks" / "results" / "shares.json").read_text())
    assert table(kept) in PAGE.read_text()
    moved = measures(
        Case("moved", 4, 200.0, {0.0: 100.0, 40.0: 50.0}, seconds=70.0), [(s / 50, True) for s in range(4000)]
    )
    assert "| moved | 4 | 1.00, 30 s after each change |  |" in table({**kept, "cases": [moved]})
