"""Hundreds of lives of an output, each from its seed: runs, kills, zombies, faults of every kind, nights."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sim.files import rows_of
from sim.life import Life
from sim.scenario import Faults, Night, Scenario, scenario_of

SIMULATE = Path(__file__).with_name("simulate.py")
SEEDS = 700
TABLES = ("images", "labels", "errors")


@pytest.mark.slow
def test_nothing_is_lost_doubled_overdrawn_or_stuck_in_any_life() -> None:
    # In processes of their own, which coverage does not slow down.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    command = [sys.executable, str(SIMULATE), "--seeds", str(SEEDS)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_a_life_repeats_to_the_last_detail() -> None:
    lives = [Life(scenario_of(25)) for _ in range(2)]
    for life in lives:
        life.run()
    one, other = lives
    assert one.clock.now == other.clock.now
    assert one.store.objects == other.store.objects
    assert one.truth.records == other.truth.records


def test_files_for_real_hold_the_same_rows() -> None:
    published = []
    for real in (False, True):
        life = Life(Scenario(images=30, buckets=3, duplicates=2, unusable=1, real_files=real, faults=Faults(cut=0.1)))
        life.run()
        tables = {table: [uri for uri in sorted(life.store.objects) if f"/{table}/" in uri] for table in TABLES}
        published.append(
            {
                table: sorted(row for uri in uris for row in rows_of(table, life.store.objects[uri]))
                for table, uris in tables.items()
            }
        )
    quick, real = published
    assert quick["images"] != []
    assert quick == real


@pytest.mark.parametrize("processes", [1, 3])
def test_where_nothing_goes_wrong_each_image_is_one_call(processes: int) -> None:
    night = Night(new=4, changed=0.3, touched=0.3)
    life = Life(
        Scenario(images=40, processes=processes, in_process=processes == 1, buckets=4, nights=(Night(), night, night))
    )
    life.run()
    contents = {(task.image_id, task.content) for task in life.service.tasks.values()}
    assert len(life.service.tasks) == len(contents) == sum(life.truth.calls.values()) >= 48
    assert sum(summary.possibly_billed_twice for summary in life.summaries) == 0
    assert life.starts == 4


@pytest.mark.parametrize(("images", "calls"), [(40, 7), (12, 12), (5, 100)])
def test_a_budget_is_used_to_its_last_call(images: int, calls: int) -> None:
    life = Life(Scenario(images=images, buckets=4, max_calls=calls))
    life.run()
    expected = [calls] * (images // calls) + [images % calls] * (images % calls > 0)
    assert [made for made in life.truth.calls.values() if made] == expected


def test_what_a_run_may_do_is_in_the_scenarios() -> None:
    scenarios = [scenario_of(seed) for seed in range(2000)]
    for name in (
        "kills",
        "zombies",
        "speculative",
        "stops",
        "rebuckets",
        "real_files",
        "max_calls",
        "rate",
        "max_in_flight",
    ):
        assert sum(bool(getattr(scenario, name)) for scenario in scenarios) >= 50, name
    for name in Faults.__dataclass_fields__.keys() - {"load_s"}:
        assert sum(getattr(each.faults, name) != getattr(Faults(), name) for each in scenarios) >= 50, name
    assert all(replace(scenario, seed=-1) != replace(scenarios[0], seed=-1) for scenario in scenarios[1:20])
