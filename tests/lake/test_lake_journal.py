from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pytest
from lake_samples import RUN, as_stored, failure, image, success

from deepo_beam.errors import ObjectNotFoundError, StorageError
from deepo_beam.lake.journal import FIRST_JOURNAL, Journal, segment_name
from deepo_beam.lake.merge import ImageState
from deepo_beam.lake.tally import states_of
from deepo_beam.records import Accepted, Claimed, Finished, Reason, Released
from deepo_beam.types import Facts


def states(journal: Journal, bucket: int, covered: Mapping[str, int]) -> dict[str, ImageState]:
    return states_of(journal.read_records(bucket), covered)


@dataclass(frozen=True)
class Name:
    uri: str


@dataclass
class MemoryStore:
    """A store in a dict; ``on_read`` runs before each read, and may change what is there."""

    objects: dict[str, bytes] = field(default_factory=dict)
    ghosts: set[str] = field(default_factory=set)
    reads: list[str] = field(default_factory=list)
    on_read: Callable[[str], None] = lambda uri: None

    def read_bytes(self, uri: str) -> bytes:
        self.on_read(uri)
        self.reads.append(uri)
        if uri not in self.objects:
            raise ObjectNotFoundError(f"{uri} does not exist")
        return self.objects[uri]

    def write_bytes(self, uri: str, data: bytes) -> None:
        self.objects[uri] = data

    def list_objects(self, folder: str, *, recursive: bool = True) -> Iterator[Name]:
        for uri in sorted({*self.objects, *self.ghosts}, reverse=True):
            inside = uri.removeprefix(folder + "/")
            if inside != uri and (recursive or "/" not in inside):
                yield Name(uri)

    def join(self, base: str, *parts: str) -> str:
        return "/".join((base, *parts))


def claim(number: int, attempt: int = 1) -> Claimed:
    return Claimed(RUN, image(number).image_id, 0, attempt, Reason.FIRST, 1)


def done(number: int) -> Finished:
    return as_stored(Finished(RUN, success(number)))


SEGMENTS = [segment_name(RUN, "0a1b2c3d", number) for number in range(5)]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def journal(store: MemoryStore) -> Journal:
    return Journal("mem://out", FIRST_JOURNAL, store)


def test_a_segment_lies_in_the_folder_of_its_bucket(journal: Journal, store: MemoryStore) -> None:
    journal.append(42, SEGMENTS[0], [claim(1)])
    assert journal.bucket_folder(42) == "mem://out/journal/bucket=00042"
    assert list(store.objects) == ["mem://out/journal/bucket=00042/20261124T003000Z-ab12-0a1b2c3d-000000.parquet"]


def test_nothing_is_written_for_no_records(journal: Journal, store: MemoryStore) -> None:
    journal.append(42, SEGMENTS[0], [])
    assert store.objects == {}


def test_a_bucket_without_segments_is_empty(journal: Journal) -> None:
    assert (journal.segments(3), states(journal, 3, {}), journal.read_records(3)) == ([], {}, {})


def test_only_the_segments_of_the_bucket_are_listed_in_order(journal: Journal, store: MemoryStore) -> None:
    for name in (SEGMENTS[1], SEGMENTS[0]):
        journal.append(3, name, [claim(1)])
    journal.append(30, SEGMENTS[2], [claim(1)])
    folder = journal.bucket_folder(3)
    store.objects |= {f"{folder}/notes.txt": b"", f"{folder}/old/{SEGMENTS[3]}": b""}
    assert journal.segments(3) == SEGMENTS[:2]


def test_all_segments_are_listed_by_bucket_and_nothing_else(journal: Journal, store: MemoryStore) -> None:
    for bucket, name in ((30, SEGMENTS[2]), (3, SEGMENTS[1]), (3, SEGMENTS[0])):
        journal.append(bucket, name, [claim(1)])
    others = ("compacted_runs.json", "a.parquet", "bucket=00003/notes.txt", "bucket=old/a.parquet")
    store.objects |= {f"mem://out/journal/{other}": b"" for other in others}
    Journal("mem://out", "journal-by-r1", store).append(4, SEGMENTS[0], [claim(1)])
    assert journal.all_segments() == {3: SEGMENTS[:2], 30: [SEGMENTS[2]]}


def test_what_was_appended_is_read_back_by_segment(journal: Journal) -> None:
    journal.append(0, SEGMENTS[1], [done(1), claim(2)])
    journal.append(0, SEGMENTS[0], [claim(1)])
    assert journal.read_records(0) == {SEGMENTS[0]: [claim(1)], SEGMENTS[1]: [done(1), claim(2)]}


