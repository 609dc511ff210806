from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pipeline_tools import KEY, picture

from deepo_beam.emulator.testing import RunningEmulator, running_emulator


@pytest.fixture(scope="session")
def echo_service() -> Iterator[RunningEmulator]:
    with running_emulator(api_key=KEY) as emulator:
        yield emulator


@pytest.fixture
def service(echo_service: RunningEmulator, monkeypatch: pytest.MonkeyPatch) -> RunningEmulator:
    """A service that has seen nothing yet; the environment says where it is, and holds its key."""
    monkeypatch.setenv("DEEPOMATIC_API_URL", echo_service.url)
    monkeypatch.setenv("DEEPOMATIC_API_KEY", KEY)
    echo_service.reset()
    return echo_service


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[[int], list[str]]:
    """Writes so many different images and returns their paths."""

    def write(count: int) -> list[str]:
        folder = tmp_path / "photos"
        folder.mkdir(exist_ok=True)
        paths = [folder / f"{number:03}.png" for number in range(count)]
        for number, path in enumerate(paths):
            path.write_bytes(picture(number))
        return [str(path) for path in paths]

    return write
