import base64
import json

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from deepo_beam.emulator.multipart import split_multipart
from deepo_beam.emulator.parse import RefusedError, parse_inference


def parse_json(body):
    return parse_inference("application/json", json.dumps(body).encode())


def body_of(image=b"photo", **options):
    source = "data:image/*;base64," + base64.b64encode(image).decode()
    return {"inputs": [{"image": {"source": source}}], **options}


def multipart(files, data=None):
    """A body as ``requests`` (so the official client) builds it."""
    prepared = requests.Request("POST", "http://host/", files=files, data=data).prepare()
    return prepared.headers["Content-Type"], prepared.body


def refused(call, *arguments):
    with pytest.raises(RefusedError) as caught:
        call(*arguments)
    return caught.value.status, str(caught.value)


@given(
    st.binary(min_size=1, max_size=500),
    st.sampled_from(["image/*", "image/jpeg", "IMAGE/PNG", "", "image/x;p=1"]),
)
def test_the_image_of_a_json_body_arrives_byte_for_byte(image, media_type):
    source = f"data:{media_type};base64," + base64.b64encode(image).decode()
    assert parse_json({"inputs": [{"image": {"source": source}}]}).image == image


@given(st.binary(min_size=1, max_size=500))
def test_the_image_of_a_multipart_body_arrives_byte_for_byte(image):
    assert parse_inference(*multipart({"inputs[0]image.source": ("a b.jpg", image)})).image == image


@given(st.lists(st.tuples(st.sampled_from(["a", "b[0]c.d", "é"]), st.binary(max_size=80), st.booleans()), min_size=1))
def test_multipart_bodies_are_split_as_they_were_built(parts):
    files = [(name, ("file" if is_file else None, content)) for name, content, is_file in parts]
    split = split_multipart(*multipart(files))
    assert [(part.name, part.content, part.is_file) for part in split] == parts


@given(st.text(max_size=30), st.text(max_size=30))
def test_other_fields_around_the_image_do_not_change_it(key, text):
    body = {key: text, **body_of(), "z" + key: [text]}
    if key != "inputs":
        assert parse_json(body).image == b"photo"


def test_a_second_base64_in_the_body_is_never_taken_for_the_image():
    decoy = {"a": "x;base64,QUJD"}
    assert parse_json({**decoy, **body_of()}).image == b"photo"
    empty = {"inputs": [{"image": {"source": "data:image/*;base64,"}}]}
    assert refused(parse_json, {**decoy, **empty}) == (400, "inputs[0].image.source: the image is empty")
    marked = {"inputs": [{"image": {"source": "data:image/*,*"}}]}
    assert refused(parse_json, {**decoy, **marked})[0] == 400


def test_base64_with_escaped_slashes_is_read_as_json_means_it():
    escaped = json.dumps(body_of(b"\xff\xff\xff")).replace("////", "\\/" * 4).encode()
    assert b"\\/" in escaped
    assert parse_inference("application/json", escaped).image == b"\xff\xff\xff"


def test_options_and_crops_are_read_alike_from_json_and_multipart():
    box = {"xmin": 0.1, "ymin": 0, "xmax": 1, "ymax": 0.5}
    body = body_of(show_discarded=True, max_predictions=3)
    body["inputs"][0]["image"]["bbox"] = box
    parts = {
        "inputs[0]image.source": ("a.jpg", b"photo"),
        "inputs[0]image.crop_uniform_background": (None, "False"),
    }
    scalars = {"show_discarded": "True", "max_predictions": "3"}
    scalars |= {f"inputs[0]image.bbox.{corner}": str(value) for corner, value in box.items()}
    assert parse_json(body) == parse_inference(*multipart(parts, scalars))


def test_a_polygon_is_read_alike_from_json_and_multipart():
    points = [{"x": i / 20, "y": (i * i % 7) / 7} for i in range(12)]
    body = body_of()
    body["inputs"][0]["image"]["polygon"] = points
    scalars = {f"inputs[0]image.polygon[{i}]{axis}": str(p[axis]) for i, p in enumerate(points) for axis in "xy"}
    assert parse_json(body) == parse_inference(*multipart({"inputs[0]image.source": ("a", b"photo")}, scalars))


