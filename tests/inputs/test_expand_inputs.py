"""Every kind of input becomes images, and every row of a list is accounted for."""

import csv
import gzip
import io
import json
import os
import time
import tracemalloc
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepo_beam.errors import ConfigError, ErrorCode, Stage
from deepo_beam.identity import image_id
from deepo_beam.inputs import InputKind, InputOptions, classify_input, expand_input
from deepo_beam.inputs.readers import csv_rows, jsonl_rows, text_rows
from deepo_beam.inputs.rows import Origin, Row, image_of_row, refused_if_local
from deepo_beam.types import ImageRef


def expand(text: object, stdin: bytes = b"", **columns: Any) -> list[ImageRef]:
    options = InputOptions(**columns)
    return list(expand_input(str(text), index=3, options=options, stdin=io.BytesIO(stdin)))


def uris(images: list[ImageRef]) -> list[str]:
    assert [image.problem for image in images if image.problem] == []
    return [image.image_uri for image in images]


def problems(images: list[ImageRef]) -> list[tuple[int, ErrorCode]]:
    return [(image.line, image.problem.code) for image in images if image.problem]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ["a.jpg", "b c#%20?.jpg", "sub/d.jpg", ".hidden.jpg", "_SUCCESS", "_tmp/e.jpg", "sub/.git/f.jpg"]:
        path = tmp_path / "_base" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"123")
    return tmp_path / "_base"


def write_parquet(path: Path, rows: list[dict[str, Any]], schema: pa.Schema | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return path


# --- kinds -----------------------------------------------------------------------------------------


def test_each_kind_of_input_is_recognised(folder: Path) -> None:
    for name in ["list.txt", "LIST.CSV", "list.jsonl.gz", "a[1].jpg"]:
        (folder / name).touch()
    (folder / "folder.csv").mkdir()
    write_parquet(folder / "parts" / "part-0.parquet", [{"image_uri": "x"}])
    errors = {"image_uri": "x", "error_code": "y", "stage": "z", "attributes": []}
    write_parquet(folder / "errors" / "run_id=1" / "part-0.parquet", [errors])
    kinds = {
        "-": InputKind.STDIN,
        "https://h/list.csv?x=*": InputKind.URL,
        f"{folder}": InputKind.FOLDER,
        f"file://{folder}/": InputKind.FOLDER,
        f"{folder}/none/": InputKind.FOLDER,
        f"{folder}/folder.csv": InputKind.FOLDER,
        f"{folder}/parts": InputKind.LIST,
        f"{folder}/errors": InputKind.ERRORS,
        f"{folder}/list.txt": InputKind.LIST,
        f"{folder}/LIST.CSV": InputKind.LIST,
        f"{folder}/list.jsonl.gz": InputKind.LIST,
        f"{folder}/none.parquet": InputKind.LIST,
        f"{folder}/*.csv": InputKind.GLOB,
        f"{folder}/a[2].jpg": InputKind.GLOB,
        f"{folder}/a[1].jpg": InputKind.IMAGE,
        f"{folder}/none.jpg": InputKind.IMAGE,
    }
    assert {text: classify_input(text) for text in kinds} == kinds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("a\0b", "unusable"),
        ("gopher://h/x", "known are"),
        ("https:///x", "no host"),
        ("file://h/x.jpg", "file:///"),
    ],
)
def test_a_text_that_can_name_nothing_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        expand(text)


# --- names and listings ----------------------------------------------------------------------------


def test_a_folder_is_all_its_visible_files_below_it_too(folder: Path) -> None:
    images = expand(folder)
    assert uris(images) == [f"{folder}/{name}" for name in ("a.jpg", "b c#%20?.jpg", "sub/d.jpg")]
    assert [(image.line, image.input_index, image.source) for image in images] == [
        (i, 3, str(folder)) for i in (1, 2, 3)
    ]
    assert {image.size_bytes for image in images} == {3}
    assert images[0].modified_us == (folder / "a.jpg").stat().st_mtime_ns // 1000
    assert images[0].image_id == image_id(f"{folder}/a.jpg", None)


