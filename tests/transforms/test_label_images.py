"""``LabelImages`` in a pipeline of one's own, against the emulator."""

from __future__ import annotations

import pickle
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.internal import pickler
from apache_beam.transforms.periodicsequence import PeriodicImpulse
from apache_beam.transforms.window import (
    FixedWindows,
    GlobalWindows,
    IntervalWindow,
    Sessions,
    TimestampedValue,
    WindowFn,
)
from pipeline_tools import KEY, Keep, expected_outputs, outputs, pipeline

from deepo_beam.cli import main
from deepo_beam.config import LabelConfig
from deepo_beam.emulator.testing import RunningEmulator
from deepo_beam.errors import AuthenticationError, ConfigError, ErrorCode, PreflightError, RunStoppedError
from deepo_beam.identity import canonical_crop, image_id
from deepo_beam.lake.stops import Stop
from deepo_beam.preflight import prepare
from deepo_beam.service import ServiceTransport
from deepo_beam.transforms import FlattenPredictions, LabelBuckets, LabelImages, labelling_process
from deepo_beam.types import ImageRef, ImageResult, Status

Pictures = Callable[[int], list[str]]


def run(elements: Sequence[str | ImageRef], **options: object) -> list[ImageResult]:
    keep = Keep()
    with pipeline() as p:
        _ = p | beam.Create(list(elements)) | LabelImages(**{"spec": "echo-v1", **options}) | keep
    return keep.elements


def ref(path: str, crop: dict | None = None, **changes: object) -> ImageRef:
    text = canonical_crop(crop)
    return ImageRef(image_id(path, text), path, path, crop=text)._replace(**changes)


# --- without a journal -------------------------------------------------------------------------------


def test_uris_become_results_with_the_labels_of_their_bytes(service: RunningEmulator, pictures: Pictures) -> None:
    paths = pictures(40)
    results = {result.image.image_uri: result for result in run(paths)}
    assert set(results) == set(paths)
    for path, result in results.items():
        assert outputs(result) == expected_outputs(path)
        assert result.status is (Status.SUCCEEDED if outputs(result)[0]["labels"]["predicted"] else Status.NO_DETECTION)
        assert (result.model.id, result.model_version_id, result.calls) == ("echo-v1", 21, 1)
        assert (result.facts.info.width, result.facts.info.height) == (8, 6)
    assert service.stats()["accepted"] == 40


def test_without_a_journal_every_run_labels_everything(service: RunningEmulator, pictures: Pictures) -> None:
    paths = pictures(3)
    for _ in range(2):
        assert len(run(paths)) == 3
    assert service.stats()["accepted"] == 6


def test_images_keep_their_crop_attributes_and_own_id(service: RunningEmulator, pictures: Pictures) -> None:
    (path,) = pictures(1)
    crop = {"bbox": {"xmin": 0.25, "ymin": 0.0, "xmax": 1.0, "ymax": 0.5}}
    whole = ref(path)
    part = ref(path, crop, external_id="mine", attributes=(("site", "a"),))
    results = {result.image.crop: result for result in run([whole, part])}
    assert [result.image for result in (results[None], results[part.crop])] == [whole, part]
    assert outputs(results[None]) == expected_outputs(path)
    assert outputs(results[part.crop]) == expected_outputs(path, crop)


def test_uris_and_images_may_be_mixed_and_an_image_named_twice_is_labelled_once(
    service: RunningEmulator, pictures: Pictures
) -> None:
    first, second = pictures(2)
    results = run([first, ref(second), ref(first), second, f"file://{first}"])
    assert Counter(result.image.image_uri for result in results) == Counter([first, second])
    assert service.stats()["accepted"] == 2


