"""What docs/ lists is what the code has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from deepo_beam.api import Task, TaskState
from deepo_beam.engine.settings import EngineSettings
from deepo_beam.engine.tasks import Tasks
from deepo_beam.engine.work import Job
from deepo_beam.errors import (
    ApiError,
    DamagedError,
    DeepoBeamError,
    EndpointError,
    ErrorCode,
    ImageError,
    Stage,
    StorageError,
)
from deepo_beam.inputs.rows import InputOptions, Origin, Row, image_of_row, refused_if_local
from deepo_beam.lake import schemas
from deepo_beam.records import Reason
from deepo_beam.types import Failure

DOCS = Path(__file__).parent.parent / "docs"


def documented() -> dict[str, list[str]]:
    """The rows of docs/errors.md: stage, cause, again, billed, what to do, by code."""
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", (DOCS / "errors.md").read_text(), flags=re.MULTILINE)
    return {code: row.split(" | ") for code, row in rows}


def test_every_error_code_is_documented_and_no_other() -> None:
    assert list(documented()) == [code.value for code in ErrorCode]
    for code, (stage, cause, again, billed, what_to_do) in documented().items():
        assert set(stage.split(", ")) <= {stage.value for stage in Stage}, code
        assert {again, billed} <= {"yes", "no"}, code
        assert cause, code
        assert what_to_do, code


def kinds(root: type[DeepoBeamError]) -> Iterator[Any]:
    """The errors that become rows: those of an endpoint stop the run instead."""
    for kind in root.__subclasses__():
        if kind is not EndpointError and kind.__module__ == "deepo_beam.errors":
            yield from (kind, *kinds(kind))


def verdict_on(age_s: float, *tasks: Task) -> Failure:
    """What the engine makes of a task at some age."""
    waiting = Tasks(EngineSettings())
    waiting.add(Job(work=cast("Any", None), queued_at=0.0, reason=Reason.FIRST, attempt=1), "1", 0.0)
    verdicts = [*waiting.answered(["1"], tasks, 0.0), *waiting.answered(["1"], tasks, age_s)]
    return cast("Any", verdicts[0][1]).failure


def test_what_is_tried_again_and_what_may_have_been_billed_is_documented_as_the_code_has_it() -> None:
    """An error may be less retryable than its kind where its message says why (a folder in place of an object)."""
    truth: dict[str, set[tuple[bool, bool]]] = {}
    of_an_output = {DamagedError}
    for kind in {StorageError, *kinds(StorageError), *kinds(ImageError), *kinds(ApiError)} - of_an_output:
        truth.setdefault(kind.code.value, set()).add((kind.retryable, kind.maybe_billed))
    bad_rows = (Row(1, None, "", "is none"), Row(1, {"image_uri": "nobody://a/b"}))
    failures = [image_of_row(row, Origin("list", 0, 1), None, InputOptions()).problem for row in bad_rows]
    listed = image_of_row(Row(1, {"image_uri": "/a.png"}), Origin("list", 0, 1), None, InputOptions())
    failures.append(refused_if_local(listed, "s3://lake/list").problem)
    for failure in failures:
        assert failure is not None
        truth.setdefault(failure.code.value, set()).add((failure.retryable, False))
    for failure in (
        verdict_on(0.0, Task("1", TaskState.ERROR, error="no")),
        verdict_on(1e6, Task("1", TaskState.PENDING)),
        verdict_on(1e6),
    ):
        truth.setdefault(failure.code.value, set()).add((failure.retryable, True))  # its call was accepted

    found = {code: {(row[2] == "yes", row[3] == "yes")} for code, row in documented().items()}
    assert found == truth


@pytest.mark.parametrize("name", ["LABELS", "IMAGES", "ERRORS", "LISTING", "JOURNAL"])
def test_every_column_is_documented_as_its_schema_describes_it(name: str) -> None:
    assert schemas.markdown_table(getattr(schemas, name)) in (DOCS / "tables.md").read_text()
