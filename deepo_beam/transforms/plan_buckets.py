"""What is to be done with the images of each bucket: the part that labelling and estimating have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PCollection

from deepo_beam.identity import bucket_of
from deepo_beam.inputs import with_times
from deepo_beam.lake.estimate import Estimate, count_bucket, estimate
from deepo_beam.lake.journal import Journal
from deepo_beam.lake.merge import ImageState
from deepo_beam.lake.patience import PATIENT
from deepo_beam.lake.plan import PlannedEntry, plan_bucket
from deepo_beam.lake.publish import coverage, load_intents
from deepo_beam.lake.tally import Segments, states_of
from deepo_beam.run import RunPlan
from deepo_beam.types import ImageRef


def group_by_bucket(images: PCollection[ImageRef], buckets: int) -> Any:
    """PCollection[ImageRef] -> PCollection[tuple[int, Iterable[ImageRef]]]; brings duplicates together, too."""
    return (
        images
        | "KeyByBucket"
        >> beam.WithKeys(lambda image: bucket_of(image.image_id, buckets)).with_output_types(tuple[int, ImageRef])
        | "GroupByBucket" >> beam.GroupByKey()
    )


class PlanBucketFn(beam.DoFn):
    """Knows what is to be done with the images of a bucket."""

    def __init__(self, plan: RunPlan) -> None:
        self._plan = plan

    def setup(self) -> None:
        """What is published does not change while this run holds the output."""
        self._covered: dict[int, frozenset[str]] = {}
        if self._plan.output is not None:
            self._covered = coverage(load_intents(self._plan.output, self._plan.journal, PATIENT)[0])

    def read_journal(self, bucket: int) -> Segments:
        """All that is known of a bucket, by segment."""
        output, journal = self._plan.output, self._plan.journal
        return {} if output is None else Journal(output, journal, PATIENT).read_records(bucket)

    def states(self, bucket: int, segments: Segments) -> dict[str, ImageState]:
        """The same by image."""
        return states_of(segments, self._covered.get(bucket, frozenset()))

    def plan_images(self, images: Iterable[ImageRef], states: Mapping[str, ImageState]) -> list[PlannedEntry]:
        """One planned entry for each."""
        if self._plan.detect_changes == "stat":
            images = with_times(images)
        return plan_bucket(images, states, self._plan.rules)


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
            group_by_bucket(images, self._plan.buckets)
            | "CountBucket" >> beam.ParDo(_CountBucketFn(self._plan)).with_output_types(Counter)
            | "AddUp" >> beam.CombineGlobally(_add_up)
            | "Estimate" >> beam.Map(_estimate, self._plan).with_output_types(Estimate)
        )


class _CountBucketFn(PlanBucketFn):
    def process(self, element: tuple[int, Iterable[ImageRef]]) -> Iterable[Counter[str]]:
        """Count the entries of a bucket."""
        bucket, images = element
        states = self.states(bucket, self.read_journal(bucket))
        yield count_bucket(self.plan_images(images, states), states)


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
