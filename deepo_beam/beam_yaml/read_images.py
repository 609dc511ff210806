"""``ReadImages``: from what a user names to rows of images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PBegin

from deepo_beam.beam_yaml.error_output import GOOD, error_output
from deepo_beam.errors import ConfigError
from deepo_beam.inputs import InputOptions
from deepo_beam.transforms.image_rows import ErrorRow, ImageRow, image_row, rows_of_problem
from deepo_beam.transforms.list_images import ListImages
from deepo_beam.types import ImageRef


class ReadImages(beam.PTransform[PBegin, Any]):
    """Lists images: URIs, globs, folders, lists (text, CSV, JSONL, Parquet), the errors of an earlier run.

    Shape: pipeline -> {``good``: PCollection[ImageRow], and with error_handling also its output:
    PCollection[ErrorRow]}, one row for each entry.

    Args:
        path: What to list: one, or several.
        uri_column: Column of a list that holds the URI.
        id_column: Column of a list that holds your own id.
        bbox_column: Column of a list that holds a crop box.
        polygon_column: Column of a list that holds a crop polygon.
        error_handling: ``{output: NAME}``: where rows of entries go that name no image. Without it such an entry
            fails the pipeline.

    Raises:
        ConfigError: there is no path, or it is standard input.
    """

    _yaml_requires_inputs = False

    def __init__(
        self,
        path: str | Sequence[str],
        uri_column: str = "image_uri",
        id_column: str | None = None,
        bbox_column: str | None = None,
        polygon_column: str | None = None,
        error_handling: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self._paths = [path] if isinstance(path, str) else [str(each) for each in path]
        if not self._paths:
            raise ConfigError("ReadImages: no path: name a folder, a glob or a list")
        if "-" in self._paths:
            raise ConfigError("ReadImages: workers have no standard input (-): write the list into a file")
        self._options = InputOptions(uri_column, id_column, bbox_column, polygon_column)
        self._errors = error_output(error_handling, "ReadImages")

    def expand(self, pbegin: PBegin) -> Any:
        """List, and tell good from bad."""
        images = pbegin | "ListImages" >> ListImages(self._paths, self._options)
        if self._errors is None:
            return {GOOD: images | "AsRow" >> beam.Map(_usable_row).with_output_types(ImageRow)}
        return {
            GOOD: images | "AsRow" >> beam.FlatMap(_good_rows).with_output_types(ImageRow),
            self._errors: images | "AsError" >> beam.FlatMap(rows_of_problem).with_output_types(ErrorRow),
        }


def _good_rows(image: ImageRef) -> Iterator[ImageRow]:
    if image.problem is None:
        yield image_row(image)


def _usable_row(image: ImageRef) -> ImageRow:
    """The row of an image.

    Raises:
        ConfigError: the entry names none.
    """
    if image.problem is not None:
        raise ConfigError(
            f"ReadImages: {image.problem.message}; mend it, or let such entries go to an output of their own with"
            " error_handling: {output: NAME}"
        )
    return image_row(image)
