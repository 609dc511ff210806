"""What a run may cost, and when it stops by itself."""

import pytest
from e2e_tools import assert_adds_up, assert_labels_follow_the_rule, label, picture, rows, write_pictures

from deepo_beam.emulator.testing import running_emulator


def seen(service):
    """Posts that reached the service, whatever it answered."""
    stats = service.stats()
    return stats["accepted"] + sum(stats["rejected"].values())


def test_a_budget_is_used_to_the_last_call_and_never_exceeded_over_several_runs(tmp_path, service):
    images = write_pictures(tmp_path / "images", 50)
    for spent, code in [(20, 5), (40, 5), (50, 0)]:
        ended = label(tmp_path / "images", tmp_path / "out", service, "--max-calls", "20")
        assert ended.code == code, ended
        assert_adds_up(ended.summary)
        assert seen(service) == spent
        assert ended.summary["not_attempted"] == 50 - spent
    assert_labels_follow_the_rule(tmp_path / "out", images)


def test_images_that_cannot_be_sent_leave_their_calls_to_the_others(tmp_path, service):
    write_pictures(tmp_path / "images", 30)
    for number in range(10):
        (tmp_path / "images" / f"broken-{number}.jpg").write_text("no image")
    ended = label(tmp_path / "images", tmp_path / "out", service, "--max-calls", "28", "--buckets", "7")
    assert_adds_up(ended.summary)
    assert (ended.code, seen(service), ended.summary["calls"]) == (5, 28, 28)


@pytest.mark.parametrize("calls", [25, 60])
def test_retries_and_refusals_come_out_of_the_same_budget(tmp_path, calls):
    write_pictures(tmp_path / "images", 40)
    with running_emulator(fail_posts=0.3, rate=100, retry_after="none", task_errors=0.1, seed=4) as service:
        ended = label(tmp_path / "images", tmp_path / "out", service, "--max-calls", str(calls))
        posts = seen(service)
    assert_adds_up(ended.summary)
    assert ended.summary["calls"] == posts <= calls
    assert ended.summary["not_attempted"] == 0 or posts == calls


def test_without_a_call_to_spend_nothing_is_posted(tmp_path, service):
    write_pictures(tmp_path / "images", 5)
    ended = label(tmp_path / "images", tmp_path / "out", service, "--max-calls", "0")
    assert (ended.code, seen(service), ended.summary["not_attempted"]) == (5, 0, 5)


def test_a_deadline_stops_the_run_in_order_and_the_next_one_goes_on(tmp_path):
    images = write_pictures(tmp_path / "images", 60)
    with running_emulator(latency=0.1) as service:
        ended = label(tmp_path / "images", tmp_path / "out", service, "--rate", "20/s", "--deadline", "1s")
        assert ended.code == 5, ended
        assert_adds_up(ended.summary)
        assert 0 < ended.summary["not_attempted"] < 60
        assert "--deadline" in ended.summary["stopped"]
        last = label(tmp_path / "images", tmp_path / "out", service)
        assert (last.code, service.stats()["accepted"]) == (0, 60)
    assert_labels_follow_the_rule(tmp_path / "out", images)


def test_too_many_failures_stop_the_run_with_3(tmp_path, service):
    (tmp_path / "images").mkdir()
    for number in range(400):
        bad = number % 2
        (tmp_path / "images" / f"{number}.png").write_bytes(b"no image" if bad else picture(number))
    ended = label(
        tmp_path / "images", tmp_path / "out", service, "--max-failure-rate", "0.05", "--rate", "60/s", "--buckets", "9"
    )
    assert ended.code == 3, ended
    assert "more than --max-failure-rate 0.05 allows" in ended.err
    assert_adds_up(ended.summary)
    assert ended.summary["not_attempted"] > 0
    assert ended.summary["succeeded"] + ended.summary["no_detection"] + ended.summary["failed"] >= 100


@pytest.mark.parametrize(("allowed", "code"), [("0.2", 3), ("0.25", 0), ("1", 0)])
def test_a_few_images_are_judged_at_the_end(tmp_path, service, allowed, code):
    write_pictures(tmp_path / "images", 3)
    (tmp_path / "images" / "bad.jpg").write_text("no image")
    ended = label(tmp_path / "images", tmp_path / "out", service, "--max-failure-rate", allowed)
    assert (ended.code, ended.summary["exit_code"]) == (code, code), ended
    assert len(rows(tmp_path / "out", "images")) == 4
