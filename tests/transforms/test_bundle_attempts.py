"""What a runner may do to a bundle: run it again, or drop it. The DoFn's methods are called as a runner would."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue
from pipeline_tools import picture

from deepo_beam.config import LabelConfig
from deepo_beam.emulator.testing import RunningEmulator, running_emulator
from deepo_beam.errors import StorageError
from deepo_beam.inputs import InputOptions, expand_input
from deepo_beam.lake.journal import Journal
from deepo_beam.lake.tally import tally_bucket
from deepo_beam.preflight import prepare
from deepo_beam.run import RunPlan
from deepo_beam.transforms import label_images
from deepo_beam.transforms.group_images import ImageBatch
from deepo_beam.transforms.label_images import _LabelBucketFn
from deepo_beam.types import ImageRef

PLACE = {"timestamp": Timestamp(0), "window": GlobalWindow()}


@pytest.fixture
def slow_service() -> Iterator[RunningEmulator]:
    with running_emulator(latency=0.3) as service:
        yield service


@pytest.fixture
def plan(slow_service: RunningEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunPlan:
    monkeypatch.setenv("DEEPOMATIC_API_KEY", "any")
    options = {"spec": "echo-v1", "output": str(tmp_path / "lake"), "api_url": slow_service.url, "buckets": 1}
    return prepare(LabelConfig.parse(options, where="test"))


@pytest.fixture
def images(tmp_path: Path) -> list[ImageRef]:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(30):
        (folder / f"{number}.png").write_bytes(picture(number))
    return list(expand_input(str(folder), index=0, options=InputOptions()))


def results(elements: list) -> list[str]:
    of_images = [element for element in elements if not isinstance(element, TaggedOutput)]
    values = [element.value if isinstance(element, WindowedValue) else element for element in of_images]
    return sorted(value.image.image_id for value in values)


def attempt(fn: _LabelBucketFn, images: list[ImageRef]) -> list:
    fn.start_bundle()
    return [*fn.process((0, [ImageBatch(images)]), **PLACE), *fn.finish_bundle()]


def test_a_bundle_that_is_run_again_yields_everything_again_and_calls_nothing(
    plan: RunPlan, images: list[ImageRef], slow_service: RunningEmulator
) -> None:
    fn = _LabelBucketFn(plan, accounted=False)
    fn.setup()
    first = results(attempt(fn, images))
    second = results(attempt(fn, images))
    fn.teardown()
    assert first == second == sorted(image.image_id for image in images)
    assert slow_service.stats()["accepted"] == 30


def test_a_bundle_that_fails_is_given_up_at_once(
    plan: RunPlan, images: list[ImageRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    fn = _LabelBucketFn(plan, accounted=True)
    fn.setup()
    fn.start_bundle()
    list(fn.process((0, [ImageBatch(images)]), **PLACE))

    def full(*arguments: object) -> None:
        raise StorageError("No space left on device")

    monkeypatch.setattr(label_images, "write_listing", full)
    with pytest.raises(StorageError):
        list(fn.process((1, [ImageBatch(images)]), **PLACE))
    assert fn._session is None  # cancelled: nothing more is posted for it, whenever the runner tries it again
    fn.teardown()


def test_what_a_process_that_is_gone_has_spent_of_a_budget_is_not_spent_again(
    plan: RunPlan, images: list[ImageRef], slow_service: RunningEmulator
) -> None:
    for _ in range(2):
        fn = _LabelBucketFn(plan, accounted=True)
        fn.setup()
        fn.start_bundle()
        elements = [*fn.process((0, [ImageBatch(images)]), {0: 10}, **PLACE), *fn.finish_bundle()]
        fn.teardown()
        assert len(results(elements)) == 10
    assert slow_service.stats()["accepted"] == 10


@pytest.mark.parametrize("dropped_by", ["the next bundle", "the end of the worker"])
def test_a_bundle_that_is_dropped_is_taken_up_by_its_retry_and_paid_once(
    plan: RunPlan, images: list[ImageRef], slow_service: RunningEmulator, dropped_by: str
) -> None:
    dropped, retry = _LabelBucketFn(plan, accounted=True), _LabelBucketFn(plan, accounted=True)
    dropped.setup()
    retry.setup()  # keeps the engine alive
    dropped.start_bundle()
    list(dropped.process((0, [ImageBatch(images)]), **PLACE))
    if dropped_by == "the next bundle":
        dropped.start_bundle()
    else:
        dropped.teardown()
    attempt(retry, images)
    retry.teardown()
    if dropped_by == "the next bundle":
        dropped.teardown()
    history = Journal(plan.output, plan.journal).read_history(0, {})
    seen = tally_bucket(0, [], history, covered={}, run_id=plan.run_id)
    stats = slow_service.stats()
    assert stats["distinct_images"] == 30
    assert stats["accepted_again"] <= seen.billed_twice.total()
    assert seen.counts["calls"] == stats["accepted"]
    assert seen.images == 30
