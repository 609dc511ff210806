"""What becomes of a run when the server is not what it should be: never a hang, a crash or a wrong label."""

import functools
import itertools
import json
import math

import duckdb
import hostile_server
import pytest
from e2e_tools import (
    assert_adds_up,
    assert_clear,
    assert_labels_follow_the_rule,
    by_name,
    label,
    rows,
    write_pictures,
)

from deepo_beam import preflight
from deepo_beam.api import Client

MALFORMED = [hostile_server.html, hostile_server.empty, hostile_server.truncated]
SAYS = {"html": "an HTML page", "empty": "the body is empty", "truncated": "the body is not JSON, or was cut"}


@pytest.fixture
def images(tmp_path):
    return write_pictures(tmp_path / "images", 4)


def in_turn(changes):
    """A change that is another one each time."""
    following = itertools.cycle(changes)
    return lambda good: next(following)(good)


def spoil_one(images, output, **behaviour):
    """Label against a server that is bad to the first image only; give the summary, the server, the bad row."""
    bad, *good = images
    with hostile_server.hostile_server(only={images[bad]}, **behaviour) as server:
        ended = label(list(images), output, server, spec="hostile")
    assert ended.code == 0, ended
    assert_adds_up(ended.summary)
    assert (ended.summary["listed"], ended.summary["failed"]) == (4, 1)
    assert_labels_follow_the_rule(output, {uri: images[uri] for uri in good})
    (error,) = rows(output, "errors")
    assert error["image_uri"] == bad
    assert by_name(output, "images")[bad.rpartition("/")[2]]["status"] == "failed"
    return ended.summary, server, error


# --- before anything is sent ---------------------------------------------------------------------------


@pytest.mark.parametrize("malformed", MALFORMED)
@pytest.mark.parametrize("call", ["account", "specification"])
def test_a_malformed_answer_in_preflight_ends_the_command_before_any_call(
    call, malformed, images, tmp_path, monkeypatch
):
    monkeypatch.setattr(preflight, "Client", functools.partial(Client, sleep=lambda seconds: None))
    with hostile_server.hostile_server(**{call: malformed}) as server:
        ended = label(list(images), tmp_path / "out", server, spec="hostile")

    assert_clear(ended, 6, server.url, "does not answer as the API does", SAYS[malformed.__name__])
    assert server.posts == []
    assert not (tmp_path / "out").exists()


# --- answers to posts ----------------------------------------------------------------------------------


def test_malformed_answers_to_posts_are_tried_again_twice_counted_and_then_an_error(images, tmp_path):
    summary, server, error = spoil_one(images, tmp_path / "out", post=in_turn(MALFORMED))

    assert (error["stage"], error["error_code"], error["retryable"]) == ("submit", "answer_unknown", True)
    assert SAYS["truncated"] in error["error_message"]
    assert len(server.posts) == summary["calls"] == 6
    assert summary["possibly_billed_twice"] == summary["billed_twice_by_kind"]["answer_unknown"] == 2


def test_an_image_refused_with_400_is_an_error_at_once_and_never_posted_again(images, tmp_path):
    summary, server, error = spoil_one(images, tmp_path / "out", post_status=400)

    assert (error["error_code"], error["http_status"], error["retryable"]) == ("payload_refused", 400, False)
    assert len(server.posts) == summary["calls"] == 4
    assert summary["possibly_billed_twice"] == 0


@pytest.mark.parametrize("status", [401, 404])
def test_a_key_or_model_that_is_gone_in_mid_run_stops_it_with_6_and_fails_no_image(status, images, tmp_path):
    with hostile_server.hostile_server(post_status=status) as server:
        ended = label(list(images), tmp_path / "out", server, spec="hostile")
        server.post_status = 200
        again = label(list(images), tmp_path / "out", server, spec="hostile")

    assert ended.code == ended.summary["exit_code"] == 6
    assert str(status) in ended.summary["stopped"]
    assert "Traceback" not in ended.err
    assert_adds_up(ended.summary)
    assert (ended.summary["not_attempted"], ended.summary["failed"]) == (4, 0)
    assert rows(tmp_path / "out", "errors") == []
    assert (again.code, again.summary["possibly_billed_twice"]) == (0, 0)
    assert_labels_follow_the_rule(tmp_path / "out", images)


