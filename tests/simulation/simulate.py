"""Simulate lives of an output: ``simulate.py --seeds 10000``, or ``simulate.py --seed 42`` with a trace."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from sim.life import Life
from sim.mutants import MUTANTS, Mutant
from sim.scenario import scenario_of


def failure_of(seed: int) -> str | None:
    """What does not hold in the life of a seed; None if all does."""
    try:
        Life(scenario_of(seed)).run()
    except Exception as error:  # a bug of any kind, in the code or in the model, is what is looked for
        return f"{type(error).__name__}: {error}"
    return None


def simulate(seeds: range, processes: int | None = None) -> dict[int, str]:
    """The seeds that fail, and why."""
    if processes == 1:
        found = map(failure_of, seeds)
        return {seed: failure for seed, failure in zip(seeds, found, strict=True) if failure}
    with multiprocessing.Pool(processes) as pool:
        found = pool.imap(failure_of, seeds, chunksize=20)
        return {seed: failure for seed, failure in zip(seeds, found, strict=True) if failure}


def first_seed_of(mutant: Mutant, seeds: range) -> int | None:
    """The first seed whose life shows a deliberate bug."""
    with mutant.bug():
        return next((seed for seed in seeds if failure_of(seed)), None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="how many lives")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="this one only, with a trace")
    parser.add_argument("--processes", type=int, help="at a time; one for each processor")
    parser.add_argument("--mutants", action="store_true", help="for each deliberate bug, the first seed that shows it")
    given = parser.parse_args()
    if given.mutants:
        for mutant in MUTANTS:
            print(first_seed_of(mutant, range(given.first, given.first + given.seeds)), mutant.name, flush=True)
        return 0
    if given.seed is not None:
        scenario = scenario_of(given.seed)
        print(scenario)
        Life(scenario, trace=True).run()
        print("all holds")
        return 0
    started = time.monotonic()
    failures = simulate(range(given.first, given.first + given.seeds), given.processes)
    for seed, failure in failures.items():
        print(f"seed {seed}: {failure}")
    print(f"{given.seeds} lives in {time.monotonic() - started:.1f} s, {len(failures)} of them broken")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
