"""The server of the benchmarks speaks the API to our client, and its counts can be trusted."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from benchmarks.bench.measure import Service, running_server
from benchmarks.bench.service import SPEC, VERSION_ID
from deepo_beam.api import ApiSettings, Client, Credentials, TaskState, json_body
from deepo_beam.errors import NotFoundError
from deepo_beam.types import ModelKind, ModelRef

VERSION = ModelRef(ModelKind.VERSION, str(VERSION_ID))


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running_server(sys.executable) as running:
        yield running


@pytest.fixture
def client(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setenv("DEEPOMATIC_API_KEY", "benchmark")
    with Client(ApiSettings(host=service.url), Credentials()) as client:
        yield client


def post(client: Client, image: bytes) -> str:
    return client.post_inference(VERSION, json_body(image, "image/jpeg"), "application/json")


def test_a_model_is_found_as_label_looks_for_it(client: Client) -> None:
    assert client.account()
    spec = client.specification(SPEC)
    assert spec.current_version_id == VERSION_ID
    assert client.version(VERSION_ID).spec_id == SPEC


def test_a_finished_task_has_labels_that_are_valid(service: Service, client: Client) -> None:
    service.reset(latency_s=0.0)
    outputs = client.specification(SPEC).outputs
    ids = [post(client, b"x" * size) for size in (10, 80_000, 700_000)]
    tasks = client.tasks(ids, outputs)
    assert [task.id for task in tasks] == ids
    for task in [*tasks, client.task(ids[0], outputs)]:
        assert task.state is TaskState.SUCCESS
        assert task.problem is None
        assert task.outputs is not None
        assert [prediction.label_name for output in task.outputs for prediction in output.predicted] == ["cat"]


def test_a_task_is_pending_until_its_latency_is_over(service: Service, client: Client) -> None:
    service.reset(latency_s=3600.0)
    assert client.task(post(client, b"x")).state is TaskState.PENDING
    assert service.stats()["seen"] == 0


def test_posts_polls_and_what_was_seen_are_counted(service: Service, client: Client) -> None:
    service.reset(latency_s=0.0)
    ids = [post(client, b"x" * 1000) for _ in range(3)]
    client.tasks(ids[:2])
    client.tasks(ids[:2])
    stats = service.stats()
    assert (stats["accepted"], stats["polls"], stats["seen"]) == (3, 2, 2)
    assert 3 * 1333 < stats["bytes_received"] < 3 * 1600
    assert 0 < stats["first_post_at"] <= stats["last_post_at"]


def test_a_reset_forgets(service: Service, client: Client) -> None:
    service.reset(latency_s=0.0)
    task_id = post(client, b"x")
    service.reset()
    with pytest.raises(NotFoundError):
        client.task(task_id)
    assert service.stats()["accepted"] == 0
