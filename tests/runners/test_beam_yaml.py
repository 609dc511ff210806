"""Pipelines of Beam YAML, through Beam's own entry point, against the emulator."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from e2e_tools import ROOT, label, write_pictures

from deepo_beam.emulator import echo_predictions
from deepo_beam.emulator.testing import RunningEmulator, running_emulator
from deepo_beam.lake.schemas import LABELS

DOCS = ROOT / "docs" / "beam-yaml.md"
PROVIDERS = f"""
providers:
  - include: {ROOT}/deepo_beam/beam_yaml/provider.yaml
"""


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningEmulator]:
    with running_emulator() as emulator:
        monkeypatch.setenv("DEEPOMATIC_API_URL", emulator.url)
        monkeypatch.setenv("DEEPOMATIC_API_KEY", "any")
        yield emulator


def run(text: str) -> None:
    """A pipeline of Beam YAML in this process."""
    from apache_beam.yaml import main as beam_yaml_main  # an extra, which `make test` collects this file without

    beam_yaml_main.run(["--runner=FnApiRunner", f"--yaml_pipeline={text}{PROVIDERS}"])


def run_file(path: Path, variables: str) -> None:
    """The same by Beam's own command."""
    command = [sys.executable, "-m", "apache_beam.yaml.main", "--runner=FnApiRunner", f"--yaml_pipeline_file={path}"]
    done = subprocess.run(
        [*command, f"--jinja_variables={variables}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def rows(folder: Path) -> list[dict]:
    return [row for path in sorted(folder.glob("*.parquet")) for row in pq.ParquetFile(path).read().to_pylist()]


def expected(images: dict[str, bytes], at_least: float) -> list[tuple[str, str]]:
    """The labels of these files that are predicted with such a score."""
    return sorted(
        (uri, prediction["label_name"])
        for uri, data in images.items()
        for prediction in echo_predictions(data)["labels"]["predicted"]
        if prediction["score"] >= at_least
    )


def test_the_pipeline_that_is_shipped_labels_filters_and_writes(tmp_path: Path, service: RunningEmulator) -> None:
    images = write_pictures(tmp_path / "photos", 30)
    (tmp_path / "photos" / "empty.jpg").touch()
    (tmp_path / "more.csv").write_text("image_uri\nnobody-serves://this/a.png\n")
    photos = f'["{tmp_path}/photos", "{tmp_path}/more.csv"]'
    variables = f'{{"photos": {photos}, "output": "{tmp_path}/out", "spec": "echo-v1"}}'

    run_file(ROOT / "configs" / "label.beam.yaml", variables)

    labels = rows(tmp_path / "out" / "labels")
    assert expected(images, 0.5)
    assert sorted((row["image_uri"], row["label_name"]) for row in labels) == expected(images, 0.5)
    assert {
        path for path in (tmp_path / "out" / "labels").iterdir() if not pq.read_schema(path).equals(LABELS)
    } == set()
    errors = {row["error_code"]: row["image_uri"] for row in rows(tmp_path / "out" / "errors")}
    assert errors == {"empty_file": f"{tmp_path}/photos/empty.jpg", "invalid_uri": "nobody-serves://this/a.png"}
    assert service.stats()["accepted"] == 30


def test_its_errors_are_an_input_of_the_command(tmp_path: Path, service: RunningEmulator) -> None:
    bad = tmp_path / "photos" / "a.png"
    bad.parent.mkdir()
    bad.touch()
    variables = f'{{"photos": "{tmp_path}/photos", "output": "{tmp_path}/out", "spec": "echo-v1"}}'
    run_file(ROOT / "configs" / "label.beam.yaml", variables)
    images = write_pictures(tmp_path / "good", 1)
    bad.write_bytes(*images.values())
    assert label(tmp_path / "out" / "errors", tmp_path / "lake", service).summary["listed"] == 1


def test_labels_can_be_mapped_before_they_are_written(tmp_path: Path, service: RunningEmulator) -> None:
    images = write_pictures(tmp_path / "photos", 5)
    kept = "\n".join(f"              {name}: {name}" for name in reversed(LABELS.names) if name != "label_name")
    run(f"""
pipeline:
  transforms:
    - type: ReadImages
      config: {{path: {tmp_path}/photos}}
    - type: LabelImages
      input: ReadImages
      config: {{spec: echo-v1, error_handling: {{output: failed}}}}
    - type: MapToFields
      input: LabelImages
      config:
        language: python
        fields:
              label_name:
                callable: "lambda row: row.label_name.upper()"
                output_type: string
{kept}
    - type: WriteLabels
      input: MapToFields
      config: {{path: {tmp_path}/labels}}
    - type: AssertEqual
      input: LabelImages.failed
      config: {{elements: []}}
""")
    wanted = [(uri, name.upper()) for uri, name in expected(images, 0.0)]
    assert sorted((row["image_uri"], row["label_name"]) for row in rows(tmp_path / "labels")) == sorted(wanted)


def test_elements_of_a_pipeline_are_labelled_by_a_column_and_grouped(tmp_path: Path, service: RunningEmulator) -> None:
    images = write_pictures(tmp_path / "photos", 4)
    elements = ", ".join(f'{{path: "{path}", site: north}}' for path in images)
    run(f"""
pipeline:
  transforms:
    - type: Create
      config: {{elements: [{elements}]}}
    - type: LabelImages
      input: Create
      config: {{version_id: 21, uri_column: path, error_handling: {{output: failed}}}}
    - type: Combine
      input: LabelImages
      config:
        language: python
        group_by: model_id
        combine: {{labels: {{value: label_id, fn: count}}}}
    - type: AssertEqual
      input: Combine
      config: {{elements: [{{model_id: "21", labels: {len(expected(images, 0.0))}}}]}}
    - type: AssertEqual
      name: NoneFailed
      input: LabelImages.failed
      config: {{elements: []}}
""")
    assert service.stats()["accepted"] == 4


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("{spec: echo-v1}", "failed images need a place"),
        ("{spec: echo-v1, rates: 5, error_handling: {output: failed}}", "did you mean 'rate'"),
        ("{spec: echo-v1, id_column: sku, error_handling: {output: failed}}", "no column 'sku', they have 'image_id'"),
        ("{spec: echo-v1, error_handling: {output: failed}}", "Unconsumed error output"),
    ],
)
def test_what_cannot_be_meant_is_named_when_the_pipeline_is_built(
    tmp_path: Path, service: RunningEmulator, config: str, said: str
) -> None:
    sink = "" if "Unconsumed" in said else "{type: LogForTesting, input: Label.failed}"
    with pytest.raises(ValueError, match=said):
        run(f"""
pipeline:
  transforms:
    - {{type: ReadImages, config: {{path: {tmp_path}}}}}
    - {{type: LabelImages, name: Label, input: ReadImages, config: {config}}}
    {f"- {sink}" if sink and "error_handling" in config else ""}
""")
    assert service.stats()["accepted"] == 0


def test_the_documented_pipeline_runs_as_it_stands(tmp_path: Path, service: RunningEmulator) -> None:
    images = write_pictures(tmp_path / "photos", 24)
    for path in list(images):
        if not path.endswith(".jpeg"):
            del images[path]
    (text,) = re.findall(r"^```yaml\n(.*?)^```$", DOCS.read_text(), re.DOTALL | re.MULTILINE)
    text = (
        text.replace("s3://lake", str(tmp_path))
        .replace("**.jpg", "**.jpeg")
        .replace("imagenet-inception-v3", "echo-v1")
    )
    (tmp_path / "label.yaml").write_text(text)
    run_file(tmp_path / "label.yaml", "{}")
    labels = rows(tmp_path / "best-labels" / "2026-11-24")
    assert sorted((row["image_uri"], row["label_name"]) for row in labels) == expected(images, 0.5)
    assert rows(tmp_path / "failed" / "2026-11-24") == []
