"""What is to be done with the images of each bucket: the part that labelling and estimating have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import chain

import apache_beam as beam
from apache_beam.pvalue import PCollection

from deepo_beam.inputs import with_times
from deepo_beam.lake.estimate import Estimate, count_bucket, estimate
from deepo_beam.lake.journal import NO_HISTORY, History, Journal
from deepo_beam.lake.patience import PATIENT
from deepo_beam.lake.plan import Known, PlannedEntry, plan_bucket
from deepo_beam.lake.publish import coverage, load_intents
from deepo_beam.lake.tally import known_of
from deepo_beam.run import RunPlan
from deepo_beam.transforms.group_images import GroupImagesByBucket, ImageBatch
from deepo_beam.types import ImageRef


class PlanBucketFn(beam.DoFn):
    """Knows what is to be done with the images of a bucket."""

    def __init__(self, plan: RunPlan) -> None:
        self._plan = plan

    def setup(self) -> None:
        """What is published does not change while this run holds the output."""
        self._covered: dict[int, dict[str, int]] = {}
        if self._plan.output is not None:
            self._covered = coverage(load_intents(self._plan.output, self._plan.journal, PATIENT)[0])

    def read_journal(self, bucket: int) -> History:
        """All that is known of a bucket."""
        output, journal = self._plan.output, self._plan.journal
        if output is None:
            return NO_HISTORY
        return Journal(output, journal, PATIENT).read_history(bucket, self._covered.get(bucket, {}))

    def known(self, bucket: int, history: History) -> Known:
        """The same by image."""
        return known_of(history, self._covered.get(bucket, {}))

    def plan_images(self, batches: Iterable[Iterable[ImageRef]], known: Known) -> list[PlannedEntry]:
        """One planned entry for each image."""
        images: Iterable[ImageRef] = chain.from_iterable(batches)
        if self._plan.detect_changes == "stat":
            images = with_times(images)
        return plan_bucket(images, known, self._plan.rules)


class EstimateWork(beam.PTransform[PCollection[ImageRef], PCollection[Estimate]]):
    """Say what labelling these images would do and cost; nothing is called and nothing is written.

    Shape: PCollection[ImageRef] -> PCollection[Estimate] of one element.

    Args:
        plan: of the run that would do it.
    """

    def __init__(self, plan: RunPlan) -> None:
        super().__init__()
        self._plan = plan

    def expand(self, images: PCollection[ImageRef]) -> PCollection[Estimate]:
        """Count in every bucket, and add up."""
        return (
            images
            | "GroupByBucket" >> GroupImagesByBucket(self._plan.buckets)
            | "CountBucket" >> beam.ParDo(_CountBucketFn(self._plan)).with_output_types(Counter)
            | "AddUp" >> beam.CombineGlobally(_add_up)
            | "Estimate" >> beam.Map(_estimate, self._plan).with_output_types(Estimate)
        )


class _CountBucketFn(PlanBucketFn):
    def process(self, element: tuple[int, Iterable[ImageBatch]]) -> Iterable[Counter[str]]:
        """Count the entries of a bucket."""
        bucket, batches = element
        known = self.known(bucket, self.read_journal(bucket))
        yield count_bucket(self.plan_images(batches, known), known)


def _add_up(counts: Iterable[Counter[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return total


def _estimate(counts: Counter[str], plan: RunPlan) -> Estimate:
    return estimate(
        counts,
        model_version_id=plan.model_version_id,
        max_calls=plan.max_calls,
        rate_per_s=plan.engine.rate_per_s,
    )
