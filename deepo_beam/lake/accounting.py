"""The accounts of a run from two sources that know nothing of each other: its listing, and the tables as read back.

Pure, over Arrow columns, one range of image ids after the other: what it holds beside the columns is of one range.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from deepo_beam.lake.summary import OUTCOMES, Summary

_SHOWN = 20
_LABELLED = pa.array(["succeeded", "no_detection"])
_RANGES = tuple(pairwise((None, "2", "4", "6", "8", "a", "c", "e", None)))  # of image ids, whatever they are
_MANY = 100_000  # rows of a column, from which on ranges save more than they cost


@dataclass(frozen=True, slots=True)
class Tables:
    """What the tables say of images; all are columns of image ids, but for ``statuses``.

    Attributes:
        own, statuses: the rows of ``images`` of this run.
        own_errors: the rows of ``errors`` of this run.
        labelled: images that a row of any run says were labelled, with or without predictions.
        failed: images that a row of any run says failed.
    """

    own: pa.ChunkedArray
    statuses: pa.ChunkedArray
    own_errors: pa.ChunkedArray
    labelled: pa.ChunkedArray
    failed: pa.ChunkedArray


def split_by_status(images: pa.Table) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """The image ids that were labelled, and those that failed."""
    ids, statuses = images["image_id"], images["status"]
    labelled = pc.is_in(statuses, _LABELLED)
    # Without a copy where all are labelled, as nearly always.
    return ids if pc.all(labelled).as_py() else ids.filter(labelled), ids.filter(pc.equal(statuses, "failed"))


def unaccounted(listing: pa.Table, tables: Tables) -> list[tuple[str, list[str]]]:
    """What is wrong whatever the journal says: (what, image ids) for each kind of it.

    Args:
        listing: columns ``image_id`` and ``disposition``.
        tables: of this run and all before it.
    """
    found: dict[str, list[str]] = {}
    for part in _by_range(listing, tables):
        for what, ids in _unaccounted(*part).items():
            found.setdefault(what, []).extend(ids.to_pylist())
    return [(what, ids) for what, ids in found.items() if ids]


def _unaccounted(listing: pa.Table, tables: Tables) -> dict[str, pa.ChunkedArray]:
    own_failed = tables.own.filter(pc.equal(tables.statuses, "failed"))
    own_labelled = tables.own.filter(pc.is_in(tables.statuses, _LABELLED))  # may have come after the plan to skip
    return {
        "reused, but no table has their labelling": not_in(_ids(listing, "reused"), tables.labelled),
        "skipped, but no table has their failure": not_in(_ids(listing, "skipped"), tables.failed, own_labelled),
        "known, but in no table": not_in(_ids(listing, "compare"), tables.labelled, tables.failed),
        "failed, but not in errors/": not_in(own_failed, tables.own_errors),
        "in errors/, but not failed": not_in(tables.own_errors, own_failed),
        "twice in images/ of this run": _doubled(tables.own),
        "twice in errors/ of this run": _doubled(tables.own_errors),
    }


def doubled(ids: pa.ChunkedArray) -> list[str]:
    """The ids that stand in a column more than once, sorted."""
    found: list[str] = []
    for chosen in _ranges(len(ids)):
        found += _doubled(_within(ids, ids, chosen)).to_pylist()
    return found


def _doubled(ids: pa.ChunkedArray) -> pa.Array:
    ordered = ids.combine_chunks().sort() if len(ids) > 1 else pa.array([], pa.string())
    if not len(ordered):
        return ordered
    return ordered[1:].filter(pc.equal(ordered[1:], ordered[:-1])).unique()


def agrees(listing: pa.Table, tables: Tables, summary: Summary) -> bool:
    """Whether the counts of the summary can be those of the listing and the tables.

    False does not make them wrong: an image that an earlier run labelled, and this one published and was to label again
    but did not, has a row and is not attempted. An image that was to be compared and has no row in this run was found
    unchanged, or not attempted: no table tells which.

    Args:
        listing: columns ``image_id`` and ``disposition``.
        tables: of this run and all before it.
        summary: as the journal has it.
    """
    counted: Counter[str] = Counter()
    for part in _by_range(listing, tables):
        counted.update(_count(*part))
    told = {name: int(getattr(summary, name)) for name in OUTCOMES}
    exact = ("succeeded", "no_detection", "failed")
    # Of those compared without a row of this run: what the summary counts beyond what is certain.
    reused = told["reused"] - counted["listed as reused"]
    skipped = told["skipped"] - counted["listed as skipped"]
    left = told["not_attempted"] - counted["label none"]
    return (
        summary.listed == counted["listed"]
        and summary.published == counted["rows"]
        and told["duplicate"] == counted["listed as duplicate"]
        and all(told[name] == counted[f"label {name}"] + counted[f"compare {name}"] for name in exact)
        and min(reused, skipped, left) >= 0
        and reused + skipped + left == counted["compare none"]
        and reused <= counted["unchanged and labelled"]
        and skipped <= counted["unchanged and failed"]
    )


def _count(listing: pa.Table, tables: Tables) -> Counter[str]:
    """How many are listed, as what; which status those to be labelled, and to be compared, have in this run's rows."""
    counted = Counter({"listed": listing.num_rows, "rows": len(tables.own)})
    for name, count in zip(*_value_counts(listing["disposition"]), strict=True):
        counted[f"listed as {name}"] = count
    for disposition in ("label", "compare"):
        for name, count in _statuses(_ids(listing, disposition), tables).items():
            counted[f"{disposition} {name}"] = count
    unchanged = not_in(_ids(listing, "compare"), tables.own)
    counted["unchanged and labelled"] = len(unchanged) - len(not_in(unchanged, tables.labelled))
    counted["unchanged and failed"] = len(unchanged) - len(not_in(unchanged, tables.failed))
    return counted


