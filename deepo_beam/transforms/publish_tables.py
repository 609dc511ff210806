"""``PublishTables``: from the journal to the tables, the manifest and ``_SUCCESS``."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import apache_beam as beam
from apache_beam.pvalue import PCollection
from apache_beam.transforms import combiners

from deepo_beam.errors import ObjectNotFoundError
from deepo_beam.lake.complete import complete
from deepo_beam.lake.holding import check_held
from deepo_beam.lake.journal import Journal
from deepo_beam.lake.listing import read_listing
from deepo_beam.lake.manifest import PublishedFile
from deepo_beam.lake.patience import PATIENT
from deepo_beam.lake.publish import (
    Intent,
    coverage,
    load_intents,
    next_number,
    plan_publish,
    write_intent,
    write_shard,
)
from deepo_beam.lake.summary import Summary, summarise
from deepo_beam.lake.tally import COUNTED, BucketTally, tally_bucket
from deepo_beam.lake.workers import read_reports
from deepo_beam.run import RunPlan


class PublishTables(beam.PTransform[PCollection[int], PCollection[Summary]]):
    """Publish what the journal knows of these buckets and no table has yet, whichever run learnt it.

    Shape: PCollection[int] (the buckets of this run, durable) -> PCollection[Summary] of one element, after
    ``_SUCCESS`` was written.

    Args:
        plan: of the run; it has an output.
    """

    def __init__(self, plan: RunPlan) -> None:
        super().__init__()
        assert plan.output is not None
        self._plan = plan

    def expand(self, buckets: PCollection[int]) -> PCollection[Summary]:
        """Tally every bucket, write the intent, write its shards, check the accounts, commit."""
        plan = self._plan
        intent = (
            buckets
            | "TallyBucket" >> beam.ParDo(_TallyFn(plan)).with_output_types(BucketTally)
            | "GatherTallies" >> beam.CombineGlobally(combiners.ToListCombineFn())
            | "WriteIntent" >> beam.Map(_write_intent, plan).with_output_types(Intent)
        )
        files = (
            intent
            | "Shards" >> beam.FlatMap(lambda intent: [(intent, number) for number in range(len(intent.shards))])
            | "SpreadShards" >> beam.Reshuffle()
            | "WriteShard" >> beam.ParDo(_WriteShardFn(plan)).with_output_types(PublishedFile)
        )
        return intent | "CheckAccountsAndCommit" >> beam.Map(
            _commit, plan, beam.pvalue.AsList(files)
        ).with_output_types(Summary)


class _CoveredFn(beam.DoFn):
    """Knows which segments earlier publishes cover."""

    def __init__(self, plan: RunPlan) -> None:
        assert plan.output is not None
        self._plan = plan
        self._output = plan.output

    def setup(self) -> None:
        """They do not change while this run holds the output."""
        done, _ = load_intents(self._output, self._plan.journal, PATIENT)
        self._covered = coverage(intent for intent in done if intent.run_id != self._plan.run_id)


class _TallyFn(_CoveredFn):
    def process(self, bucket: int) -> Iterator[BucketTally]:
        """Account for a bucket from what was written of it."""
        try:
            listing = read_listing(self._output, self._plan.run_id, bucket, PATIENT)
        except ObjectNotFoundError:
            listing = []
        covered = self._covered.get(bucket, {})
        run_id, journal = self._plan.run_id, Journal(self._output, self._plan.journal, PATIENT)
        history = journal.read_history(bucket, covered, COUNTED, run_id=run_id)
        yield tally_bucket(bucket, listing, history, covered=covered, run_id=run_id)


class _WriteShardFn(_CoveredFn):
    def process(self, shard: tuple[Intent, int]) -> Iterable[PublishedFile]:
        """Write one file of each table."""
        intent, number = shard
        check_held(self._output, self._plan.run_id, PATIENT)
        return write_shard(self._output, intent, number, self._covered, PATIENT)


def _write_intent(tallies: list[BucketTally], plan: RunPlan) -> Intent:
    assert plan.output is not None
    check_held(plan.output, plan.run_id, PATIENT)
    done, _ = load_intents(plan.output, plan.journal, PATIENT)
    summary = summarise(
        tallies,
        read_reports(plan.output, plan.run_id, PATIENT),
        run_id=plan.run_id,
        output=plan.output,
        model=str(plan.model),
        model_version_id=plan.model_version_id,
        seconds=_seconds_since(plan),
        max_calls=plan.max_calls,
        max_failure_rate=plan.engine.max_failure_rate,
    )
    number = next_number(plan.output, plan.journal, done, PATIENT)
    return write_intent(plan.output, plan_publish(tallies, summary, plan.journal, number=number), PATIENT)


def _commit(intent: Intent, plan: RunPlan, files: list[PublishedFile]) -> Summary:
    assert plan.output is not None
    check_held(plan.output, plan.run_id, PATIENT)
    return complete(plan.output, intent, files, PATIENT, seconds=_seconds_since(plan))


def _seconds_since(plan: RunPlan) -> float:
    return max(0.0, time.time() - plan.started_us / 1e6)
