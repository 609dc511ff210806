"""Any records of two images, for laws that hold whatever a journal holds."""

from hypothesis import strategies as st
from lake_samples import failure, image, success

from deepo_beam.records import Accepted, Claimed, Finished, Noted, Reason, Released
from deepo_beam.types import Facts

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
image_ids = some_images.map(lambda ref: ref.image_id)
some_records = st.one_of(
    st.builds(Claimed, runs, image_ids, small, small, st.sampled_from(Reason), small),
    st.builds(Released, runs, image_ids, small, small, st.booleans()),
    st.builds(
        Accepted,
        runs,
        some_images,
        small,
        small,
        st.sampled_from(["9", "10"]),
        st.none(),
        st.just(Facts()),
        small,
    ),
    st.builds(Finished, runs, some_results),
    st.builds(Noted, runs, image_ids, small, st.none() | small, st.none() | small),
)
some_entries = st.lists(st.tuples(some_records, st.sampled_from([None, 0, 1, 2])), max_size=14)