def test_a_url_is_kept_as_text_in_json_and_multipart():
    url = "http://127.0.0.1:8000/a%20b.jpg?x=1"
    assert parse_json({"inputs": [{"image": {"source": url}}]}).url == url
    assert parse_inference(*multipart({"inputs[0]image.source": (None, url)})).url == url


@pytest.mark.parametrize("text", ["True", "true", "TRUE", "1"])
def test_multipart_booleans_are_true_in_any_case(text):
    parts = {"inputs[0]image.source": ("a", b"photo"), "show_discarded": (None, text)}
    assert parse_inference(*multipart(parts)).show_discarded is True


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"inputs": []}, "exactly one input"),
        ({"inputs": body_of()["inputs"] * 2}, "exactly one input"),
        ({"inputs": None}, "exactly one input"),
        ({"inputs": ["x"]}, "object with image"),
        ({"inputs": [{"image": {}}]}, "give a URL or data:"),
        ({"inputs": [{"image": {"source": "photo.jpg"}}]}, "give a URL or data:"),
        ({"inputs": [{"image": {"source": 7}}]}, "give a URL or data:"),
        ({"inputs": [{"image": {"source": "data:image/png,abc"}}]}, "give a URL or data:"),
        ({"inputs": [{"image": {"source": "data:image/*;base64,QUJ"}}]}, "not valid base64"),
        ({"inputs": [{"image": {"source": "data:image/*;base64,QU JD"}}]}, "not valid base64"),
        ({"inputs": [{"image": {"source": "data:image/*;base64,Q_-D"}}]}, "not valid base64"),
        ({"inputs": [{"image": {"source": "data:image/*;base64,QUJDé"}}]}, "not valid base64"),
        ({"inputs": [{"image": {"source": "data:image/*;base64,"}}]}, "the image is empty"),
        ({"inputs": [{"image": {"source": "http://h/", "bbox": {"xmin": 2}}}]}, "inputs[0].image.bbox"),
        (
            {"inputs": [{"image": {"source": "http://h/", "bbox": {}, "polygon": []}}]},
            "either bbox or polygon",
        ),
        ({"show_discarded": "perhaps"}, "show_discarded: must be a valid boolean"),
        ({"max_predictions": 0}, "max_predictions: must be an integer above 0"),
        ({"max_predictions": 1.5}, "max_predictions: must be an integer above 0"),
    ],
)
def test_a_wrong_body_is_400_and_names_the_field(change, said):
    status, message = refused(parse_json, {**body_of(), **change})
    assert status == 400
    assert said in message


def test_a_number_too_large_for_a_float_is_400():
    box = dict.fromkeys(("xmin", "ymin", "xmax", "ymax"), 10**400)
    body = {"inputs": [{"image": {"source": "http://h/", "bbox": box}}]}
    status, message = refused(parse_json, body)
    assert status == 400
    assert "bbox.xmin: give a number" in message


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b'"x"', b"\xff", b"[" * 100_000, b'{"inputs": ";base64,QUJD'])
def test_what_is_no_json_object_is_400(body):
    assert refused(parse_inference, "application/json; charset=utf-8", body)[0] == 400


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", ""])
def test_any_other_type_is_415(content_type):
    assert refused(parse_inference, content_type, b"inputs=1")[0] == 415


def test_broken_multipart_bodies_are_400():
    content_type, body = multipart({"inputs[0]image.source": ("a.jpg", b"photo")})
    bodies = [b"", b"x", body[:-10], body[:40], body.replace(b"name=", b"nome=")]
    for broken in bodies:
        assert refused(parse_inference, content_type, broken)[0] == 400
    assert refused(parse_inference, "multipart/form-data", body)[0] == 400


def test_an_empty_file_no_input_and_two_inputs_are_400_in_multipart():
    for files in (
        {"inputs[0]image.source": ("a.jpg", b"")},
        {"other": ("a.jpg", b"photo")},
        {"inputs[0]image.source": ("a.jpg", b"a"), "inputs[1]image.source": ("b.jpg", b"b")},
        {"inputs[0]image.source": ("a.jpg", b"a"), "inputs[0]image.bbox.xmin": (None, "left")},
    ):
        assert refused(parse_inference, *multipart(files))[0] == 400


def test_messages_are_under_error_for_400_and_under_detail_else():
    assert json.loads(RefusedError(400, "no").body()) == {"error": "no"}
    assert json.loads(RefusedError(503, "no").body()) == {"detail": "no"}