# --- answers to polls ----------------------------------------------------------------------------------


def test_malformed_answers_to_polls_are_asked_again_and_cost_nothing(images, tmp_path):
    with hostile_server.hostile_server(poll=in_turn(MALFORMED), bad_polls=3) as server:
        ended = label(list(images), tmp_path / "out", server, spec="hostile")

    assert ended.code == 0
    assert_labels_follow_the_rule(tmp_path / "out", images)
    assert server.polls > 3
    assert (len(server.posts), ended.summary["possibly_billed_twice"]) == (4, 0)


def test_a_task_of_an_unknown_status_fails_its_own_image_only(images, tmp_path):
    _, server, error = spoil_one(images, tmp_path / "out", task=lambda task: task | {"status": "perhaps"})

    assert (error["stage"], error["error_code"]) == ("parse", "bad_result")
    assert "perhaps" in error["error_message"]
    assert len(server.posts) == 4


PREDICTION = {"label_id": 1, "label_name": "amber", "score": 0.75, "threshold": 0.5}
ROI = {"region_id": 1, "bbox": {"xmin": 0, "ymin": 0.25, "xmax": 1, "ymax": 0.5}}


def predicted(*predictions, **extra):
    """A change of a task: succeeded, with these predictions in its only output."""
    labels = {"predicted": list(predictions), "discarded": []}
    return lambda task: task | {"data": {"outputs": [{"labels": labels}]}} | extra


def test_a_prediction_without_roi_for_a_detection_fails_its_image_and_says_what_is_missing(images, tmp_path):
    bad, *good = images
    with hostile_server.hostile_server(roi="BBOX", only={images[bad]}, task=predicted(PREDICTION)) as server:
        ended = label(list(images), tmp_path / "out", server, spec="hostile")

    (error,) = rows(tmp_path / "out", "errors")
    assert (ended.code, ended.summary["failed"], ended.summary["calls"]) == (0, 1, 4)
    assert (error["image_uri"], error["stage"], error["error_code"]) == (bad, "parse", "bad_result")
    assert "roi.bbox" in error["error_message"]
    labelled = rows(tmp_path / "out", "labels")
    assert {row["image_uri"] for row in labelled} <= set(good)
    assert labelled
    assert all(row["bbox_xmin"] is not None for row in labelled)


def test_unknown_fields_are_ignored_and_integer_scores_are_numbers(images, tmp_path):
    odd = PREDICTION | {"score": 1, "threshold": 0, "colour": "red"}
    roi = ROI | {"angle": 12}
    answer = predicted(odd | {"roi": roi}, PREDICTION | {"score": 0, "roi": None}, cost={"cents": 3}, subtasks=None)
    with hostile_server.hostile_server(task=answer, post=lambda good: good[:-1] + ', "queue": 1}') as server:
        ended = label(list(images), tmp_path / "out", server, spec="hostile")

    assert (ended.code, ended.summary["succeeded"], ended.summary["labels"]) == (0, 4, 8)
    for row in rows(tmp_path / "out", "labels"):
        first = row["prediction_index"] == 0
        wanted = (1.0, 0.0, 1, 0.25) if first else (0.0, 0.5, None, None)
        assert (row["score"], row["threshold"], row["region_id"], row["bbox_ymin"]) == wanted


@pytest.mark.parametrize(
    ("flaw", "words"),
    [
        ({"score": 1.5}, "score is 1.5"),
        ({"score": math.nan}, "score is nan"),
        ({"threshold": -math.inf}, "threshold is -inf"),
        ({"roi": ROI | {"bbox": {"xmin": 0, "ymin": 0, "xmax": 1.5, "ymax": 1}}}, "roi.bbox.xmax is 1.5"),
        ({"label_id": "one"}, "label_id is"),
    ],
)
def test_a_result_that_cannot_be_trusted_fails_its_own_image_only(flaw, words, images, tmp_path):
    summary, _, error = spoil_one(images, tmp_path / "out", task=predicted(PREDICTION | flaw))

    assert (error["stage"], error["error_code"], summary["calls"]) == ("parse", "bad_result", 4)
    assert words in error["error_message"]


