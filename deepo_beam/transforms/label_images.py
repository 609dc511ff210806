"""``LabelImages``: from images to results, through the engine of the process and the journal of the output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.transforms.combiners import ToListCombineFn
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from deepo_beam.config import LabelConfig
from deepo_beam.engine import EngineClosedError, NotAttempted, Session, Settled
from deepo_beam.errors import ConfigError, StorageError
from deepo_beam.lake.journal import History
from deepo_beam.lake.listing import write_listing
from deepo_beam.lake.patience import PATIENT
from deepo_beam.lake.plan import PlannedEntry, share_calls, work_of
from deepo_beam.lake.tally import calls_left
from deepo_beam.preflight import input_options, prepare
from deepo_beam.run import RunPlan
from deepo_beam.transforms import labelling_process
from deepo_beam.transforms.as_images import AsImages
from deepo_beam.transforms.group_images import GroupImagesByBucket, ImageBatch, times_of
from deepo_beam.transforms.label_metrics import LabelMetrics
from deepo_beam.transforms.plan_buckets import PlanBucketFn
from deepo_beam.types import ImageRef, ImageResult

_OF_THE_COMMAND = {
    "inputs",
    "limit",
    "sample",
    "seed",
    "allow_empty",
    "allow_scheme",
    "deadline",
    "publish",
    "beam",
}
RESULTS = "results"
BUCKETS = "buckets"


class LabelImages(beam.PTransform[PCollection[Any], PCollection[ImageResult]]):
    """Label images with a Deepomatic model.

    Shape: PCollection[str | ImageRef | row] (URIs, what ``ListImages`` gives, or rows as
    :class:`~deepo_beam.transforms.as_images.AsImages` takes them) -> PCollection[ImageResult], one for each distinct
    image, as it finishes; failed images are results with a ``failure``.

    With an ``output`` there is a journal: what it knows is not labelled again and is not yielded again.
    Without one, every run labels everything. Results have the timestamp and the window of their image; one that was
    named several times has one result in each window, with the earliest of its timestamps there.

    Example::

        uris | LabelImages(spec="echo-v1", rate="20/s") | FlattenPredictions()

    Args:
        options: those of :class:`deepo_beam.config.LabelConfig` by name (``spec``, ``version_id``, ``output``,
            ``rate``, ``payload``, ...); ``uri_column`` and its like are of rows. The key is read on the workers.

    Raises:
        ConfigError: an option cannot be meant, the input is unbounded or in windows that merge (sessions), or its rows
            lack a column that is named.
        PreflightError: key, model or output cannot be used (when the transform is applied).
    """

    def __init__(self, **options: object) -> None:
        super().__init__()
        if of_the_command := sorted(_OF_THE_COMMAND & options.keys()):
            raise ConfigError(
                f"LabelImages: {', '.join(of_the_command)}: options of the command only; the images are those of the"
                " collection, see ListImages and SelectImages"
            )
        self._config = LabelConfig.parse(options, where="LabelImages")
        self._config.model  # noqa: B018 - raises if none was named

    def expand(self, images: PCollection[Any]) -> PCollection[ImageResult]:
        """Decide the run, then label."""
        if not images.is_bounded:
            raise ConfigError("LabelImages labels bounded collections only: this one never ends")
        if images.windowing.windowfn.is_merging():
            raise ConfigError("LabelImages would merge these windows, for it groups images: label first, then window")
        refs = images | "AsImages" >> AsImages(input_options(self._config))
        pipeline = images.pipeline
        plan = prepare(self._config, alone=labelling_process.is_alone(pipeline.runner, pipeline.options))
        return (refs | "LabelBuckets" >> LabelBuckets(plan, accounted=False))[RESULTS]


class LabelBuckets(beam.PTransform[PCollection[ImageRef], Any]):
    """Group images by bucket and label every bucket.

    Shape: PCollection[ImageRef] -> {``results``: PCollection[ImageResult], ``buckets``: PCollection[int]}; a
    bucket is yielded when all that is known of its images is in the journal.

    Args:
        plan: of the run.
        accounted: somebody accounts for every image afterwards (``PublishTables``): the listing is written for
            it, and a run that stops early leaves the rest to it. Otherwise stopping early fails the pipeline.
    """

    def __init__(self, plan: RunPlan, *, accounted: bool) -> None:
        super().__init__()
        self._plan = plan
        self._accounted = accounted

    def expand(self, images: PCollection[ImageRef]) -> Any:
        """Grouping also brings the duplicates of an image together."""
        grouped = images | "GroupByBucket" >> GroupImagesByBucket(self._plan.buckets, timed=not self._accounted)
        label = _LabelBucketFn(self._plan, self._accounted)
        allotments = None if self._plan.max_calls is None else self._share_calls(grouped, self._plan.max_calls)
        return grouped | "LabelBucket" >> beam.ParDo(label, allotments).with_outputs(BUCKETS, main=RESULTS)

    def _share_calls(self, grouped: PCollection[Any], calls: int) -> Any:
        """Count the work of each bucket before any of it is done, and give each its part of the budget."""
        return beam.pvalue.AsSingleton(
            grouped
            | "CountWork" >> beam.ParDo(_CountWorkFn(self._plan)).with_output_types(tuple[int, int])
            | "GatherWork" >> beam.CombineGlobally(ToListCombineFn())
            | "ShareCalls" >> beam.Map(lambda works: share_calls(dict(works), calls))
        )


class _CountWorkFn(PlanBucketFn):
    def process(self, element: tuple[int, Iterable[ImageBatch]]) -> Iterator[tuple[int, int]]:
        """Say how many labellings a bucket has to do."""
        bucket, batches = element
        planned = self.plan_images(batches, self.known(bucket, self.read_journal(bucket)))
        yield bucket, sum(entry.labelling is not None for entry in planned)


class _LabelBucketFn(PlanBucketFn):
    """Submits buckets to the process's engine, and yields results as they come."""

    def __init__(self, plan: RunPlan, accounted: bool) -> None:
        super().__init__(plan)
        self._accounted = accounted

    def setup(self) -> None:
        """One engine a process."""
        super().setup()
        self._session: Session | None = None
        self._metrics = LabelMetrics()
        self._process = labelling_process.acquire(self._plan)

    def teardown(self) -> None:
        """The last one ends the engine."""
        self._give_up()
        labelling_process.release(self._plan)

    def start_bundle(self) -> None:
        """No state crosses bundles: a bundle attempt that is run again begins with the journal."""
        self._give_up()
        self._session = self._process.engine.open()
        self._left = 0
        self._places: dict[tuple[int, str], list[tuple[Timestamp, Any]]] = {}
        self._buckets: dict[int, tuple[Timestamp, Any]] = {}

    def process(
        self,
        element: tuple[int, Iterable[ImageBatch]],
        allotments: Mapping[int, int] | None = None,
        timestamp: Any = beam.DoFn.TimestampParam,
        window: Any = beam.DoFn.WindowParam,
    ) -> Iterator[Any]:
        """Submit a bucket, and yield what has finished meanwhile, of this bucket or of earlier ones."""
        bucket, batches = element
        session = self._session
        if session is None:
            raise EngineClosedError("this bundle was given up, as its worker ends")
        try:
            history = self.read_journal(bucket)
            planned = self.plan_images(batches, self.known(bucket, history))
            if self._plan.output is not None and self._accounted:
                write_listing(self._plan.output, self._plan.run_id, bucket, planned, PATIENT)
            self._buckets[bucket] = (timestamp, window)
            times = {} if self._accounted else times_of(batches)
            works = []
            # Images without labels first, then those with the oldest: a run that is cut short and asked to label all
            # again goes on where the one before ended.
            for entry in sorted(planned, key=_labelled_us):
                at = times.get(entry.image.image_id, timestamp)
                if entry.labelling is not None:
                    places = self._places.setdefault((bucket, entry.image.image_id), [])
                    places.append((at, window))
                    if len(places) == 1:  # else it is under way for another window
                        works.append(work_of(entry.labelling, owner=session.owner, bucket=bucket))
                elif entry.result is not None:  # by an earlier attempt of this bundle, whose output is lost
                    yield WindowedValue(entry.result, at, (window,))
            session.submit(works, self._calls_left(bucket, history, allotments))
            self._metrics.worked(*self._process.news(), self._process.sharers)
            yield from self._finished(session)
        except BaseException:
            self._give_up()
            raise

    def finish_bundle(self) -> Iterator[Any]:
        """Wait for the bundle's own images, and say which buckets are done."""
        session = self._session
        assert session is not None
        try:
            session.wait()
            yield from self._finished(session)
            self._metrics.worked(*self._process.news(), self._process.sharers)
            with suppress(StorageError):  # a missed report is no reason to label the bundle again
                self._process.beat()
        except BaseException:
            self._give_up()
            raise
        self._session = None
        stopped = self._process.stopped
        if self._left and stopped is not None and not self._accounted:
            raise EngineClosedError(f"labelling stopped: {stopped.reason}")
        for bucket, (timestamp, window) in self._buckets.items():
            yield TaggedOutput(BUCKETS, WindowedValue(bucket, timestamp, (window,)))

    def _give_up(self) -> None:
        """A bundle attempt that did not come to its end: nothing more is posted for it."""
        session, self._session = self._session, None
        if session is not None:
            session.cancel()

    def _calls_left(
        self, bucket: int, history: History, allotments: Mapping[int, int] | None
    ) -> Mapping[int, int] | None:
        """What earlier attempts of this bundle have not claimed yet."""
        if allotments is None:
            return None
        return {bucket: calls_left(allotments.get(bucket, 0), history.segments, self._plan.run_id)}

    def _finished(self, session: Session) -> Iterator[WindowedValue]:
        outcomes = session.take_outcomes()
        self._metrics.settled(outcome.result for outcome in outcomes if isinstance(outcome, Settled))
        for outcome in outcomes:
            work = outcome.work
            self._left += isinstance(outcome, NotAttempted)
            for timestamp, window in self._places.pop((work.bucket, work.image.image_id)):
                if isinstance(outcome, Settled):
                    yield WindowedValue(outcome.result, timestamp, (window,))


def _labelled_us(entry: PlannedEntry) -> int:
    return 0 if entry.labelling is None else entry.labelling.labelled_us
