"""``ListImages`` lists what the inputs name; ``SelectImages`` always selects the same."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.coders import typecoders
from hypothesis import given
from hypothesis import strategies as st
from pipeline_tools import Keep, pipeline

from deepo_beam.errors import ErrorCode, Stage
from deepo_beam.inputs import InputOptions, counted, expand_input
from deepo_beam.inputs import listed as counted_so_far
from deepo_beam.transforms import ListImages, SelectImages
from deepo_beam.transforms._coders import ImageBatchCoder, ImageRefCoder
from deepo_beam.transforms.group_images import ImageBatch
from deepo_beam.transforms.list_images import selection_key
from deepo_beam.types import Failure, ImageRef


def listed(*inputs: str, options: InputOptions = InputOptions()) -> list[ImageRef]:  # noqa: B008 - frozen
    keep = Keep()
    with pipeline() as p:
        _ = p | ListImages(inputs, options) | keep
    return keep.elements


def selected(images: list[ImageRef], **options: int) -> list[str]:
    keep = Keep()
    with pipeline() as p:
        _ = p | beam.Create(images, reshuffle=False) | SelectImages(**options) | keep
    return sorted(image.image_uri for image in keep.elements)


def image(number: int, **changes: object) -> ImageRef:
    uri = f"s3://lake/{number:04d}.jpg"
    return ImageRef(f"{number:032x}", uri, uri, **changes)


IMAGES = [image(number) for number in range(30)]


def test_every_input_is_listed_with_its_place_duplicates_and_unusable_entries_included(
    pictures: Callable[[int], list[str]], tmp_path: Path
) -> None:
    paths = pictures(3)
    rows = tmp_path / "list.csv"
    rows.write_text(f"image_uri,site\n{paths[0]},a\n,b\n{paths[0]},c\n")
    inputs = [str(tmp_path / "photos"), str(rows), str(tmp_path / "photos" / "00[01].png")]
    images = listed(*inputs)
    expected = [i for index, text in enumerate(inputs) for i in expand_input(text, index=index, options=InputOptions())]
    assert Counter(images) == Counter(expected)
    assert Counter(i.input_index for i in images) == Counter({0: 3, 1: 3, 2: 2})
    (unusable,) = [i for i in images if i.problem]
    assert (unusable.problem.code, unusable.line) == (ErrorCode.BAD_MANIFEST_ROW, 3)


def test_what_is_listed_is_counted_while_it_is_listed(tmp_path: Path) -> None:
    rows = tmp_path / "list.txt"
    rows.write_text("".join(f"s3://lake/{n}.jpg\n" for n in range(3000)))
    before = counted_so_far()

    images = counted(expand_input(str(rows), index=0, options=InputOptions()))

    assert next(images).image_uri == "s3://lake/0.jpg"
    assert 0 < counted_so_far() - before < 3000
    assert sum(1 for _ in images) == 2999
    assert counted_so_far() - before == 3000
    assert len(listed(str(rows))) == 3000
    assert counted_so_far() - before == 6000


def test_the_columns_of_a_list_mean_what_was_said(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("where,who\ns3://lake/a.jpg,7\n")
    (only,) = listed(str(tmp_path / "list.csv"), options=InputOptions(uri_column="where", id_column="who"))
    assert (only.image_uri, only.external_id, only.attributes) == ("s3://lake/a.jpg", "7", ())


def test_no_input_is_no_image() -> None:
    assert listed() == []


def test_a_limit_keeps_the_first_by_uri() -> None:
    assert selected(IMAGES[::-1], limit=4) == [f"s3://lake/000{number}.jpg" for number in range(4)]


def test_a_sample_is_the_same_whatever_the_order_and_another_with_another_seed() -> None:
    first = selected(IMAGES, sample=10, seed=1)
    assert len(first) == 10
    assert selected(IMAGES[::-1], sample=10, seed=1) == first
    assert selected(IMAGES[7:] + IMAGES[:7], sample=10, seed=1) == first
    assert selected(IMAGES, sample=10, seed=2) != first
    assert first != selected(IMAGES, limit=10)


def test_a_larger_sample_contains_the_smaller_one() -> None:
    assert set(selected(IMAGES, sample=5)) < set(selected(IMAGES, sample=15))


@pytest.mark.parametrize("options", [{"limit": 100}, {"sample": 100}, {}])
def test_more_than_there_are_is_all(options: dict[str, int]) -> None:
    assert selected(IMAGES, **options) == [i.image_uri for i in IMAGES]


def test_selecting_from_nothing_is_nothing() -> None:
    assert selected([], limit=3) == []


def test_without_a_choice_nothing_is_added_to_the_pipeline() -> None:
    images = pipeline() | beam.Create(IMAGES)
    assert images | SelectImages() is images


def test_of_two_entries_of_one_image_a_limit_keeps_the_earlier() -> None:
    twice = [image(1, input_index=1, line=1), image(1, input_index=0, line=5), image(2)]
    keep = Keep()
    with pipeline() as p:
        _ = p | beam.Create(twice) | SelectImages(limit=1) | keep
    assert keep.elements == [twice[1]]


@given(st.lists(st.text(st.characters(), max_size=8), unique=True, max_size=20), st.none() | st.integers())
def test_no_two_uris_are_equal_in_the_order_of_a_selection(uris: list[str], seed: int | None) -> None:
    keys = [selection_key(ImageRef("0", uri, uri), seed) for uri in uris]
    assert len(set(keys)) == len(uris)


@given(
    st.builds(
        ImageRef,
        st.text(),
        st.just("s3://lake/a.jpg"),
        st.sampled_from(["s3://lake/a.jpg", "s3://lake/a.jpg?X-Amz-Signature=x"]),
        crop=st.none() | st.text(),
        external_id=st.none() | st.text(),
        attributes=st.sampled_from([(), (("a", "b"),)]),
        size_bytes=st.none() | st.integers(0),
        modified_us=st.none() | st.integers(),
        source=st.none() | st.text(),
        input_index=st.integers(0),
        line=st.integers(0),
        problem=st.sampled_from([None, Failure(Stage.LIST, ErrorCode.INVALID_URI, "no", retryable=False)]),
    )
)
def test_an_image_arrives_in_the_next_stage_as_it_was(image: ImageRef) -> None:
    coder = typecoders.registry.get_coder(ImageRef)
    assert isinstance(coder, ImageRefCoder)
    assert coder.decode(coder.encode(image)) == image
    batches = typecoders.registry.get_coder(ImageBatch)
    assert isinstance(batches, ImageBatchCoder)
    batch = ImageBatch([image, image])
    batch.times = (1, -2)
    arrived = batches.decode(batches.encode(batch))
    assert (arrived, arrived.times) == ((image, image), (1, -2))


def test_a_batch_of_listed_images_travels_in_little_more_than_their_ids(tmp_path: Path) -> None:
    rows = tmp_path / "list.txt"
    rows.write_text("".join(f"s3://lake/photos/{n:08d}.jpg\n" for n in range(64)))
    images = ImageBatch(expand_input(str(rows), index=0, options=InputOptions()))

    assert len(ImageBatchCoder().encode(images)) < 64 * 50
