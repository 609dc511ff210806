"""What names an image in a pipeline: URIs, rows of any kind, and our own rows."""

# No "from __future__ import annotations" here: Beam reads those of Photo as they stand.

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, NamedTuple, Optional

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from pipeline_tools import Keep, expected_outputs, outputs, pipeline

from deepo_beam.emulator.testing import RunningEmulator
from deepo_beam.errors import ConfigError, ErrorCode, Stage
from deepo_beam.identity import canonical_crop, image_id
from deepo_beam.inputs import InputOptions
from deepo_beam.transforms import LabelImages
from deepo_beam.transforms.as_images import as_image
from deepo_beam.transforms.image_rows import image_row, rows_of_problem
from deepo_beam.types import Failure, ImageRef

NOW = datetime(2026, 11, 24, tzinfo=timezone.utc)
BOX = {"bbox": {"xmin": 0.25, "ymin": 0.0, "xmax": 1.0, "ymax": 0.5}}


class Photo(NamedTuple):
    image_uri: str
    site: str
    taken: Optional[Timestamp]  # noqa: UP045 - Beam's schema inference reads it


def image_of(element: Any, **columns: str) -> ImageRef:
    return as_image(element, InputOptions(**columns))


# --- one element -------------------------------------------------------------------------------------


def test_a_row_of_any_kind_names_the_image_that_its_uri_names() -> None:
    by_uri = image_of("s3://lake/a.jpg")
    for row in (
        beam.Row(image_uri="s3://lake/a.jpg"),
        {"image_uri": "s3://lake/a.jpg"},
        Photo("s3://lake/a.jpg", "", None),
    ):
        assert image_of(row) == by_uri
    assert by_uri == ImageRef(image_id("s3://lake/a.jpg", None), *["s3://lake/a.jpg"] * 2, source="element")


def test_columns_mean_what_they_mean_in_a_list_and_the_others_are_attributes() -> None:
    row = beam.Row(
        image_uri="/a.jpg",
        crop=canonical_crop(BOX),
        external_id="mine",
        attributes={"site": "north", "shelf": ""},
        size_bytes=np.int64(12),
        modified_at=Timestamp(micros=1_760_000_000_000_001),
        camera=np.int32(7),
        seen=Timestamp(0),
    )
    assert image_of(row) == ImageRef(
        image_id("/a.jpg", canonical_crop(BOX)),
        "/a.jpg",
        "/a.jpg",
        canonical_crop(BOX),
        "mine",
        (("camera", "7"), ("seen", "1970-01-01T00:00:00+00:00"), ("site", "north")),
        12,
        1_760_000_000_000_001,
        "element",
    )


def test_columns_can_be_named() -> None:
    row = {"path": "/a.jpg", "sku": 17, "box": [0.25, 0.0, 1.0, 0.5], "external_id": "no", "crop": "no"}
    image = image_of(row, uri_column="path", id_column="sku", bbox_column="box")
    assert (image.image_uri, image.external_id, image.crop) == ("/a.jpg", "17", canonical_crop(BOX))
    assert image.attributes == (("crop", "no"), ("external_id", "no"))


def test_a_column_that_is_named_like_one_of_ours_and_means_something_else_is_an_attribute() -> None:
    row = {"image_uri": "/a.jpg", "image_id": 17, "source": "camera 3", "location": "Paris", "attributes": "few"}
    image = image_of(row)
    assert dict(image.attributes) == {"image_id": "17", "source": "camera 3", "location": "Paris", "attributes": "few"}
    assert (image.location, image.source) == ("/a.jpg", "element")


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)


@given(
    st.sampled_from([None, canonical_crop(BOX)]),
    st.none() | texts,
    st.dictionaries(texts, texts, max_size=3),
    st.none() | st.integers(0, 2**62),
    st.none() | st.integers(0, 2**53),
)
def test_a_row_of_ours_is_the_image_that_it_was_made_of(
    crop: str | None, own_id: str | None, attributes: dict[str, str], size: int | None, modified: int | None
) -> None:
    uri = "https://host/a.jpg"
    signed = f"{uri}?X-Amz-Signature=abc"
    pairs = tuple(sorted(attributes.items()))
    ref = ImageRef(image_id(uri, crop), uri, signed, crop, own_id, pairs, size, modified, "list.csv:3")
    row = image_row(ref)
    assert image_of(row) == ref
    assert image_of(beam.Row(**row._asdict(), site="x")).attributes == tuple(
        sorted({**attributes, "site": "x"}.items())
    )


def test_a_location_that_is_another_image_is_not_opened_for_this_one() -> None:
    ref = ImageRef(image_id("https://host/a.jpg", None), "https://host/a.jpg", "https://host/b.jpg")
    assert image_of(image_row(ref)).location == "https://host/a.jpg"


def test_a_row_of_errors_is_the_image_that_failed_and_why_is_no_attribute() -> None:
    failure = Failure(Stage.READ, ErrorCode.READ_FAILED, "no", retryable=True, http_status=500)
    ref = ImageRef(
        image_id("/a.jpg", None), "/a.jpg", "/a.jpg", attributes=(("site", "a"),), source="x", problem=failure
    )
    (row,) = rows_of_problem(ref)
    assert image_of(row) == ref._replace(problem=None)


@pytest.mark.parametrize(
    "row", [{"image_uri": None, "site": "a"}, {"image_uri": 5}, {"site": "a"}, None, {"image_uri": "/a", "crop": "{"}]
)
def test_a_row_that_names_no_image_has_failed(row: Any) -> None:
    problem = image_of(row).problem
    assert problem is not None
    assert problem.code is ErrorCode.BAD_MANIFEST_ROW


def test_rows_that_name_no_image_are_told_apart() -> None:
    ids = {image_of({"image_uri": None, "site": site, "at": NOW}).image_id for site in "ab"}
    assert len(ids) == 2


# --- in a pipeline -----------------------------------------------------------------------------------


def test_rows_are_labelled_with_what_they_say(service: RunningEmulator, pictures: Callable[[int], list[str]]) -> None:
    paths = pictures(3)
    keep = Keep()
    with pipeline() as p:
        rows = p | beam.Create([Photo(path, f"site {n}", Timestamp(n)) for n, path in enumerate(paths)])
        _ = rows | LabelImages(spec="echo-v1") | keep
    results = {result.image.image_uri: result for result in keep.elements}
    assert {path: outputs(result) for path, result in results.items()} == {
        path: expected_outputs(path) for path in paths
    }
    assert dict(results[paths[2]].image.attributes) == {"site": "site 2", "taken": "1970-01-01T00:00:02+00:00"}


def test_a_column_that_the_schema_lacks_is_named_before_anything_is_asked_of_the_service() -> None:
    rows = pipeline() | beam.Create([Photo("/a.jpg", "", None)]) | beam.Map(lambda row: row).with_output_types(Photo)
    for options, lacking in (({"uri_column": "path"}, "path"), ({"id_column": "sku"}, "sku")):
        with pytest.raises(ConfigError, match=f"no column '{lacking}', they have 'image_uri', 'site', 'taken'"):
            _ = rows | f"Without {lacking}" >> LabelImages(spec="echo-v1", api_url="http://127.0.0.1:9", **options)
