"""Images of which nothing is open are found in columns, and planned and counted as their records would say."""

from collections import Counter
from dataclasses import replace
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lake_samples import RUN, failure, image, success
from memory_store import KillableStore
from record_strategies import runs, some_records

from deepo_beam.lake.compact import compact_bucket, essential
from deepo_beam.lake.journal import COMPACTED, FIRST_JOURNAL, History, Journal, numbered
from deepo_beam.lake.listing import ListedEntry
from deepo_beam.lake.plan import Disposition, PlanRules, plan_bucket
from deepo_beam.lake.settled import Fresh, in_brief
from deepo_beam.lake.tally import COUNTED, known_of, states_of, tally_bucket
from deepo_beam.records import Accepted, Claimed, Finished, Noted, Reason, Record, Released
from deepo_beam.types import Facts

OUT, OLD, NEW = "mem://out", "old.parquet", "new.parquet"
COVERED = {OLD: 1}
LISTED = {"size_bytes": 4, "modified_us": 5}


def journal(covered: list[Record], fresh: list[Record] = [], compacted: list[Record] = []) -> Journal:  # noqa: B006
    made = Journal(OUT, FIRST_JOURNAL, KillableStore())
    for name, records in ((OLD, covered), (NEW, fresh), (f"all{COMPACTED}", compacted)):
        made.append(0, name, records)
    return made


def settled(*covered: Record, later: tuple[Record, ...] = ()) -> list[str]:
    return sorted(journal(list(covered), list(later)).read_history(0, COVERED).settled)


def done(number: int = 0, run: str = RUN, **changes: object) -> Finished:
    return Finished(run, success(number, **changes))


CLAIM = Claimed(RUN, image(0).image_id, 0, 1, Reason.FIRST, 0)


def test_a_labelled_and_published_image_is_settled_whatever_calls_it_took() -> None:
    history = journal([CLAIM, done(), done(1)]).read_history(0, COVERED)
    assert history == History({image(n).image_id: in_brief(done(n)) for n in (0, 1)}, {OLD: []})


@pytest.mark.parametrize(
    "open_still",
    [
        [Finished(RUN, failure())],
        [Finished(RUN, failure()), done()],
        [CLAIM],
        [done(), done(run="another run")],
        [done(), done(generation=1)],
        [done(), replace(CLAIM, generation=1)],
        [done(), Noted(RUN, image(0).image_id, 0, 4, 5)],
    ],
)
def test_an_image_of_which_something_is_open_has_all_its_records(open_still: list[Record]) -> None:
    history = journal([*open_still, done(1)]).read_history(0, COVERED)
    assert list(history.settled) == [image(1).image_id]
    assert len(history.segments[OLD]) == len(open_still)


def test_one_record_that_no_table_has_is_enough_to_open_an_image_again() -> None:
    assert settled(done(), later=(replace(CLAIM, run_id="another"),)) == []
    assert settled(later=(done(),)) == []


def ordinary(number: int = 0, run: str = RUN) -> list[Record]:
    claim = Claimed(run, image(number).image_id, 0, 1, Reason.FIRST, 1)
    accepted = Accepted(run, image(number), 0, 1, "42", 11, Facts(), 2)
    return [claim, accepted, done(number, run)]


def fresh(*records: Record, covered: tuple[Record, ...] = ()) -> dict[str, Fresh]:
    return dict(journal(list(covered), list(records)).read_history(0, COVERED, COUNTED, run_id=RUN).fresh)


def test_labels_of_a_first_call_are_counted_without_records() -> None:
    history = journal([], [*ordinary(), *ordinary(1)[::2]]).read_history(0, {}, COUNTED, run_id=RUN)
    told = Fresh("succeeded", 11, 2)
    assert history == History({}, {NEW: []}, {image(n).image_id: told for n in (0, 1)})
    tally = tally_bucket(0, [ListedEntry(image(0).image_id, Disposition.LABEL, False)], history, covered={}, run_id=RUN)
    assert (tally.images, tally.labels) == (2, 4)
    assert tally.counts == Counter(listed=1, succeeded=1, calls=2)


