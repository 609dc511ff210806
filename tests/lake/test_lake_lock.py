"""One run at a time on an output on local disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deepo_beam.errors import OutputHeldError
from deepo_beam.lake.lock import held_output

HOLD = """
import sys
from deepo_beam.lake.lock import held_output
with held_output(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_second_is_told_who_holds_the_output_until_the_first_is_gone(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    lake.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lake)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout.readline() == "held\n"
        with pytest.raises(OutputHeldError, match=f"pid {first.pid} on .* since") as refused, held_output(str(lake)):
            pass
        assert refused.value.exit_code == 7
        first.kill()
        first.wait()
    with held_output(str(lake)):
        assert str(os.getpid()) in (lake / "lock").read_text()


def test_an_output_that_came_to_nothing_is_taken_away_again(tmp_path: Path) -> None:
    with held_output(str(tmp_path / "lake")):
        assert (tmp_path / "lake" / "lock").exists()
    assert not (tmp_path / "lake").exists()
    with held_output(str(tmp_path / "lake")):
        (tmp_path / "lake" / "dataset.json").write_text("{}")
    assert (tmp_path / "lake" / "lock").exists()


def test_an_output_elsewhere_or_one_that_cannot_be_made_is_left_to_whoever_writes_to_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with held_output("s3://lake/labels"), held_output(str(tmp_path / "file" / "lake")):
        pass
