"""What docs/ lists is what the code has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deepo_beam.errors import ErrorCode
from deepo_beam.lake import schemas

DOCS = Path(__file__).parent.parent / "docs"


def test_every_error_code_is_documented_and_no_other() -> None:
    documented = re.findall(r"^\| `(\w+)` \|", (DOCS / "errors.md").read_text(), flags=re.MULTILINE)
    assert documented == [code.value for code in ErrorCode]


@pytest.mark.parametrize("name", ["LABELS", "IMAGES", "ERRORS", "LISTING", "JOURNAL"])
def test_every_column_is_documented_as_its_schema_describes_it(name: str) -> None:
    assert schemas.markdown_table(getattr(schemas, name)) in (DOCS / "tables.md").read_text()
