"""`make` explains itself, and says what is wrong with a machine."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def make(*arguments, folder=ROOT):
    """Run make as from a shell, also where make runs these tests."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *arguments], capture_output=True, text=True, cwd=folder, env=variables)


@pytest.fixture
def empty_checkout(tmp_path):
    """A folder with a space in its name that holds the Makefile, nothing set up."""
    folder = tmp_path / "a checkout"
    folder.mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    for name in ("pyproject.toml", "constraints.txt", "setup.py"):
        (folder / name).touch()
    return folder


@pytest.fixture
def old_python(tmp_path):
    """An interpreter that says it is Python 3.9, to itself and to others."""
    python = tmp_path / "python3.9"
    python.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.18" && exit\nexit 1\n')
    python.chmod(0o755)
    return python


def test_make_alone_explains_every_target():
    (declared,) = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    explained = re.findall(r"^  make (\S+) +\S", make().stdout, re.MULTILINE)

    assert sorted(explained) == sorted(declared.split())


def test_an_old_python_is_named_with_the_way_out(empty_checkout, old_python):
    ended = make("test", f"PYTHON={old_python}", folder=empty_checkout)

    assert ended.returncode != 0
    assert "needs Python 3.10 or newer" in ended.stderr
    assert "Python 3.9.18" in ended.stderr
    assert "make PYTHON=python3.12 test" in ended.stderr
    assert not (empty_checkout / ".venv").exists()


def test_a_python_that_is_not_there_is_named(empty_checkout):
    ended = make("test", "PYTHON=no-such-python", folder=empty_checkout)

    assert ended.returncode != 0
    assert "no-such-python" in ended.stderr
    assert not (empty_checkout / ".venv").exists()


def test_a_set_up_that_is_up_to_date_runs_nothing(empty_checkout):
    environment = empty_checkout / ".venv"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").touch()
    (environment / ".ready").touch()

    ended = make("--question", ".venv/.ready", folder=empty_checkout)

    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize("changed", ["pyproject.toml", "constraints.txt"])
def test_a_change_of_the_dependencies_sets_up_again(empty_checkout, changed):
    environment = empty_checkout / ".venv"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").touch()
    (environment / ".ready").touch()
    later = (environment / ".ready").stat().st_mtime_ns + 10**9
    os.utime(empty_checkout / changed, ns=(later, later))

    assert make("--question", ".venv/.ready", folder=empty_checkout).returncode == 1