def test_globs_and_single_images_are_what_they_match(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert uris(expand(f"{folder}/[ab]*.jpg")) == [f"{folder}/a.jpg", f"{folder}/b c#%20?.jpg"]
    assert uris(expand(f"{folder}/b c#%20?.jpg")) == [f"{folder}/b c#%20?.jpg"]
    monkeypatch.chdir(folder)
    (image,) = expand("sub/../a.jpg")
    assert image.image_uri == image.location == f"{folder}/a.jpg"
    assert expand("*.none") == []
    assert expand("none/") == []


def test_a_name_that_no_table_can_hold_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jpg")).touch()
    (tmp_path / "a\nb.jpg").touch()
    images = expand(tmp_path)
    assert problems(images) == [(1, ErrorCode.INVALID_URI), (2, ErrorCode.INVALID_URI)]
    assert images[1].image_uri == f"{tmp_path}/\ufffd.jpg"


def test_a_url_is_itself_and_its_signature_is_no_part_of_its_identity() -> None:
    (image,) = expand("https://h/a.jpg?X-Amz-Signature=1")
    assert (image.image_uri, image.location) == ("https://h/a.jpg", "https://h/a.jpg?X-Amz-Signature=1")


@pytest.mark.parametrize("name", ["none.jpg", "none.csv", "none.parquet"])
def test_a_single_image_or_list_that_does_not_exist_is_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        expand(tmp_path / name)


# --- lists -----------------------------------------------------------------------------------------


def test_a_text_list_has_a_uri_a_line_with_comments_blanks_and_a_bom(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes("\ufeff# a comment\r\n\r\ns3://b/a b#%é.jpg\r\n  \n#1.jpg\n/abs.jpg\nsub/../x.jpg".encode())
    images = expand(path)
    assert uris(images) == ["s3://b/a b#%é.jpg", f"{tmp_path}/#1.jpg", "/abs.jpg", f"{tmp_path}/x.jpg"]
    assert [image.line for image in images] == [3, 5, 6, 7]
    assert images[0].source == f"{path}:3"


def test_relative_paths_are_relative_to_the_list_and_from_standard_input_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "l.txt").write_text("a.jpg\n")
    monkeypatch.chdir(tmp_path)
    assert uris(expand("lists/l.txt")) == [f"{tmp_path}/lists/a.jpg"]
    assert uris(expand(f"file://{tmp_path}/lists/l.txt")) == [f"{tmp_path}/lists/a.jpg"]
    (image,) = expand("-", stdin=b"a.jpg\n")
    assert (image.image_uri, image.source) == (f"{tmp_path}/a.jpg", "stdin:1")


def test_csv_columns_become_id_crop_size_time_and_attributes(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "uri", "box", "size", "modified_at", "note", "empty"])
        writer.writerow(["7", "s3://b/x.jpg", "[0,0,1,0.5]", "12", "2026-01-02T03:04:05Z", "two\nlines, é", ""])
        writer.writerow(["8", "s3://b/y.jpg", "", "big", "yesterday", "", ""])
    one, two = expand(path, uri_column="uri", id_column="id", bbox_column="box")
    assert (one.external_id, one.size_bytes) == ("7", 12)
    assert one.crop == '{"bbox":{"xmax":1.0,"xmin":0.0,"ymax":0.5,"ymin":0.0}}'
    assert one.image_id == image_id("s3://b/x.jpg", one.crop)
    assert one.modified_us == datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc).timestamp() * 1_000_000
    assert one.attributes == (("note", "two\nlines, é"),)
    assert (two.line, two.crop, two.size_bytes, two.modified_us) == (4, None, None, None)
    assert two.attributes == (("modified_at", "yesterday"), ("size", "big"))


