"""How the command's process holds memory."""

import gc
from collections.abc import Iterator

import pytest

from deepo_beam import bulk
from deepo_beam.cli import main
from deepo_beam.errors import ConfigError


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    gc.unfreeze()


@pytest.mark.parametrize(("command", "step"), [("plan", "estimate_run"), ("label", "held_run")])
def test_cycles_are_not_looked_for_among_imports_before_anything_is_listed(command, step, monkeypatch, tmp_path):
    frozen, thresholds = [], []

    def stop_here(_: object) -> None:
        frozen.append(gc.get_freeze_count())
        thresholds.append(gc.get_threshold()[0])
        raise ConfigError("seen")

    monkeypatch.setattr(bulk, step, stop_here)
    with pytest.raises(SystemExit):
        main([command, str(tmp_path), "--output", str(tmp_path / "out"), "--spec", "echo-v1", "--api-url", "http://h"])

    assert frozen[0] > 10_000
    assert gc.isenabled()
    assert gc.get_threshold()[0] < 10_000
    assert (thresholds[0] > 10_000) == (command == "plan"), "labelling seldom would hold more"