def test_states_are_merged_over_segments_and_published_where_covered(journal: Journal) -> None:
    journal.append(0, SEGMENTS[0], [claim(1), done(1)])
    journal.append(0, SEGMENTS[1], [claim(2), done(2), claim(3)])
    found = states(journal, 0, {SEGMENTS[0]: 1})
    one, two, three = (found[image(number).image_id] for number in (1, 2, 3))
    assert (one.finished, one.published, one.to_publish) == (done(1), True, None)
    assert (two.published, two.to_publish) == (False, done(2))
    assert (three.in_doubt, three.finished) == (1, None)


def test_writing_a_segment_again_changes_nothing(journal: Journal) -> None:
    journal.append(0, SEGMENTS[0], [claim(1)])
    before = states(journal, 0, {})
    journal.append(0, SEGMENTS[0], [claim(1)])
    assert states(journal, 0, {}) == before


def test_segments_that_are_compacted_while_they_are_read_are_read_in_their_new_place(
    journal: Journal, store: MemoryStore
) -> None:
    for number in range(3):
        journal.append(0, SEGMENTS[number], [claim(number)])

    def compact(uri: str) -> None:
        if uri.endswith(SEGMENTS[1]):
            journal.append(0, SEGMENTS[4], [claim(0), claim(1), claim(2)])
            for name in SEGMENTS[:3]:
                store.objects.pop(f"{journal.bucket_folder(0)}/{name}", None)

    store.on_read = compact
    assert journal.read_records(0) == {SEGMENTS[4]: [claim(0), claim(1), claim(2)]}


def test_a_new_look_reads_only_the_segments_not_read_before(journal: Journal, store: MemoryStore) -> None:
    journal.append(0, SEGMENTS[0], [claim(0)])
    journal.append(0, SEGMENTS[1], [claim(1)])
    gone = f"{journal.bucket_folder(0)}/{SEGMENTS[1]}"
    store.on_read = lambda uri: uri == gone and store.objects.pop(gone, None)
    assert journal.read_records(0) == {SEGMENTS[0]: [claim(0)]}
    assert len(store.reads) == 2


def test_a_segment_that_is_listed_for_ever_but_missing_is_an_error_that_names_it(
    journal: Journal, store: MemoryStore
) -> None:
    ghost = f"{journal.bucket_folder(0)}/{SEGMENTS[0]}"
    store.ghosts.add(ghost)
    with pytest.raises(StorageError, match=f"{ghost} is listed, but was missing 5 times"):
        states(journal, 0, {})
    assert len(store.reads) == 5


@pytest.mark.parametrize("data", [b"", b"half a fi", b"PAR1 and so on PAR1"])
def test_a_damaged_segment_is_an_error_that_names_it(journal: Journal, store: MemoryStore, data: bytes) -> None:
    journal.append(0, SEGMENTS[0], [claim(0)])
    damaged = f"{journal.bucket_folder(0)}/{SEGMENTS[1]}"
    store.objects[damaged] = data
    with pytest.raises(StorageError, match=rf"{damaged} \({len(data)} bytes\) cannot be read: not a readable"):
        states(journal, 0, {})


def test_an_error_of_the_store_is_not_hidden(journal: Journal, store: MemoryStore) -> None:
    def refuse(uri: str) -> None:
        raise StorageError(f"{uri}: input/output error")

    journal.append(0, SEGMENTS[0], [claim(0)])
    store.on_read = refuse
    with pytest.raises(StorageError, match="input/output error"):
        states(journal, 0, {})


def test_the_journal_of_a_local_output_can_be_queried_with_duckdb(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path), FIRST_JOURNAL)
    accepted = Accepted(RUN, image(2), 0, 1, "7", 11, Facts(), 1_760_000_000_000_000)
    journal.append(3, SEGMENTS[0], [claim(1), Released(RUN, image(1).image_id, 0, 1, sent=True)])
    journal.append(42, SEGMENTS[1], [accepted, Finished(RUN, success(3)), Finished(RUN, failure(4))])
    assert list(states(journal, 42, {})) == [image(number).image_id for number in (2, 3, 4)]

    query = """
        select bucket::int, kind, attributes['site'], epoch_us(recorded_at), error_code
        from read_parquet('{}/journal/*/*.parquet', hive_partitioning=true, union_by_name=true)
        order by bucket, kind, image_id
    """
    assert duckdb.sql(query.format(tmp_path)).fetchall() == [
        (3, "claimed", None, 1, None),
        (3, "released", None, None, None),
        (42, "accepted", None, 1_760_000_000_000_000, None),
        (42, "finished", "a", 1_760_000_000_000_001, None),
        (42, "finished", "a", 1_760_000_000_000_001, "throttled"),
    ]
