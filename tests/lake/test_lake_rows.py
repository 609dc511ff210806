"""Labels that go by columns from the journal to the tables make the rows that their results would make."""

import json
from collections.abc import Iterable

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lake_samples import RUN, failure, image, int32s, int64s, result_fields, success, texts
from memory_store import KillableStore
from record_strategies import some_records

from deepo_beam.lake.answers import predictions_table
from deepo_beam.lake.flatten import flatten_predictions
from deepo_beam.lake.journal import COMPACTED, FIRST_JOURNAL, Journal
from deepo_beam.lake.row_tables import tables_of_rows
from deepo_beam.lake.schemas import IMAGES, LABELS
from deepo_beam.lake.tables import encode_table, images_table, labels_table
from deepo_beam.lake.tally import states_of, to_publish
from deepo_beam.records import Accepted, Finished, Record
from deepo_beam.types import Facts, ImageResult, Status

OUT, OLD, NEW, LATE = "mem://out", "old.parquet", "new.parquet", "late.parquet"

numbers = st.floats(0, 1)
boxes = st.fixed_dictionaries(dict.fromkeys(("xmin", "ymin", "xmax", "ymax"), numbers))
predictions = st.fixed_dictionaries(
    {"label_id": int64s, "label_name": texts, "score": numbers | st.sampled_from([0, 1]), "threshold": numbers},
    optional={"roi": st.fixed_dictionaries({}, optional={"region_id": int64s, "bbox": boxes})},
)
lists = st.lists(predictions, max_size=3)
labels = st.fixed_dictionaries({"predicted": lists}, optional={"discarded": lists})
answers = st.lists(st.fixed_dictionaries({"labels": labels}), max_size=3).map(json.dumps)
labelled = st.builds(
    success,
    int32s,
    status=st.sampled_from([Status.SUCCEEDED, Status.NO_DETECTION]),
    outputs=st.none() | answers,
    **result_fields,
)


def published(*records: Record, store: KillableStore | None = None) -> tuple[pa.Table | None, dict[str, list[Record]]]:
    journal = Journal(OUT, FIRST_JOURNAL, store or KillableStore())
    journal.append(0, NEW, records)
    return journal.read_unpublished(0, {}, {NEW})


@settings(max_examples=100)
@given(st.lists(labelled, min_size=1, max_size=4, unique_by=lambda result: result.image.image_id))
def test_rows_make_the_tables_that_results_make(results: list[ImageResult]) -> None:
    rows, others = published(*(Finished(RUN, result) for result in results))
    assert (rows.num_rows, others) == (len(results), {NEW: []})
    labels, images = tables_of_rows(rows)
    assert encode_table(labels) == encode_table(labels_table(results))
    assert encode_table(images) == encode_table(images_table(results))
    images.validate(full=True)
    labels.validate(full=True)


def test_columns_that_no_record_of_a_segment_has_are_empty_in_the_tables() -> None:
    bare = success(image=image(0), facts=Facts(), task_id=None, model_version_id=None, outputs=None)
    rows, _ = published(Finished(RUN, bare))
    labels, images = tables_of_rows(rows)
    assert labels.equals(LABELS.empty_table())
    assert images.to_pylist() == images_table([bare]).to_pylist()
    assert tables_of_rows(rows[:0]).images.equals(IMAGES.empty_table())


@pytest.mark.parametrize("name", ["\ud800", "\udc00x", "x\ud83d", "\U0001f600"])
def test_a_surrogate_in_an_answer_is_read_as_by_python(name: str) -> None:
    label = {"label_id": 1, "label_name": name, "score": 0.5, "threshold": 0.5}
    answer = json.dumps([{"labels": {"predicted": [label]}}])
    (row,) = flatten_predictions(success(outputs=answer))
    assert predictions_table([None, answer])["label_name"].to_pylist() == [row.label_name]


@pytest.mark.parametrize("answer", ["{", '[{"labels":{"predicted":[{"label_id":"1"}]}}]', "[]\n[]"])
def test_what_is_no_answer_is_refused(answer: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        predictions_table([answer])


ACCEPTED = Accepted(RUN, image(0), 0, 1, "42", 11, Facts(), 0)


@pytest.mark.parametrize(
    "unusual",
    [
        [Finished(RUN, failure())],
        [Finished(RUN, success()), Finished("another run", success())],
        [Finished(RUN, success()), Finished(RUN, success(generation=1))],
        [Finished(RUN, success()), Finished(RUN, failure())],
    ],
)
def test_whatever_is_unusual_goes_by_its_records(unusual: list[Record]) -> None:
    rows, others = published(*unusual, ACCEPTED, Finished(RUN, success(1)))
    assert rows["image_id"].to_pylist() == [image(1).image_id]
    assert others == {NEW: unusual}


def test_labels_of_an_image_that_is_in_the_tables_go_by_its_records() -> None:
    journal = Journal(OUT, FIRST_JOURNAL, KillableStore())
    before, again = Finished(RUN, success()), Finished(RUN, success(generation=1))
    journal.append(0, OLD, [before])
    journal.append(0, NEW, [again, Finished(RUN, success(1))])
    rows, others = journal.read_unpublished(0, {OLD: 1}, {NEW})
    assert (rows["image_id"].to_pylist(), others) == ([image(1).image_id], {OLD: [before], NEW: [again]})


def test_counts_that_a_segment_does_not_have_are_zero() -> None:
    rows, _ = published(Finished(RUN, success()))
    for name in ("attempts", "calls", "wait_ms"):
        index = rows.column_names.index(name)
        rows = rows.set_column(index, name, pa.nulls(1, rows.schema.field(index).type))
    (row,) = tables_of_rows(rows).images.to_pylist()
    assert (row["attempts"], row["calls"], row["submit_ms"], row["wait_ms"]) == (0, 0, 2, 0)


def test_claims_and_open_tasks_are_nothing_to_publish() -> None:
    assert published(ACCEPTED) == (None, {NEW: []})


@settings(max_examples=200)
@given(*(st.lists(some_records, max_size=8) for _ in range(4)))
def test_by_columns_or_by_records_the_same_is_published(
    covered: list[Record], compacted: list[Record], added: list[Record], late: list[Record]
) -> None:
    journal = Journal(OUT, FIRST_JOURNAL, KillableStore())
    for name, records in ((OLD, covered), (f"all{COMPACTED}", compacted), (NEW, added), (LATE, late)):
        journal.append(0, name, records)
    before = {OLD: 1}
    rows, segments = journal.read_unpublished(0, before, {NEW})
    whole = {name: records for name, records in journal.read_records(0).items() if name != LATE}
    assert segments.keys() == whole.keys()
    images = [] if rows is None else tables_of_rows(rows).images.to_pylist()
    images += _rows(states.to_publish for states in to_publish(states_of(segments, before)))
    wanted = _rows(state.to_publish for state in to_publish(states_of(whole, before)))
    assert _by_id(images) == _by_id(wanted)


def _rows(outcomes: Iterable[Finished]) -> list[dict]:
    return images_table(outcome.result for outcome in outcomes).to_pylist()


def _by_id(rows: list[dict]) -> list[dict]:
    return sorted(rows, key=lambda row: row["image_id"])
