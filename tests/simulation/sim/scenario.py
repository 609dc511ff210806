"""What may happen to an output, drawn from a seed: most things are off in most scenarios, so that some are alone."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Faults:
    """Shares are 0..1, times seconds, rates calls/s."""

    latency: tuple[float, float] = (0.1, 0.3)
    post_s: tuple[float, float] = (0.002, 0.02)
    load_s: tuple[float, float] = (0.0, 0.01)
    service_rate: float | None = None
    unavailable: float = 0.0
    broken: float = 0.0
    cut: float = 0.0
    too_large: float = 0.0
    bad_images: float = 0.0
    unreadable: float = 0.0
    task_errors: float = 0.0
    lost: float = 0.0
    stuck: float = 0.0
    failed_polls: float = 0.0
    slow_polls: float = 0.0
    outage: tuple[float, float] | None = None
    revoked: tuple[float, float] | None = None
    store_s: tuple[float, float] = (0.001, 0.02)
    slow_writes: float = 0.0
    failed_writes: float = 0.0
    failed_reads: float = 0.0
    stale_s: float = 0.0


@dataclass(frozen=True)
class Night:
    """What is new when the command is started again: shares of the images that are new, changed, touched."""

    new: int = 0
    changed: float = 0.0
    touched: float = 0.0
    relabel: str = "none"
    version: int = 21


@dataclass(frozen=True)
class Scenario:
    """One life of an output.

    Attributes:
        in_process: the command is its only worker: it dies as a whole, and what a finished bucket leaves of the
            budget goes to the others.
        local: the output is on local disk, where a lock of the system ends with the processes of a run; elsewhere it
            is held by a lease.
        kills: how often somebody dies, falls asleep or is given up; ``zombies``: some of them go on for a while.
        pauses: how often in a start some worker's machine sleeps for a while.
        speculative: bundles are sometimes given to a second process although the first is well.
        stops: share of the starts that somebody asks to stop.
        rebuckets: share of the starts before which somebody asks for another number of buckets.
        real_files: segments and tables are Parquet, as in production, not Python objects.
    """

    seed: int = 0
    images: int = 20
    duplicates: int = 0
    unusable: int = 0
    buckets: int = 2
    processes: int = 1
    in_process: bool = True
    local: bool = True
    nights: tuple[Night, ...] = (Night(),)
    rate: float | None = None
    max_in_flight: int | None = None
    max_calls: int | None = None
    max_attempts: int = 5
    compact_at: int = 3
    kills: int = 0
    zombies: bool = False
    speculative: float = 0.0
    pauses: int = 0
    stops: float = 0.0
    rebuckets: float = 0.0
    real_files: bool = False
    faults: Faults = field(default_factory=Faults)

    @property
    def calm(self) -> bool:
        """Nobody dies, nobody overlaps, nothing is asked to stop."""
        return not (self.kills or self.speculative or self.stops or self.pauses)


def scenario_of(seed: int) -> Scenario:
    """The scenario of a seed."""
    rng = random.Random(seed)
    scenario = _crowd(seed, rng) if seed % 25 == 13 else _any(seed, rng)
    # Often where somebody may not hear of it.
    shares = [0.0, 1.0] if scenario.zombies else [0.0, 0.0, 0.0, 0.2, 0.7]
    return replace(scenario, rebuckets=random.Random(f"{seed} rebuckets").choice(shares))


def _any(seed: int, rng: random.Random) -> Scenario:
    images = rng.choice([1, 2, 5, 8, 12, 12, 20, 40])
    processes = rng.choice([1, 1, 2, 3])
    kills = rng.choice([0, 1, 1, 2, 3])
    nights = rng.choice([0, 0, 1, 1, 2, 3])
    in_process = processes == 1 and rng.random() < 0.7
    overlapping = processes > 1 and rng.random() < 0.5
    return Scenario(
        seed=seed,
        images=images,
        duplicates=rng.choice([0, 0, 2]),
        unusable=rng.choice([0, 0, 1]),
        buckets=rng.choice([1, 2, 3, 4]),
        processes=processes,
        in_process=in_process,
        local=rng.random() < (0.8 if in_process else 0.4),
        nights=(Night(), *(_night(rng, number) for number in range(nights))),
        rate=rng.choice([None, None, 5.0, 50.0]),
        max_in_flight=rng.choice([None, None, 1, 10]),
        max_calls=rng.choice([None, None, max(1, images // 3), images, 2 * images]),
        max_attempts=rng.choice([1, 3, 5]),
        compact_at=rng.choice([1, 2, 3]),
        kills=kills,
        zombies=overlapping,
        speculative=0.3 if overlapping and rng.random() < 0.5 else 0.0,
        stops=rng.choice([0.0, 0.0, 0.3]),
        real_files=seed % 40 == 7,
        faults=_faults(rng, stale=overlapping, longest_outage_s=1200.0 if in_process else 60.0),
    )


def _crowd(seed: int, rng: random.Random) -> Scenario:
    """Several processes share a rate, and some sleep: enough work to tell whether they keep it."""
    return Scenario(
        seed=seed,
        images=rng.choice([40, 80]),
        buckets=4,
        processes=rng.choice([2, 3]),
        in_process=False,
        local=rng.random() < 0.2,
        rate=rng.choice([5.0, 10.0]),
        kills=rng.choice([0, 1, 2]),
        zombies=True,
        pauses=rng.choice([0, 2, 4]),
        faults=Faults(latency=rng.choice([(0.0, 0.01), (1.0, 3.0)]), post_s=(0.001, 0.01)),
    )


def _night(rng: random.Random, number: int) -> Night:
    return Night(
        new=rng.choice([0, 1, 4]),
        changed=rng.choice([0.0, 0.2]),
        touched=rng.choice([0.0, 0.2]),
        relabel=rng.choice(["none", "none", "none", "outdated", "all"]),
        version=21 + rng.choice([0, number]),
    )


def _faults(rng: random.Random, *, stale: bool, longest_outage_s: float) -> Faults:
    def some(share: float, likely: float = 0.25) -> float:
        return rng.choice([share, 2 * share]) if rng.random() < likely else 0.0

    latency = rng.choice([0.0, 0.05, 0.2, 2.0])
    faults = Faults(
        latency=(0.8 * latency, 1.2 * latency + 0.01),
        post_s=rng.choice([(0.001, 0.002), (0.04, 0.06), (0.01, 1.0)]),
        service_rate=rng.choice([None, None, None, 4.0, 40.0]),
        unavailable=some(0.1),
        broken=some(0.05),
        cut=some(0.03),
        too_large=some(0.02),
        bad_images=some(0.05),
        unreadable=some(0.05),
        task_errors=some(0.05),
        lost=some(0.05),
        stuck=some(0.02, 0.1),
        failed_polls=some(0.2),
        slow_polls=some(0.2),
        outage=(rng.uniform(0.0, 5.0), rng.choice([2.0, 20.0, longest_outage_s])) if rng.random() < 0.15 else None,
        revoked=(rng.uniform(0.0, 5.0), rng.choice([5.0, 60.0])) if rng.random() < 0.1 else None,
        store_s=rng.choice([(0.0001, 0.001), (0.001, 0.02), (0.05, 0.3)]),
        slow_writes=some(0.1),
        failed_writes=some(0.1),
        failed_reads=some(0.01),
        stale_s=rng.choice([0.0, 0.0, 2.0]) if stale else 0.0,
    )
    if rng.random() < 0.1:  # limits are reached only where nearly everything fails
        worst = rng.choice(["unavailable", "broken", "cut", "task_errors", "lost", "unreadable", "failed_polls"])
        faults = replace(faults, **{worst: 0.8})
    return faults
