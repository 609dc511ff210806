import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lake_samples import RUN, as_stored, failure, image, records, success

from deepo_beam.lake.records import decode_records, encode_records
from deepo_beam.lake.schemas import JOURNAL
from deepo_beam.records import Accepted, Claimed, Finished, Reason, Released
from deepo_beam.types import Facts

SEGMENT = [
    Claimed(RUN, image(0).image_id, 0, 1, Reason.FIRST, 5),
    Released(RUN, image(0).image_id, 0, 1, sent=False),
    Accepted(RUN, image(1), 2, 3, "42", None, Facts(), 6),
    Finished(RUN, success(2)),
    Finished(RUN, failure(3)),
]


def rewritten(data: bytes, change) -> bytes:
    """The same segment, its table changed, with the same marks in its footer."""
    table = change(pq.read_table(io.BytesIO(data)))
    marks = dict(pq.read_metadata(io.BytesIO(data)).metadata)
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(marks), sink)
    return sink.getvalue()


@settings(max_examples=60)
@given(st.lists(records, max_size=6))
def test_records_come_back_as_they_were(segment: list) -> None:
    assert decode_records(encode_records(segment)) == [as_stored(record) for record in segment]


def test_equal_records_give_equal_bytes() -> None:
    assert encode_records(list(SEGMENT)) == encode_records(tuple(SEGMENT))


def test_where_an_image_was_opened_is_not_kept_for_it_may_hold_a_signature() -> None:
    signed = image(0, location="https://host/a.jpg?X-Amz-Signature=SECRET")
    data = encode_records([Finished(RUN, success(image=signed))])
    assert b"SECRET" not in data
    assert decode_records(data)[0].result.image.location == signed.image_uri


def test_a_segment_is_a_plain_parquet_file_with_the_columns_of_the_journal() -> None:
    schema = pq.read_schema(io.BytesIO(encode_records(SEGMENT)))
    used = [name for name in JOURNAL.names if name in schema.names]
    assert schema.names == used
    for field in schema:
        assert (field.type, field.nullable) == (JOURNAL.field(field.name).type, JOURNAL.field(field.name).nullable)


def test_columns_that_no_record_has_are_left_out() -> None:
    claims = pq.read_schema(io.BytesIO(encode_records([SEGMENT[0]])))
    assert claims.names == ["kind", "run_id", "image_id", "generation", "attempt", "reason", "recorded_at"]


def test_columns_that_are_not_known_are_ignored_and_order_does_not_matter() -> None:
    def change(table: pa.Table) -> pa.Table:
        more = table.append_column("moon_phase", pa.array(range(len(SEGMENT))))
        return more.select(more.column_names[::-1])

    data = encode_records(SEGMENT)
    assert decode_records(rewritten(data, change)) == decode_records(data)


def test_nullable_columns_that_are_missing_read_as_null() -> None:
    data = rewritten(encode_records(SEGMENT), lambda table: table.drop_columns(["queue_ms", "media_type"]))
    finished = decode_records(data)[3].result
    assert (finished.image.crop, finished.timings.queue_ms, finished.facts.info) == (None, 0, None)
    assert finished.facts.content_sha256 == "a" * 64


@pytest.mark.parametrize(
    ("column", "complaint"),
    [
        ("image_id", "column image_id is missing"),
        ("task_id", "row 2: a record of kind accepted needs column task_id"),
        ("attempt", "row 0: a record of kind claimed needs column attempt"),
        ("reason", "None is none of first, "),
    ],
)
def test_a_column_that_a_record_cannot_do_without_is_named(column: str, complaint: str) -> None:
    data = rewritten(encode_records(SEGMENT), lambda table: table.drop_columns([column]))
    with pytest.raises(ValueError, match=complaint):
        decode_records(data)


def test_a_kind_that_is_not_known_is_refused() -> None:
    def change(table: pa.Table) -> pa.Table:
        return table.set_column(0, "kind", pa.array(["forgotten"] * len(SEGMENT)))

    with pytest.raises(ValueError, match="row 0: 'forgotten' is no kind of record"):
        decode_records(rewritten(encode_records(SEGMENT), change))


@pytest.mark.parametrize(("version", "seen"), [({b"deepo_beam.format_version": b"2"}, "2"), ({}, "none")])
def test_another_format_version_is_refused(version: dict, seen: str) -> None:
    sink = io.BytesIO()
    pq.write_table(JOURNAL.empty_table().replace_schema_metadata(version), sink)
    with pytest.raises(ValueError, match=f"journal format version is {seen}, this program reads 1"):
        decode_records(sink.getvalue())


@pytest.mark.parametrize("data", [b"", b"PAR1", b"<html>", b"\x00" * 100])
def test_what_is_no_parquet_file_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a readable Parquet file"):
        decode_records(data)


@settings(max_examples=60)
@given(st.data())
def test_a_segment_that_was_cut_is_refused(data: st.DataObject) -> None:
    whole = encode_records(SEGMENT)
    with pytest.raises(ValueError, match="not a readable Parquet file"):
        decode_records(whole[: data.draw(st.integers(0, len(whole) - 1))])


def test_a_bit_that_flipped_in_a_page_is_noticed() -> None:
    data = bytearray(encode_records([Finished(RUN, success(outputs="x" * 10_000 + "SENTINEL"))]))
    data[data.index(b"SENTINEL")] ^= 1
    with pytest.raises(ValueError, match="not a readable Parquet file"):
        decode_records(bytes(data))


@settings(max_examples=150)
@given(st.data())
def test_damage_never_ends_in_another_exception(data: st.DataObject) -> None:
    damaged = bytearray(encode_records(SEGMENT))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        decoded = decode_records(bytes(damaged))
    except ValueError:
        return
    assert len(decoded) <= len(SEGMENT)
