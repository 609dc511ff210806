"""The listing of a run: what the accounting reads back is what was planned."""

import io

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lake_samples import image, images
from memory_store import KillableStore

from deepo_beam.errors import ObjectNotFoundError
from deepo_beam.lake.listing import ListedEntry, listing_uri, read_listing, write_listing
from deepo_beam.lake.plan import Disposition, Labelling, PlannedEntry
from deepo_beam.lake.schemas import LISTING
from deepo_beam.text import clean_text

OUT, RUN = "mem://out", "run-a"
planned_entries = st.lists(st.builds(PlannedEntry, images, st.sampled_from(Disposition), st.booleans()), max_size=5)


def write(planned: list[PlannedEntry], bucket: int = 3) -> KillableStore:
    store = KillableStore()
    write_listing(OUT, RUN, bucket, planned, store)
    return store


def test_a_listing_lies_with_its_run() -> None:
    assert list(write([]).objects) == [f"{OUT}/runs/run-a/listing/bucket-00003.parquet"]
    assert listing_uri(OUT, RUN, 3, KillableStore()) == f"{OUT}/runs/run-a/listing/bucket-00003.parquet"


@given(planned_entries)
def test_whatever_was_planned_is_read_back_in_its_order(planned: list[PlannedEntry]) -> None:
    expected = [ListedEntry(clean_text(e.image.image_id), e.disposition, e.conflict) for e in planned]
    assert read_listing(OUT, RUN, 3, write(planned)) == expected


def test_the_columns_are_those_of_the_schema_and_say_what_was_listed() -> None:
    ref = image(
        1,
        crop='{"bbox":{}}',
        external_id="mine",
        source="photos.csv:17",
        line=17,
        size_bytes=5,
        modified_us=1_700_000_000_000_001,
    )
    store = write([PlannedEntry(ref, Disposition.LABEL, labelling=Labelling(ref))])
    table = pq.read_table(io.BytesIO(store.objects[listing_uri(OUT, RUN, 3, store)]))
    assert table.schema.names == LISTING.names
    (row,) = table.to_pylist()
    assert row.pop("modified_at").microsecond == 1
    assert row == {
        "image_id": ref.image_id,
        "image_uri": "s3://lake/0001.jpg",
        "crop": '{"bbox":{}}',
        "external_id": "mine",
        "source": "photos.csv:17",
        "line": 17,
        "size_bytes": 5,
        "disposition": "label",
        "conflict": False,
    }


def test_writing_the_same_entries_again_changes_nothing() -> None:
    planned = [PlannedEntry(image(n), Disposition.LABEL) for n in range(3)]
    assert write(planned).objects == write(planned).objects


def test_a_bucket_that_got_nothing_has_no_listing() -> None:
    with pytest.raises(ObjectNotFoundError):
        read_listing(OUT, RUN, 4, write([], bucket=3))
