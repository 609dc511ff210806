"""What a run reports: for people, as JSON, and in ``runs/<id>/summary.json``."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from deepo_beam.lake.tally import BucketTally
from deepo_beam.lake.workers import WorkerReport

OUTCOMES = ("succeeded", "no_detection", "failed", "skipped", "reused", "duplicate", "not_attempted")


@dataclass(frozen=True, slots=True)
class Summary:
    """The numbers of a run; images unless another unit is said.

    Attributes:
        run_id, output, model: which run.
        model_version_id: the pinned version, None if not pinned.
        listed: entries of the input, after ``--limit`` or ``--sample``. Always the sum of the next seven.
        succeeded, no_detection, failed: outcomes of this run.
        skipped: failed before, and not to be tried again.
        reused: labelled before, and unchanged.
        duplicate: entries that name an image again; ``duplicate_conflicts``: with other attributes.
        not_attempted: left for the next run.
        calls: inference posts of this run; ``retries``: of those, the ones that repeat one for the same image.
        calls_unused: of ``--max-calls``, left although there was work: lost to a crash, or to another worker.
        polls: calls to the task list.
        possibly_billed_twice: calls made although an earlier one may have been billed;
            ``billed_twice_by_kind`` says why. Never less than what was billed twice.
        throttled_s: seconds that the service's refusals (429) kept us from posting, over all workers.
        seconds, images_per_s: wall time of the command, and images with an outcome by it.
        published: rows that this run added to ``images``; ``labels``: to ``labels``.
        errors_by_code: failed images by error code.
        other_versions: reused images by the version that labelled them, where it is not the present one.
        stopped: why the run ended before its work did, None if it did not.
        accounting: what does not add up when the tables are read back, with image ids; None: everything does.
    """

    run_id: str
    output: str
    model: str
    model_version_id: int | None
    listed: int = 0
    succeeded: int = 0
    no_detection: int = 0
    failed: int = 0
    skipped: int = 0
    reused: int = 0
    duplicate: int = 0
    duplicate_conflicts: int = 0
    not_attempted: int = 0
    calls: int = 0
    calls_unused: int = 0
    retries: int = 0
    polls: int = 0
    possibly_billed_twice: int = 0
    billed_twice_by_kind: dict[str, int] = field(default_factory=dict)
    throttled_s: float = 0.0
    seconds: float = 0.0
    images_per_s: float = 0.0
    published: int = 0
    labels: int = 0
    errors_by_code: dict[str, int] = field(default_factory=dict)
    other_versions: dict[str, int] = field(default_factory=dict)
    stopped: str | None = None
    accounting: str | None = None
    exit_code: int = 0

    def checked(self, accounting: str | None) -> Summary:
        """The same, after its accounts were checked: 4 is then the exit code of a run whose accounts are broken."""
        return self if accounting is None else dataclasses.replace(self, accounting=accounting, exit_code=4)

    def after(self, seconds: float) -> Summary:
        """The same, after so many seconds (>= 0) of wall time."""
        settled = self.succeeded + self.no_detection + self.failed
        speed = settled / seconds if seconds > 0 else 0.0
        return dataclasses.replace(self, seconds=round(seconds, 3), images_per_s=round(speed, 1))

    @property
    def adds_up(self) -> bool:
        """The identity: every entry of the listing is in exactly one of the seven outcomes."""
        return self.listed == sum(int(getattr(self, name)) for name in OUTCOMES)


def summarise(
    tallies: Iterable[BucketTally],
    reports: Iterable[WorkerReport],
    *,
    run_id: str,
    output: str,
    model: str,
    model_version_id: int | None,
    seconds: float,
    max_calls: int | None = None,
    max_failure_rate: float | None = None,
) -> Summary:
    """Add up what the buckets and the workers say. Pure.

    Args:
        tallies: of every bucket.
        reports: of every process of the run.
        run_id: of the run.
        output: normalised URI.
        model: kind and id.
        model_version_id: the pinned one, None if not pinned.
        seconds: wall time (>= 0) so far.
        max_calls: the budget, None for no limit.
        max_failure_rate: the share of failed images that is allowed (0..1), None for no limit.
    """
    counts: Counter[str] = Counter()
    twice: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    versions: Counter[str] = Counter()
    for tally in tallies:
        counts += tally.counts
        counts["published"] += tally.images
        counts["labels"] += tally.labels
        twice += tally.billed_twice
        errors += tally.errors_by_code
        versions += tally.versions
    reports = list(reports)
    # A process that stopped has not stopped the run if others did its work.
    stops = [report for report in reports if report.stopped is not None and counts["not_attempted"]]
    stopped = stops[0].stopped if stops else None
    spent = max_calls is not None and counts["not_attempted"] > 0
    if spent and stopped is None:
        stopped = f"the {max_calls:,} calls of --max-calls are spent; the next run goes on"
    versions.pop("" if model_version_id is None else str(model_version_id), None)
    return Summary(
        run_id=run_id,
        output=output,
        model=model,
        model_version_id=model_version_id,
        polls=sum(report.counters.polls for report in reports),
        throttled_s=round(sum(report.counters.throttled_s for report in reports), 3),
        possibly_billed_twice=twice.total(),
        billed_twice_by_kind=dict(sorted(twice.items())),
        errors_by_code=dict(sorted(errors.items())),
        other_versions=dict(sorted(versions.items())),
        stopped=stopped,
        accounting=None,  # not known before the tables are read back
        calls_unused=max(0, (max_calls or 0) - counts["calls"]) if spent else 0,
        exit_code=_exit_code(counts, stops, max_failure_rate),
        **counts,
    ).after(seconds)


def _exit_code(counts: Counter[str], stops: list[WorkerReport], max_failure_rate: float | None) -> int:
    """0 done; 3 more failures than allowed; 4 the accounting is broken; else what stopped it."""
    if counts["listed"] != sum(counts[name] for name in OUTCOMES):
        return 4
    if stops:
        return stops[0].exit_code
    if _failed_too_often(counts, max_failure_rate):
        return 3
    return 5 if counts["not_attempted"] else 0


def _failed_too_often(counts: Counter[str], limit: float | None) -> bool:
    """With no limit given: nothing that was attempted succeeded."""
    settled = counts["failed"] + counts["succeeded"] + counts["no_detection"]
    if limit is None:  # what is left for the next run may still succeed
        return 0 < counts["failed"] == settled and not counts["not_attempted"]
    return counts["failed"] > limit * settled
