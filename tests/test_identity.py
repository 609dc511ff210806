"""The identity of an image is frozen: these vectors may be added to, never changed."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deepo_beam.identity import bucket_of, canonical_crop, image_id, normalise_uri, problem_id

GOLDEN = [
    "379fc6b4606c403d22280e3f57108bbc",
    "d90b0ce6358bc12488e1f9816515db97",
    "20f29930559660ffd2ebc951f096d6ff",
]

SPELLINGS = [
    ("/data/a.jpg", "/data/a.jpg"),
    ("file:///data/a.jpg", "/data/a.jpg"),
    ("FILE:///data/a%20b.jpg", "/data/a%20b.jpg"),
    ("/data/x/../a.jpg", "/data/a.jpg"),
    ("//data///./a.jpg", "/data/a.jpg"),
    ("/data/a b#c?d+e[1]é.jpg", "/data/a b#c?d+e[1]é.jpg"),
    ("s3://Bucket/Key//x y%20#?.jpg", "s3://bucket/Key//x y%20#?.jpg"),
    ("S3A://b/k", "s3://b/k"),
    ("s3n://b/k", "s3://b/k"),
    ("gcs://b/k/../l", "gs://b/k/../l"),
    ("azfs://Account/c/K", "abfs://account/c/K"),
    ("abfss://C@Acc.dfs.core.windows.net/K", "abfs://c@acc.dfs.core.windows.net/K"),
    ("hdfs://Photos/a.jpg", "hdfs://Photos/a.jpg"),
    ("hdfs:///a.jpg", "hdfs:///a.jpg"),
    ("HTTP://Host.Example:80/A.jpg#top", "http://host.example:80/A.jpg"),
    ("https://me:secret@h/a", "https://h/a"),
    ("https://h?x=1", "https://h?x=1"),
    ("https://h/a?w=2&X-Amz-Signature=1&h=3&x-amz-date=4", "https://h/a?w=2&h=3"),
    ("https://h/a?X-Goog-Signature=1&X-Goog-Expires=9", "https://h/a"),
    ("https://h/a?AWSAccessKeyId=1&Signature=2&Expires=3&v=4", "https://h/a?v=4"),
    ("https://h/a?GoogleAccessId=1&Signature=2&Expires=3", "https://h/a"),
    ("https://h/a?Key-Pair-Id=1&Signature=2&Policy=3", "https://h/a"),
    (
        "https://a.blob.core.windows.net/c/k?sv=1&se=2&sr=b&sp=r&sig=3&snapshot=4",
        "https://a.blob.core.windows.net/c/k?snapshot=4",
    ),
    ("https://h/a?Expires=3&se=2&sp=1", "https://h/a?Expires=3&se=2&sp=1"),
    ("https://h/a?Signature=1&Expires=3&sv=2&se=2", "https://h/a?Signature=1&Expires=3&sv=2&se=2"),
    ("https://h/a?", "https://h/a?"),
    ("https://h/a#b#c", "https://h/a"),
]


@pytest.mark.parametrize(("text", "uri"), SPELLINGS)
def test_a_uri_has_one_spelling(text: str, uri: str) -> None:
    assert normalise_uri(text) == uri


@given(path=st.text("ab./", min_size=1).map(lambda text: f"/{text}"))
def test_a_path_is_what_the_system_makes_of_it_but_for_two_slashes_at_its_beginning(path: str) -> None:
    of_the_system = os.path.abspath(path)  # noqa: PTH100 (resolve() would follow symbolic links)
    assert normalise_uri(path) == f"/{of_the_system.lstrip('/')}"


def test_a_relative_path_is_taken_from_the_working_directory_and_links_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    assert normalise_uri("./x/../link/a.jpg") == os.fspath(tmp_path / "link" / "a.jpg")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("a\0b", "position 2"),
        ("s3://b/a\nb", "unusable character"),
        ("/a\x85", "unusable character"),
        ("/a\udcff.jpg", "unusable character"),
        ("s3://bucket", "s3://bucket/key"),
        ("gs:///key", "names no object"),
        ("file://host/a", "file:///"),
        ("http:///a.jpg", "names no host"),
        ("hdfs://", "names no object"),
    ],
)
def test_a_text_that_is_no_uri_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        normalise_uri(text)


_schemes = st.sampled_from(
    ["", "/", "file:///", "s3://", "S3A://b/", "http://", "https://H/p?", "abfs://c@", "hdfs://"]
)
_tails = st.text(st.characters(exclude_categories=["Cc"]) | st.sampled_from("/?#&=@.:"), max_size=30)
_signatures = st.sampled_from(
    ["", "&Signature=1", "&sig=1&sv=2&se=3", "&X-Amz-Date=1", "?AWSAccessKeyId=1&signature=2", "#f"]
)


@given(_schemes, _tails, _signatures, _tails)
@example("https://H/p?", "", "?AWSAccessKeyId=1&signature=2", "&&")
def test_normalising_twice_is_normalising_once(scheme: str, tail: str, signature: str, more: str) -> None:
    try:
        uri = normalise_uri(scheme + tail + signature + more)
    except ValueError:
        return
    assert normalise_uri(uri) == uri


BOX = '{"bbox":{"xmax":1.0,"xmin":0.5,"ymax":1.0,"ymin":0.0}}'
TRIANGLE = '{"polygon":[{"x":0.0,"y":0.0},{"x":1.0,"y":0.0},{"x":0.1,"y":1.0}]}'


@pytest.mark.parametrize(
    ("value", "crop"),
    [
        (None, None),
        ("", None),
        ({}, None),
        ({"bbox": None, "polygon": ""}, None),
        ({"bbox": [0.5, 0, 1, 1]}, BOX),
        ({"bbox": {"ymin": -0.0, "ymax": 1, "xmin": 5e-1, "xmax": 1.0}}, BOX),
        ({"bbox": "[0.50, 0, 1, 1]", "polygon": None}, BOX),
        (BOX, BOX),
        ({"polygon": [[0, 0], (1, 0), {"y": 1, "x": 0.1}]}, TRIANGLE),
        ({"polygon": "[[0,0],[1,0],[0.1,1]]"}, TRIANGLE),
    ],
)
def test_a_crop_has_one_spelling(value: object, crop: str | None) -> None:
    assert canonical_crop(value) == crop  # type: ignore[arg-type] # what lists hold is not typed


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"bbox": [0, 0, 1]}, "xmin, ymin, xmax and ymax"),
        ({"bbox": {"xmin": 0, "ymin": 0, "xmax": 1}}, "xmin, ymin, xmax and ymax"),
        ({"bbox": b"\0\0\1\1"}, "xmin, ymin, xmax and ymax"),
        ({"bbox": [0, 0, 1, 1.01]}, "bbox.ymax is a number from 0 to 1"),
        ({"bbox": [0, 0, 1, True]}, "bbox.ymax"),
        ({"bbox": [0, 0, 1, float("nan")]}, "bbox.ymax"),
        ({"bbox": [0, 0, 1, 10**400]}, "bbox.ymax"),
        ({"bbox": [0, 0, 1, "1"]}, "bbox.ymax"),
        ({"bbox": [0.5, 0, 0.5, 1]}, "xmin < xmax"),
        ({"bbox": [0, 0.5, 1, 0.5]}, "ymin < ymax"),
        ({"bbox": "{"}, "no JSON"),
        ({"bbox": "[" * 100_000}, "no JSON"),
        ({"polygon": [[0, 0], [1, 1]]}, "at least three points"),
        ({"polygon": [[0, 0], [1, 1], [1]]}, "x and y"),
        ({"polygon": [[0, 0], [1, 1], {"x": 2, "y": 0}]}, "polygon.x"),
        ({"bbox": [0, 0, 1, 1], "polygon": [[0, 0], [1, 0], [1, 1]]}, "not both"),
        ({"box": [0, 0, 1, 1]}, "bbox or polygon"),
        ("[1]", "bbox or polygon"),
    ],
)
def test_a_crop_that_cannot_be_meant_is_refused_with_the_reason(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        canonical_crop(value)  # type: ignore[arg-type] # what lists hold is not typed


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=3, max_size=6))
def test_a_canonical_crop_is_its_own_canonical_form_and_keeps_every_number(
    points: list[tuple[float, float]],
) -> None:
    crop = canonical_crop({"polygon": points})
    assert crop is not None
    assert canonical_crop(crop) == crop
    assert [(p["x"], p["y"]) for p in json.loads(crop)["polygon"]] == points


def test_the_identity_is_frozen() -> None:
    assert image_id("/data/a.jpg", None) == GOLDEN[0]
    assert image_id("s3://b/é#.jpg", BOX) == GOLDEN[1]
    assert problem_id("list.txt:12", "\udcff") == GOLDEN[2]
    assert [bucket_of(digits, 256) for digits in GOLDEN] == [int(digits[-2:], 16) for digits in GOLDEN]
    assert bucket_of("ff", 7) == 3


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])), st.text(), st.integers(1, 1000))
def test_a_problem_is_no_image_and_a_bucket_is_below_the_count(uri: str, text: str, buckets: int) -> None:
    assert image_id(uri, None) != problem_id(uri, text)
    assert 0 <= bucket_of(image_id(uri, None), buckets) < buckets
