"""The steps of a publish, one by one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deepo_beam.errors import RunStoppedError
from deepo_beam.transforms import publish_tables


@pytest.mark.parametrize(
    "step",
    [
        lambda plan: publish_tables._write_intent([], plan),
        lambda plan: publish_tables._WriteShardFn(plan).process((None, 0)),
        lambda plan: publish_tables._commit(None, plan, []),
    ],
    ids=["intent", "shard", "commit"],
)
def test_no_step_of_a_publish_writes_for_a_run_that_does_not_hold_its_output(
    step: Callable[[Any], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replaced(output: str, run_id: str, store: object) -> None:
        raise RunStoppedError(f"run {run_id} was silent for too long")

    monkeypatch.setattr(publish_tables, "check_held", replaced)
    with pytest.raises(RunStoppedError, match="run run-a was silent"):
        step(SimpleNamespace(output=str(tmp_path), run_id="run-a"))
    assert list(tmp_path.iterdir()) == []
