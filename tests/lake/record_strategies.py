"""Any records of two images, for laws that hold whatever a journal holds."""

from hypothesis import strategies as st
from lake_samples import failure, image, success

from deepo_beam.records import Accepted, Claimed, Finished, Noted, Reason, Released
from deepo_beam.types import Facts, ImageRef, ImageResult

runs = st.sampled_from(["run-a", "run-b"])
small = st.integers(0, 2)
some_images = st.integers(0, 1).map(image)
some_results = st.builds(
    lambda make, number, **changes: make(number, **changes),
    st.sampled_from([success, failure]),
    st.integers(0, 1),
    task_id=st.sampled_from([None, "9", "10", "11"]),
    generation=small,
    finished_us=small,
    attempts=st.integers(0, 3),
)


def _id(ref: ImageRef) -> str:
    return ref.image_id


def records_of(images: st.SearchStrategy[ImageRef], results: st.SearchStrategy[ImageResult]) -> st.SearchStrategy:
    """Claims, answers and outcomes, of any runs."""
    return st.one_of(
        st.builds(Claimed, runs, images.map(_id), small, small, st.sampled_from(Reason), small),
        st.builds(Released, runs, images.map(_id), small, small, st.booleans()),
        st.builds(
            Accepted,
            runs,
            images,
            small,
            small,
            st.sampled_from(["9", "10"]),
            st.none(),
            st.just(Facts()),
            small,
        ),
        st.builds(Finished, runs, results),
    )


some_notes = st.builds(Noted, runs, some_images.map(_id), small, st.none() | small, st.none() | small)
some_records = records_of(some_images, some_results) | some_notes
some_entries = st.lists(st.tuples(some_records, st.sampled_from([None, 0, 1, 2])), max_size=14)
