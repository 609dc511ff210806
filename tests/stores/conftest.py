"""Real servers of stores, each started once when a test first asks for it: ``make test-stores``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from store_azure import running_azurite
from store_gcs import running_gcs
from store_hdfs import running_hdfs
from store_minio import running_minio
from store_tools import Store

from deepo_beam.emulator.testing import RunningEmulator, running_emulator

STARTS = {"minio": running_minio, "gcs": running_gcs, "azure": running_azurite, "hdfs": running_hdfs}
_folders = count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them, so that ``make test`` can leave them out."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.stores)


def _server(name: str) -> Any:
    @pytest.fixture(scope="session", name=f"{name}_server")
    def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
        with STARTS[name](tmp_path_factory.mktemp(name)) as started:
            yield started

    return server


minio_server, gcs_server, azure_server, hdfs_server = (_server(name) for name in STARTS)


@pytest.fixture(params=["minio", "gcs", "azure", "hdfs"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A fresh folder of each store in turn, reached by the environment, that of this process too."""
    server: Store = request.getfixturevalue(f"{request.param}_server")
    return _fresh(server, monkeypatch)


@pytest.fixture(params=["minio", "azure", "hdfs"])
def store_with_options(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The same of those that Beam has options for; the environment says nothing of them."""
    server: Store = request.getfixturevalue(f"{request.param}_server")
    fresh = _fresh(server, monkeypatch)
    for name in server.environment:
        monkeypatch.delenv(name)
    return fresh


@pytest.fixture
def minio(minio_server: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A fresh folder of MinIO."""
    return _fresh(minio_server, monkeypatch)


def _fresh(server: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return server.below(f"test-{next(_folders)}")


@pytest.fixture(scope="session")
def healthy_service() -> Iterator[RunningEmulator]:
    with running_emulator() as emulator:
        yield emulator


@pytest.fixture
def service(healthy_service: RunningEmulator) -> RunningEmulator:
    """An emulator without faults that has seen nothing yet."""
    healthy_service.reset()
    return healthy_service
