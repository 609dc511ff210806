"""What must hold at the end of a life: nothing lost, nothing twice, nothing paid for in silence."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from deepo_beam.engine.rate import bucket_depth
from deepo_beam.errors import ErrorCode
from deepo_beam.lake.dataset import find_dataset
from deepo_beam.lake.journal import Journal
from deepo_beam.lake.publish import coverage, load_intents
from deepo_beam.lake.summary import Summary
from deepo_beam.lake.tally import states_of
from deepo_beam.records import Finished
from deepo_beam.types import Status
from sim.clock import Actor
from sim.files import rows_of
from sim.process import OUTPUT
from sim.service import label_of
from sim.store import InstantView

if TYPE_CHECKING:
    from sim.life import Life

_Labelling = tuple[int, bool]  # its generation, and whether it came to labels: these may follow a failure
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
    runs: list[str] = []  # of each row of images
    for uri, data in life.store.objects.items():
        table, _, path = uri.removeprefix(f"{OUTPUT}/").partition("/")
        if table in rows:
            rows[table] += rows_of(table, data)
            runs += [path.partition("/")[0]] * (len(rows["images"]) - len(runs))
    known = life.truth.outcomes()
    published: defaultdict[str, dict[_Labelling, Finished]] = defaultdict(dict)
    rows_of_labelling: defaultdict[tuple[str, int], list[tuple[str, bool]]] = defaultdict(list)
    labels, errors = Counter[tuple](), Counter[tuple]()
    for run, (image_id, status, finished_us, task_id) in sorted(zip(runs, rows["images"], strict=True)):
        finished = known.get((image_id, finished_us, task_id or ""))
        assert finished is not None, f"a row of {image_id} that no record made"
        assert finished.result.status.value == status, f"{image_id} was {finished.result.status}, not {status}"
        rows_of_labelling[image_id, finished.generation].append((run, status != "failed"))
        published[image_id][finished.generation, status != "failed"] = finished
        if status == "failed":
            assert finished.result.failure is not None
            errors[image_id, finished_us, finished.result.failure.code.value] += 1
        if status == "succeeded":
            labels[image_id, finished_us, _answer(life, finished)] += 1
    for (image_id, _), found in rows_of_labelling.items():
        assert _published_once(found), f"{image_id} is published twice"
    assert Counter(rows["labels"]) == labels, f"labels {Counter(rows['labels'])}, not {labels}"
    assert Counter(rows["errors"]) == errors, f"errors {Counter(rows['errors'])}, not {errors}"
    succeeded: defaultdict[str, _Labelling] = defaultdict(lambda: (0, False))
    for record in known.values():
        if record.result.status is not Status.FAILED:
            succeeded[record.image_id] = max((record.generation, True), succeeded[record.image_id])
    for image in life.entries:
        assert published[image.image_id], f"{image.image_id} is in no table"
        newest = max(published[image.image_id])
        assert newest >= succeeded[image.image_id], f"the newest labels of {image.image_id} are in no table"
        _up_to_date(life, published[image.image_id][newest])
    _known_as_published(life, published)


def _published_once(rows: Sequence[tuple[str, bool]]) -> bool:
    """By one run; or a failure by one, and labels that came late by another after it."""
    if len(rows) == 1:
        return True
    (first, labelled), (second, labelled_late), *others = rows
    return first < second and not labelled and labelled_late and not others


def _known_as_published(life: Life, published: Mapping[str, Mapping[_Labelling, Finished]]) -> None:
    """What the journal takes to be in the tables is what they hold: later runs decide by it."""
    view = InstantView(life.store, Actor("judge"), lambda actor: None)
    dataset = find_dataset(OUTPUT, view)
    assert dataset is not None
    journal = Journal(OUTPUT, dataset.journal, view)
    covered = coverage(load_intents(OUTPUT, dataset.journal, view)[0])
    for bucket in range(dataset.buckets):
        for image_id, state in states_of(journal.read_records(bucket), covered.get(bucket, {})).items():
            if state.finished is not None and state.published:
                labelling = (state.generation, state.finished.result.status is not Status.FAILED)
                row = published[image_id].get(labelling)
                assert row == state.finished, f"{image_id} is not in the tables as the journal has it"


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
