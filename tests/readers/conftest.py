"""What is in here needs engines that read Parquet, one of them on Java: ``make test-runners`` has them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deepo_beam.emulator.testing import RunningEmulator, running_emulator


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them, so that ``make test`` can leave them out."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.runners)


@pytest.fixture(scope="session")
def service() -> Iterator[RunningEmulator]:
    with running_emulator() as emulator:
        yield emulator