def _by_range(listing: pa.Table, tables: Tables) -> Iterator[tuple[pa.Table, Tables]]:
    for chosen in _ranges(max(listing.num_rows, len(tables.own), len(tables.labelled), len(tables.failed))):
        yield (
            _within(listing, listing["image_id"], chosen),
            Tables(
                own=_within(tables.own, tables.own, chosen),
                statuses=_within(tables.statuses, tables.own, chosen),
                own_errors=_within(tables.own_errors, tables.own_errors, chosen),
                labelled=_within(tables.labelled, tables.labelled, chosen),
                failed=_within(tables.failed, tables.failed, chosen),
            ),
        )


def _ranges(rows: int) -> Sequence[tuple[str | None, str | None]]:
    return _RANGES if rows > _MANY else ((None, None),)


def _within(rows: Any, ids: pa.ChunkedArray, chosen: tuple[str | None, str | None]) -> Any:
    """The rows, a table or a column, of the ids from the first of the range up to its end, and not that."""
    first, end = chosen
    if first is not None and end is not None:
        return rows.filter(pc.and_(pc.greater_equal(ids, first), pc.less(ids, end)))
    if first is not None:
        return rows.filter(pc.greater_equal(ids, first))
    return rows if end is None else rows.filter(pc.less(ids, end))


def outcome_difference(journal: Mapping[str, int], summary: Summary) -> str | None:
    """Where the outcomes that the journal gives for the listing, and those of the summary, differ; None: nowhere."""
    told = {"listed": sum(journal.values()), **journal}
    differing = [
        f"{name} {getattr(summary, name):,} and {told.get(name, 0):,}"
        for name in ("listed", *OUTCOMES)
        if getattr(summary, name) != told.get(name, 0)
    ]
    return ", ".join(differing) or None


def named(ids: Sequence[str]) -> str:
    """How many images, and the first twenty ids."""
    shown = ", ".join(ids[:_SHOWN])
    more = f" and {len(ids) - _SHOWN:,} more" if len(ids) > _SHOWN else ""
    return f"{len(ids):,} image{'' if len(ids) == 1 else 's'} ({shown}{more})"


def not_in(ids: pa.ChunkedArray, *known: pa.ChunkedArray) -> pa.ChunkedArray:
    """Of some image ids those that are in none of the columns ``known``."""
    for column in known:
        if len(ids) and len(column):
            ids = ids.filter(pc.invert(pc.is_in(ids, column)))
    return ids


def _ids(listing: pa.Table, disposition: str) -> pa.ChunkedArray:
    return listing["image_id"].filter(pc.equal(listing["disposition"], disposition))


def _statuses(ids: pa.ChunkedArray, tables: Tables) -> Counter[str]:
    """How many have which status in this run's rows; ``none``: no row."""
    if not len(ids) or not len(tables.own):
        return Counter(none=len(ids))
    rows = pc.index_in(ids, tables.own)
    names, counts = _value_counts(tables.statuses.take(rows))
    return Counter({name or "none": count for name, count in zip(names, counts, strict=True)})


def _value_counts(column: pa.ChunkedArray) -> tuple[Iterable[str | None], Iterable[int]]:
    counts = pc.value_counts(column)
    return counts.field("values").to_pylist(), counts.field("counts").to_pylist()