def test_what_cannot_be_labelled_is_a_result_with_a_failure_and_stops_no_other(
    service: RunningEmulator, pictures: Pictures, tmp_path
) -> None:
    (path,) = pictures(1)
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "empty.png").touch()
    bad = {
        str(tmp_path / "missing.png"): ErrorCode.OBJECT_MISSING,
        str(tmp_path / "text.jpg"): ErrorCode.NOT_AN_IMAGE,
        str(tmp_path / "empty.png"): ErrorCode.EMPTY_FILE,
        "nobody-serves://this/a.png": ErrorCode.INVALID_URI,
        "http://127.0.0.1:9/a.png": ErrorCode.ADDRESS_REFUSED,
        "": ErrorCode.BAD_MANIFEST_ROW,
    }
    results = {result.image.image_uri: result for result in run([path, *bad])}
    assert results.pop(path).status is not Status.FAILED
    assert {uri: result.failure.code for uri, result in results.items()} == bad
    assert {result.calls for result in results.values()} == {0}
    assert service.stats()["accepted"] == 1


def test_an_empty_collection_is_no_result(service: RunningEmulator) -> None:
    assert run([]) == []


def test_a_fixed_version_a_private_specification_and_other_payloads_label_alike(
    service: RunningEmulator, pictures: Pictures
) -> None:
    paths = pictures(2)
    for options in ({"spec": None, "version_id": 21}, {"spec": "1"}, {"payload": "multipart"}):
        results = run(paths, **options)
        assert {result.image.image_uri: outputs(result) for result in results} == {
            path: expected_outputs(path) for path in paths
        }


# --- with a journal ----------------------------------------------------------------------------------


def test_what_the_journal_knows_is_neither_labelled_nor_yielded_again(
    service: RunningEmulator, pictures: Pictures, tmp_path
) -> None:
    output = str(tmp_path / "out")
    assert len(run(pictures(5), output=output)) == 5
    assert run(pictures(5), output=output) == []
    new = run(pictures(6), output=output)
    assert [result.image.image_uri for result in new] == [pictures(6)[5]]
    assert service.stats()["accepted"] == 6
    assert not any(Path(output).glob("runs/*/listing"))  # which only a publish reads


def test_a_pipeline_that_was_built_before_its_output_was_re_bucketed_does_not_begin(
    service: RunningEmulator, pictures: Pictures, tmp_path
) -> None:
    output = str(tmp_path / "out")
    run(pictures(5), output=output)
    built = pipeline()
    _ = built | beam.Create(pictures(6)) | LabelImages(spec="echo-v1", output=output)
    with pytest.raises(SystemExit) as ended:
        main(["compact", output, "--buckets", "3"])
    assert ended.value.code == 0
    with pytest.raises(RunStoppedError, match="re-bucketed"):
        built.run()
    assert service.stats()["accepted"] == 5
    assert len(run(pictures(6), output=output)) == 1


def test_an_output_of_another_model_is_refused_when_the_transform_is_applied(
    service: RunningEmulator, pictures: Pictures, tmp_path
) -> None:
    output = str(tmp_path / "out")
    run(pictures(1), output=output)
    with pytest.raises(ConfigError, match="model is 'spec echo-v1', this run wants 'spec echo-boxes-v1'"):
        run(pictures(1), output=output, spec="echo-boxes-v1")


# --- windows -----------------------------------------------------------------------------------------


def run_windowed(timed: list[tuple[str, float]], **options: object) -> Counter[tuple[str, IntervalWindow]]:
    keep = Keep(with_windows=True)
    with pipeline() as p:
        _ = (
            p
            | beam.Create(timed)
            | beam.Map(lambda pair: TimestampedValue(*pair))
            | beam.WindowInto(FixedWindows(10))
            | LabelImages(spec="echo-v1", **options)
            | keep
        )
    return Counter((result.image.image_uri, window) for result, window in keep.elements)


