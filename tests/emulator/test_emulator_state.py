import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepo_beam.emulator.echo import echo_classification, echo_predictions
from deepo_beam.emulator.options import Options
from deepo_beam.emulator.parse import InferenceRequest, RefusedError
from deepo_beam.emulator.state import Query, State
from deepo_beam.emulator.tasks import Job


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def state_of(**options):
    clock = Clock()
    return State(Options(**options), first_task_id=10, clock=clock, wall_clock=lambda: 1_700_000_000.0), clock


def accept(state, image=b"photo", model="echo-v1", *, show=True, most=None, url=None):
    request = InferenceRequest(None if url else image, url, None, show, most)
    return state.accept(Job(model, show, most), request)


def refused(call, *arguments):
    with pytest.raises(RefusedError) as caught:
        call(*arguments)
    return caught.value


def test_a_task_is_pending_until_its_latency_has_passed_and_then_answers_by_the_rule():
    state, clock = state_of(latency=0.5)
    task, _ = accept(state)
    assert state.task(str(task.id)) == {
        "id": "10",
        "status": "pending",
        "error": None,
        "date_created": "2023-11-14T22:13:20.000000Z",
        "date_updated": "2023-11-14T22:13:20.000000Z",
        "data": None,
        "subtasks": [],
    }
    clock.now += 0.5
    done = state.task(str(task.id))
    assert done["status"] == "success"
    assert done["data"] == {"outputs": [echo_predictions(b"photo")]}
    assert done["date_updated"] == "2023-11-14T22:13:20.500000Z"


def test_discarded_is_there_and_empty_when_it_was_not_asked_for():
    state, _ = state_of()
    output = echo_predictions(b"image 3")
    assert output["labels"]["discarded"]
    task, _ = accept(state, b"image 3", show=False)
    labels = state.task(str(task.id))["data"]["outputs"][0]["labels"]
    assert labels == {"predicted": output["labels"]["predicted"], "discarded": []}


@given(st.binary(max_size=8), st.integers(1, 9))
def test_max_predictions_keeps_the_highest_scores_of_both_together(image, most):
    state, _ = state_of()
    task, _ = accept(state, image, most=most)
    shown = state.task(str(task.id))["data"]["outputs"][0]["labels"]
    full = echo_predictions(image)["labels"]
    assert shown["predicted"] + shown["discarded"] == (full["predicted"] + full["discarded"])[:most]


def test_every_echo_model_answers_by_its_own_rule():
    state, _ = state_of()
    task, _ = accept(state, model="imagenet-inception-v3")
    assert state.task(str(task.id))["data"]["outputs"] == [echo_classification(b"photo")]


def test_lost_tasks_are_404_and_missing_in_lists_stuck_ones_pending_for_good():
    lost, _ = state_of(lose_tasks=1.0)
    task, _ = accept(lost)
    assert refused(lost.task, str(task.id)).status == 404
    assert lost.task_page(Query("u", task_ids=("10", "11")))["results"] == []
    stuck, clock = state_of(stuck_tasks=1.0)
    task, _ = accept(stuck)
    clock.now += 1e6
    assert stuck.task(str(task.id))["status"] == "pending"
    assert stuck.tasks.in_flight(clock.now) == 1


def test_a_task_error_comes_after_the_latency_with_a_message():
    state, clock = state_of(task_errors=1.0, latency=1.0)
    task, _ = accept(state)
    assert state.task(str(task.id))["status"] == "pending"
    clock.now += 1
    failed = state.task(str(task.id))
    assert (failed["status"], failed["data"]) == ("error", None)
    assert "--task-errors" in failed["error"]


def test_a_task_that_is_worked_out_elsewhere_waits_for_its_end_and_its_latency():
    state, clock = state_of(latency=1.0)
    early, _ = accept(state, url="http://127.0.0.1/a.jpg")
    late, _ = accept(state, url="http://127.0.0.1/b.jpg")
    assert early.is_open
    assert late.is_open
    state.tasks.finish(early, clock.now, output=echo_predictions(b"x"))
    clock.now += 5
    assert state.task(str(early.id))["status"] == "success"
    assert state.task(str(late.id))["status"] == "pending"
    assert state.tasks.in_flight(clock.now) == 1
    state.tasks.finish(late, clock.now, error="unreachable")
    assert state.task(str(late.id))["error"] == "unreachable"
    assert state.tasks.in_flight(clock.now) == 0


