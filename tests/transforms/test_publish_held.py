"""A run that another one has replaced publishes nothing more, whichever step it is at."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deepo_beam.config import LabelConfig
from deepo_beam.emulator.testing import RunningEmulator
from deepo_beam.errors import RunStoppedError
from deepo_beam.lake.publish import Intent
from deepo_beam.lake.summary import Summary
from deepo_beam.preflight import prepare
from deepo_beam.run import RunPlan
from deepo_beam.transforms import publish_tables


@pytest.fixture
def plan(service: RunningEmulator, tmp_path, monkeypatch: pytest.MonkeyPatch) -> RunPlan:
    def replaced(output: str, run_id: str, store: object) -> None:
        raise RunStoppedError("another run holds the output now")

    made = prepare(LabelConfig(spec="echo-v1", output=str(tmp_path / "out"), buckets=1))
    monkeypatch.setattr(publish_tables, "check_held", replaced)
    return replace(made, run_id="replaced")


def test_no_step_of_a_publish_is_made_by_a_run_that_was_replaced(plan: RunPlan, tmp_path) -> None:
    intent = Intent(plan.run_id, {}, ((0,),), Summary(plan.run_id, str(plan.output), "spec echo-v1", 21))
    shards = publish_tables._WriteShardFn(plan)
    shards.setup()
    for step in (
        lambda: publish_tables._write_intent([], plan),
        lambda: shards.process((intent, 0)),
        lambda: publish_tables._commit(intent, plan, []),
    ):
        with pytest.raises(RunStoppedError, match="another run"):
            step()
    left = [path for path in (tmp_path / "out").rglob("*") if plan.run_id in str(path)]
    assert left == []
