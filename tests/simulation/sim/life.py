"""The whole life of an output: nights, on each of which the same command is started until everything is settled."""

from __future__ import annotations

import random
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import patch

from deepo_beam.errors import ErrorCode, Stage
from deepo_beam.lake import holding
from deepo_beam.lake.summary import Summary
from deepo_beam.types import Failure, ImageRef
from sim.chaos import Chaos
from sim.clock import Clock
from sim.files import simulated_files
from sim.launcher import Divider, Launcher
from sim.scenario import Faults, Night, Scenario
from sim.service import Service
from sim.store import SimulatedStore
from sim.truth import Truth
from sim.verdict import judge

_MOST_STARTS = 100
_HARMLESS = Faults()


class Life:
    """One scenario, from an empty store to the verdict."""

    def __init__(self, scenario: Scenario, *, trace: bool = False) -> None:
        self.scenario = scenario
        self.clock = Clock(trace=trace)
        self.store = SimulatedStore(self.clock, scenario.faults, random.Random(f"{scenario.seed} store"))
        self.service = Service(scenario.faults, random.Random(f"{scenario.seed} service"))
        self.truth = Truth(self)
        self.store.before_write = self.truth.before_write
        self.store.before_delete = self.truth.before_delete
        self.chaos = Chaos(self, random.Random(f"{scenario.seed} chaos"))
        self.launcher: Launcher | None = None
        self.quiet = False
        self.entries: list[ImageRef] = []
        self.contents: dict[str, str] = {}
        self.starts = 0
        self.summaries: list[Summary] = []
        self._rng = random.Random(f"{scenario.seed} life")
        self._rebuckets = random.Random(f"{scenario.seed} rebuckets")
        self._images: list[ImageRef] = []

    @property
    def harmless(self) -> bool:
        """Nothing that could make anybody pay twice was ever to happen."""
        faults = self.scenario.faults
        quick = replace(faults, **{name: getattr(_HARMLESS, name) for name in _CANNOT_HURT})
        return self.scenario.calm and quick == _HARMLESS

    def run(self) -> None:
        """Live it; AssertionError if something that must hold does not."""
        wall = SimpleNamespace(time_ns=lambda: 1_760_000_000_000_000_000 + round(self.clock.now * 1e9), sleep=None)
        with simulated_files(real=self.scenario.real_files), patch.object(holding, "time", wall):
            for number, night in enumerate(self.scenario.nights):
                self._fall(number, night)
                self._until_settled(night)
            self._last_night(self.scenario.nights[-1])
            judge(self)

    def _until_settled(self, night: Night) -> Summary:
        for number in range(_MOST_STARTS):
            if self._rebuckets.random() < self.scenario.rebuckets and not self.quiet:
                self._start(night, Divider)
            summary = self._start(night, Launcher)
            if summary is not None and summary.not_attempted == 0 and summary.stopped is None:
                return summary
            if summary is not None and night.relabel == "all":
                night = replace(night, relabel="none")  # all that is published: to ask again would be to pay again
            patience_s = 3.0 * min(
                1.2**number, 1000.0
            )  # whoever starts it again loses patience before the service is back
            self.clock.pass_until(self.clock.now + self._rng.uniform(0.0, patience_s))
            while self.service.refuses_the_key(self.clock.now):
                self.clock.pass_until(self.clock.now + 5.0)
        raise AssertionError(f"not settled after {_MOST_STARTS} starts")

    def _start(self, night: Night, command: type[Launcher]) -> Summary | None:
        self.starts += 1
        self.chaos.prepare()
        self.launcher = command(self, self.starts, night, self.entries)
        summary = self.launcher.run()
        if summary is not None:
            self.summaries.append(summary)
        return summary

    def _last_night(self, night: Night) -> None:
        """The storm is over: what is left is finished, and nothing more happens."""
        self.clock.pass_until(self.clock.now + 30.0)
        for zombie in self.chaos.zombies:
            zombie.kill()
        self.quiet = True
        self.service.get_well()
        self.store.well = True
        night = replace(night, relabel="none")
        for _ in range(_MOST_STARTS):
            if self._until_settled(night).calls == 0:
                return
        raise AssertionError("still calls after everything is settled")

    # --- images --------------------------------------------------------------------------------------

    def _fall(self, number: int, night: Night) -> None:
        """What the next listing says."""
        rng, scenario = self._rng, self.scenario
        modified_us = 1_700_000_000_000_000 + 1_000_000 * number
        for index, image in enumerate(self._images):
            changed, touched = rng.random() < night.changed, rng.random() < night.touched
            if changed:
                self.contents[image.image_id] = f"content {number}"
            if changed or touched:
                self._images[index] = image._replace(modified_us=modified_us)
        for _ in range(night.new if number else scenario.images):
            image_id = f"{rng.getrandbits(128):032x}"
            uri = f"s3://lake/{image_id}.jpg"
            line = len(self._images)
            self._images.append(
                ImageRef(image_id, uri, uri, size_bytes=80_000, modified_us=modified_us, source="list", line=line)
            )
            self.contents[image_id] = "content 0"
        self.entries = [*self._images]
        for extra in range(scenario.duplicates):
            twin = self._images[extra % len(self._images)]
            self.entries.append(twin._replace(line=1000 + extra, attributes=(("camera", "b"),)))
        for extra in range(scenario.unusable):
            problem = Failure(Stage.LIST, ErrorCode.INVALID_URI, "no URI", retryable=False)
            image_id = f"{extra:032x}"
            self.entries.append(ImageRef(image_id, f"?{extra}", "", line=2000 + extra, problem=problem))
            self.contents[image_id] = ""


_CANNOT_HURT = (
    "latency",
    "post_s",
    "load_s",
    "store_s",
    "service_rate",
    "too_large",
    "bad_images",
    "unreadable",
    "unavailable",
    "failed_polls",
    "slow_polls",
    "outage",
    "revoked",
)