def test_jsonl_is_an_object_or_a_string_a_line_and_values_become_text(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl.gz"
    rows = [
        {"image_uri": "s3://b/x.jpg", "id": 7, "poly": [[0, 0], [1, 0], [1, 1]], "size_bytes": 5.0},
        "s3://b/y.jpg",
        {"image_uri": "s3://b/z.jpg", "b": True, "n": None, "f": 0.5, "l": [1, "é"], "lone": "\ud800"},
    ]
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    one, two, three = expand(path, id_column="id", polygon_column="poly")
    assert (one.external_id, one.size_bytes, one.attributes) == ("7", 5, ())
    assert one.crop is not None
    assert (two.image_uri, two.external_id) == ("s3://b/y.jpg", None)
    assert three.attributes == (("b", "true"), ("f", "0.5"), ("l", '[1,"é"]'), ("lone", "\ufffd"))


def test_parquet_columns_keep_their_meaning(tmp_path: Path) -> None:
    moment = datetime(2026, 1, 2, tzinfo=timezone.utc)
    schema = pa.schema(
        {
            "image_uri": pa.dictionary(pa.int32(), pa.string()),
            "box": pa.struct({side: pa.float32() for side in ("xmin", "ymin", "xmax", "ymax")}),
            "size": pa.int64(),
            "modified_at": pa.timestamp("ns", "UTC"),
            "taken": pa.timestamp("ns"),
            "n": pa.int32(),
        }
    )
    box = {"xmin": 0.0, "ymin": 0.25, "xmax": 0.5, "ymax": 1.0}
    row = {"image_uri": "rel.jpg", "box": box, "size": 9, "modified_at": moment, "taken": moment.replace(tzinfo=None)}
    path = write_parquet(tmp_path / "list.parquet", [row, {"image_uri": None, "n": 1}], schema)
    one, two = expand(path, bbox_column="box")
    assert one.image_uri == f"{tmp_path}/rel.jpg"
    assert one.crop == '{"bbox":{"xmax":0.5,"xmin":0.0,"ymax":1.0,"ymin":0.25}}'
    assert (one.size_bytes, one.modified_us) == (9, int(moment.timestamp()) * 1_000_000)
    assert one.attributes == (("taken", "2026-01-02T00:00:00"),)
    assert problems([one, two]) == [(2, ErrorCode.BAD_MANIFEST_ROW)]


def test_a_folder_of_parquet_parts_is_one_list(tmp_path: Path) -> None:
    for part in (0, 1):
        write_parquet(tmp_path / "list.parquet" / f"part-{part}.parquet", [{"image_uri": f"s3://b/{part}"}] * 2)
    (tmp_path / "list.parquet" / "_SUCCESS").touch()
    images = expand(tmp_path / "list.parquet")
    assert uris(images) == ["s3://b/0", "s3://b/0", "s3://b/1", "s3://b/1"]
    assert [image.line for image in images] == [1, 2, 3, 4]
    assert images[3].source == f"{tmp_path}/list.parquet/part-1.parquet:2"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.csv", b"path,id\nx,1\n"),
        ("list.csv", b"image_uri;id\nx;1\n"),
        ("list.csv", b"image_uri,id,id\nx,1,2\n"),
    ],
)
def test_a_list_without_its_columns_is_refused_and_names_those_it_has(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=r"list\.csv has .*'?id"):
        expand(tmp_path / name)


def test_parquet_without_its_columns_or_that_is_none_is_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "list.parquet", [{"path": "x"}])
    with pytest.raises(ConfigError, match="no column 'image_uri', it has 'path'"):
        expand(path)
    path.write_bytes(b"image_uri\nx\n")
    with pytest.raises(ConfigError, match="no whole Parquet file"):
        expand(path)


@pytest.mark.parametrize("cut", [b"", b"\x1f\x8b", b"cut"])
def test_a_gzip_that_is_broken_is_an_error_that_names_the_list(tmp_path: Path, cut: bytes) -> None:
    whole = gzip.compress(os.urandom(10_000).hex().encode())
    path = tmp_path / "list.txt.gz"
    path.write_bytes({b"": b"no gzip", b"\x1f\x8b": whole[:-2000], b"cut": whole[:1000] + b"x" + whole[1001:]}[cut])
    with pytest.raises(ConfigError, match=r"list\.txt\.gz is no whole gzip file"):
        expand(path)


# --- bad rows --------------------------------------------------------------------------------------


