"""The environments of the contestants: made once under ``benchmarks/.venvs``, and again when their lists change."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PLACE = ROOT / "benchmarks" / ".venvs"
_LISTS = ROOT / "benchmarks" / "environments"
_CONSTRAINTS = ROOT / "constraints.txt"
_VERSIONS = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"


@dataclass(frozen=True)
class Environment:
    """A virtual environment.

    Attributes:
        name: of its folder.
        steps: arguments of ``pip install``, one call each.
        shown: the distributions whose versions belong to a result.
    """

    name: str
    steps: tuple[tuple[str, ...], ...]
    shown: tuple[str, ...]

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(_PLACE / self.name / "bin" / "python")

    def versions(self) -> dict[str, str]:
        """Of the distributions that are shown."""
        told = subprocess.run([self.python, "-c", _VERSIONS], check=True, capture_output=True, text=True)
        found = json.loads(told.stdout)
        return {name: found[name] for name in self.shown}


LOOPS = Environment(
    "loops", (("-r", str(_LISTS / "loops.txt")),), ("aiohttp", "requests", "urllib3", "uvloop", "pybase64")
)
OURS = Environment("ours", (("-c", str(_CONSTRAINTS), "-e", str(ROOT)),), ("deepo-beam", "apache-beam", "pyarrow"))
CLIENT = Environment("client", (("-r", str(_LISTS / "client.txt")),), ("deepomatic-api",))
CLI = Environment("cli", (("-r", str(_LISTS / "cli.txt")), ("--no-deps", "deepomatic-cli==0.7.7")), ("deepomatic-cli",))
ALL = (LOOPS, OURS, CLIENT, CLI)


def make(environment: Environment) -> None:
    """Make it unless it is there.

    Raises:
        subprocess.CalledProcessError: something cannot be installed; the installer has said what.
    """
    place = _PLACE / environment.name
    ready, wanted = place / ".ready", _fingerprint(environment)
    if ready.exists() and ready.read_text() == wanted:
        return
    print(f"Installing into {place.relative_to(ROOT)}", flush=True)
    shutil.rmtree(place, ignore_errors=True)
    uv = shutil.which("uv")
    if uv:
        _call([uv, "venv", "--quiet", "--python", sys.executable, str(place)])
        install = [uv, "pip", "install", "--quiet", "--python", environment.python]
    else:
        _call([sys.executable, "-m", "venv", str(place)])
        install = [environment.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for step in environment.steps:
        _call([*install, *step])
    ready.write_text(wanted)


def _fingerprint(environment: Environment) -> str:
    lists = [Path(argument) for step in environment.steps for argument in step if argument.endswith(".txt")]
    texts = [path.read_text() for path in sorted({*lists, _CONSTRAINTS, ROOT / "pyproject.toml"})]
    return hashlib.sha256(repr((sys.version_info[:2], environment.steps, texts)).encode()).hexdigest()


def _call(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, cwd=ROOT)