@pytest.mark.parametrize("id_", ["", "x", "9", "-10", "1e1", "٣", "1" * 30])
def test_ids_that_no_task_has_are_404(id_):
    state, _ = state_of()
    accept(state)
    assert refused(state.task, id_).status == 404


def test_the_oldest_tasks_are_forgotten_beyond_the_limit():
    state, _ = state_of()
    state.tasks._keep = 3
    ids = [str(accept(state)[0].id) for _ in range(5)]
    assert [state.tasks.get(id_) is not None for id_ in ids] == [False, False, True, True, True]


def test_task_pages_follow_each_other_through_all_ids_once():
    state, _ = state_of()
    ids = [str(accept(state, b"%d" % i)[0].id) for i in range(250)]
    asked = ("7", *ids, ids[0])
    pages = [state.task_page(Query("http://h/tasks", offset, 100, asked)) for offset in (0, 100, 200)]
    assert [task["id"] for page in pages for task in page["results"]] == ids
    assert [page["count"] for page in pages] == [250] * 3
    assert pages[0]["previous"] is None
    assert pages[0]["next"].startswith("http://h/tasks?task_ids=7&task_ids=10&")
    assert pages[0]["next"].endswith("&offset=100&limit=100")
    assert pages[1]["previous"].endswith("&offset=0&limit=100")
    assert pages[2]["next"] is None


def test_the_stats_count_what_happened():
    state, clock = state_of(latency=1.5)
    for image in (b"a", b"b", b"a"):
        accept(state, image)
    clock.now += 0.9
    accept(state, b"c")
    clock.now += 1.2
    accept(state, url="http://127.0.0.1/a")
    state.admit_poll(3)
    state.stats.reject(503)
    state.stats.receive(70)
    assert state.stats.as_json() == {
        "accepted": 5,
        "rejected": {"503": 1},
        "distinct_images": 4,
        "accepted_again": 1,
        "polls": 1,
        "task_ids_polled": 3,
        "peak_in_flight": 4,
        "max_accepted_in_any_second": 4,
        "accepted_per_second": [4, 0, 1],
        "bytes_received": 70,
    }


def test_a_reset_zeroes_the_stats_and_keeps_the_tasks():
    state, clock = state_of()
    task, _ = accept(state)
    clock.now += 7
    state.reset()
    accept(state)
    stats = state.stats.as_json()
    assert (stats["accepted"], stats["accepted_again"], stats["accepted_per_second"]) == (1, 0, [1])
    assert state.task(str(task.id))["status"] == "success"


def test_any_key_passes_unless_one_is_set_and_none_never_does():
    anyone, _ = state_of()
    anyone.admit("whatever")
    only, _ = state_of(api_key="secret")
    only.admit("secret")
    for state, key in ((anyone, None), (anyone, ""), (only, "whatever"), (only, None)):
        assert refused(state.admit, key).status == 401


def test_an_outage_refuses_every_call_for_its_time():
    state, clock = state_of(outage=(2.0, 3.0))
    state.admit("k")
    clock.now += 2
    assert refused(state.admit, "k").status == 503
    clock.now += 3
    state.admit("k")


def test_posts_above_the_rate_are_429_until_a_token_is_there():
    state, clock = state_of(rate=10.0, burst=2)
    state.admit_post(1)
    state.admit_post(1)
    refusal = refused(state.admit_post, 1)
    assert (refusal.status, refusal.headers) == (429, {"Retry-After": "1"})
    clock.now += 0.1
    state.admit_post(1)


def test_the_current_versions_move_on_at_their_second_and_the_old_ones_stay():
    state, clock = state_of(new_version_at=20.0)
    assert state.spec("specs", "1")["current_version_id"] == 11
    assert refused(state.version, "111").status == 404
    clock.now += 20
    assert state.spec("specs", "1")["current_version_id"] == 111
    assert state.spec("public", "echo-v1")["current_version_id"] == 121
    assert [v["id"] for v in state.versions(Query("u"), ("specs", "1"))["results"]] == [11, 111]
    assert state.version("11")["spec_id"] == state.version("111")["spec_id"] == 1
    assert state.runnable("versions", "111").name == "echo-v1"
