"""One start of the command: it mends, plans, hands out bundles, watches over its processes, and publishes."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deepo_beam.engine import EngineSettings
from deepo_beam.errors import ObjectNotFoundError, OutputHeldError, RunStoppedError, StorageError
from deepo_beam.identity import bucket_of
from deepo_beam.lake import compact, complete, holding, listing, plan, publish, rebucket, summary, tally
from deepo_beam.lake.dataset import Dataset, find_dataset, write_dataset
from deepo_beam.lake.holder import Holder
from deepo_beam.lake.journal import Journal
from deepo_beam.lake.lease import BEAT_S
from deepo_beam.lake.plan import PlanRules
from deepo_beam.lake.stops import Stop, ask_to_stop
from deepo_beam.lake.summary import Summary
from deepo_beam.lake.workers import read_reports
from deepo_beam.types import ImageRef
from sim.clock import Actor, KilledError
from sim.process import MODEL, OUTPUT, Attempt, Process, RunInfo
from sim.scenario import Night
from sim.store import InstantView, View

if TYPE_CHECKING:
    from sim.life import Life

_LONGEST_RUN_S = 6 * 3600.0
_MOST_ATTEMPTS = 4  # of a bundle, before a runner gives up


@dataclass
class Bundle:
    """Some buckets, and how it stands with them."""

    buckets: dict[int, Sequence[ImageRef]]
    attempts: int = 0
    done: bool = False


class Launcher(Actor):
    """The command, from its start to its end."""

    def __init__(self, life: Life, number: int, night: Night, entries: Sequence[ImageRef]) -> None:
        super().__init__(f"run-{number:03d}")
        self.life, self.clock, self.night, self.entries = life, life.clock, night, entries
        self.rng = random.Random(f"{life.scenario.seed} {self.name}")
        self.view = View(life.store, self, life.chaos.acts)
        self.processes: list[Process] = []
        self.publishing = False
        self.stopped: str | None = None
        self.failed: str | None = None
        self.disturbed = False
        self._bundles: list[Bundle] = []
        self._of: dict[Attempt, Bundle] = {}
        self._allotments: Mapping[int, int] | None = None
        scenario = life.scenario
        self.info = RunInfo(
            run_id=self.name,
            rules=PlanRules(
                run_id=self.name,
                retry="failed",
                max_attempts=scenario.max_attempts,
                relabel=night.relabel,
                model_version_id=night.version,
            ),
            settings=EngineSettings(
                rate_per_s=scenario.rate,
                max_in_flight=scenario.max_in_flight,
                attempts=scenario.max_attempts,
                pooled_budget=scenario.in_process,
            ),
            version=night.version,
            started_us=1_760_000_000_000_000 + round(self.clock.now * 1e6),
        )

    def run(self) -> Summary | None:
        """The summary, or None if it died or could not go on."""
        self.clock.say(self.name, "starts")
        try:
            with self._held():
                return self._run()
        except KilledError:
            return None
        except (StorageError, RunStoppedError, OutputHeldError) as error:
            self.clock.say(self.name, "cannot go on: {}", error)
            self._close()
            return None
        finally:
            self.alive = False

    def kill(self, *, leaving: Process | None = None) -> None:
        """The whole run dies, but for a worker that does not know it yet."""
        if self.alive:
            self.clock.say(self.name, "is killed")
            self.alive = False
            for process in self.processes:
                if process is not leaving:
                    process.kill()

    def stop(self, why: str) -> None:
        """Somebody wants it to end in order."""
        self.stopped = why
        if self.publishing:
            return
        self.clock.say(self.name, "is asked to stop")
        if self.life.scenario.in_process:
            for process in self._living():
                process.stop(why)
        else:
            with suppress(StorageError):
                ask_to_stop(OUTPUT, self.name, Stop(why), InstantView(self.life.store, self, self.life.chaos.acts))

    def lose(self, process: Process, *, dead: bool) -> None:
        """A process is taken to be gone, rightly or not: others go on with its bundles."""
        self.disturbed = True
        bundles = [self._of[attempt] for attempt in process.attempts if attempt in self._of]
        for attempt in process.attempts:
            self._of.pop(attempt, None)
        if dead:
            process.kill()
        for bundle in bundles:
            self._again(bundle)

    # --- the output ----------------------------------------------------------------------------------

    @contextmanager
    def _held(self) -> Iterator[None]:
        """As the command holds an output."""
        if self.life.scenario.local:
            # A lock of the system: free as soon as nobody of an earlier run is left.
            if any(zombie.alive for zombie in self.life.chaos.zombies):
                raise OutputHeldError(f"another run holds {OUTPUT}")
            holding.forget_others(OUTPUT, self.name, self.view)
            yield
            return
        lease = holding.OutputLease(
            OUTPUT,
            Holder(self.name, "host", 1, "now"),
            holding.LAUNCHER,
            self.view,
            clock=lambda: self.clock.now,
            sleep=self.view.sleep,
        )
        self.clock.after(BEAT_S, lambda: self._beat(lease), self)
        yield
        lease.close()

    def _beat(self, lease: holding.OutputLease) -> None:
        try:
            with suppress(StorageError):
                lease._beat()
        except KilledError:
            return
        self.clock.after(BEAT_S, lambda: self._beat(lease), self)

    def _check_held(self) -> None:
        if not self.life.scenario.local:
            holding.check_held(OUTPUT, self.name, self.view)

    # --- in order ------------------------------------------------------------------------------------

    def _run(self) -> Summary | None:
        life, scenario = self.life, self.life.scenario
        dataset = self._mend(compact_at=scenario.compact_at)
        if dataset is None:
            dataset = Dataset(str(MODEL), "host", False, None, scenario.buckets)
            write_dataset(OUTPUT, dataset, self.view)
        self.info = replace(self.info, journal=dataset.journal)
        self.view.write_bytes(publish.run_uri(OUTPUT, self.name, "config.json", self.view), b"{}")
        buckets: dict[int, list[ImageRef]] = {}
        for image in self.entries:
            buckets.setdefault(bucket_of(image.image_id, dataset.buckets), []).append(image)
        if scenario.max_calls is not None:
            self._allotments = self._share_calls(buckets, scenario.max_calls)
        life.truth.started(self, self._allotments)
        self._hand_out(buckets)
        self._wait()
        if self.failed:
            self.clock.say(self.name, "fails: {}", self.failed)
            self._close()
            return None
        self.publishing = True
        self._acts()
        summary = self._publish(sorted(buckets))
        life.truth.published(self, summary)
        self._close()
        return summary

    def _mend(self, *, compact_at: int) -> Dataset | None:
        """What an earlier one left is finished first; None: there is no output yet."""
        dataset = find_dataset(OUTPUT, self.view)
        if dataset is not None:
            complete.mend(OUTPUT, dataset, check_held=self._check_held, store=self.view)
            compact.compact(OUTPUT, dataset, self.view, at_least=compact_at)
        return dataset

    def _share_calls(self, buckets: Mapping[int, Sequence[ImageRef]], calls: int) -> Mapping[int, int]:
        covered = publish.coverage(publish.load_intents(OUTPUT, self.info.journal, self.view)[0])
        work = {}
        for bucket, images in buckets.items():
            before = covered.get(bucket, {})
            history = Journal(OUTPUT, self.info.journal, self.view).read_history(bucket, before)
            planned = plan.plan_bucket(images, tally.known_of(history, before), self.info.rules)
            work[bucket] = sum(entry.labelling is not None for entry in planned)
        return plan.share_calls(work, calls)

    def _hand_out(self, buckets: Mapping[int, Sequence[ImageRef]]) -> None:
        scenario = self.life.scenario
        shares: list[dict[int, Sequence[ImageRef]]] = [{} for _ in range(scenario.processes)]
        for index, bucket in enumerate(sorted(buckets)):
            shares[index % len(shares)][bucket] = buckets[bucket]
        self._bundles = [Bundle(share) for share in shares if share]
        for bundle in self._bundles:
            self._attempt(bundle, self._new_process())
        for _ in range(0 if self.life.quiet else scenario.pauses):
            self.clock.after(self.rng.uniform(3.0, 15.0), self._pause, self)
        if self.rng.random() < scenario.speculative:
            self.clock.after(self.rng.uniform(0.0, 5.0), self._speculate, self)
        if self.rng.random() < scenario.stops and not self.life.quiet:
            self.clock.after(self.rng.uniform(0.0, 8.0), lambda: self.stop("somebody asked"), self)

    def _wait(self) -> None:
        def over() -> bool:
            return not self.alive or self.failed is not None or all(bundle.done for bundle in self._bundles)

        self.clock.wait_for(over, _LONGEST_RUN_S)
        if not self.alive:
            raise KilledError(self.name)

    def _publish(self, buckets: Sequence[int]) -> Summary:
        """As the publishing transform does."""
        view, run_id, scenario = self.view, self.name, self.life.scenario
        done, _ = publish.load_intents(OUTPUT, self.info.journal, view)
        covered = publish.coverage(intent for intent in done if intent.run_id != run_id)
        tallies = [self._tally(bucket, covered) for bucket in buckets]
        known = summary.summarise(
            tallies,
            read_reports(OUTPUT, run_id, view),
            run_id=run_id,
            output=OUTPUT,
            model=str(MODEL),
            model_version_id=self.night.version,
            seconds=1.0,
            max_calls=scenario.max_calls,
        )
        self._check_held()
        intent = publish.write_intent(
            OUTPUT,
            publish.plan_publish(
                tallies, known, self.info.journal, number=publish.next_number(OUTPUT, self.info.journal, done, view)
            ),
            view,
        )
        files = []
        for number in range(len(intent.shards)):
            self._check_held()
            files += publish.write_shard(OUTPUT, intent, number, covered, view)
        self._check_held()
        return complete.complete(OUTPUT, intent, files, view, seconds=1.0)

    def _tally(self, bucket: int, covered: Mapping[int, Mapping[str, int]]) -> tally.BucketTally:
        try:
            listed = listing.read_listing(OUTPUT, self.name, bucket, self.view)
        except ObjectNotFoundError:
            listed = []
        before = covered.get(bucket, {})
        journal = Journal(OUTPUT, self.info.journal, self.view)
        history = journal.read_history(bucket, before, tally.COUNTED, run_id=self.name)
        return tally.tally_bucket(bucket, listed, history, covered=before, run_id=self.name)

    def _close(self) -> None:
        """End its processes, but for those that somebody has lost sight of."""
        for process in self._living():
            if process.attempts and self.life.scenario.zombies:
                self.life.chaos.outlives(process)
            else:
                process.close()

    # --- its processes -------------------------------------------------------------------------------

    def _living(self) -> list[Process]:
        return [process for process in self.processes if process.alive]

    def _new_process(self) -> Process:
        process = Process(self.life, f"{self.name}/{len(self.processes)}", self.info)
        self.processes.append(process)
        if self.stopped and self.life.scenario.in_process:
            process.stop(self.stopped)
        return process

    def _attempt(self, bundle: Bundle, process: Process) -> None:
        bundle.attempts += 1
        self._of[process.begin(bundle.buckets, self._allotments, self._ended)] = bundle

    def _ended(self, attempt: Attempt, well: bool) -> None:
        bundle = self._of.pop(attempt, None)
        if bundle is None or not self.alive:
            return
        if well:
            bundle.done = True
        else:
            self._again(bundle)

    def _again(self, bundle: Bundle) -> None:
        if bundle.done:
            return
        if bundle.attempts >= _MOST_ATTEMPTS or self.life.scenario.in_process:
            self.failed = "a bundle failed"
            return
        others = [process for process in self._living() if not process.attempts]
        chosen = self.rng.choice(others) if others and self.rng.random() < 0.5 else None

        def attempt() -> None:
            self._attempt(bundle, chosen if chosen is not None and chosen.alive else self._new_process())

        self.clock.after(self.rng.uniform(0.1, 2.0), attempt, self)

    def _pause(self) -> None:
        if workers := self._living():
            self.life.chaos.falls_asleep(self.rng.choice(workers), self.rng.uniform(1.0, 8.0))

    def _speculate(self) -> None:
        slow = [bundle for bundle in self._bundles if not bundle.done]
        if slow and not self.life.quiet:
            self.disturbed = True
            self._attempt(self.rng.choice(slow), self._new_process())

    def _acts(self) -> None:
        self.life.chaos.publishing(self)


class Divider(Launcher):
    """``compact --buckets``."""

    def _run(self) -> None:
        dataset, buckets = self._mend(compact_at=1), self.rng.randint(1, 5)
        if dataset is not None and buckets != dataset.buckets:
            self.clock.say(self.name, "divides the journal by {}", buckets)
            self._acts()
            rebucket.rebucket(OUTPUT, dataset, buckets, self.name, check_held=self._check_held, store=self.view)
