"""A sick service: the run ends, every image is a success or a row in errors/, and the bill is told."""

from collections import Counter

from e2e_tools import assert_adds_up, assert_labels_follow_the_rule, label, rows, write_pictures

from deepo_beam.emulator.echo import echo_key
from deepo_beam.emulator.faults import Fate, fate
from deepo_beam.emulator.options import Options
from deepo_beam.emulator.testing import running_emulator

STAGES = {
    "answer_unknown": "submit",
    "service_unavailable": "submit",
    "task_error": "poll",
    "task_lost": "poll",
}


def assert_accounted_for(output, images, summary, stats):
    """Each image succeeded with the right labels or has its row; what was billed twice is not hidden."""
    assert_adds_up(summary)
    assert (summary["listed"], summary["not_attempted"]) == (len(images), 0)
    errors = {row["image_uri"]: row for row in rows(output, "errors")}
    assert len(errors) == summary["failed"]
    for row in errors.values():
        assert row["stage"] == STAGES[row["error_code"]]
        assert row["retryable"]
        assert row["error_message"]
    assert dict(Counter(row["error_code"] for row in errors.values())) == summary["errors_by_code"]
    assert_labels_follow_the_rule(output, {uri: data for uri, data in images.items() if uri not in errors})
    assert sorted(row["image_uri"] for row in rows(output, "images")) == sorted(images)
    assert stats["accepted_again"] <= summary["possibly_billed_twice"]
    assert summary["possibly_billed_twice"] == sum(summary["billed_twice_by_kind"].values())
    assert summary["calls"] == stats["accepted"] + sum(stats["rejected"].values())


def test_all_faults_together_leave_every_image_with_its_labels_or_a_row_in_errors(tmp_path):
    images = write_pictures(tmp_path / "images", 240)
    faults = {"fail_posts": 0.05, "task_errors": 0.01, "lose_tasks": 0.01, "cut_replies": 0.01, "fail_polls": 0.05}

    with running_emulator(latency=0.1, rate=150, retry_after="none", seed=1, **faults) as service:
        ended = label(tmp_path / "images", tmp_path / "out", service, "--max-in-flight", "100")
        stats = service.stats()

    assert ended.code == 0, ended
    assert "Traceback" not in ended.err
    assert_accounted_for(tmp_path / "out", images, ended.summary, stats)
    assert stats["rejected"]["429"] > 0
    assert stats["rejected"]["503"] > 0
    assert ended.summary["throttled_s"] > 0
    assert stats["accepted_again"] > 0
    assert {"answer_unknown", "task_error", "task_lost"} <= set(ended.summary["billed_twice_by_kind"])


def test_a_task_error_is_tried_once_more_and_then_a_row_that_the_next_run_tries_again(tmp_path):
    images = write_pictures(tmp_path / "images", 40)
    options = {"task_errors": 0.5, "seed": 5}

    def errors_in_a_row(data):
        fates = [fate(Options(**options), echo_key(data), nth) for nth in range(9)]
        return next(nth for nth, end in enumerate(fates) if end is Fate.FINE)

    twice = {uri for uri, data in images.items() if errors_in_a_row(data) >= 2}
    with running_emulator(**options) as service:
        first = label(tmp_path / "images", tmp_path / "out", service)
        stats = service.stats()

        assert_accounted_for(tmp_path / "out", images, first.summary, stats)
        errors = rows(tmp_path / "out", "errors")
        assert {row["image_uri"] for row in errors} == twice != set()
        assert {row["error_code"] for row in errors} == {"task_error"}
        assert {row["attempts"] for row in errors} == {2}
        assert stats["accepted_again"] == first.summary["billed_twice_by_kind"]["task_error"]

        again = label(tmp_path / "images", tmp_path / "out", service)

    assert again.summary["reused"] == 40 - len(twice)
    still = {uri for uri in twice if errors_in_a_row(images[uri]) >= 4}
    assert {row["image_uri"] for row in rows(tmp_path / "out", "errors", again.summary["run_id"])} == still
    assert_labels_follow_the_rule(tmp_path / "out", {uri: images[uri] for uri in images if uri not in still})


def test_the_rate_is_kept_with_retries_counted(tmp_path):
    images = write_pictures(tmp_path / "images", 120)
    rate = 60

    with running_emulator(fail_posts=0.1, seed=2) as service:
        ended = label(tmp_path / "images", tmp_path / "out", service, "--rate", f"{rate}/s")
        stats = service.stats()

    assert_accounted_for(tmp_path / "out", images, ended.summary, stats)
    calls, seconds = ended.summary["calls"], ended.summary["seconds"]
    assert calls > 125
    assert calls <= rate * seconds + 2  # a bucket of one call, and the one that empties it
    accepted = [count for count in stats["accepted_per_second"] if count]
    assert all(sum(accepted[: second + 1]) <= rate * (second + 1) + 2 for second in range(len(accepted)))
    assert stats["max_accepted_in_any_second"] <= 1.5 * rate  # posts that a busy machine holds up come in bunches
