"""``ListImages``: from what a user names to images; ``SelectImages``: some of them, always the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.transforms import combiners

from deepo_beam.inputs import InputOptions, counted, expand_input
from deepo_beam.types import ImageRef


class ListImages(beam.PTransform[PBegin, PCollection[ImageRef]]):
    """List images: globs, folders, lists (text, CSV, JSONL, Parquet), URIs, an earlier run's ``errors/``.

    Shape: pipeline -> PCollection[ImageRef], one for each entry, duplicates and unusable entries included (the
    latter with ``problem`` set), in no order.

    Args:
        inputs: what to list; see :func:`deepo_beam.inputs.classify_input`.
        options: which columns of lists mean something.
    """

    def __init__(self, inputs: Sequence[str], options: InputOptions = InputOptions()) -> None:  # noqa: B008 - frozen
        super().__init__()
        self._inputs = list(enumerate(inputs))
        self._options = options

    def expand(self, pbegin: PBegin) -> PCollection[ImageRef]:
        """One element for each input, then one for each image."""
        return (
            pbegin
            | "Inputs" >> beam.Create(self._inputs)
            | "ExpandInput" >> beam.FlatMap(_expand, self._options).with_output_types(ImageRef)
        )


class SelectImages(beam.PTransform[PCollection[ImageRef], PCollection[ImageRef]]):
    """Keep the first N images by URI, or N by a seeded hash of it: the same ones in every run.

    Shape: PCollection[ImageRef] -> PCollection[ImageRef] of at most N.

    Args:
        limit: N first in the order of (URI, crop); None for no limit.
        sample: N smallest by hash; None for no sample.
        seed: of the hash.
    """

    def __init__(self, *, limit: int | None = None, sample: int | None = None, seed: int = 0) -> None:
        super().__init__()
        self._limit, self._sample, self._seed = limit, sample, seed

    def expand(self, images: PCollection[ImageRef]) -> PCollection[ImageRef]:
        """Nothing at all if neither is asked for."""
        count = self._limit if self._limit is not None else self._sample
        if count is None:
            return images
        seed = None if self._limit is not None else self._seed
        return (
            images
            | "SmallestFirst" >> combiners.Top.Smallest(count, key=lambda image: selection_key(image, seed))
            | "Selected" >> beam.FlatMap(lambda selected: selected).with_output_types(ImageRef)
        )


def selection_key(image: ImageRef, seed: int | None) -> tuple[str, str, int, int]:
    """What images are sorted by to select some: the URI, or with a seed its hash. Pure."""
    text = image.image_uri
    if seed is not None:
        text = hashlib.sha256(f"{seed}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()
    return text, image.crop or "", image.input_index, image.line


def _expand(indexed: tuple[int, str], options: InputOptions) -> Iterator[ImageRef]:
    index, text = indexed
    return counted(expand_input(text, index=index, options=options))
