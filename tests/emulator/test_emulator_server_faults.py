import contextlib
import time

import pytest
import requests

from deepo_beam.emulator import echo_predictions


def test_posts_fail_by_the_seed_with_each_status_in_turn(start):
    runs = []
    for _ in range(2):
        client = start(fail_posts=0.3, seed=5)
        runs.append([client.infer("public/echo-v1", b"%d" % i).status_code for i in range(60)])
    failed = [status for status in runs[0] if status != 200]
    stats = client.emulator.stats()
    assert runs[0] == runs[1]
    assert failed[:4] == [503, 500, 502, 504]
    assert stats["accepted"] == 60 - len(failed)
    assert sum(stats["rejected"].values()) == len(failed)


def test_a_cut_reply_comes_after_the_task_was_made(start):
    client = start(cut_replies=1.0)
    with pytest.raises(requests.ConnectionError):
        client.infer("public/echo-v1", b"x")
    assert client.emulator.stats()["accepted"] == 1


def test_an_image_cut_once_is_answered_when_it_is_sent_again(start):
    client = start(cut_replies=0.5, seed=1)
    cut = 0
    for _ in range(20):
        with contextlib.suppress(requests.ConnectionError):
            cut += 1
            client.output(client.infer("public/echo-v1", b"the same"))
            cut -= 1
    assert 0 < cut < 20
    assert client.emulator.stats()["accepted_again"] == 19


def test_tasks_take_the_latency_and_its_jitter(start):
    client = start(latency=0.2, latency_jitter=0.1)
    started = time.monotonic()
    reply = client.infer("public/echo-v1", b"x", show_discarded=True)
    assert client.get(f"/tasks/{reply.json()['task_id']}").json()["status"] == "pending"
    assert client.output(reply) == echo_predictions(b"x")
    assert 0.2 <= time.monotonic() - started < 0.6
    assert client.emulator.stats()["peak_in_flight"] == 1


def test_a_post_takes_its_latency_and_a_poll_hangs(start):
    client = start(post_latency=0.15, slow_polls=0.15)
    started = time.monotonic()
    reply = client.infer("public/echo-v1", b"x")
    posted = time.monotonic()
    client.get(f"/tasks/{reply.json()['task_id']}")
    assert posted - started >= 0.15
    assert time.monotonic() - posted >= 0.15


def test_above_the_rate_posts_are_429_with_retry_after_and_polls_are_not(start):
    client = start(rate=1, burst=2, retry_after="date")
    replies = [client.infer("public/echo-v1", b"%d" % i) for i in range(4)]
    assert [reply.status_code for reply in replies] == [200, 200, 429, 429]
    assert replies[3].headers["Retry-After"].endswith("GMT")
    assert replies[3].json()["detail"]
    assert client.get(f"/tasks/{replies[0].json()['task_id']}").status_code == 200
    assert client.emulator.stats()["rejected"] == {"429": 2}


def test_a_429_can_come_without_retry_after(start):
    client = start(rate=0.001, burst=1, retry_after="none")
    client.infer("public/echo-v1", b"x")
    assert "Retry-After" not in client.infer("public/echo-v1", b"x").headers


def test_a_body_above_the_limit_is_413_that_arrives_and_one_at_it_passes(start):
    client = start(max_body="1MB")
    for size in (900_000, 30_000_000):
        reply = client.post(
            "/recognition/public/echo-v1/inference", files={"inputs[0]image.source": ("a", bytes(size))}
        )
        assert reply.status_code == (200 if size < 1_000_000 else 413)
    assert "1000000" in reply.json()["detail"]
    assert client.infer("public/echo-v1", b"x").status_code == 200
    assert client.emulator.stats()["bytes_received"] > 30_900_000


def test_failing_polls_leave_posts_alone(start):
    client = start(fail_polls=1.0)
    id_ = client.infer("public/echo-v1", b"x").json()["task_id"]
    statuses = [client.get("/tasks/", params={"task_ids": [id_, "7"]}).status_code for _ in range(4)]
    assert statuses == [503, 500, 502, 504]
    stats = client.emulator.stats()
    assert (stats["polls"], stats["task_ids_polled"], stats["rejected"]) == (4, 8, {})


def test_lost_stuck_and_failed_tasks_are_those_of_the_seed(start):
    client = start(lose_tasks=0.2, stuck_tasks=0.2, task_errors=0.2, seed=2)
    ids = [client.infer("public/echo-v1", b"%d" % i).json()["task_id"] for i in range(60)]
    listed = client.get("/tasks/", params={"task_ids": ids}).json()["results"]
    statuses = [task["status"] for task in listed]
    assert 0 < len(ids) - len(listed) < 30
    assert all(status in statuses for status in ("pending", "error", "success"))
    lost = set(ids) - {task["id"] for task in listed}
    assert client.get(f"/tasks/{lost.pop()}").status_code == 404


def test_another_key_is_401_everywhere_but_for_the_stats(start):
    client = start(api_key="secret")
    assert client.get("/accounts/me").status_code == 401
    assert client.infer("public/echo-v1", b"x").status_code == 401
    client.session.headers["X-API-KEY"] = "secret"
    assert client.get("/accounts/me").status_code == 200
    assert client.emulator.stats()["rejected"] == {"401": 1}


def test_an_outage_answers_503_to_every_call_and_the_stats_go_on(start):
    client = start(outage="0:3600")
    assert client.get("/accounts/me").status_code == 503
    assert client.infer("public/echo-v1", b"x").status_code == 503
    assert client.emulator.stats()["rejected"] == {"503": 1}
