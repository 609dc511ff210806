"""Images of which nothing is open are found in columns, and planned and counted as their records would say."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lake_samples import RUN, failure, image, success
from memory_store import KillableStore
from record_strategies import some_records

from deepo_beam.lake.compact import compact_bucket, essential
from deepo_beam.lake.journal import COMPACTED, FIRST_JOURNAL, History, Journal, numbered
from deepo_beam.lake.listing import ListedEntry
from deepo_beam.lake.plan import PlanRules, plan_bucket
from deepo_beam.lake.settled import in_brief
from deepo_beam.lake.tally import known_of, states_of, tally_bucket
from deepo_beam.records import Claimed, Finished, Noted, Reason, Record

OUT, OLD, NEW = "mem://out", "old.parquet", "new.parquet"
COVERED = {OLD: 1}
LISTED = {"size_bytes": 4, "modified_us": 5}


def journal(covered: list[Record], fresh: list[Record] = [], compacted: list[Record] = []) -> Journal:  # noqa: B006
    made = Journal(OUT, FIRST_JOURNAL, KillableStore())
    for name, records in ((OLD, covered), (NEW, fresh), (f"all{COMPACTED}", compacted)):
        made.append(0, name, records)
    return made


def settled(*covered: Record, fresh: tuple[Record, ...] = ()) -> list[str]:
    return sorted(journal(list(covered), list(fresh)).read_history(0, COVERED).settled)


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
    assert settled(done(), fresh=(replace(CLAIM, run_id="another"),)) == []
    assert settled(fresh=(done(),)) == []


@settings(max_examples=200, deadline=None)
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


@settings(max_examples=100, deadline=None)
@given(st.lists(some_records, min_size=1, max_size=8), st.lists(some_records, max_size=8))
def test_a_compaction_keeps_what_it_would_if_every_record_were_looked_at(covered: list, compacted: list) -> None:
    made = journal(covered, compacted=compacted)
    whole = made.read_records(0)
    compact_bucket(made, 0, COVERED)
    (kept,) = made.read_records(0).values() or [[]]
    assert sorted(kept, key=repr) == sorted(essential(numbered(whole, COVERED)), key=repr)
