"""What a run would do and cost, from the listing and the journal alone. Pure."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from deepo_beam.lake.merge import ImageState
from deepo_beam.lake.plan import Disposition, Known, PlannedEntry, version_of
from deepo_beam.lake.settled import Settled

# Why an entry will be called for, or not; every entry is in exactly one.
_CALLED = ("new", "in_doubt", "retried", "relabelled", "changed")


@dataclass(frozen=True, slots=True)
class Estimate:
    """The numbers of a plan; images unless another unit is said.

    Attributes:
        listed: entries of the input, after ``--limit`` or ``--sample``. Always the sum of the next eleven.
        new: never asked for.
        in_doubt: an earlier run may have asked for them, and was killed before it knew.
        retried: failed before, and to be tried again.
        relabelled: known, and to be labelled again because ``--relabel`` says so.
        changed: known, changed for all that the listing says, and never read here.
        maybe_changed: known, and listed with another size or time: read, and called for if their bytes are new.
        known: reused. ``skipped``: failed before, and not to be tried again.
        open_tasks: asked for by an earlier run, to be polled first.
        duplicate: entries that name an image again. ``unusable``: entries without a usable URI.
        calls_min, calls_max: inference calls, if none fails; the images that may have changed make the difference.
            ``--max-calls`` is heeded.
        bytes_min, bytes_max: of these images, as listed; those without a listed size count nothing.
        seconds_min, seconds_max: at ``--rate``; None without one.
        other_versions: known images by the version that labelled them, where it is not the present one.
    """

    listed: int = 0
    new: int = 0
    in_doubt: int = 0
    retried: int = 0
    relabelled: int = 0
    changed: int = 0
    maybe_changed: int = 0
    known: int = 0
    skipped: int = 0
    open_tasks: int = 0
    duplicate: int = 0
    unusable: int = 0
    calls_min: int = 0
    calls_max: int = 0
    bytes_min: int = 0
    bytes_max: int = 0
    seconds_min: float | None = None
    seconds_max: float | None = None
    other_versions: dict[str, int] = field(default_factory=dict)


def count_bucket(planned: Iterable[PlannedEntry], known: Known) -> Counter[str]:
    """Sums over the entries of one bucket, to be added up over buckets for :func:`estimate`.

    Args:
        planned: from :func:`deepo_beam.lake.plan.plan_bucket`.
        known: what it was planned from.
    """
    counts: Counter[str] = Counter()
    for entry in planned:
        before = known.get(entry.image.image_id)
        kind = _kind(entry, before)
        size = entry.image.size_bytes or 0
        counts["listed"] += 1
        counts[kind] += 1
        if kind == "known":
            version = version_of(before)
            counts[f"version {'' if version is None else version}"] += 1
        elif kind in _CALLED:
            counts["bytes_min"] += size
            counts["bytes_max"] += size
        elif kind == "maybe_changed":
            counts["bytes_max"] += size
    return counts


def estimate(
    counts: Mapping[str, int], *, model_version_id: int | None, max_calls: int | None, rate_per_s: float | None
) -> Estimate:
    """The sums of all buckets as a plan.

    Args:
        counts: sums of :func:`count_bucket`.
        model_version_id: the present version, None if it is not pinned.
        max_calls: the budget, None for no limit.
        rate_per_s: calls/s (> 0) that are allowed, None for no limit.
    """
    names = {field.name for field in dataclasses.fields(Estimate)}
    versions = {name.removeprefix("version "): count for name, count in counts.items() if name.startswith("version ")}
    versions.pop("" if model_version_id is None else str(model_version_id), None)
    least = sum(counts.get(name, 0) for name in _CALLED)
    calls = [
        most if max_calls is None else min(most, max_calls) for most in (least, least + counts.get("maybe_changed", 0))
    ]
    seconds = [None if rate_per_s is None else each / rate_per_s for each in calls]
    return Estimate(
        **{name: count for name, count in counts.items() if name in names},
        calls_min=calls[0],
        calls_max=calls[1],
        seconds_min=seconds[0],
        seconds_max=seconds[1],
        other_versions=dict(sorted(versions.items())),
    )


def _kind(entry: PlannedEntry, before: ImageState | Settled | None) -> str:
    if entry.disposition is Disposition.DUPLICATE:
        return "duplicate"
    if entry.disposition is Disposition.REUSED:
        return "known"
    if entry.disposition is Disposition.SKIPPED:
        return "skipped"
    if entry.disposition is Disposition.COMPARE:
        return "maybe_changed"
    return _kind_of_labelling(entry, before)


def _kind_of_labelling(entry: PlannedEntry, before: ImageState | Settled | None) -> str:
    labelling = entry.labelling
    if entry.image.problem is not None:
        return "unusable"
    if labelling is not None and labelling.resume is not None:
        return "open_tasks"
    if before is None:
        return "new"
    if isinstance(before, ImageState):
        if before.finished is None:
            return "in_doubt" if before.in_doubt else "new"
        if before.finished.result.failure is not None:
            return "retried"
    return "changed" if entry.changed else "relabelled"
