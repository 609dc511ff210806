"""``LabelImages`` of Beam YAML: rows of images in, rows of labels and of failures out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PCollection

from deepo_beam import transforms
from deepo_beam.beam_yaml.error_output import GOOD, error_output
from deepo_beam.errors import ConfigError
from deepo_beam.transforms.image_rows import ErrorRow, rows_of_failure


class LabelImages(beam.PTransform[PCollection[Any], Any]):
    """Labels images with a Deepomatic model.

    Shape: PCollection[row] (as :class:`~deepo_beam.transforms.as_images.AsImages` takes them) -> {``good``:
    PCollection[Label], the output of error_handling: PCollection[ErrorRow]}. An image has a row for each of its
    labels, none if it has none; one that failed has a row among the errors.

    Args:
        error_handling: ``{output: NAME}``: where failed images go. It must be there.
        options: Those of ``LabelImages`` in Python, by name: ``spec`` or ``version_id``, ``rate``, ``output`` for a
            journal, ``uri_column`` and its like for rows that are not those of ReadImages.

    Raises:
        ConfigError: an option cannot be meant, or failed images have no output.
    """

    def __init__(self, error_handling: Mapping[str, str] | None = None, **options: Any) -> None:
        super().__init__()
        errors = error_output(error_handling, "LabelImages")
        if errors is None:
            raise ConfigError(
                "LabelImages: failed images need a place: give error_handling: {output: NAME}, and write that output"
            )
        self._errors = errors
        self._label = transforms.LabelImages(**options)

    def expand(self, rows: PCollection[Any]) -> Any:
        """Label, then flatten both ways."""
        results = rows | "LabelImages" >> self._label
        return {
            GOOD: results | "FlattenPredictions" >> transforms.FlattenPredictions(),
            self._errors: results | "AsError" >> beam.FlatMap(rows_of_failure).with_output_types(ErrorRow),
        }
