"""Paths and bodies are those of the API v0.7, as the official client sends them."""

from __future__ import annotations

import base64
import email
import json
from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepo_beam.api import building, inference_path, json_body, multipart_body, url_body
from deepo_beam.errors import ConfigError
from deepo_beam.types import ModelKind, ModelRef

BOX = '{"bbox":{"xmax":0.5,"xmin":0.25,"ymax":1.0,"ymin":0.0}}'
POLYGON = '{"polygon":[{"x":0.0,"y":0.0},{"x":1.0,"y":0.0},{"x":0.5,"y":1.0}]}'


@pytest.mark.parametrize(
    ("model", "path"),
    [
        (
            ModelRef(ModelKind.SPEC, "imagenet-inception-v3"),
            "/recognition/public/imagenet-inception-v3/inference",
        ),
        (ModelRef(ModelKind.SPEC, "42"), "/recognition/specs/42/inference"),
        (ModelRef(ModelKind.VERSION, "42"), "/recognition/versions/42/inference"),
    ],
)
def test_text_ids_are_public_specifications_and_digits_private_ones(model: ModelRef, path: str) -> None:
    assert inference_path(model) == path


@pytest.mark.parametrize("spec_id", ["", "..", "a/b", "a b", "é", "٣", "x?y", "x#y", "x" * 300, "a\n"])
def test_an_id_that_could_change_the_path_is_refused(spec_id: str) -> None:
    with pytest.raises(ConfigError, match="ids are letters"):
        inference_path(ModelRef(ModelKind.SPEC, spec_id))


def test_a_version_by_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="'echo-v1': versions have integer ids"):
        inference_path(ModelRef(ModelKind.VERSION, "echo-v1"))


def test_task_ids_are_a_repeated_parameter() -> None:
    assert building.tasks_path(["7", "a&b"]) == "/tasks/?task_ids=7&task_ids=a%26b&offset=0&limit=100"
    assert building.task_path("a/b") == "/tasks/a%2Fb/"


@pytest.mark.parametrize("count", [0, 101])
def test_tasks_are_asked_for_by_1_to_100(count: int) -> None:
    with pytest.raises(ValueError, match="1 to 100 ids a call"):
        building.tasks_path(["1"] * count)


@given(
    image=st.binary(max_size=300),
    crop=st.sampled_from([None, BOX, POLYGON]),
    show_discarded=st.booleans(),
    max_predictions=st.none() | st.integers(1, 1000),
)
def test_a_json_body_is_what_json_would_make_of_it(
    image: bytes, crop: str | None, show_discarded: bool, max_predictions: int | None
) -> None:
    body = json_body(image, "image/png", crop=crop, show_discarded=show_discarded, max_predictions=max_predictions)
    source = f"data:image/png;base64,{base64.b64encode(image).decode()}"
    expected = {
        "inputs": [{"image": {"source": source} | json.loads(crop or "{}")}],
        "show_discarded": show_discarded,
    }
    if max_predictions is not None:
        expected["max_predictions"] = max_predictions
    assert json.loads(body) == expected


def parts(body: bytes, content_type: str) -> dict[str, Message]:
    message = email.message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    payload = message.get_payload()
    assert isinstance(payload, list)
    return {str(part.get_param("name", header="content-disposition")): part for part in payload}


def test_a_multipart_body_has_the_part_names_of_the_official_client() -> None:
    image = b"\x89PNG\r\n--\x00\xff\r\n"
    found = parts(*multipart_body(image, "image/png", crop=BOX, show_discarded=True, max_predictions=3))
    assert list(found) == [
        "show_discarded",
        "max_predictions",
        "inputs[0]image.bbox.xmax",
        "inputs[0]image.bbox.xmin",
        "inputs[0]image.bbox.ymax",
        "inputs[0]image.bbox.ymin",
        "inputs[0]image.source",
    ]
    assert found["show_discarded"].get_payload() == "True"
    assert found["max_predictions"].get_payload() == "3"
    assert found["inputs[0]image.bbox.xmin"].get_payload() == "0.25"
    file = found["inputs[0]image.source"]
    assert file.get_payload(decode=True) == image
    assert file.get_content_type() == "image/png"
    assert file.get_filename() == "image"


def test_a_polygon_is_flattened_without_a_dot_after_the_index() -> None:
    names = parts(*multipart_body(b"x", "image/png", crop=POLYGON))
    assert names["inputs[0]image.polygon[2]x"].get_payload() == "0.5"
    assert "inputs[0]image.polygon[0]y" in names


def test_each_multipart_body_has_its_own_boundary() -> None:
    assert multipart_body(b"x", "image/png")[1] != multipart_body(b"x", "image/png")[1]


def test_a_url_travels_as_json_text() -> None:
    body = url_body('https://h/a"b é.jpg?x=1', crop=POLYGON, max_predictions=5)
    assert json.loads(body) == {
        "inputs": [{"image": {"source": 'https://h/a"b é.jpg?x=1', **json.loads(POLYGON)}}],
        "show_discarded": False,
        "max_predictions": 5,
    }


@pytest.mark.parametrize("url", ["s3://b/k.jpg", "file:///etc/passwd", "/tmp/a.jpg", ""])
def test_what_is_no_http_url_is_not_sent_as_one(url: str) -> None:
    with pytest.raises(ConfigError, match="not http"):
        url_body(url)


@pytest.mark.parametrize("crop", ["", "[]", "{}", '{"bbox":{},"source":"x"}', '{"box":{}}', "{", '"bbox"'])
def test_a_crop_that_is_neither_box_nor_polygon_is_refused(crop: str) -> None:
    for build in (json_body, multipart_body):
        with pytest.raises(ConfigError, match="crop"):
            build(b"x", "image/png", crop=crop)


@pytest.mark.parametrize("media_type", ["", "text/html", 'image/png"', "image/png\r\nX: y", "IMAGE/PNG"])
def test_a_media_type_that_is_none_of_an_image_is_refused(media_type: str) -> None:
    for build in (json_body, multipart_body):
        with pytest.raises(ConfigError, match="media type"):
            build(b"x", media_type)