@pytest.mark.parametrize("with_journal", [False, True])
def test_results_stay_in_the_window_of_their_image(
    service: RunningEmulator, pictures: Pictures, tmp_path, with_journal: bool
) -> None:
    paths = pictures(9)
    options = {"output": str(tmp_path / "out")} if with_journal else {}
    seen = run_windowed([(path, 4.0 * number) for number, path in enumerate(paths)], **options)
    starts = [10 * int(4.0 * number // 10) for number in range(9)]
    assert seen == Counter((path, IntervalWindow(s, s + 10)) for path, s in zip(paths, starts, strict=True))


def test_an_image_in_two_windows_has_a_result_in_each(service: RunningEmulator, pictures: Pictures) -> None:
    (path,) = pictures(1)
    seen = run_windowed([(path, 1.0), (path, 2.0), (path, 11.0)])
    assert seen == Counter([(path, IntervalWindow(0, 10)), (path, IntervalWindow(10, 20))])


def _time_of(result: ImageResult, at: Any = beam.DoFn.TimestampParam) -> tuple[str, int]:
    return result.image.image_uri, at.micros


def times_of_results(timed: list[tuple[str, float]], windows: WindowFn, **options: object) -> list[tuple[str, int]]:
    keep = Keep()
    with pipeline() as p:
        images = p | beam.Create(timed) | beam.Map(lambda pair: TimestampedValue(*pair)) | beam.WindowInto(windows)
        _ = images | LabelImages(spec="echo-v1", **options) | beam.Map(_time_of) | keep
    return sorted(keep.elements)


@pytest.mark.parametrize("with_journal", [False, True])
@pytest.mark.parametrize("windows", [GlobalWindows(), FixedWindows(10)])
def test_results_have_the_time_of_their_image(
    service: RunningEmulator, pictures: Pictures, tmp_path, windows: WindowFn, with_journal: bool
) -> None:
    timed = [(path, 3.0 * number + 0.5) for number, path in enumerate(pictures(6))]
    options = {"output": str(tmp_path / "out")} if with_journal else {}
    assert times_of_results(timed, windows, **options) == [(path, int(at * 1e6)) for path, at in timed]


def test_an_image_named_twice_has_the_earlier_time_in_each_window(service: RunningEmulator, pictures: Pictures) -> None:
    (path,) = pictures(1)
    timed = [(path, 12.0), (path, 2.0), (path, 1.0), (path, 11.0)]
    assert times_of_results(timed, GlobalWindows()) == [(path, 1_000_000)]
    assert times_of_results(timed, FixedWindows(10)) == [(path, 1_000_000), (path, 11_000_000)]
    assert service.stats()["accepted"] == 2


def test_windows_that_its_grouping_would_merge_are_refused() -> None:
    images = pipeline() | beam.Create(["/a.jpg"]) | beam.WindowInto(Sessions(10))
    with pytest.raises(ConfigError, match="label first, then window"):
        _ = images | LabelImages(spec="echo-v1", api_url="http://127.0.0.1:9")


def test_unbounded_collections_are_refused_before_anything_is_asked_of_the_service() -> None:
    p = beam.Pipeline(runner="FnApiRunner")
    with pytest.raises(ConfigError, match="bounded"):
        _ = p | PeriodicImpulse() | LabelImages(spec="echo-v1", api_url="http://127.0.0.1:9")


# --- refusals ----------------------------------------------------------------------------------------


def test_options_that_cannot_be_meant_are_refused_when_the_transform_is_made() -> None:
    with pytest.raises(ConfigError, match=r"LabelImages: unknown option 'rates', did you mean 'rate'\?"):
        LabelImages(spec="echo-v1", rates="20/s")
    with pytest.raises(ConfigError, match="no model"):
        LabelImages(rate="20/s")


def test_a_key_that_is_refused_is_told_when_the_transform_is_applied(
    service: RunningEmulator, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPOMATIC_API_KEY", "another")
    with pytest.raises(PreflightError, match="refuses the API key"):
        run(pictures(1))


def test_a_run_that_stops_before_its_work_is_done_fails_the_pipeline(
    service: RunningEmulator, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: object, image: object) -> str:
        raise AuthenticationError("the key was revoked", status=401)

    monkeypatch.setattr(ServiceTransport, "post", refuse)
    with pytest.raises(Exception, match="labelling stopped: the key was revoked"):
        run(pictures(3))
    assert labelling_process._processes == {}


def test_with_buckets_a_run_that_stops_ends_in_order_and_says_so_in_its_report(
    service: RunningEmulator, pictures: Pictures, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    def refuse(self: object, image: object) -> str:
        raise AuthenticationError("the key was revoked", status=401)

    monkeypatch.setattr(ServiceTransport, "post", refuse)
    plan = prepare(LabelConfig(spec="echo-v1", output=str(tmp_path / "out"), buckets=1))
    results, buckets = Keep(), Keep()
    with pipeline() as p:
        labelled = p | beam.Create([ref(path) for path in pictures(3)]) | LabelBuckets(plan, accounted=True)
        _ = labelled["results"] | "Results" >> results
        _ = labelled["buckets"] | "Buckets" >> buckets
    assert (results.elements, buckets.elements) == ([], [0])


# --- the key, and the threads ------------------------------------------------------------------------


def test_no_pickle_and_no_pipeline_holds_the_key(service: RunningEmulator, pictures: Pictures, tmp_path) -> None:
    key_file = tmp_path / "key"
    key_file.write_text(KEY)
    for options in ({}, {"api_key_file": str(key_file)}, {"output": str(tmp_path / "out")}):
        transform = LabelImages(spec="echo-v1", **options)
        p = pipeline()
        _ = p | beam.Create(pictures(1)) | transform | FlattenPredictions()
        texts = [
            pickle.dumps(transform),
            pickler.dumps(transform, enable_best_effort_determinism=False),
            pickle.dumps(prepare(LabelConfig(spec="echo-v1"))),
            p.to_runner_api().SerializeToString(),
            repr(transform).encode(),
        ]
        assert [text for text in texts if KEY.encode() in text] == []


def test_a_pickled_transform_works_where_it_is_unpickled(service: RunningEmulator, pictures: Pictures) -> None:
    transform = pickle.loads(pickle.dumps(LabelImages(spec="echo-v1")))
    keep = Keep()
    with pipeline() as p:
        _ = p | beam.Create(pictures(2)) | transform | keep
    assert len(keep.elements) == 2


def test_when_the_pipeline_has_run_no_thread_is_left(service: RunningEmulator, pictures: Pictures, tmp_path) -> None:
    run(pictures(3), output=str(tmp_path / "out"))
    assert labelling_process._processes == {}
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("deepo-beam")] == []


def test_a_process_is_shared_by_its_users_and_ends_with_the_last(service: RunningEmulator) -> None:
    plan = prepare(LabelConfig(spec="echo-v1"))
    first, second = labelling_process.acquire(plan), labelling_process.acquire(plan)
    assert first is second
    labelling_process.release(plan)
    assert all(thread.is_alive() for thread in first.engine._threads)
    labelling_process.release(plan)
    assert not any(thread.is_alive() for thread in first.engine._threads)


def test_a_stop_can_be_announced_where_no_lock_may_be_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labelling_process, "_stop_reason", None)
    with labelling_process._lock:
        labelling_process.will_stop("a signal")
        assert labelling_process.stopping()


def test_a_stop_reaches_processes_that_run_and_those_that_begin_later(
    service: RunningEmulator, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelling_process, "_stop_reason", None)
    running = prepare(LabelConfig(spec="echo-v1"))
    before = labelling_process.acquire(running)
    assert not labelling_process.stopping()
    labelling_process.stop_all("a signal")
    assert labelling_process.stopping()
    later = prepare(LabelConfig(spec="echo-v1"))
    after = labelling_process.acquire(later)
    for process in (before, after):
        assert process.look().stop == Stop("a signal", 5)
    labelling_process.release(running)
    labelling_process.release(later)
    with pytest.raises(Exception, match="labelling stopped: a signal"):
        run(pictures(2))
    assert service.stats()["accepted"] == 0


def test_a_run_that_another_process_stopped_does_not_stop_the_next_one_here(
    service: RunningEmulator, pictures: Pictures, tmp_path
) -> None:
    plan = prepare(LabelConfig(spec="echo-v1", output=str(tmp_path / "out")))
    process = labelling_process.acquire(plan)
    process.stop("Ctrl-C there")
    assert process.look().stop == Stop("Ctrl-C there", 5)
    labelling_process.release(plan)
    assert len(run(pictures(2))) == 2


def test_a_stop_that_is_heard_while_a_process_ends_waits_for_nothing(
    service: RunningEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelling_process, "_stop_reason", None)
    with labelling_process._lock:  # as release() holds it while it joins the heartbeat, which hears of the stop
        stopper = threading.Thread(target=labelling_process.stop_all, args=("a signal",), daemon=True)
        stopper.start()
        stopper.join(5)
        assert not stopper.is_alive()
