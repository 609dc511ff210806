"""What must hold at the end of a life: nothing lost, nothing twice, nothing paid for in silence."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from deepo_beam.engine.rate import bucket_depth
from deepo_beam.errors import ErrorCode
from deepo_beam.lake.summary import Summary
from deepo_beam.records import Finished
from deepo_beam.types import Status
from sim.files import rows_of
from sim.process import OUTPUT
from sim.service import label_of

if TYPE_CHECKING:
    from sim.life import Life

_CALLS_IN_A_WINDOW = 60
KINDS = {"in_doubt", "answer_unknown", "task_lost", "task_error", "overlap"}


def judge(life: Life) -> None:
    """AssertionError with what does not hold; the last run was quiet, and everybody else is dead."""
    summaries = _summaries(life)
    for summary in summaries:
        assert summary.adds_up, f"does not add up: {summary}"
        if not life.scenario.faults.failed_reads:  # else a table may not have been read
            assert summary.accounting is None, f"run {summary.run_id}: {summary.accounting}"
    _nothing_lost_or_twice(life)
    _nothing_paid_in_silence(life, summaries)
    _rate_kept(life)
    _service_spared(life)


def _summaries(life: Life) -> list[Summary]:
    objects = life.store.objects
    summaries = []
    for uri in sorted(objects):
        if uri.startswith(f"{OUTPUT}/runs/") and uri.endswith("/publish.json"):
            folder = uri.rpartition("/")[0]
            assert f"{folder}/_SUCCESS" in objects, f"{folder} was never completed"
            summaries.append(Summary(**json.loads(objects[f"{folder}/summary.json"])))
    return summaries


def _nothing_lost_or_twice(life: Life) -> None:
    rows: dict[str, list[tuple]] = {"images": [], "labels": [], "errors": []}
    for uri, data in life.store.objects.items():
        table = uri.removeprefix(f"{OUTPUT}/").partition("/")[0]
        if table in rows:
            rows[table] += rows_of(table, data)
    known = life.truth.outcomes()
    published: defaultdict[str, dict[int, Finished]] = defaultdict(dict)
    labels, errors = Counter[tuple](), Counter[tuple]()
    for image_id, status, finished_us, task_id in rows["images"]:
        finished = known.get((image_id, finished_us, task_id or ""))
        assert finished is not None, f"a row of {image_id} that no record made"
        assert finished.result.status.value == status, f"{image_id} was {finished.result.status}, not {status}"
        assert finished.generation not in published[image_id], f"{image_id} is published twice"
        published[image_id][finished.generation] = finished
        if status == "failed":
            assert finished.result.failure is not None
            errors[image_id, finished_us, finished.result.failure.code.value] += 1
        if status == "succeeded":
            labels[image_id, finished_us, _answer(life, finished)] += 1
    assert Counter(rows["labels"]) == labels, f"labels {Counter(rows['labels'])}, not {labels}"
    assert Counter(rows["errors"]) == errors, f"errors {Counter(rows['errors'])}, not {errors}"
    succeeded: defaultdict[str, int] = defaultdict(int)
    for record in known.values():
        if record.result.status is not Status.FAILED:
            succeeded[record.image_id] = max(record.generation, succeeded[record.image_id])
    for image in life.entries:
        assert published[image.image_id], f"{image.image_id} is in no table"
        newest = max(published[image.image_id])
        assert newest >= succeeded[image.image_id], f"the newest labels of {image.image_id} are in no table"
        _up_to_date(life, published[image.image_id][newest])


def _answer(life: Life, finished: Finished) -> str:
    """What the service answered: asked for this very image."""
    task = life.service.tasks[finished.result.task_id or ""]
    assert task.image_id == finished.image_id, f"{finished.image_id} has the labels of {task.image_id}"
    assert finished.result.outputs is not None
    return label_of(task.image_id, task.content)


def _up_to_date(life: Life, newest: Finished) -> None:
    result = newest.result
    if result.status is not Status.FAILED and result.task_id is not None:
        content = life.service.tasks[result.task_id].content
        assert content == life.contents[newest.image_id], f"{newest.image_id} has the labels of {content}"


def _nothing_paid_in_silence(life: Life, summaries: list[Summary]) -> None:
    reported = sum(summary.possibly_billed_twice for summary in summaries)
    kinds = Counter[str]()
    for summary in summaries:
        kinds.update(summary.billed_twice_by_kind)
        assert summary.possibly_billed_twice == sum(summary.billed_twice_by_kind.values())
    assert set(+kinds) <= KINDS, f"paid twice for a reason that is not on the list: {kinds}"
    succeeded: defaultdict[str, set[int]] = defaultdict(set)
    for record in life.truth.records:
        if isinstance(record, Finished) and record.result.status is not Status.FAILED:
            succeeded[record.image_id].add(record.generation)
    twice = 0
    for image_id, tasks in life.service.accepted.items():
        # One call is owed for the first labels, and one more whenever there are some and others were asked for.
        eras = Counter(sum(done < task.generation for done in succeeded[image_id]) for task in tasks)
        twice += sum(calls - 1 for calls in eras.values())
    assert twice <= reported, f"{twice} calls paid for twice, {reported} reported: {dict(+kinds)}"
    assert reported <= life.truth.claims, "more is reported than was ever claimed"
    if life.harmless:
        assert reported == 0, f"{dict(+kinds)} reported, and nothing ever went wrong"


def _rate_kept(life: Life) -> None:
    rate = life.scenario.rate
    if rate is None:
        return
    posts = sorted((time, process.name) for process, times in life.truth.posts.items() for time in times)
    for first, (start, _) in enumerate(posts):
        processes = set[str]()
        for calls, (time, name) in enumerate(posts[first : first + _CALLS_IN_A_WINDOW], start=1):
            processes.add(name)
            runs = len({process.partition("/")[0] for process in processes})  # one may follow another at once
            most = rate * (time - start) + len(processes) * bucket_depth(rate) + runs
            assert calls <= most + 1e-6, f"{calls} calls of {sorted(processes)} in {time - start:.3f} s at {start:.3f}"


def _service_spared(life: Life) -> None:
    """A service that is down is hardly asked, and no image is charged for it, for a refusal, or for a revoked key."""
    for record in life.truth.records:
        if isinstance(record, Finished) and (failure := record.result.failure) is not None:
            assert failure.code is not ErrorCode.THROTTLED, f"{record.image_id} failed because of a 429"
            assert failure.http_status != 401, f"{record.image_id} failed because the key was refused"
    if (outage := life.scenario.faults.outage) is None:
        return
    begin, seconds = outage
    for process, posts in life.truth.posts.items():
        asked = sum(begin <= time < begin + seconds for time in posts)
        most = process.run.settings.outage_posts + life.scenario.images + seconds / 20.0 + 10.0
        assert asked <= most, f"{process.name} made {asked} calls in an outage of {seconds:.0f} s"