def test_bad_rows_of_every_format_are_problems_with_their_line_and_the_others_stay(tmp_path: Path) -> None:
    text = tmp_path / "l.txt"
    text.write_bytes(b"s3://b/a\n\xff\xfe.jpg\ns3://b\nftp://h/a\na\tb\n" + b"x" * (1 << 21) + b"\ns3://b/z\n")
    images = expand(text)
    assert problems(images) == [
        (2, ErrorCode.BAD_MANIFEST_ROW),
        (3, ErrorCode.INVALID_URI),
        (4, ErrorCode.INVALID_URI),
        (5, ErrorCode.INVALID_URI),
        (6, ErrorCode.BAD_MANIFEST_ROW),
    ]
    assert [images[0].image_uri, images[-1].image_uri] == ["s3://b/a", "s3://b/z"]
    jsonl = tmp_path / "l.jsonl"
    jsonl.write_text('{"image_uri": "s3://b/a"}\n{"image_uri": \n[1]\n{}\n{"image_uri": 5}\n{"image_uri":"s3://b/z"}\n')
    images = expand(jsonl)
    assert problems(images) == [(line, ErrorCode.BAD_MANIFEST_ROW) for line in (2, 3, 4, 5)]
    assert images[1].image_uri == '{"image_uri": '
    table = tmp_path / "l.csv"
    table.write_bytes(
        b'image_uri,box,n\ns3://b/a,,1\ns3://b/b,"[0,0,2,1]",1\ns3://b/c\n,,1\n\ns3://b/\xff,,1\ns3://b/d,,'
        + b"x" * 200_000
        + b'\ns3://b/z,"[0,0,1,1]",1\n'
    )
    images = expand(table, bbox_column="box")
    assert problems(images) == [(line, ErrorCode.BAD_MANIFEST_ROW) for line in (3, 4, 5, 7, 8)]
    assert images[-1].image_uri == "s3://b/z"
    assert images[1].image_uri == "s3://b/b"


def test_a_problem_says_what_and_where_and_is_the_same_every_night(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    path.write_text("{" + "é" * 5000 + "\n{\n")
    first, second = expand(path)
    assert first.problem is not None
    assert (first.problem.stage, first.problem.retryable) == (Stage.LIST, False)
    assert first.problem.message.startswith(f"{path}:1: the row is no JSON")
    assert len(first.image_uri) == 1000
    assert len(first.image_id) == 32
    assert first.image_id != second.image_id
    assert expand(path) == [first, second]


def test_a_row_of_parquet_that_is_not_utf8_is_a_problem_and_its_neighbours_are_not(tmp_path: Path) -> None:
    raw = pa.array([b"s3://b/a", b"s3://b/\xff", b"s3://b/z"])
    text = pa.StringArray.from_buffers(3, *raw.buffers()[1:])
    pq.write_table(pa.table({"image_uri": text}), tmp_path / "l.parquet")
    images = expand(tmp_path / "l.parquet")
    assert problems(images) == [(2, ErrorCode.BAD_MANIFEST_ROW)]
    assert [images[0].image_uri, images[2].image_uri] == ["s3://b/a", "s3://b/z"]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([0, 10**15], pa.timestamp("ms", "Europe/Paris")),
        pa.array([0, 2**30], pa.date32()),
        pa.array([None, 2**62], pa.duration("s")),
    ],
    ids=lambda column: str(column.type),
)
@pytest.mark.parametrize("name", ["taken_at", "modified_at"])
def test_a_row_of_parquet_with_a_value_that_python_cannot_hold_is_a_problem(
    tmp_path: Path, name: str, column: pa.Array
) -> None:
    pq.write_table(pa.table({"image_uri": ["s3://b/a", "s3://b/b"], name: column}), tmp_path / "l.parquet")
    first, second = expand(tmp_path / "l.parquet")
    if second.problem is None:  # a time of modification is a mere number of microseconds
        assert (name, second.modified_us) == ("modified_at", 10**18)
    else:
        assert f"has a value in column '{name}' (" in second.problem.message
        assert "that cannot be read" in second.problem.message
    assert first.problem is None


