"""``FlattenPredictions``: from results to schema'd rows, one for each label."""

# No "from __future__ import annotations" here: Beam's schemas read the annotations as they stand.

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Optional

import apache_beam as beam
import numpy as np
from apache_beam.coders import RowCoder
from apache_beam.coders.typecoders import registry
from apache_beam.pvalue import PCollection
from apache_beam.utils.timestamp import Timestamp

from deepo_beam.lake.flatten import LabelRow, flatten_predictions
from deepo_beam.types import ImageResult


class Label(NamedTuple):
    """A row of ``labels`` in types that Beam's schemas know, so that SQL, BigQuery and YAML can read it.

    The columns of :data:`deepo_beam.lake.schemas.LABELS`.
    """

    image_id: str
    image_uri: str
    crop: Optional[str]  # noqa: UP045 - Beam's schema inference reads these
    external_id: Optional[str]  # noqa: UP045
    model_kind: str
    model_id: str
    model_version_id: Optional[np.int64]  # noqa: UP045
    attributes: Mapping[str, str]
    output_index: np.int32
    prediction_index: np.int32
    label_id: np.int64
    label_name: str
    score: np.float32
    threshold: np.float32
    is_predicted: bool
    region_id: Optional[np.int64]  # noqa: UP045
    bbox_xmin: Optional[np.float32]  # noqa: UP045
    bbox_ymin: Optional[np.float32]  # noqa: UP045
    bbox_xmax: Optional[np.float32]  # noqa: UP045
    bbox_ymax: Optional[np.float32]  # noqa: UP045
    predicted_at: Timestamp


registry.register_coder(Label, RowCoder)


class FlattenPredictions(beam.PTransform[PCollection[ImageResult], PCollection[Label]]):
    """One row for each label of each result.

    Shape: PCollection[ImageResult] -> PCollection[Label] (a schema'd NamedTuple with a RowCoder); failed images
    and images without labels give none. The pure twin is :func:`deepo_beam.lake.flatten.flatten_predictions`.
    """

    def expand(self, results: PCollection[ImageResult]) -> PCollection[Label]:
        """A map, nothing else."""
        return results | "FlattenResult" >> beam.FlatMap(_labels).with_output_types(Label)


def _labels(result: ImageResult) -> Iterator[Label]:
    return map(as_label, flatten_predictions(result))


def as_label(row: LabelRow) -> Label:
    """The same row in Beam's types. Pure."""
    values = row._asdict()
    predicted_us = values.pop("predicted_us")
    return Label(**{**values, "attributes": dict(row.attributes), "predicted_at": Timestamp(micros=predicted_us)})
