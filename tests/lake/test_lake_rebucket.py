"""Another number of buckets: the journal says the same, whatever fails, and whoever dies or does not hear of it."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import pytest
from lake_samples import DATASET, failure, image, success
from memory_store import KillableStore, KilledError, Name

from deepo_beam.errors import RunStoppedError, StorageError
from deepo_beam.identity import bucket_of
from deepo_beam.lake import rebucket as rebucketing
from deepo_beam.lake.compact import compact
from deepo_beam.lake.complete import mend
from deepo_beam.lake.dataset import Dataset, check_journal, find_dataset, write_dataset
from deepo_beam.lake.journal import FIRST_JOURNAL, History, Journal
from deepo_beam.lake.leftover import publish_leftover
from deepo_beam.lake.plan import PlanRules, plan_bucket
from deepo_beam.lake.publish import coverage, load_intents, write_intent
from deepo_beam.lake.rebucket import rebucket, sweep
from deepo_beam.lake.tally import BucketTally, states_of, tally_bucket
from deepo_beam.lake.verify import verify
from deepo_beam.records import Accepted, Claimed, Finished, Noted, Reason, Record, Released
from deepo_beam.types import Facts

OUT = "mem://out"
NUMBERS = range(14)
TABLES = ("labels", "images", "errors")
WANTED = 3


# --- an output, and what its users do to it ---------------------------------------------------------------


def append(store: KillableStore, run_id: str, number: int, *records: Record) -> None:
    """One segment in every bucket that has some of the records, all of one name, as a flush writes them."""
    dataset = dataset_of(store)
    for bucket in range(dataset.buckets):
        its = [record for record in records if bucket_of(record.image_id, dataset.buckets) == bucket]
        name = f"{run_id}-00000000-{number:06d}.parquet"
        Journal(OUT, dataset.journal, store).append(bucket, name, its)


def claim(run_id: str, number: int, reason: Reason = Reason.FIRST, attempt: int = 1) -> Claimed:
    return Claimed(run_id, image(number).image_id, 0, attempt, reason, 0)


def made() -> KillableStore:
    """Two published runs, and one that was killed in the middle of everything."""
    store = KillableStore()
    write_dataset(OUT, DATASET, store)
    append(store, "run-a", 1, *(claim("run-a", number) for number in range(6)))
    append(
        store, "run-a", 2, *(Finished("run-a", success(number)) for number in range(4)), Finished("run-a", failure(4))
    )
    publish_leftover(OUT, DATASET, "night-a", store)
    append(store, "run-b", 1, Finished("run-b", failure(4, generation=1, task_id="43")), Finished("run-b", success(6)))
    append(store, "run-b", 2, Noted("run-b", image(0).image_id, 0, 80_000, 9))
    publish_leftover(OUT, DATASET, "night-b", store)
    append(store, "run-c", 1, *(claim("run-c", number) for number in range(7, 12)))
    append(
        store,
        "run-c",
        2,
        Finished("run-c", success(7)),
        Finished("run-c", failure(8)),
        Accepted("run-c", image(9), 0, 1, "77", 11, Facts(), 0),
        Released("run-c", image(10).image_id, 0, 1, sent=True),
        claim("run-c", 10, Reason.REFUSED, 2),
        claim("run-c", 5, Reason.IN_DOUBT, 2),
    )
    return store


def dataset_of(store: KillableStore) -> Dataset:
    dataset = find_dataset(OUT, store)
    assert dataset is not None
    return dataset


def held() -> None:
    """Nobody else does anything."""


def start(store: KillableStore) -> Dataset:
    """What every run that holds the output does first."""
    dataset = dataset_of(store)
    mend(OUT, dataset, check_held=held, store=store)
    return dataset


def divide(store: KillableStore, buckets: int = WANTED, run_id: str = "r1", check: Callable[[], None] = held) -> None:
    """``compact --buckets``."""
    dataset = start(store)
    compact(OUT, dataset, store)
    if dataset.buckets != buckets:
        rebucket(OUT, dataset, buckets, run_id, check_held=check, store=store)


@dataclass(frozen=True)
class Seen:
    """What a later run makes of the journal, whatever its buckets."""

    planned: dict[str, object]
    to_publish: dict[str, object]
    known: dict[str, object]
    counted: Counter[str]


def seen(store: KillableStore) -> Seen:
    dataset = dataset_of(store)
    covered = coverage(load_intents(OUT, dataset.journal, store)[0])
    planned, to_publish, known, counted = {}, {}, {}, Counter[str]()
    for bucket in range(dataset.buckets):
        segments = Journal(OUT, dataset.journal, store).read_records(bucket)
        before = covered.get(bucket, {})
        states = states_of(segments, before)
        images = [image(number) for number in NUMBERS if bucket_of(image(number).image_id, dataset.buckets) == bucket]
        assert set(states) <= {each.image_id for each in images}, "in a bucket of others"
        for entry in plan_bucket(images, states, PlanRules("run-x", retry="all")):
            planned[entry.image.image_id] = entry
        for image_id, state in states.items():
            to_publish[image_id] = state.to_publish
            known[image_id] = (state.finished, state.published, state.in_doubt, state.failed_since_us, state.noted)
        tally: BucketTally = tally_bucket(bucket, [], History({}, segments), covered=before, run_id="run-c")
        counted.update(tally.counts)
        counted.update(tally.billed_twice)
        counted.update(images=tally.images, labels=tally.labels)
    return Seen(planned, to_publish, known, +counted)


def tables(store: KillableStore) -> dict[str, bytes]:
    """What was published, and what the runs say of it."""
    return {
        uri: data
        for uri, data in store.objects.items()
        if uri.removeprefix(f"{OUT}/").split("/")[0] in (*TABLES, "runs")
    }


def journals(store: KillableStore) -> set[str]:
    """The folders in which there are segments."""
    return {uri.split("/")[3] for uri in store.objects if "/bucket=" in uri}


# --- nothing goes wrong -----------------------------------------------------------------------------------


def test_the_sample_has_something_of_everything() -> None:
    found = seen(made())
    assert found.counted["in_doubt"] == 1
    assert found.counted["calls"] == 7
    assert {type(each) for each in found.to_publish.values()} == {type(None), Finished}


@pytest.mark.parametrize("buckets", [1, 3, 4, 7, 40])
def test_every_record_is_in_its_new_bucket_and_nothing_else_has_changed(buckets: int) -> None:
    store = made()
    before, published = seen(store), tables(store)
    divide(store, buckets)
    assert dataset_of(store) == replace(DATASET, buckets=buckets, journal="journal-by-r1")
    assert journals(store) == {"journal-by-r1"}
    assert seen(store) == before
    assert tables(store) == published
    assert verify(OUT, dataset_of(store), store=store).findings == []


def test_what_was_not_published_is_published_once_afterwards() -> None:
    plain, divided = made(), made()
    divide(divided)
    for store in (plain, divided):
        summary = publish_leftover(OUT, start(store), "night-c", store)
        assert summary is not None
        assert (summary.published, summary.billed_twice_by_kind["in_doubt"]) == (2, 1)
        assert publish_leftover(OUT, start(store), "night-d", store) is None
    assert seen(plain) == seen(divided)


def test_it_can_be_done_again_and_again_and_back() -> None:
    store = made()
    before = seen(store)
    for number, buckets in enumerate((5, 1, 2, 2)):
        divide(store, buckets, f"r{number}")
        assert (dataset_of(store).buckets, seen(store)) == (buckets, before)
    assert journals(store) == {"journal-by-r2"}  # the last time it had as many as were wanted
    Journal(OUT, "journal-by-r2", store).append(0, "run-d-00000000-000001.parquet", [Finished("run-d", success(12))])
    publish_leftover(OUT, start(store), "night-d", store)
    assert compact(OUT, dataset_of(store), store) > 0
    assert verify(OUT, dataset_of(store), store=store).findings == []


def test_what_is_more_than_memory_should_hold_is_written_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebucketing, "RECORDS_AT_ONCE", 1)
    monkeypatch.setattr(rebucketing, "_BUCKETS_AT_ONCE", 1)
    store = made()
    before = seen(store)
    divide(store, 1)
    # Two buckets, in a batch each; what publishes cover is put together in the end, as a compaction does it.
    names = [name.partition(".")[2] for name in Journal(OUT, "journal-by-r1", store).segments(0)]
    assert sorted(names) == ["compacted.parquet", "moved.parquet", "moved.parquet"]
    assert seen(store) == before


def test_an_output_without_a_journal_yet_is_divided_too() -> None:
    store = KillableStore()
    write_dataset(OUT, DATASET, store)
    divide(store)
    assert dataset_of(store).buckets == WANTED
    append(store, "run-a", 1, Finished("run-a", success(5)))
    publish_leftover(OUT, start(store), "night-a", store)
    assert [state for state in seen(store).to_publish.values() if state] == []


# --- something does -----------------------------------------------------------------------------------------


@dataclass
class TroubledStore(KillableStore):
    """One action has trouble; ``killed``: so has every one after it."""

    trouble: str = ""
    at: int = -1
    actions: int = 0
    changed: bool = False  # by the action that had trouble

    def read_bytes(self, uri: str) -> bytes:
        return self._act(lambda: KillableStore.read_bytes(self, uri), changes=False)

    def list_objects(self, folder: str, *, recursive: bool = True) -> Iterator[Name]:
        listed = self._act(lambda: list(KillableStore.list_objects(self, folder, recursive=recursive)), changes=False)
        return iter(listed)

    def write_bytes(self, uri: str, data: bytes) -> None:
        self._act(lambda: self.objects.update({uri: data}))

    def delete(self, uri: str) -> None:
        self._act(lambda: self.objects.pop(uri, None))

    def _act(self, effect: Callable, *, changes: bool = True):
        self.actions += 1
        self.changed = self.changed or (changes and self.actions == self.at)
        if self.at < 0 or self.actions < self.at or (self.actions > self.at and "killed" not in self.trouble):
            return effect()
        if self.actions == self.at and "after" in self.trouble:
            effect()
        raise (KilledError if "killed" in self.trouble else StorageError)(self.trouble)


TROUBLES = ("killed before it", "killed after it", "fails before it", "fails after it")


def troubled(trouble: str, at: int, objects: dict[str, bytes]) -> tuple[TroubledStore, bool]:
    """A re-bucketing in which one action has trouble; whether it had any."""
    store = TroubledStore(dict(objects), trouble=trouble, at=at)
    try:
        divide(store)
    except (KilledError, StorageError):
        troubled = True
    else:
        troubled = store.actions >= at
    store.at = -1
    return store, troubled


@pytest.mark.parametrize("trouble", TROUBLES)
def test_trouble_at_any_action_loses_nothing_and_the_next_start_goes_on(trouble: str) -> None:
    whole = made()
    before, published = seen(whole), tables(whole)
    at = 0
    while True:
        at += 1
        store, met = troubled(trouble, at, whole.objects)
        if not met:
            break
        if "after" in trouble and not store.changed:
            continue  # the same as before it
        dataset = dataset_of(store)
        assert (dataset.buckets, dataset.journal) in ((2, FIRST_JOURNAL), (WANTED, "journal-by-r1"))
        assert seen(store) == before, f"action {at}: not even a look without a start finds the same"
        # A label comes next, or the same once more: in turn, and the other way round for trouble before and after it.
        if (at + TROUBLES.index(trouble)) % 2:
            dataset = start(store)
        else:
            divide(store, run_id="r2")
            dataset = dataset_of(store)
            assert dataset.buckets == WANTED
            assert verify(OUT, dataset, store=store).findings == []
        assert seen(store) == before, f"action {at}"
        assert journals(store) == {dataset.journal}, f"action {at}"
        assert tables(store) == published
        summary = publish_leftover(OUT, dataset, "night-c", store)
        assert summary is not None
        assert (summary.published, summary.billed_twice_by_kind["in_doubt"]) == (2, 1)
    assert at > 60, "that is not all of it"


@pytest.mark.parametrize("seed", range(3))
def test_killed_again_and_again_in_whatever_comes_next_it_ends_at_last(seed: int) -> None:
    rng = random.Random(seed)
    whole = made()
    before = seen(whole)
    store = TroubledStore(dict(whole.objects))
    for number in range(40):
        store.trouble, store.at = rng.choice(TROUBLES), store.actions + rng.randint(1, 90)
        with suppress(KilledError, StorageError):
            start(store) if rng.random() < 0.5 else divide(store, rng.choice([1, 2, 5]), f"r{number}")
        store.at = -1
        assert seen(store) == before
    divide(store, 4, "last")
    start(store)
    assert journals(store) == {"journal-by-last"}
    assert seen(store) == before


# --- a store that lists late, and processes that hear of it late ----------------------------------------------


class LateStore(KillableStore):
    """Leaves out of its lists what is called so."""

    hidden = "nothing"

    def list_objects(self, folder: str, *, recursive: bool = True) -> Iterator[Name]:
        listed = super().list_objects(folder, recursive=recursive)
        return (each for each in listed if self.hidden not in each.uri)


@pytest.mark.parametrize("hidden", ["bucket=00001/run-a", "journal-by-r1/bucket=00002"])
def test_as_long_as_the_store_does_not_list_all_of_it_nothing_is_switched(hidden: str) -> None:
    store = LateStore(made().objects)
    before, store.hidden = seen(store), hidden
    with pytest.raises(StorageError, match="list"):
        divide(store)
    assert dataset_of(store) == DATASET
    store.hidden = "nothing"
    assert seen(store) == before
    divide(store)
    assert (dataset_of(store).buckets, seen(store)) == (WANTED, before)


@pytest.mark.parametrize("hidden", ["bucket=00000/run-c-00000000-000001", "bucket=00001/run-c-00000000-000002"])
def test_a_segment_that_was_not_listed_then_is_taken_over_by_the_next_start(hidden: str) -> None:
    store = LateStore(made().objects)
    before, store.hidden = seen(store), hidden
    divide(store)
    store.hidden = "nothing"
    start(store)
    assert seen(store) == before
    assert journals(store) == {"journal-by-r1"}


def test_what_a_process_writes_that_did_not_hear_of_it_is_taken_over_by_the_next_start() -> None:
    heard, late = made(), made()
    divide(heard)
    divide(late)
    outcome = Finished("run-c", success(9, task_id="77"))
    append(heard, "run-c", 3, outcome)
    Journal(OUT, FIRST_JOURNAL, late).append(1, "run-c-00000000-000003.parquet", [outcome])
    (finding,) = verify(OUT, dataset_of(late), store=late).findings
    assert (finding.kind, finding.path, f"deepo-beam compact {OUT}" in finding.message) == (
        "unfinished",
        "journal",
        True,
    )
    assert verify(OUT, dataset_of(late), store=late, held=True).findings == []
    start(late)
    assert seen(late) == seen(heard)
    assert journals(late) == {"journal-by-r1"}


def test_an_intent_that_was_written_without_having_heard_of_it_is_left_alone() -> None:
    store = made()
    ((intent, *_), _) = load_intents(OUT, FIRST_JOURNAL, store)
    divide(store)
    before, published = seen(store), tables(store)
    late = replace(intent, run_id="run-late", segments={0: ("run-c-00000000-000002.parquet",)})
    write_intent(OUT, late, store)
    start(store)
    assert seen(store) == before
    assert set(tables(store)) == {*published, f"{OUT}/runs/run-late/publish.json"}


def test_a_copy_that_never_was_in_force_just_goes() -> None:
    store = made()
    before = seen(store)
    Journal(OUT, "journal-by-r0", store).append(0, "0123.moved.parquet", [Finished("run-z", success(13))])
    start(store)
    assert seen(store) == before
    assert journals(store) == {FIRST_JOURNAL}


def test_a_journal_whose_mark_was_lost_is_not_published_again() -> None:
    store = made()
    divide(store)
    publish_leftover(OUT, start(store), "night-c", store)
    before = seen(store)
    del store.objects[f"{OUT}/journal-by-r1/compacted_runs.json"]
    start(store)
    assert seen(store) == before
    assert publish_leftover(OUT, dataset_of(store), "night-d", store) is None


def test_what_comes_late_into_a_journal_whose_switch_was_cut_off_before_its_mark_is_taken_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = made()

    def killed(*arguments: object) -> None:
        raise KilledError("before the mark")

    with monkeypatch.context() as cut:
        cut.setattr(rebucketing, "_mark", killed)
        with pytest.raises(KilledError):
            divide(store)
    start(store)
    divide(store, 4, "r2")
    late = Finished("run-z", success(12))
    bucket = bucket_of(late.image_id, WANTED)
    Journal(OUT, "journal-by-r1", store).append(bucket, "run-z-00000000-000001.parquet", [late])
    start(store)
    assert seen(store).to_publish[late.image_id] == late


def test_who_does_not_hold_the_output_any_more_takes_nothing_away() -> None:
    store = made()
    divide(store)
    name = "run-c-00000000-000003.parquet"
    Journal(OUT, FIRST_JOURNAL, store).append(1, name, [Finished("run-c", success(11))])

    def lost() -> None:
        raise RunStoppedError("another run holds the output")

    with pytest.raises(RunStoppedError):
        sweep(OUT, dataset_of(store), check_held=lost, store=store)
    assert Journal(OUT, FIRST_JOURNAL, store).segments(1) == [name]


def test_a_copy_that_somebody_made_by_hand_is_not_touched() -> None:
    store = made()
    divide(store)
    own = {
        uri.replace("/journal-by-r1/", "/journal-backup/"): data
        for uri, data in store.objects.items()
        if "/journal-by-r1/" in uri
    }
    store.objects |= own
    start(store)
    assert own.items() <= store.objects.items()
    assert verify(OUT, dataset_of(store), store=store).findings == []


def test_who_does_not_hold_the_output_any_more_switches_nothing() -> None:
    store = made()
    before = seen(store)

    def lost() -> None:
        raise RunStoppedError("another run holds the output")

    with pytest.raises(RunStoppedError):
        divide(store, check=lost)
    assert (dataset_of(store), seen(store)) == (DATASET, before)


def test_a_switch_that_slept_while_others_held_the_output_costs_nothing_of_what_they_learnt() -> None:
    """It looks whether it holds the output, sleeps, and switches to a copy that is not there any more."""
    store = made()
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1
        if looks > 1:
            raise RunStoppedError("another run holds the output")
        start(store)  # clears the copy away
        append(store, "run-d", 1, claim("run-d", 12))
        append(store, "run-d", 2, Finished("run-d", success(12)))
        publish_leftover(OUT, dataset_of(store), "night-d", store)
        divide(store, 5, "r9")
        others.append(seen(store))

    others: list[Seen] = []
    with pytest.raises(RunStoppedError):
        divide(store, check=look)
    assert dataset_of(store).journal == "journal-by-r1"
    published = tables(store)
    dataset = start(store)
    assert [seen(store)] == others
    assert journals(store) == {"journal-by-r1"}
    assert publish_leftover(OUT, dataset, "night-e", store) is None
    assert tables(store) == published


def test_a_run_that_was_planned_before_does_not_begin() -> None:
    store = made()
    check_journal(OUT, FIRST_JOURNAL, store)
    divide(store)
    with pytest.raises(RunStoppedError, match="start it again"):
        check_journal(OUT, FIRST_JOURNAL, store)
    check_journal(OUT, "journal-by-r1", store)
