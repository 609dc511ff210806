import re

import pyarrow as pa
import pytest

from deepo_beam.lake import schemas
from deepo_beam.lake.schemas import markdown_table, record_batch

IDENTITY = """
image_id string
image_uri string
crop? string
external_id? string
model_kind string
model_id string
model_version_id? int64
attributes map<string, string>
"""

# Columns may be added below, with a line in the changelog. A line that is changed or removed breaks every
# table and journal that people have.
GOLDEN = {
    "LABELS": IDENTITY
    + """
output_index int32
prediction_index int32
label_id int64
label_name string
score float
threshold float
is_predicted bool
region_id? int64
bbox_xmin? float
bbox_ymin? float
bbox_xmax? float
bbox_ymax? float
predicted_at timestamp[us, tz=UTC]
""",
    "IMAGES": IDENTITY
    + """
status string
content_sha256? string
size_bytes? int64
modified_at? timestamp[us, tz=UTC]
media_type? string
width? int32
height? int32
exif_orientation? int8
n_predictions int32
top_label? string
top_score? float
task_id? string
attempts int32
calls int32
http_status? int16
error_code? string
queue_ms? int32
submit_ms? int32
wait_ms? int32
finished_at timestamp[us, tz=UTC]
""",
    "ERRORS": IDENTITY
    + """
stage string
error_code string
error_message string
retryable bool
attempts int32
http_status? int16
task_id? string
source? string
first_seen timestamp[us, tz=UTC]
last_seen timestamp[us, tz=UTC]
""",
    "LISTING": """
image_id string
image_uri string
crop? string
external_id? string
source? string
line int64
size_bytes? int64
modified_at? timestamp[us, tz=UTC]
disposition string
conflict? bool
""",
    "JOURNAL": """
kind string
run_id string
image_id string
generation int32
attempt? int32
sent? bool
reason? string
image_uri? string
crop? string
external_id? string
attributes? map<string, string>
source? string
listed_size_bytes? int64
listed_modified_at? timestamp[us, tz=UTC]
model_kind? string
model_id? string
model_version_id? int64
task_id? string
status? string
outputs? string
stage? string
error_code? string
error_message? string
retryable? bool
http_status? int16
media_type? string
width? int32
height? int32
exif_orientation? int8
content_sha256? string
size_bytes? int64
modified_at? timestamp[us, tz=UTC]
attempts? int32
calls? int32
queue_ms? int32
submit_ms? int32
wait_ms? int32
recorded_at? timestamp[us, tz=UTC]
""",
}


@pytest.mark.parametrize("name", GOLDEN)
def test_the_columns_are_those_that_were_promised(name: str) -> None:
    schema = getattr(schemas, name)
    lines = [f"{field.name}{'?' if field.nullable else ''} {field.type}" for field in schema]
    assert lines == [line for line in GOLDEN[name].splitlines() if line]


def test_the_format_version_is_one() -> None:
    assert schemas.FORMAT_VERSION == 1


@pytest.mark.parametrize("name", GOLDEN)
def test_every_column_says_in_one_line_what_it_means(name: str) -> None:
    for field in getattr(schemas, name):
        description = field.metadata[b"description"].decode()
        assert re.fullmatch(r"[^\n|]{5,100}\.", description), field.name


def test_a_schema_renders_as_a_markdown_table_with_a_line_for_each_column() -> None:
    lines = markdown_table(schemas.IMAGES).splitlines()
    assert len(lines) == 2 + len(schemas.IMAGES)
    assert lines[2] == "| `image_id` | string |  | 32 hex digits, derived from URI and crop. |"
    assert "| `exif_orientation` | int8 | yes | 1 to 8; null if the file has none. |" in lines


def test_rows_may_be_mappings_or_tuples_and_are_the_same_then() -> None:
    schema = pa.schema([("name", pa.string()), ("tags", pa.map_(pa.string(), pa.string()))])
    mappings = [{"name": "a", "tags": (("x", "1"),)}, {"tags": ()}]
    tuples = [("a", (("x", "1"),)), (None, ())]
    assert record_batch(schema, mappings) == record_batch(schema, tuples)


def test_a_lone_surrogate_in_a_row_becomes_a_replacement_character() -> None:
    schema = pa.schema([("name", pa.string()), ("tags", pa.map_(pa.string(), pa.string()))])
    batch = record_batch(schema, [("a\ud800", (("x\udc80", "1"), ("x\udfff", "2"))), (None, None)])
    assert batch.to_pylist() == [
        {"name": "a\ufffd", "tags": [("x\ufffd", "2")]},
        {"name": None, "tags": None},
    ]