def test_nanoseconds_of_parquet_are_cut_to_what_python_has(tmp_path: Path) -> None:
    table = {
        "image_uri": ["s3://b/a"],
        "at": pa.array([3_600_000_000_999], pa.time64("ns")),
        "for": pa.array([1_500_000_999], pa.duration("ns")),
    }
    pq.write_table(pa.table(table), tmp_path / "l.parquet")
    (image,) = expand(tmp_path / "l.parquet")
    assert dict(image.attributes) == {"at": "01:00:00", "for": "0:00:01.500000"}


@pytest.mark.parametrize("kind", [pa.timestamp("us", "Mars/Olympus"), pa.list_(pa.timestamp("us", "Mars/Olympus"))])
def test_a_column_of_parquet_that_python_cannot_hold_at_all_is_named_in_every_row(tmp_path: Path, kind: Any) -> None:
    values = [1, 2] if pa.types.is_timestamp(kind) else [[1], [2]]
    table = pa.table({"image_uri": ["s3://b/a", "s3://b/b"], "taken_at": pa.array(values, kind)})
    pq.write_table(table, tmp_path / "l.parquet")
    assert all("column 'taken_at'" in image.problem.message for image in expand(tmp_path / "l.parquet"))


def test_a_column_of_parquet_whose_name_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "list.parquet", [{"image_uri": "s3://b/a", "camera_name": "x"}])
    path.write_bytes(path.read_bytes().replace(b"camera_name", b"camera_\xff\xff\xff\xff"))
    with pytest.raises(ConfigError, match="is no whole Parquet file"):
        expand(path)


def test_the_password_in_a_uri_that_is_refused_is_in_no_table(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("http://anna:secret@/a\nhttp://anna:secret@\n")
    for image in expand(tmp_path / "l.txt"):
        assert image.problem is not None
        assert "secret" not in f"{image.image_uri} {image.problem.message}"


def test_an_errors_folder_gives_back_the_images_that_can_be_tried_again(tmp_path: Path) -> None:
    schema = pa.schema(
        {
            "image_uri": pa.string(),
            "crop": pa.string(),
            "external_id": pa.string(),
            "attributes": pa.map_(pa.string(), pa.string()),
            "stage": pa.string(),
            "error_code": pa.string(),
            "first_seen": pa.timestamp("us", "UTC"),
        }
    )
    crop = '{"bbox":{"xmax":1.0,"xmin":0.0,"ymax":0.5,"ymin":0.0}}'
    seen = datetime(2026, 1, 2, tzinfo=timezone.utc)
    rows = [
        {
            "image_uri": "s3://b/a",
            "crop": crop,
            "external_id": "7",
            "attributes": [("k", "v")],
            "error_code": "task_error",
        },
        {"image_uri": "{broken", "attributes": [], "error_code": "bad_manifest_row"},
        {"image_uri": "", "attributes": [], "error_code": "invalid_uri"},
        {"image_uri": "s3://b/b", "attributes": [], "error_code": "read_failed"},
    ]
    write_parquet(
        tmp_path / "run_id=1" / "part-0.parquet", [{**row, "stage": "x", "first_seen": seen} for row in rows], schema
    )
    # The columns of errors/ are known, whatever those of other inputs are called.
    one, two = expand(tmp_path, uri_column="path", id_column="other")
    assert (one.image_uri, one.crop, one.external_id, one.attributes) == ("s3://b/a", crop, "7", (("k", "v"),))
    assert one.image_id == image_id("s3://b/a", crop)
    assert (two.image_uri, two.crop, two.external_id, two.line) == ("s3://b/b", None, None, 2)
    assert uris(expand(tmp_path / "run_id=1" / "part-0.parquet")) == ["s3://b/a", "s3://b/b"]


@pytest.mark.parametrize("allowed", [False, True])
def test_a_local_file_that_was_refused_is_not_read_by_way_of_the_errors_unless_it_is_allowed(
    tmp_path: Path, allowed: bool
) -> None:
    row = {"image_uri": "/etc/passwd", "attributes": [], "stage": "list", "error_code": "scheme_refused"}
    row |= {"first_seen": datetime(2026, 1, 2, tzinfo=timezone.utc)}
    write_parquet(tmp_path / "part-0.parquet", [row])
    assert uris(expand(tmp_path, allow_local=allowed)) == (["/etc/passwd"] if allowed else [])


def test_relative_uris_of_a_list_in_a_bucket_stay_in_the_bucket() -> None:
    from deepo_beam.inputs.rows import Origin, Row, image_of_row

    def image(text: str) -> ImageRef:
        return image_of_row(Row(1, {"image_uri": text}), Origin("l:1", 0, 1), "s3://b/lists/", InputOptions())

    texts = ["a.jpg", "./a.jpg", "../img/a%20.jpg", "x/../a.jpg"]
    assert [image(text).image_uri for text in texts] == [
        "s3://b/lists/a.jpg",
        "s3://b/lists/a.jpg",
        "s3://b/img/a%20.jpg",
        "s3://b/lists/x/../a.jpg",
    ]
    assert problems([image("../../a.jpg")]) == [(1, ErrorCode.INVALID_URI)]


def test_a_local_file_that_a_list_elsewhere_names_is_refused_where_it_was_named() -> None:
    row = Row(7, {"image_uri": "/etc/passwd"})
    image = image_of_row(row, Origin("s3://b/list.csv:7", 2, 7), None, InputOptions())
    refused = refused_if_local(image, "s3://b/list.csv")
    assert (refused.source, refused.input_index, refused.line) == ("s3://b/list.csv:7", 2, 7)
    assert problems([refused]) == [(7, ErrorCode.SCHEME_REFUSED)]


def test_a_time_without_a_zone_is_utc_wherever_the_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "XYZ-5")
    time.tzset()
    try:
        row = Row(1, {"image_uri": "s3://b/x", "modified_at": "1970-01-01T00:00:01"})
        image = image_of_row(row, Origin("l", 0, 1), None, InputOptions())
    finally:
        monkeypatch.undo()
        time.tzset()
    assert image.modified_us == 1_000_000