# --- text ----------------------------------------------------------------------------------------------

NAMES = {
    "<script>alert('x')</script>": "<script>alert('x')</script>",
    "two\nlines\r\n\ttab": "two\nlines\r\n\ttab",
    "\x00\x1b[31mred\x07\x7f": "\x00\x1b[31mred\x07\x7f",
    "lone \ud800 surrogate": "lone \ufffd surrogate",
    "paired \U0001f41f": "paired \U0001f41f",
    "'; DROP TABLE labels; --": "'; DROP TABLE labels; --",
    "=cmd|' /C calc'!A0": "=cmd|' /C calc'!A0",
    "": "",
    "M" * 1_000_000: "M" * 1024,
}


def test_label_names_of_any_kind_are_rows_that_anything_can_read(images, tmp_path):
    answer = predicted(*(PREDICTION | {"label_name": name} for name in NAMES))
    with hostile_server.hostile_server(task=answer) as server:
        ended = label(list(images), tmp_path / "out", server, "--log-level", "DEBUG", spec="hostile")

    assert (ended.code, ended.summary["labels"]) == (0, 4 * len(NAMES))
    assert [row["label_name"] for row in rows(tmp_path / "out", "labels")[: len(NAMES)]] == list(NAMES.values())
    assert "\x1b" not in ended.err
    files = f"read_parquet('{tmp_path}/out/labels/*/*.parquet', hive_partitioning = true)"
    found = duckdb.sql(f"SELECT DISTINCT label_name FROM {files}").fetchall()
    assert {name for (name,) in found} == set(NAMES.values())


def test_what_the_service_says_of_an_error_is_one_short_line_wherever_it_is_shown(images, tmp_path):
    text = "\x1b[2J<b>\nbad\r\n\ud800\x00" + "no " * 100_000
    _, _, error = spoil_one(
        images, tmp_path / "out", task=lambda task: task | {"status": "error", "error": text, "data": None}
    )

    assert error["error_code"] == "task_error"
    assert error["error_message"].isprintable()
    assert len(error["error_message"]) <= 1000
    assert "bad" in error["error_message"]


def test_task_ids_that_are_paths_or_queries_are_only_ids(images, tmp_path):
    ids = ["../../accounts/me?x=1", "1&task_ids=2#fragment", " %2e%2e%00 ", "<b>'\";--"]
    with hostile_server.hostile_server(task_ids=ids) as server:
        ended = label(list(images), tmp_path / "out", server, spec="hostile")

    assert (ended.code, ended.summary["calls"], ended.summary["possibly_billed_twice"]) == (0, 4, 0)
    assert_labels_follow_the_rule(tmp_path / "out", images)
    assert {row["task_id"] for row in rows(tmp_path / "out", "images")} == set(ids)


def test_a_list_of_tasks_that_nobody_asked_for_is_passed_over(images, tmp_path):
    def many(good):
        page = json.loads(good)
        strangers = [{"id": str(number), "status": "error", "error": "x"} for number in range(20_000)]
        return json.dumps(page | {"results": strangers + page["results"], "next": "http://evil.invalid/"})

    with hostile_server.hostile_server(poll=many, bad_polls=10**6) as server:
        ended = label(list(images), tmp_path / "out", server, spec="hostile")

    assert (ended.code, ended.summary["calls"]) == (0, 4)
    assert_labels_follow_the_rule(tmp_path / "out", images)


@pytest.mark.parametrize("poison", ["[" * 100_000, "9" * 6_000, '"caf'], ids=["deep", "long", "cut"])
def test_a_task_that_makes_every_answer_about_it_unreadable_fails_alone(poison, images, tmp_path):
    _, server, error = spoil_one(images, tmp_path / "out", page=lambda good: good.replace("null", poison))

    assert (error["stage"], error["error_code"]) == ("parse", "bad_result")
    assert "cannot be read" in error["error_message"]
    assert server.polls < 40
