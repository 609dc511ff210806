"""What really happened, seen from outside, and what must hold of it: checked as things happen."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING

from deepo_beam.api import TaskState
from deepo_beam.engine import Outcome, Settled
from deepo_beam.engine.work import Job
from deepo_beam.identity import bucket_of
from deepo_beam.lake.journal import COMPACTED, FIRST_JOURNAL
from deepo_beam.lake.publish import decode_intent
from deepo_beam.lake.summary import Summary
from deepo_beam.records import Accepted, Claimed, Finished, Record
from deepo_beam.types import Status
from sim.clock import Actor
from sim.files import records_of
from sim.process import OUTPUT, Attempt, Process

if TYPE_CHECKING:
    from sim.launcher import Launcher
    from sim.life import Life

_TABLES = ("labels", "images", "errors")


class Truth:
    """Everything durable, every call, every attempt."""

    def __init__(self, life: Life) -> None:
        self.life = life
        self.records: list[Record] = []
        self._journals: list[str] = []  # where each of them stands
        self.posts: defaultdict[Process, list[float]] = defaultdict(list)
        self.calls: Counter[str] = Counter()
        self.overlapped: set[tuple[str, int]] = set()
        self.attempts: Counter[tuple[str, int]] = Counter()
        self._claims: set[tuple[str, Claimed]] = set()
        self._sent: set[tuple[str, str, int, int]] = set()
        self._claimed: set[tuple[str, str, str, int, int]] = set()
        self._bucket_calls: Counter[tuple[str, int]] = Counter()
        self._active: defaultdict[int, set[tuple[Process, Attempt]]] = defaultdict(set)
        self._allotments: dict[str, Mapping[int, int]] = {}
        self._planned: dict[tuple[Process, int], int] = {}
        self._known_tasks: defaultdict[tuple[Process, str, int], list[str]] = defaultdict(list)
        self._accepted: Counter[tuple[Process, str, int]] = Counter()

    @property
    def claims(self) -> int:
        """Calls that may have been made."""
        return len(self._claims)

    # --- the store -----------------------------------------------------------------------------------

    def before_write(self, actor: Actor, uri: str, data: bytes) -> None:
        """What is written once is never changed, and in the order in which others rely on it."""
        objects, old = self.life.store.objects, self.life.store.objects.get(uri)
        parts = uri.removeprefix(f"{OUTPUT}/").split("/")
        if parts[0].startswith("journal") and len(parts) == 3:
            assert old is None or old == data, f"segment {uri} was changed"
            if old is None:
                self._durable(actor, parts[0], records_of(data))
        elif parts[0] in _TABLES:
            run_id = parts[1].removeprefix("run_id=")
            assert f"{OUTPUT}/runs/{run_id}/publish.json" in objects, f"{uri} was written before its intent"
            assert f"{OUTPUT}/runs/{run_id}/_SUCCESS" not in objects, f"{uri} was written after _SUCCESS"
        elif parts[-1] == "publish.json":
            assert old is None or old == data, f"intent {uri} was changed"
        elif parts[-1] == "_SUCCESS":
            self._complete(parts[1])

    def before_delete(self, uri: str) -> None:
        """A segment goes only when another one, of the journal in force, says what it said."""
        objects, folder = self.life.store.objects, uri.rpartition("/")[0]
        if "/bucket=" not in uri or uri not in objects:
            return
        dataset = json.loads(objects[f"{OUTPUT}/dataset.json"])
        journal = folder.removeprefix(f"{OUTPUT}/").partition("/")[0]
        if journal == dataset["journal"]:
            others = (other for other in objects if other.startswith(f"{folder}/") and other != uri)
            assert any(other.endswith(COMPACTED) for other in others), f"{uri} was deleted, and nothing stands for it"
        elif journal == FIRST_JOURNAL or f"{OUTPUT}/{journal}/compacted_runs.json" in objects:
            self._taken_over(records_of(objects[uri]), dataset)

    def _taken_over(self, records: list[Record], dataset: dict) -> None:
        """Word for word, but for what came before the newest labels of an image."""
        for record in records:
            folder = f"{OUTPUT}/{dataset['journal']}/bucket={bucket_of(record.image_id, dataset['buckets']):05d}/"
            known = [
                other
                for uri, data in self.life.store.objects.items()
                if uri.startswith(folder)
                for other in records_of(data)
                if other.image_id == record.image_id
            ]
            labelled = (
                other.generation >= record.generation
                for other in known
                if isinstance(other, Finished) and other.result.status is not Status.FAILED
            )
            assert record in known or any(labelled), f"{record} was deleted, and not taken over"

    def _durable(self, actor: Actor, journal: str, records: list[Record]) -> None:
        self.records += records
        self._journals += [journal] * len(records)
        for record in records:
            if isinstance(record, Claimed):
                self._claims.add((actor.name, record))
                call = (record.run_id, record.image_id, record.generation, record.attempt)
                self._claimed.add((actor.name, *call))

    def _complete(self, run_id: str) -> None:
        objects, folder = self.life.store.objects, f"{OUTPUT}/runs/{run_id}"
        for name in ("publish.json", "manifest.json", "summary.json"):
            assert f"{folder}/{name}" in objects, f"run {run_id} has _SUCCESS and no {name}"
        intent = decode_intent(objects[f"{folder}/publish.json"])
        listed = {file["path"] for file in json.loads(objects[f"{folder}/manifest.json"])["files"]}
        for number in range(len(intent.shards)):
            for table in _TABLES:
                path = f"{table}/run_id={run_id}/part-{number:05d}.parquet"
                assert path in listed, f"{path} is not in the manifest"
                assert f"{OUTPUT}/{path}" in objects, f"{path} is in the manifest, and nowhere else"

    # --- runs and attempts ---------------------------------------------------------------------------

    def started(self, launcher: Launcher, allotments: Mapping[int, int] | None) -> None:
        """A run is about to label; with a budget, these are the parts of its buckets."""
        if allotments is not None:
            self._allotments[launcher.name] = allotments
            budget = launcher.life.scenario.max_calls
            assert sum(allotments.values()) in (0, budget), f"{allotments} is not {budget} calls"

    def began(self, process: Process, attempt: Attempt) -> None:
        """A bundle attempt: it overlaps with every other that is alive."""
        run_id = process.run.run_id
        for bucket in attempt.bundle:
            self.attempts[run_id, bucket] += 1
            for its, rivals in self._active.items():
                for other, _ in rivals:
                    if its == bucket or other.run.journal != process.run.journal:
                        self.overlapped |= {(run_id, bucket), (other.run.run_id, its)}
            self._active[bucket].add((process, attempt))

    def plans(self, process: Process, bucket: int) -> None:
        """What is durable by now, it will know of this bucket."""
        self._planned[process, bucket] = len(self.records)

    def ended(self, process: Process, attempt: Attempt) -> None:
        """It labels no more."""
        for bucket in attempt.bundle:
            self._active[bucket].discard((process, attempt))

    def outcome(self, process: Process, attempt: Attempt, outcome: Outcome) -> None:
        """The engine said what became of a labelling."""
        if isinstance(outcome, Settled):
            assert outcome.result.image == outcome.work.image, "an outcome of another image"

    # --- calls ---------------------------------------------------------------------------------------

    def posted(self, process: Process, job: Job) -> None:
        """A call goes out: under a durable claim of this process, once, within the budget."""
        run_id, bucket = process.run.run_id, job.work.bucket
        call = (run_id, job.work.image.image_id, job.work.generation, job.attempt)
        assert (process.name, *call) in self._claimed, f"posted without a durable claim: {call}"
        assert (process.name, *call) not in self._sent, f"one claim, two calls: {call}"
        self._sent.add((process.name, *call))
        assert job.facts.content_sha256 != job.work.known_sha256, f"{call} is posted, and has not changed"
        self.posts[process].append(self.life.clock.now)
        self.calls[run_id] += 1
        self._bucket_calls[run_id, bucket] += 1
        if (budget := self.life.scenario.max_calls) is not None:
            self._within_budget(run_id, bucket, budget)
        self._polled_first(process, job)
        if (limit := self.life.scenario.max_in_flight) is not None:
            # Tasks of earlier runs are waited for in any case, and slow ones leave the window.
            waiting = sum(bool(other.calls) and not other.slow for other in process.core._tasks)
            in_flight = len(process.core._taken) + waiting
            assert in_flight <= limit, f"{in_flight} tasks in a window of {limit}"

    def accepted(self, process: Process, job: Job, task_id: str) -> None:
        """The process was told the task."""
        self._known_tasks[process, job.work.image.image_id, job.work.generation].append(task_id)

    def billed(self, process: Process, job: Job) -> None:
        """The service accepted a call, whether the process is told or not."""
        labelling = (process, job.work.image.image_id, job.work.generation)
        self._accepted[labelling] += 1
        settings = process.run.settings
        most = 1 + settings.max_reposts + settings.max_task_reruns
        assert self._accepted[labelling] <= most, f"{labelling[1]} was paid for more than {most} times by one process"

    def _polled_first(self, process: Process, job: Job) -> None:
        """A task that is known, and of which something may still come, is waited for."""
        image_id, generation = job.work.image.image_id, job.work.generation
        now = self.life.clock.now
        for task_id in self._known_tasks[process, image_id, generation]:
            task = self.life.service.tasks[task_id]
            hopeless = not task.known or (task.state is TaskState.ERROR and now >= task.done_at)
            assert hopeless, f"{image_id} is posted again, and its task {task_id} is neither lost nor in error"
        if job.calls == 1 and job.work.resume is None and not self.life.scenario.faults.stale_s:
            of_it = [
                (record, number < self._planned[process, job.work.bucket] and journal == process.run.journal)
                for number, (record, journal) in enumerate(zip(self.records, self._journals, strict=True))
                if isinstance(record, (Accepted, Claimed))
                and (record.image_id, record.generation) == (image_id, generation)
                and not (isinstance(record, Claimed) and record.attempt == job.attempt)
            ]
            last = max((record.attempt for record, _ in of_it), default=0)
            open_tasks = [
                record for record, seen in of_it if seen and isinstance(record, Accepted) and record.attempt == last
            ]
            assert not open_tasks, f"{image_id} is posted, and its task {open_tasks[0].task_id} is known"

    def _within_budget(self, run_id: str, bucket: int, budget: int) -> None:
        if not self.life.scenario.faults.stale_s and all(run != run_id for run, _ in self.overlapped):
            assert self.calls[run_id] <= budget, f"{self.calls[run_id]} calls of a budget of {budget}"
        else:
            most = self._allotments[run_id][bucket] * self.attempts[run_id, bucket]
            assert self._bucket_calls[run_id, bucket] <= most, f"more than {most} calls for bucket {bucket}"

    # --- the end of a run ----------------------------------------------------------------------------

    def published(self, launcher: Launcher, summary: Summary) -> None:
        """The command ended by itself, and says what it did."""
        expected = len(launcher.entries)
        assert summary.listed == expected, f"{summary.listed} listed, {expected} given"
        assert summary.adds_up, f"does not add up: {summary}"
        if not self.life.scenario.faults.failed_reads:  # else a table may not have been read
            assert summary.accounting is None, f"run {summary.run_id}: {summary.accounting}"
        names = [image.image_id for image in launcher.entries]
        assert summary.duplicate == len(names) - len(set(names)), f"{summary.duplicate} duplicates"
        assert summary.calls >= self.calls[launcher.name] or self._outlived(launcher), (
            f"{summary.calls} calls reported, {self.calls[launcher.name]} made"
        )
        reasons = (launcher.stopped, launcher.life.scenario.max_calls, self.life.scenario.faults.stale_s)
        fatal = any(process.core.fatal for process in launcher.processes)
        if not fatal and not any(reasons):
            assert summary.not_attempted == 0, f"{summary.not_attempted} not attempted, and nobody says why"

    def _outlived(self, launcher: Launcher) -> bool:
        return bool(self.life.scenario.faults.stale_s) or any(run == launcher.name for run, _ in self.overlapped)

    def outcomes(self) -> dict[tuple[str, int, str], Finished]:
        """Every outcome that ever was durable, by image, microsecond and task."""
        return {
            (each.image_id, each.result.finished_us, each.result.task_id or ""): each
            for each in self.records
            if isinstance(each, Finished)
        }
