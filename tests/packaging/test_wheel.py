"""What is built is complete, and works where nothing but it is installed."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pyarrow.dataset as ds
import pytest
from PIL import Image

from deepo_beam.emulator import echo_predictions
from deepo_beam.emulator.testing import running_emulator

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def run(*command, **options):
    """Run a command that has to succeed; what it prints."""
    ended = subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)
    assert ended.returncode == 0, f"{command}:\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


def files_of_the_project():
    """What is, or could be, committed."""
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """The folder of a wheel and an sdist, built from the files of the project and from nothing else."""
    source = tmp_path_factory.mktemp("source")
    for name in files_of_the_project():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    run(sys.executable, "-m", "build", "--no-isolation", source)
    return source / "dist"


@pytest.fixture(scope="module")
def scripts(dist, tmp_path_factory):
    """The ``bin`` folder of an environment with the wheel and its dependencies, without any extra."""
    environment = tmp_path_factory.mktemp("environment")
    (wheel,) = dist.glob("*.whl")
    run(sys.executable, "-m", "uv", "venv", "--quiet", "--clear", "--python", sys.executable, environment)
    python = environment / "bin" / "python"
    pins = ROOT / "constraints.txt"
    run(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", python, "-c", pins, wheel)
    return environment / "bin"


def alone(**variables):
    """The environment of a process, without what leads to this checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COVERAGE"))}
    return {**kept, **variables}


def test_wheel_and_sdist_pass_the_check_of_the_package_index(dist):
    built = sorted(dist.iterdir())

    assert [path.name.endswith((".whl", ".tar.gz")) for path in built] == [True, True]
    assert "PASSED" in run(sys.executable, "-m", "twine", "check", "--strict", *built)


def test_the_wheel_holds_the_whole_package_and_nothing_else(dist):
    (wheel,) = dist.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}

    assert packed == {name for name in files_of_the_project() if name.startswith("deepo_beam/")}
    assert "deepo_beam/py.typed" in packed


def test_wheel_and_sdist_carry_the_licence(dist):
    (wheel,) = dist.glob("*.whl")
    (sdist,) = dist.glob("*.tar.gz")

    assert [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith("/licenses/LICENSE")]
    with tarfile.open(sdist) as archive:
        assert [name for name in archive.getnames() if name.count("/") == 1 and name.endswith("/LICENSE")]


def test_the_sdist_can_be_built_into_the_wheel_by_setup_py(dist):
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert {"setup.py", "pyproject.toml", "README.md"} <= names


def test_the_installed_command_labels_images(scripts, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(8):
        Image.new("RGB", (32, 32), (index * 30, 90, 200)).save(photos / f"photo {index}.png")

    with running_emulator() as service:
        variables = alone(DEEPOMATIC_API_URL=service.url, DEEPOMATIC_API_KEY="any")
        command = [
            scripts / "deepo-beam",
            "label",
            photos,
            "--output",
            tmp_path / "lake",
            "--spec",
            "echo-v1",
        ]
        run(*command, cwd=tmp_path, env=variables)

    rows = ds.dataset(tmp_path / "lake" / "labels", partitioning="hive").to_table().to_pylist()
    got = {(Path(row["image_uri"]).name, row["prediction_index"], row["label_name"]) for row in rows}
    promised = {
        (photo.name, index, label["label_name"])
        for photo in photos.iterdir()
        for index, label in enumerate(echo_predictions(photo.read_bytes())["labels"]["predicted"])
    }
    assert got == promised
    assert len(rows) == len(got) > 0


def test_without_its_extra_the_emulator_says_what_to_install(scripts, tmp_path):
    ended = subprocess.run(
        [scripts / "deepo-beam", "emulator"], capture_output=True, text=True, cwd=tmp_path, env=alone()
    )

    assert ended.returncode == 2
    assert "pip install 'deepo-beam[emulator]'" in " ".join(ended.stderr.split())
