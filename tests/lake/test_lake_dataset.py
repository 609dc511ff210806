"""What an output is about is fixed when it is made, and any other use of it is refused."""

import json
from dataclasses import asdict, replace

import pytest
from memory_store import KillableStore

from deepo_beam.errors import DatasetMismatchError
from deepo_beam.lake.dataset import Dataset, check_same, find_dataset, write_dataset
from deepo_beam.types import ModelKind, ModelRef

OUT = "mem://out"
URI = f"{OUT}/dataset.json"
HERE = Dataset("spec echo-v1", "https://api.deepomatic.com", show_discarded=False, max_predictions=None, buckets=256)


@pytest.fixture
def store() -> KillableStore:
    return KillableStore()


def test_a_dataset_is_made_from_the_options_of_a_run() -> None:
    made = Dataset.of(
        ModelRef(ModelKind.SPEC, "echo-v1"),
        api_host="https://api.deepomatic.com",
        show_discarded=False,
        max_predictions=None,
        buckets=256,
    )
    assert made == HERE


def test_a_dataset_is_found_as_it_was_written(store: KillableStore) -> None:
    for dataset in (HERE, replace(HERE, model="version 12", show_discarded=True, max_predictions=3, buckets=1)):
        write_dataset(OUT, dataset, store)
        assert find_dataset(OUT, store) == dataset


def test_an_output_that_is_not_there_is_about_nothing_yet(store: KillableStore) -> None:
    assert find_dataset(OUT, store) is None


def test_the_same_dataset_is_accepted_and_the_number_of_buckets_is_the_outputs_own_affair() -> None:
    check_same(OUT, HERE, HERE, buckets_given=True)
    check_same(OUT, HERE, replace(HERE, buckets=4), buckets_given=False)
    check_same(OUT, replace(HERE, journal="journal-by-r1"), HERE, buckets_given=True)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("model", "spec faces-v1", "model is 'spec echo-v1', this run wants 'spec faces-v1'"),
        ("model", "version 21", "model is 'spec echo-v1', this run wants 'version 21'"),
        (
            "api_host",
            "http://127.0.0.1:9",
            "api_host is 'https://api.deepomatic.com', this run wants 'http://127.0.0.1:9'",
        ),
        ("show_discarded", True, "show_discarded is False, this run wants True"),
        ("max_predictions", 5, "max_predictions is None, this run wants 5"),
        ("id_rule", 2, "id_rule is 1, this run wants 2"),
    ],
)
def test_a_difference_is_refused_with_both_values(name: str, value: object, message: str) -> None:
    with pytest.raises(DatasetMismatchError) as refused:
        check_same(OUT, HERE, replace(HERE, **{name: value}), buckets_given=True)
    assert str(refused.value) == f"{OUT} belongs to another dataset: {message}; give another --output"
    assert refused.value.exit_code == 2


def test_a_number_of_buckets_that_was_asked_for_must_be_the_outputs() -> None:
    with pytest.raises(DatasetMismatchError, match=r"buckets is 256, this run wants 4.*compact mem://out --buckets 4"):
        check_same(OUT, HERE, replace(HERE, buckets=4), buckets_given=True)


def test_every_difference_is_named() -> None:
    wanted = replace(HERE, model="spec 1", show_discarded=True, max_predictions=2)
    with pytest.raises(DatasetMismatchError) as refused:
        check_same(OUT, HERE, wanted, buckets_given=False)
    for part in ("model is", "'spec 1'", "show_discarded is", "max_predictions is None, this run wants 2"):
        assert part in str(refused.value)
    assert "api_host" not in str(refused.value)


def test_a_folder_that_holds_something_else_is_refused_and_one_of_its_files_is_named(store: KillableStore) -> None:
    store.objects[f"{OUT}/holiday/beach.jpg"] = b"jpeg"
    with pytest.raises(
        DatasetMismatchError, match=rf"{OUT} is not empty \({OUT}/holiday/beach.jpg\).*another --output"
    ):
        find_dataset(OUT, store)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe\x00", b"not json"])
def test_a_dataset_json_that_is_no_json_is_refused(store: KillableStore, data: bytes) -> None:
    store.objects[URI] = data
    with pytest.raises(DatasetMismatchError, match=f"{URI} is not JSON: restore it"):
        find_dataset(OUT, store)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_format_version_is_refused_with_both_versions(store: KillableStore, version: object) -> None:
    store.objects[URI] = json.dumps(asdict(HERE) | {"format_version": version, "new_in_it": 1}).encode()
    with pytest.raises(DatasetMismatchError, match=rf"{URI} is of format {version!r}, this deepo-beam writes format 1"):
        find_dataset(OUT, store)


@pytest.mark.parametrize("values", [[], "text", 1, None, {}])
def test_json_that_is_no_dataset_is_refused(store: KillableStore, values: object) -> None:
    store.objects[URI] = json.dumps(values).encode()
    with pytest.raises(DatasetMismatchError, match=f"{URI} is of format None"):
        find_dataset(OUT, store)


def test_a_dataset_of_this_format_with_other_fields_is_refused_by_their_names(store: KillableStore) -> None:
    values = asdict(HERE) | {"colour": "blue"}
    del values["model"]
    store.objects[URI] = json.dumps(values).encode()
    with pytest.raises(DatasetMismatchError) as refused:
        find_dataset(OUT, store)
    assert "colour" in str(refused.value)
    assert "model" in str(refused.value)
