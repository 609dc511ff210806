import pytest

from deepo_beam.emulator.testing import running_emulator


@pytest.fixture(scope="session")
def healthy_service():
    """One emulator without faults for all tests of a process."""
    with running_emulator() as emulator:
        yield emulator


@pytest.fixture
def service(healthy_service):
    """An emulator without faults that has seen nothing yet."""
    healthy_service.reset()
    return healthy_service