@pytest.mark.parametrize(
    "unusual",
    [
        [ordinary()[0]],
        ordinary()[:2],
        [done()],
        [*ordinary(), replace(CLAIM, attempt=2, reason=Reason.IN_DOUBT)],
        [replace(CLAIM, reason=Reason.IN_DOUBT), done()],
        [*ordinary(), replace(CLAIM, attempt=2)],
        [*ordinary(), Released(RUN, image(0).image_id, 0, 2, sent=True)],
        [*ordinary(), Noted(RUN, image(0).image_id, 0, 4, 5)],
        [*ordinary(), done(generation=1)],
        [*ordinary(), done(task_id="43")],
        [*ordinary(), replace(CLAIM, generation=1)],
        [*ordinary()[:2], Finished(RUN, failure())],
        ordinary(run="another run"),
        [replace(CLAIM, run_id="another run"), done()],
    ],
)
def test_what_is_not_ordinary_is_counted_from_its_records(unusual: list[Record]) -> None:
    history = journal([], [*unusual, *ordinary(1)]).read_history(0, {}, run_id=RUN)
    assert (list(history.fresh), history.segments) == ([image(1).image_id], {NEW: unusual})


def test_an_image_with_a_record_in_the_tables_is_not_fresh() -> None:
    assert fresh(*ordinary(), covered=(done(),)) == fresh(*ordinary(), covered=(CLAIM,)) == {}


@st.composite
def some_ordinary(draw: st.DrawFn) -> list[Record]:
    """Images labelled by a first call, and anything about any."""
    numbers, every = draw(st.sets(st.integers(0, 3))), st.sampled_from([1, 2])
    made = [ordinary(number, draw(runs))[:: draw(every)] for number in numbers]
    return [*chain.from_iterable(made), *draw(st.lists(some_records, max_size=3))]


@settings(max_examples=200)
@given(st.lists(some_records, max_size=3), some_ordinary(), some_ordinary())
def test_fresh_or_not_an_image_is_counted_alike(covered: list[Record], one: list[Record], other: list[Record]) -> None:
    made = journal([replace(record, run_id="run-a") for record in covered], one)
    made.append(0, "newer.parquet", other)
    listing = [
        ListedEntry(image(number).image_id, disposition, conflict=False)
        for number in range(5)
        for disposition in (Disposition.LABEL, Disposition.COMPARE, Disposition.REUSED)
    ]
    told = [
        tally_bucket(0, listing, history, covered=COVERED, run_id="run-b")
        for history in (
            made.read_history(0, COVERED, COUNTED, run_id="run-b"),
            History({}, made.read_records(0, COUNTED)),
        )
    ]
    assert told[0] == told[1]


@settings(max_examples=200)
@given(
    *(st.lists(some_records, max_size=8) for _ in range(3)),
    st.builds(
        PlanRules,
        st.just("run-b"),
        retry=st.sampled_from(["failed", "all", "none"]),
        relabel=st.sampled_from(["none", "all", "outdated"]),
        model_version_id=st.sampled_from([None, 11, 12]),
        detect_changes=st.sampled_from(["listing", "never"]),
    ),
)
def test_settled_or_not_an_image_is_planned_and_counted_alike(
    covered: list[Record], fresh: list[Record], compacted: list[Record], rules: PlanRules
) -> None:
    published = [[replace(record, run_id="run-a") for record in records] for records in (covered, compacted)]
    made = journal(published[0], fresh, published[1])
    records = made.read_records(0)
    history = made.read_history(0, COVERED)
    known = known_of(history, COVERED)
    entries = [image(number, **(LISTED if number else {})) for number in range(3)]
    planned = plan_bucket(entries, known, rules)
    assert planned == plan_bucket(entries, states_of(records, COVERED), rules)
    listing = [ListedEntry(entry.image.image_id, entry.disposition, conflict=False) for entry in planned]
    told = [tally_bucket(0, listing, each, covered=COVERED, run_id="run-b") for each in (history, History({}, records))]
    assert told[0] == told[1]


@settings(max_examples=100)
@given(st.lists(some_records, min_size=1, max_size=8), st.lists(some_records, max_size=8))
def test_a_compaction_keeps_what_it_would_if_every_record_were_looked_at(covered: list, compacted: list) -> None:
    made = journal(covered, compacted=compacted)
    whole = made.read_records(0)
    compact_bucket(made, 0, COVERED)
    (kept,) = made.read_records(0).values() or [[]]
    assert sorted(kept, key=repr) == sorted(essential(numbered(whole, COVERED)), key=repr)
