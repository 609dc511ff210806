"""Importing is cheap, and needs nothing that was not asked for."""

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import deepo_beam
from deepo_beam.cli.commands import SUMMARIES

EXTRAS = ("aiohttp", "azure", "boto3", "botocore", "cv2", "google.auth", "sklearn", "skimage", "duckdb")
HEAVY = (*EXTRAS, "apache_beam", "numpy", "pandas", "PIL", "pyarrow", "pydantic", "requests", "rich", "typer")
SHELL = {"__main__", "beam_yaml", "bulk", "cli", "transforms"}
BELOW_THE_SHELL = sorted({module.name for module in pkgutil.iter_modules(deepo_beam.__path__)} - SHELL)


def run(program: str) -> str:
    """What a program prints in an interpreter of its own."""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def blocked(*names: str) -> str:
    """A statement that makes the import of each name fail."""
    return f"import sys; sys.modules.update(dict.fromkeys({names!r}))\n"


def modules_of_the_package() -> list[str]:
    found = pkgutil.walk_packages(deepo_beam.__path__, "deepo_beam.", onerror=lambda name: None)
    return [module.name for module in found]


@pytest.fixture(scope="module")
def loaded_anyway():
    """What an interpreter of this environment has at its start: some packages put a ``.pth`` file there."""
    return set(run("import sys; print(*sys.modules)").split())


def test_importing_the_package_loads_nothing_heavy(loaded_anyway):
    loaded = set(run("import deepo_beam, sys; print(*sys.modules)").split())

    assert "deepo_beam" in loaded
    assert (loaded - loaded_anyway).isdisjoint(HEAVY)


def test_the_help_of_the_command_loads_no_command(loaded_anyway):
    program = "from deepo_beam.cli import main\ntry: main(['--help'])\nfinally: import sys; print(*sys.modules)"
    loaded = set(run(program).splitlines()[-1].split())

    assert "typer" in loaded
    wanted_later = {*HEAVY, "deepo_beam.cli.label", "deepo_beam.config"} - {"typer", "rich"}
    assert (loaded - loaded_anyway).isdisjoint(wanted_later)


@pytest.mark.parametrize("name", SUMMARIES)
def test_the_help_says_of_each_command_what_it_says_of_itself(name):
    command = getattr(importlib.import_module(f"deepo_beam.cli.{name}"), name)

    assert command.__doc__.partition("\n")[0] == SUMMARIES[name]


def test_every_public_name_is_there_and_is_listed():
    assert "__version__" in deepo_beam.__all__
    for name in deepo_beam.__all__:
        assert getattr(deepo_beam, name) is not None
        assert name in dir(deepo_beam)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        deepo_beam.no_such_name  # noqa: B018 -- the access is what is tested


@pytest.mark.parametrize("name", BELOW_THE_SHELL)
def test_a_module_below_the_shell_imports_without_beam(name):
    module = f"deepo_beam.{name}"
    names = [m for m in modules_of_the_package() if m == module or m.startswith(f"{module}.")]
    assert module in names

    program = f"import importlib\nfor name in {names!r}: importlib.import_module(name)"
    run(blocked("apache_beam") + program)


def test_the_rooms_that_promise_to_do_without_beam_are_among_those():
    assert {"api", "engine", "lake", "storage", "identity", "images", "inputs"} <= set(BELOW_THE_SHELL)


def test_all_but_the_emulators_server_imports_without_any_extra():
    names = [name for name in modules_of_the_package() if not name.startswith("deepo_beam.emulator.")]

    program = f"import importlib\nfor name in {names!r}: importlib.import_module(name); print(name)"
    imported = run(blocked(*EXTRAS) + program).splitlines()

    assert imported == names
    assert "deepo_beam.emulator" in imported


def test_every_folder_of_modules_is_a_package():
    root = Path(deepo_beam.__file__).parent
    folders = {path.parent for path in root.rglob("*.py")}

    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []
