"""The transforms of Beam YAML, used from Python: what is tested here needs no Beam YAML (see tests/runners)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
from apache_beam.coders import RowCoder, registry
from apache_beam.typehints import schemas
from pipeline_tools import Keep, expected_outputs, pipeline

from deepo_beam import beam_yaml, transforms
from deepo_beam.emulator.testing import RunningEmulator
from deepo_beam.errors import ConfigError, ErrorCode
from deepo_beam.lake.schemas import ERRORS, LABELS
from deepo_beam.transforms.flatten_predictions import Label
from deepo_beam.transforms.image_rows import ErrorRow, ImageRow

Pictures = Callable[[int], list[str]]
TO_ERRORS = {"output": "errors"}


def run(transform: beam.PTransform, rows: list | None = None) -> dict[str, list]:
    """What each output of a transform has."""
    with pipeline() as p:
        given = p if rows is None else p | beam.Create(rows)
        kept = {}
        for name, collection in (given | transform).items():
            kept[name] = Keep()
            _ = collection | f"Of {name}" >> kept[name]
    return {name: keep.elements for name, keep in kept.items()}


# --- rows --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row_type", [ImageRow, ErrorRow])
def test_rows_have_a_schema_that_other_languages_can_read(row_type: type) -> None:
    schema = schemas.typing_to_runner_api(row_type).row_type.schema
    assert isinstance(registry.get_coder(row_type), RowCoder)
    assert "pythonsdk_any" not in str(schema)


def test_a_row_of_an_error_has_columns_of_errors_and_the_same_may_be_null() -> None:
    schema = schemas.typing_to_runner_api(ErrorRow).row_type.schema
    model_and_times = {"model_kind", "model_id", "model_version_id", "first_seen", "last_seen"}
    expected = {field.name: field.nullable for field in ERRORS if field.name not in model_and_times}
    assert {field.name: field.type.nullable for field in schema.fields} == expected


# --- ReadImages --------------------------------------------------------------------------------------


@pytest.fixture
def bad_list(tmp_path: Path, pictures: Pictures) -> Path:
    (path,) = pictures(1)
    listed = tmp_path / "list.csv"
    listed.write_text(f"path,sku,site\n{path},17,north\n,18,south\n")
    return listed


def test_entries_become_rows_and_those_that_name_no_image_go_to_the_errors(bad_list: Path, pictures: Pictures) -> None:
    outputs = run(beam_yaml.ReadImages(str(bad_list), uri_column="path", id_column="sku", error_handling=TO_ERRORS))
    (good,), (bad,) = outputs["good"], outputs["errors"]
    assert (good.image_uri, good.external_id, good.attributes) == (pictures(1)[0], "17", {"site": "north"})
    assert (good.source, good.location, good.crop) == (f"{bad_list}:2", None, None)
    assert (bad.error_code, bad.stage, bad.source) == ("bad_manifest_row", "list", f"{bad_list}:3")
    assert (bad.retryable, bad.attempts, bad.task_id) == (False, 0, None)


def test_of_a_folder_the_rows_have_sizes_and_times(pictures: Pictures) -> None:
    paths = pictures(3)
    rows = run(beam_yaml.ReadImages([str(Path(paths[0]).parent)]))["good"]
    sizes = {path: Path(path).stat() for path in paths}
    assert {row.image_uri: row.size_bytes for row in rows} == {path: stat.st_size for path, stat in sizes.items()}
    assert {row.image_uri: row.modified_at.micros for row in rows} == {
        path: stat.st_mtime_ns // 1000 for path, stat in sizes.items()
    }


def test_without_an_output_for_errors_a_bad_entry_fails_the_pipeline_and_is_named(bad_list: Path) -> None:
    said = rf"{bad_list}:3: the row has no path; mend it, or .* error_handling: \{{output: NAME\}}"
    with pytest.raises(Exception, match=said):
        run(beam_yaml.ReadImages(str(bad_list), uri_column="path"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"path": []}, "no path"),
        ({"path": "-"}, "no standard input"),
        ({"path": "a", "error_handling": {}}, r"error_handling is \{output: NAME\}"),
        ({"path": "a", "error_handling": "errors"}, r"error_handling is \{output: NAME\}"),
        ({"path": "a", "error_handling": {"output": "errors", "threshold": 1}}, "and nothing else"),
        ({"path": "a", "error_handling": {"output": "good"}}, "name another"),
    ],
)
def test_what_cannot_be_read_is_refused(options: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=f"ReadImages: .*{said}"):
        beam_yaml.ReadImages(**options)


# --- LabelImages -------------------------------------------------------------------------------------


def test_labels_and_failures_have_an_output_each(service: RunningEmulator, pictures: Pictures, tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    rows = [beam.Row(path=path, site="north") for path in (*pictures(3), str(tmp_path / "empty.png"))]
    outputs = run(beam_yaml.LabelImages(spec="echo-v1", uri_column="path", error_handling=TO_ERRORS), rows)
    named = {(label.image_uri, label.label_name) for label in outputs["good"]}
    assert named == {
        (path, prediction["label_name"])
        for path in pictures(3)
        for output in expected_outputs(path)
        for prediction in output["labels"]["predicted"]
    }
    (error,) = outputs["errors"]
    assert (error.image_uri, error.error_code) == (str(tmp_path / "empty.png"), ErrorCode.EMPTY_FILE.value)
    assert error.attributes == {"site": "north"}


def test_failed_images_must_have_a_place() -> None:
    with pytest.raises(ConfigError, match="failed images need a place"):
        beam_yaml.LabelImages(spec="echo-v1")
    with pytest.raises(ConfigError, match="did you mean 'rate'"):
        beam_yaml.LabelImages(spec="echo-v1", rates="20/s", error_handling=TO_ERRORS)


# --- WriteLabels -------------------------------------------------------------------------------------


def write(path: Path, uris: list[str]) -> None:
    with pipeline() as p:
        labelled = p | beam.Create(uris) | transforms.LabelImages(spec="echo-v1") | transforms.FlattenPredictions()
        _ = labelled | beam_yaml.WriteLabels(f"{path}/")


def test_labels_are_written_with_the_columns_of_the_table(
    service: RunningEmulator, pictures: Pictures, tmp_path: Path
) -> None:
    paths = pictures(3)
    write(tmp_path / "labels", paths)
    files = sorted((tmp_path / "labels").glob("part-*.parquet"))
    assert files
    for file in files:
        assert pq.read_schema(file).equals(LABELS)
        assert pq.ParquetFile(file).metadata.row_group(0).column(0).compression == "ZSTD"
    rows = [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]
    assert {row["image_uri"] for row in rows} <= set(paths)
    assert sorted((row["image_uri"], row["label_name"], row["score"]) for row in rows) == sorted(
        (path, prediction["label_name"], prediction["score"])
        for path in paths
        for output in expected_outputs(path)
        for prediction in output["labels"]["predicted"]
    )


def test_a_folder_that_has_labels_is_not_written_to_again(
    service: RunningEmulator, pictures: Pictures, tmp_path: Path
) -> None:
    write(tmp_path / "labels", pictures(1))
    with pytest.raises(ConfigError, match=r"there is .*part-00000-of-0000.\.parquet already.* name another folder"):
        write(tmp_path / "labels", pictures(1))


def test_rows_with_other_columns_than_labels_have_are_refused() -> None:
    labels = pipeline() | beam.Create([]) | beam.Map(lambda row: row).with_output_types(Label)
    with pytest.raises(ConfigError, match="lack attributes, bbox_xmax, "):
        _ = labels | beam.Select("image_uri", "score") | "Fewer" >> beam_yaml.WriteLabels("/nowhere")
    every = {name: name for name in LABELS.names}
    with pytest.raises(ConfigError, match="have, beside those of labels, site;"):
        _ = labels | beam.Select(**every, site="image_uri") | "More" >> beam_yaml.WriteLabels("/nowhere")
    with pytest.raises(ConfigError, match="no rows with a schema"):
        _ = labels | beam.Map(str) | "None" >> beam_yaml.WriteLabels("/nowhere")
