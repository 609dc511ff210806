"""Deliberate bugs, each a small patch of production code, that a simulation has to find: the proof that it can fail.

``seed`` is the first whose life shows the bug, so that the test is quick; any other one may.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from deepo_beam.engine import core, rate
from deepo_beam.engine.breaker import Breaker
from deepo_beam.engine.budget import Budget
from deepo_beam.engine.core import Core
from deepo_beam.engine.endings import Endings
from deepo_beam.engine.ledger import Flush, Ledger
from deepo_beam.engine.tasks import TaskLost, Tasks
from deepo_beam.engine.work import Job
from deepo_beam.errors import AnswerLostError, EndpointError, ErrorCode, ServerError, Stage
from deepo_beam.lake import compact, complete, heartbeat, journal, lease, listing, merge, plan, publish, rebucket, tally
from deepo_beam.records import Accepted, Finished, Reason
from deepo_beam.types import Failure, Status

_SOME_FAILURE = Failure(Stage.POLL, ErrorCode.TASK_LOST, "gone", retryable=True)


@dataclass(frozen=True)
class Mutant:
    """A bug by name, and how to put it in for a while."""

    name: str
    seed: int
    bug: Callable[[], AbstractContextManager[Any]]


def _patched(owner: Any, name: str, mutant: Callable[..., Any]) -> Callable[[], AbstractContextManager[Any]]:
    """``mutant`` takes the original first, then the arguments of the call."""

    @contextmanager
    def bug() -> Iterator[None]:
        original = getattr(owner, name)

        def called(*arguments: Any, **options: Any) -> Any:
            return mutant(original, *arguments, **options)

        with patch.object(owner, name, called):
            yield

    return bug


def _value(owner: Any, name: str, value: Any) -> Callable[[], AbstractContextManager[Any]]:
    return lambda: patch.object(owner, name, value)


# --- engine ------------------------------------------------------------------------------------------


def _claims_at_once(original: Any, self: Ledger, *arguments: Any, **options: Any) -> Any:
    flush = original(self, *arguments, **options)
    if isinstance(flush, Flush):
        self.claimed.extend(self._claiming)
        self._claiming = []
    return flush


def _used_without_a_claim(original: Any, self: Core, job: Job, *, first: bool = False) -> None:
    if job.calls and self._stop_at is None and not job.cancelled:
        self._ledger.claimed.append(job)
    else:
        original(self, job, first=first)


def _as_any_failure(original: Any, self: Core, job: Job, error: Any, now: float) -> None:
    self._failed_call(job, error, now)


def _charged(original: Any, self: Core, job: Job, error: Any, now: float) -> None:
    if not isinstance(error, EndpointError):
        original(self, job, error, now)
        return
    self._posted(job, now)
    self._settle(job, Status.FAILED, now, failure=core._submit_failure(error))


def _stuck_is_lost(original: Any, self: Tasks, job: Job, now: float) -> Any:
    verdict = original(self, job, now)
    return verdict and TaskLost(verdict.failure)


def _unanswered_is_lost(original: Any, self: Core, ids: Any, error: Any, now: float) -> None:
    for task_id in ids:
        for job in list(self._tasks._waiting.get(task_id, ())):
            self._tasks.remove(job)
            self._learned(job, TaskLost(_SOME_FAILURE), now)


def _in_the_order_of_the_reply(original: Any, self: Tasks, ids: Any, tasks: Iterable[Any], now: float) -> Any:
    ids, tasks = list(ids), list(tasks)
    mixed = [replace(task, id=task_id) for task, task_id in zip(tasks, ids, strict=False)]
    return original(self, ids[: len(mixed)] if mixed else ids, mixed, now)


def _forgets_refusals(original: Any, self: Endings, job: Job, *, sent: bool) -> None:
    return None


def _never_opens(original: Any, self: Breaker, now: float, *, probe: bool) -> None:
    return None


def _without_limit(original: Any, job: Job, reason: Reason, settings: Any) -> bool:
    job.reason = reason
    return True


def _rerun_without_limit(original: Any, job: Job, settings: Any) -> bool:
    job.reason = Reason.TASK_ERROR
    return True


def _claimed_before_compared(original: Any, self: Core, now: float) -> None:
    original(self, now)
    for job in [job for job in self._compare if job.loads]:
        self._compare.remove(job)
        self._ledger.backlog.append(job)


def _a_whole_call_each(original: Any, self: rate.TokenBucket, sharers: int) -> None:
    original(self, 1)


def _pooled(original: Any, self: Budget, *, pooled: bool) -> None:
    original(self, pooled=True)


def _as_if_written(original: Any, self: Core, flush: Flush, error: Any, now: float) -> None:
    self.flushed(flush)


# --- lake --------------------------------------------------------------------------------------------


def _doubts_nothing(original: Any, image: Any, state: Any) -> Any:
    return replace(original(image, state), reason=Reason.FIRST)


def _posts_first(original: Any, image: Any, state: Any) -> Any:
    return replace(original(image, state), resume=None)


def _innocent(original: Any, image: Any, state: Any) -> Any:
    return replace(original(image, state), reason=Reason.FIRST)


def _one_by_one(original: Any, entries: Iterable[Any], states: Any, rules: Any) -> Any:
    return [planned for entry in entries for planned in original([entry], states, rules)]


def _success_first(original: Any, output: str, intent: Any, files: Any, store: Any, **options: Any) -> Any:
    store.write_bytes(publish.run_uri(output, intent.run_id, "_SUCCESS", store), b"\n")
    return original(output, intent, files, store, **options)


def _shard_later(original: Any, output: str, intent: Any, number: int, covered: Any, store: Any) -> Any:
    """The last shard is written after ``_SUCCESS``, or never."""
    if number + 1 < len(intent.shards):
        return original(output, intent, number, covered, store)
    return []


def _intent_in_memory(original: Any, output: str, intent: Any, store: Any) -> Any:
    return intent


def _deletes_first(original: Any, journal_: Any, bucket: int, covered: Any) -> int:
    names = [name for name in journal_.segments(bucket) if journal.is_covered(name, covered)]
    if len(names) < 2:
        return 0
    segments = journal_.read_records(bucket)
    for name in names:
        journal_.delete(bucket, name)
    records = compact.essential(journal.numbered({name: segments[name] for name in names}, covered))
    journal_.append(bucket, f"{'0' * 16}{journal.COMPACTED}", records)
    return len(names)


def _drops_labels(original: Any, records: list[Any]) -> list[Any]:
    return [record for record in original(records) if not isinstance(record, Finished)]


def _deletes_before_the_switch(
    original: Any, output: str, dataset: Any, buckets: int, run_id: str, *, store: Any, **options: Any
) -> Any:
    new = replace(dataset, buckets=buckets, journal=f"{rebucket._LATER}{run_id}")
    copied = rebucket._copy(output, dataset.journal, new, store)
    rebucket._delete(journal.Journal(output, dataset.journal, store), copied)
    return original(output, dataset, buckets, run_id, store=store, **options)


def _one_more(original: Any, records: list[Any], buckets: int) -> Any:
    return original(records, buckets + 1)


def _in_force_now(original: Any, output: str, name: str, store: Any) -> bool:
    return name == json.loads(store.read_bytes(f"{output}/dataset.json"))["journal"]


def _waits_for_nobody(original: Any, self: lease.Membership, *, alone: bool) -> None:
    original(self, alone=True)


def _drops_failures(original: Any, records: list[Any]) -> list[Any]:
    return [record for record in original(records) if not isinstance(record, (Finished, Accepted))]


def _uncovered_first(original: Any, entry: Any) -> Any:
    return (entry[1] is not None, original(entry))


def _covered_first(original: Any, entry: Any) -> Any:
    return (entry[1] is None, original(entry))


def _covered_at_once(original: Any, entry: Any) -> Any:
    finished, number = entry
    return original((finished, number and 0))


def _as_if_new(segments: Any, covered: Any) -> Iterator[Any]:
    return journal.numbered(segments, {})


def _only_unanswered(self: Any) -> int:
    return self.unanswered


MUTANTS = (
    Mutant("a call goes out before its claim is durable", 0, _patched(Ledger, "next_claims", _claims_at_once)),
    Mutant("a failed write counts as durable", 12, _patched(Core, "flush_failed", _as_if_written)),
    Mutant("a bundle ends before its facts are durable", 1, _value(Core, "durable", lambda self, owner: True)),
    Mutant("a retry uses the claim of the call before", 9, _patched(Core, "_enqueue", _used_without_a_claim)),
    Mutant("the window is ignored", 0, _value(Core, "_window_has_room", lambda self, now: True)),
    Mutant("one call too many may be saved up", 7, _value(rate, "bucket_depth", lambda rate: 2.0)),
    Mutant("the breaker never opens", 27, _patched(Breaker, "failed", _never_opens)),
    Mutant("a 429 is a failure like any other", 9, _patched(Core, "_throttled", _as_any_failure)),
    Mutant("a revoked key fails the image", 26, _patched(Core, "refused", _charged)),
    Mutant("reposts have no limit", 134, _patched(core, "may_repost", _without_limit)),
    Mutant("reruns have no limit", 9, _patched(core, "may_rerun", _rerun_without_limit)),
    Mutant("a stuck task is posted again", 120, _patched(Tasks, "_judge_age", _stuck_is_lost)),
    Mutant("a poll without an answer loses its tasks", 0, _patched(Core, "poll_failed", _unanswered_is_lost)),
    Mutant("answers are taken in the order of the reply", 3, _patched(Tasks, "answered", _in_the_order_of_the_reply)),
    Mutant("a cut reply releases its claim", 9, _value(AnswerLostError, "maybe_billed", False)),
    Mutant("a 500 releases its claim", 12, _value(ServerError, "maybe_billed", False)),
    Mutant("a refusal is not recorded", 116, _patched(Endings, "released", _forgets_refusals)),
    Mutant("a retry costs no budget", 4, _value(Budget, "claim", lambda self, job: True)),
    Mutant("an allotment forgets what was claimed", 5, _value(tally, "calls_left", lambda calls, segments, run: calls)),
    Mutant("claims in doubt are forgotten", 9, _patched(plan, "_unfinished", _doubts_nothing)),
    Mutant("an open task is not polled first", 5, _patched(plan, "_unfinished", _posts_first)),
    Mutant("a failed call that was billed is forgotten", 9, _patched(plan, "_failed_again", _innocent)),
    Mutant(
        "accepted tasks are not taken to be billed",
        9,
        _value(merge._Generation, "maybe_billed", property(_only_unanswered)),
    ),
    Mutant("duplicates are labelled", 2, _patched(plan, "plan_bucket", _one_by_one)),
    Mutant("changed files are known", 3, _value(plan, "_may_have_changed", lambda image, outcome, rules: False)),
    Mutant("a zombie's outcome stands over the published one", 4, _patched(merge, "standing_order", _uncovered_first)),
    Mutant("labels that come late are passed over", 279, _patched(merge, "standing_order", _covered_first)),
    Mutant("which outcome was published first is forgotten", 8, _patched(merge, "standing_order", _covered_at_once)),
    Mutant("overlapping calls are not counted", 83, _value(tally, "_overlapping", lambda maybe_billed, covered: 0)),
    Mutant("no listing is written", 7, _value(listing, "write_listing", lambda *arguments: None)),
    Mutant("what is published is published again", 0, _value(tally, "numbered", _as_if_new)),
    Mutant("shards are written without an intent", 0, _patched(publish, "write_intent", _intent_in_memory)),
    Mutant("_SUCCESS is written before the manifest", 0, _patched(complete, "commit", _success_first)),
    Mutant("_SUCCESS is written before the last shard", 0, _patched(publish, "write_shard", _shard_later)),
    Mutant("an intent is not rolled forward", 23, _value(complete, "roll_forward", lambda output, journal, store: [])),
    Mutant("compaction deletes before it writes", 2, _patched(compact, "compact_bucket", _deletes_first)),
    Mutant("compaction drops the newest labels", 2, _patched(compact, "_essential_of_image", _drops_labels)),
    Mutant("compaction drops what failed", 2, _patched(compact, "_essential_of_image", _drops_failures)),
    Mutant("compaction keeps what was passed over", 427, _value(compact, "_standing", list)),
    # another number of buckets
    Mutant("the old journal goes before the switch", 7, _patched(rebucket, "rebucket", _deletes_before_the_switch)),
    Mutant("records are moved into buckets of another number", 7, _patched(rebucket, "_by_bucket", _one_more)),
    Mutant("what was published is moved as if it were not", 7, _value(rebucket, "COMPACTED", ".other.parquet")),
    Mutant(
        "what was not published is moved as if it were", 13, _value(rebucket, "MOVED", f".moved{journal.COMPACTED}")
    ),
    Mutant("what is left in an old journal just goes", 1063, _patched(rebucket, "_was_in_force", _in_force_now)),
    # the lease
    Mutant("posts ask for no lease", 13, _value(heartbeat.Heartbeat, "lease_left_s", lambda self: 1.0)),
    Mutant("a silent process is dropped before its lease is over", 63, _value(lease, "DROP_S", 2.0)),
    Mutant("a newcomer does not wait", 13, _patched(lease.Membership, "__init__", _waits_for_nobody)),
    Mutant("the rate is not shared", 13, _value(Core, "share_rate", lambda self, sharers: None)),
    Mutant("a budget is pooled over several processes", 821, _patched(Budget, "__init__", _pooled)),
    # Once in the code, and found here:
    Mutant("an image is claimed before it is compared", 81, _patched(Core, "_promote", _claimed_before_compared)),
    Mutant(
        "all that share a rate may save up a whole call", 13, _patched(rate.TokenBucket, "share", _a_whole_call_each)
    ),
)