def test_only_what_is_in_the_runs_own_output_is_left_out_of_a_folder(folder: Path) -> None:
    for name in ("lake/mine.jpg", "lake-of-photos/theirs.jpg", "lake.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    found = {Path(uri).name for uri in uris(expand(folder, own_output=str(folder / "lake")))}
    assert found == {"a.jpg", "b c#%20?.jpg", "d.jpg", "theirs.jpg", "lake.jpg"}


def test_a_size_that_no_file_can_have_is_an_attribute() -> None:
    list_ = f'{{"image_uri": "s3://b/x", "size": {2**63 - 1}}}\n{{"image_uri": "s3://b/y", "size": {2**63}}}\n'
    options = InputOptions()
    rows = jsonl_rows(io.BytesIO(list_.encode()), "l.jsonl", options)
    largest, beyond = (image_of_row(row, Origin("l", 0, row.line), None, options) for row in rows)
    assert (largest.size_bytes, largest.attributes) == (2**63 - 1, ())
    assert (beyond.size_bytes, beyond.attributes) == (None, (("size", str(2**63)),))


def test_a_list_is_streamed(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    with path.open("w") as file:
        file.write("image_uri,note\n")
        file.writelines(f"s3://bucket/photo-{i:06}.jpg,{'x' * 100}\n" for i in range(10_000))
    tracemalloc.start()
    count = sum(1 for _ in expand_input(str(path), index=0, options=InputOptions()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 10_000
    assert peak < 300_000 < path.stat().st_size


@given(st.binary(max_size=200), st.sampled_from([text_rows, jsonl_rows, csv_rows]))
def test_any_bytes_in_a_list_are_rows_with_values_or_with_a_problem(data: bytes, reader: Any) -> None:
    stream = io.BytesIO(b"image_uri,x\n" + data if reader is csv_rows else data)
    for row in reader(stream, "list", InputOptions()):
        assert (row.values is None) == bool(row.problem)
        assert row.line >= 1
