"""``AsImages``: whatever names an image in a pipeline, as an ``ImageRef``: a URI, a row, a dictionary."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import PCollection
from apache_beam.typehints.schemas import named_fields_from_element_type
from apache_beam.utils.timestamp import Timestamp

from deepo_beam.errors import ConfigError
from deepo_beam.identity import normalise_uri
from deepo_beam.inputs import InputOptions
from deepo_beam.inputs.rows import Microseconds, Origin, Row, attributes_of, image_of_row
from deepo_beam.lake.schemas import ERRORS, IMAGES, LABELS
from deepo_beam.types import ImageRef

_SOURCE = "element"  # of what names no other
# What a row of our own says beside the image it names.
_OF_OUR_ROWS = {*LABELS.names, *IMAGES.names, *ERRORS.names, "location"}
_OF_THE_IMAGE = {"image_uri", "crop", "external_id", "size_bytes", "modified_at"}


class AsImages(beam.PTransform[PCollection[Any], PCollection[ImageRef]]):
    """Take what names images as images.

    Shape: PCollection[str | ImageRef | row] -> PCollection[ImageRef], one for each; what names no image has a
    ``problem``. A row is a NamedTuple, a ``beam.Row`` or a dictionary. Its columns mean what those of a list mean:
    the URI, your own id (``external_id`` if no column is named), a crop (``crop``, canonical JSON, if no column is
    named), ``size_bytes`` and ``modified_at``; a map ``attributes`` is taken apart, and all other columns become
    attributes as text. Of rows that ``ReadImages``, ``FlattenPredictions`` and ``errors/`` have, only the image counts.

    Args:
        options: which columns mean something.

    Raises:
        ConfigError: the rows have a schema without a column that is named (when the transform is applied).
    """

    def __init__(self, options: InputOptions) -> None:
        super().__init__()
        self._options = options

    def expand(self, elements: PCollection[Any]) -> PCollection[ImageRef]:
        """A map, nothing else."""
        _check_columns(elements.element_type, self._options)
        return elements | "AsImage" >> beam.Map(as_image, self._options).with_output_types(ImageRef)


def as_image(element: Any, options: InputOptions) -> ImageRef:
    """The image that an element names. Pure."""
    if isinstance(element, ImageRef):
        return element
    values = _values(element, options)
    if "image_id" in values:
        kept = _OF_THE_IMAGE.union(options.columns())
        own = {name: value for name, value in values.items() if name not in _OF_OUR_ROWS or name in kept}
        image = _image_of_values(own | {"attributes": values.get("attributes")}, options)
        if image.image_id == values["image_id"]:  # one with another meaning is a column as any
            return image._replace(source=values.get("source") or _SOURCE, location=_location(values, image))
    return _image_of_values(values, options)


def _values(element: Any, options: InputOptions) -> dict[str, Any]:
    if hasattr(element, "_asdict"):  # a NamedTuple, a beam.Row
        element = element._asdict()
    if not isinstance(element, Mapping):
        return {options.uri_column: element}
    return {str(name): _plain(value, exact=name == "modified_at") for name, value in element.items()}


def _plain(value: Any, *, exact: bool) -> Any:
    """Without the types of Beam and numpy, of which lists know nothing."""
    if isinstance(value, Timestamp):
        return Microseconds(value.micros) if exact else value.to_utc_datetime(has_tz=True)
    return value.item() if isinstance(value, np.generic) else value


def _image_of_values(values: Mapping[str, Any], options: InputOptions) -> ImageRef:
    columns = dict(values)
    known = replace(options, id_column=options.id_column or "external_id", crop_column="crop")
    nested = columns.get("attributes")
    if nested is None or isinstance(nested, Mapping):
        columns.pop("attributes", None)
    image = image_of_row(Row(0, columns), Origin(_SOURCE, 0, 0), None, known)
    if image.problem is not None and len(values) > 1:  # such rows are told apart by all that they say
        text = json.dumps(values, default=str, ensure_ascii=False)
        return image_of_row(Row(0, columns, text), Origin(_SOURCE, 0, 0), None, known)
    if not nested or not isinstance(nested, Mapping):
        return image
    attributes = dict(attributes_of(nested)) | dict(image.attributes)
    return image._replace(attributes=tuple(sorted(attributes.items())))


def _location(values: Mapping[str, Any], image: ImageRef) -> str:
    """What to open: of a signed URL the URI that names the image lacks the signature."""
    location = values.get("location")
    try:
        if isinstance(location, str) and normalise_uri(location) == image.image_uri:
            return location
    except ValueError:
        pass
    return image.location


def _check_columns(element_type: Any, options: InputOptions) -> None:
    if element_type is ImageRef:
        return
    try:
        names = [name for name, _ in named_fields_from_element_type(element_type)]
    except (TypeError, ValueError):  # without a schema: each element says what it has
        return
    for column in options.columns():
        if column not in names:
            found = ", ".join(map(repr, names))
            raise ConfigError(
                f"the rows have no column {column!r}, they have {found}; say which with uri_column and its like"
            )
