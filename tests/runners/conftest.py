"""All that is in here needs real runners: ``make test-runners`` gets and starts them."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
sys.path += [str(TESTS / "testbed"), str(TESTS / "chaos"), str(TESTS / "e2e")]

from flink_cluster import FlinkCluster, flink_cluster  # noqa: E402 - they need the path

from deepo_beam.emulator.testing import RunningEmulator, running_emulator  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them, so that ``make test`` can leave them out."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.runners)


@pytest.fixture
def service() -> Iterator[RunningEmulator]:
    """That finishes a task after 0.2 s."""
    with running_emulator(latency=0.2) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def flink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlinkCluster]:
    """A JobManager, two TaskManagers with two slots each, and Beam's job server."""
    with flink_cluster(tmp_path_factory.mktemp("flink"), managers=2, slots=2) as cluster:
        yield cluster
