"""``GroupImagesByBucket``: the images of a bucket come together, and with them the mentions of one image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PCollection
from apache_beam.utils.windowed_value import WindowedValue

from deepo_beam.identity import bucket_of
from deepo_beam.types import ImageRef

_IMAGES_HELD = 16_384  # 64 for each of 256 buckets, some 20 MB


class ImageBatch(tuple[ImageRef, ...]):
    """Images that travel together: a runner asks for time and memory by element, and there are a million."""

    __slots__ = ()


class GroupImagesByBucket(beam.PTransform[PCollection[ImageRef], PCollection[tuple[int, Iterable[ImageBatch]]]]):
    """Group images by the bucket of their journal.

    Shape: PCollection[ImageRef] -> PCollection[tuple[int, Iterable[ImageBatch]]].

    Args:
        buckets: how many there are (>= 1).
    """

    def __init__(self, buckets: int) -> None:
        super().__init__()
        self._buckets = buckets

    def expand(self, images: PCollection[ImageRef]) -> Any:
        """Batches of a bundle first, then a shuffle."""
        batch = beam.ParDo(_BatchByBucketFn(self._buckets)).with_output_types(tuple[int, ImageBatch])
        return images | "BatchByBucket" >> batch | "GroupByBucket" >> beam.GroupByKey()


class _BatchByBucketFn(beam.DoFn):
    def __init__(self, buckets: int) -> None:
        self._buckets = buckets

    def start_bundle(self) -> None:
        """No image crosses bundles."""
        self._held: dict[tuple[int, Any, Any], list[ImageRef]] = {}
        self._count = 0

    def process(
        self, image: ImageRef, timestamp: Any = beam.DoFn.TimestampParam, window: Any = beam.DoFn.WindowParam
    ) -> Iterable[WindowedValue]:
        """Hold the image; what is held goes on when it is much."""
        self._held.setdefault((bucket_of(image.image_id, self._buckets), timestamp, window), []).append(image)
        self._count += 1
        return self._release() if self._count >= _IMAGES_HELD else ()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """The rest."""
        return self._release()

    def _release(self) -> Iterator[WindowedValue]:
        held, self._held, self._count = self._held, {}, 0
        for (bucket, timestamp, window), images in held.items():
            yield WindowedValue((bucket, ImageBatch(images)), timestamp, (window,))
