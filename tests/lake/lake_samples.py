"""Records and results for the tests of the lake: examples, and strategies that make any."""

import json
from dataclasses import replace

from hypothesis import strategies as st

from deepo_beam.errors import ErrorCode, Stage
from deepo_beam.lake.dataset import Dataset
from deepo_beam.records import Accepted, Claimed, Finished, Noted, Reason, Record, Released
from deepo_beam.text import clean_text
from deepo_beam.types import (
    Facts,
    Failure,
    ImageInfo,
    ImageRef,
    ImageResult,
    ModelKind,
    ModelRef,
    Status,
    Timings,
)

RUN = "20261124T003000Z-ab12"
DATASET = Dataset("spec echo-v1", "mem", show_discarded=True, max_predictions=None, buckets=2)


def image(number: int = 0, **changes: object) -> ImageRef:
    uri = f"s3://lake/{number:04d}.jpg"
    return ImageRef(f"{number:032x}", uri, uri)._replace(**changes)


def prediction(name: str, score: float, box: tuple[float, float, float, float] | None = None) -> dict:
    label = {"label_id": len(name), "label_name": name, "score": score, "threshold": 0.5}
    if box is not None:
        label["roi"] = {
            "region_id": 7,
            "bbox": dict(zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)),
        }
    return label


def outputs(*lists: tuple[list[dict], list[dict]]) -> str:
    return json.dumps([{"labels": {"predicted": predicted, "discarded": discarded}} for predicted, discarded in lists])


def success(number: int = 0, **changes: object) -> ImageResult:
    result = ImageResult(
        image=image(number, attributes=(("camera", "b"), ("site", "a"))),
        model=ModelRef(ModelKind.SPEC, "echo-v1"),
        model_version_id=11,
        status=Status.SUCCEEDED,
        outputs=outputs(([prediction("cat", 0.875)], [prediction("mouse", 0.25)])),
        facts=Facts(ImageInfo("image/jpeg", 640, 480, 6), "a" * 64, 80_000, 1_700_000_000_000_000),
        task_id="42",
        attempts=1,
        calls=1,
        timings=Timings(1, 2, 3),
        finished_us=1_760_000_000_000_001,
    )
    return replace(result, **changes)


def failure(number: int = 0, **changes: object) -> ImageResult:
    changes = {
        "status": Status.FAILED,
        "outputs": None,
        "failure": Failure(Stage.SUBMIT, ErrorCode.THROTTLED, "too many", retryable=True, http_status=429),
        **changes,
    }
    return success(number, **changes)


def as_stored(record: Record) -> Record:
    """What a record is once it was written: clean text, and of the image what describes it for good."""
    if isinstance(record, Finished):
        result, why = record.result, record.result.failure
        result = replace(
            result,
            image=_stored_image(result.image),
            model=replace(result.model, id=clean_text(result.model.id)),
            outputs=_clean(result.outputs),
            failure=why and replace(why, message=clean_text(why.message)),
            facts=_stored_facts(result.facts),
            task_id=_clean(result.task_id),
        )
        return replace(record, run_id=clean_text(record.run_id), result=result)
    if isinstance(record, Accepted):
        record = replace(
            record,
            image=_stored_image(record.image),
            facts=_stored_facts(record.facts),
            task_id=clean_text(record.task_id),
        )
    else:
        record = replace(record, image_id=clean_text(record.image_id))
    return replace(record, run_id=clean_text(record.run_id))


def _clean(text: str | None) -> str | None:
    return None if text is None else clean_text(text)


def _stored_image(ref: ImageRef) -> ImageRef:
    attributes = {clean_text(name): clean_text(text) for name, text in ref.attributes}
    return ref._replace(
        image_id=clean_text(ref.image_id),
        image_uri=clean_text(ref.image_uri),
        location=clean_text(ref.image_uri),
        crop=_clean(ref.crop),
        external_id=_clean(ref.external_id),
        attributes=tuple(sorted(attributes.items())),
        source=_clean(ref.source),
        input_index=0,
        line=0,
        problem=None,
    )


def _stored_facts(facts: Facts) -> Facts:
    info = facts.info and replace(facts.info, media_type=clean_text(facts.info.media_type))
    return replace(facts, info=info, content_sha256=_clean(facts.content_sha256))


texts = st.text(st.characters(), max_size=12)  # all characters: lone surrogates and NUL too
int32s = st.integers(0, 2**31 - 1)
int64s = st.integers(0, 2**63 - 1)
times = st.integers(-(2**62), 2**62)
failures = st.builds(
    Failure,
    st.sampled_from(Stage),
    st.sampled_from(ErrorCode),
    texts,
    st.booleans(),
    st.none() | st.integers(100, 599),
)
images = st.builds(
    ImageRef,
    image_id=texts,
    image_uri=texts,
    location=texts,
    crop=st.none() | texts,
    external_id=st.none() | texts,
    attributes=st.dictionaries(texts, texts, max_size=3).map(lambda pairs: tuple(sorted(pairs.items()))),
    size_bytes=st.none() | int64s,
    modified_us=st.none() | times,
    source=st.none() | texts,
    input_index=int32s,
    line=int32s,
    problem=st.none() | failures,
)
infos = st.builds(ImageInfo, texts, int32s, int32s, st.none() | st.integers(1, 8))
all_facts = st.builds(Facts, st.none() | infos, st.none() | texts, st.none() | int64s, st.none() | times)
# What a result may have whether it has labels or not.
result_fields = {
    "model": st.builds(ModelRef, st.sampled_from(ModelKind), texts),
    "model_version_id": st.none() | int64s,
    "facts": all_facts,
    "task_id": st.none() | texts,
    "attempts": int32s,
    "calls": int32s,
    "timings": st.builds(Timings, int32s, int32s, int32s),
    "finished_us": times,
    "generation": int32s,
}
results = st.builds(
    ImageResult,
    image=images,
    status=st.sampled_from(Status),
    outputs=st.none() | texts,
    failure=st.none() | failures,
    **result_fields,
)
records = st.one_of(
    st.builds(Claimed, texts, texts, int32s, int32s, st.sampled_from(Reason), times),
    st.builds(Released, texts, texts, int32s, int32s, st.booleans()),
    st.builds(Accepted, texts, images, int32s, int32s, texts, st.none() | int64s, all_facts, times),
    st.builds(Finished, texts, results),
    st.builds(Noted, texts, texts, int32s, st.none() | int64s, st.none() | times),
)
