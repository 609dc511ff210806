"""``GroupImagesByBucket``: the images of a bucket come together, and with them the mentions of one image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PCollection
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from deepo_beam.identity import bucket_of
from deepo_beam.types import ImageRef

_IMAGES_HELD = 16_384  # 64 for each of 256 buckets, some 20 MB


class ImageBatch(tuple[ImageRef, ...]):
    """Images that travel together: a runner asks for time and memory by element, and there are a million.

    Attributes:
        times: of each image the timestamp of its element, microseconds since 1970 UTC; empty if they do not matter.
    """

    times: Sequence[int] = ()


class GroupImagesByBucket(beam.PTransform[PCollection[ImageRef], PCollection[tuple[int, Iterable[ImageBatch]]]]):
    """Group images by the bucket of their journal.

    Shape: PCollection[ImageRef] -> PCollection[tuple[int, Iterable[ImageBatch]]].

    Args:
        buckets: how many there are (>= 1).
        timed: keep the timestamps of the elements, which a grouping forgets.
    """

    def __init__(self, buckets: int, *, timed: bool = False) -> None:
        super().__init__()
        self._buckets = buckets
        self._timed = timed

    def expand(self, images: PCollection[ImageRef]) -> Any:
        """Batches of a bundle first, then a shuffle."""
        batched = tuple[int, ImageBatch]
        if images.windowing.windowfn == GlobalWindows():
            kind = _BatchTimedByBucketFn if self._timed else _BatchByBucketFn
            batch = beam.ParDo(kind(self._buckets)).with_output_types(batched)
        else:
            batch = beam.Map(_batch_of_one, self._buckets).with_output_types(batched)
        return images | "BatchByBucket" >> batch | "GroupByBucket" >> beam.GroupByKey()


class _BatchByBucketFn(beam.DoFn):
    """For one window: a ``DoFn`` that asks for the windows of its elements costs as much again as all that it does."""

    def __init__(self, buckets: int) -> None:
        self._buckets = buckets

    def start_bundle(self) -> None:
        """No image crosses bundles."""
        self._held: defaultdict[int, list[ImageRef]] = defaultdict(list)
        self._count = 0

    def process(self, image: ImageRef) -> Iterable[tuple[int, ImageBatch]]:
        """Hold the image; what is held goes on when it is much."""
        self._held[bucket_of(image.image_id, self._buckets)].append(image)
        self._count += 1
        return self._release() if self._count >= _IMAGES_HELD else ()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """The rest."""
        return map(GlobalWindows.windowed_value, self._release())

    def _release(self) -> list[tuple[int, ImageBatch]]:
        released = [(bucket, ImageBatch(images)) for bucket, images in self._held.items()]
        self.start_bundle()
        return released


class _BatchTimedByBucketFn(_BatchByBucketFn):
    """The same with the time of each image."""

    def start_bundle(self) -> None:
        """No time crosses bundles either."""
        super().start_bundle()
        self._times: defaultdict[int, list[int]] = defaultdict(list)

    def process(self, image: ImageRef, timestamp: Any = beam.DoFn.TimestampParam) -> Iterable[tuple[int, ImageBatch]]:
        """Hold the image and its time."""
        self._times[bucket_of(image.image_id, self._buckets)].append(timestamp.micros)
        return super().process(image)

    def _release(self) -> list[tuple[int, ImageBatch]]:
        times = self._times
        released = super()._release()
        for bucket, batch in released:
            batch.times = times[bucket]
        return released


def _batch_of_one(image: ImageRef, buckets: int, timestamp: Any = beam.DoFn.TimestampParam) -> tuple[int, ImageBatch]:
    batch = ImageBatch((image,))
    batch.times = (timestamp.micros,)
    return bucket_of(image.image_id, buckets), batch


def times_of(batches: Iterable[ImageBatch]) -> dict[str, Timestamp]:
    """By image id the earliest time at which it was named; of batches without times nothing. Pure."""
    times: dict[str, int] = {}
    for batch in batches:
        for image, micros in zip(batch, batch.times, strict=False):
            times[image.image_id] = min(micros, times.get(image.image_id, micros))
    return {image_id: Timestamp(micros=micros) for image_id, micros in times.items()}
