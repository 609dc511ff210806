"""What the README shows is run here: its shell commands, its Python and its SQL, against the emulator."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from PIL import Image

from deepo_beam.emulator.testing import running_emulator

README = Path(__file__).parent.parent / "README.md"
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


def blocks(language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(README.read_text()) if kind == language]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with photos/, a key file, and a stand-in for s3://lake; the emulator instead of both services."""
    home = tmp_path_factory.mktemp("readme")
    for folder in ("photos", "s3/photos"):
        (home / folder).mkdir(parents=True)
        for number in range(30):
            Image.new("RGB", (20, 20), (number, 2 * number, 3)).save(home / folder / f"{number}.jpg")
    (home / ".deepomatic-key").write_text("any\n")
    with running_emulator(latency=0.05) as service:
        (home / "url").write_text(service.url)
        yield home


def run(home: Path, command: list[str]) -> str:
    url = (home / "url").read_text()
    environment = {
        **os.environ,
        "HOME": str(home),
        "DEEPOMATIC_API_URL": url,
        "DEEPOMATIC_API_KEY": "any",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def here(home: Path, text: str) -> str:
    """The README's service and bucket are those of the test."""
    return text.replace("http://127.0.0.1:8080", (home / "url").read_text()).replace("s3://lake", f"{home}/s3")


@pytest.mark.slow
def test_every_shell_command_runs_as_it_stands(home: Path) -> None:
    scripts = blocks("sh")
    assert len(scripts) == 3
    outputs = [run(home, ["bash", "-euc", here(home, script)]) for script in scripts]
    assert '"calls": 0' in outputs[0], "the second run costs nothing"


@pytest.mark.slow
def test_the_sql_reads_the_tables(home: Path) -> None:
    if not (home / "lake").exists():
        test_every_shell_command_runs_as_it_stands(home)
    (query,) = blocks("sql")
    rows = duckdb.sql(query.replace("'lake/", f"'{home}/lake/")).fetchall()
    assert len(rows) == 5
    assert all(images >= 1 and 0 <= score <= 1 for _, images, score in rows)


def test_the_python_runs_as_it_stands(home: Path) -> None:
    (script,) = blocks("python")
    printed = run(home, [sys.executable, "-c", script])
    assert printed.count("Label(image_id=") > 30
    assert f"{home}/photos/0.jpg" in printed


def test_every_file_that_is_linked_to_is_there() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README.read_text())
    assert links
    assert [link for link in links if not (README.parent / link).exists()] == []
