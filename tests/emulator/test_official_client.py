"""The official Python client, in an environment of its own, takes the emulator for the service."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deepo_beam.emulator import echo_predictions
from deepo_beam.emulator.testing import running_emulator

CLIENT = "deepomatic-api==1.0.0"
CHECK = Path(__file__).with_name("official_client_check.py")
REPOSITORY = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="module")
def client_python():
    """The interpreter of an environment with the client; made once, kept in a cache."""
    cache = Path(os.environ.get("DEEPO_BEAM_CACHE") or REPOSITORY / ".cache" / "official-client")
    place = cache / f"{CLIENT}-python{sys.version_info.major}.{sys.version_info.minor}"
    python, complete = place / "bin" / "python", place / "complete"
    if not complete.exists():
        shutil.rmtree(place, ignore_errors=True)
        if uv := shutil.which("uv"):
            run(uv, "venv", "--quiet", "--python", sys.executable, place)
            run(uv, "pip", "install", "--quiet", "--python", python, CLIENT)
        else:
            run(sys.executable, "-m", "venv", place)
            run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", CLIENT)
        complete.touch()
    return python


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images, one of them without predictions, and what the rule says of each."""
    folder = tmp_path_factory.mktemp("images")
    without = next(i for i in range(1000) if not echo_predictions(b"%d" % i)["labels"]["predicted"])
    images = {f"{number}.jpg": b"%d" % i for number, i in enumerate([*range(5), without])}
    for name, image in images.items():
        (folder / name).write_bytes(image)
    expected = {name: echo_predictions(image) for name, image in images.items()}
    (folder / "expected.json").write_text(json.dumps(expected))
    return folder


@pytest.mark.parametrize(
    ("scenario", "options"),
    [
        ("reading", {}),
        ("payloads", {}),
        ("models", {}),
        ("batch", {"latency": 0.1, "latency_jitter": 0.2}),
        ("errors", {}),
        ("task_errors", {"task_errors": 1.0}),
        ("stuck", {"stuck_tasks": 1.0}),
        ("throttled", {"rate": 0.01, "burst": 1}),
        ("unauthorised", {"api_key": "secret"}),
        ("payloads", {"fail_posts": 0.2, "fail_polls": 0.2, "cut_replies": 0.1, "seed": 1}),
    ],
)
def test_the_official_client_works_as_with_the_service(client_python, folder, scenario, options):
    with running_emulator(**options) as emulator:
        run(client_python, CHECK, scenario, emulator.url, folder)
