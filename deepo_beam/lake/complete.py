"""The end of a publish: its accounts are checked, then the run is complete. And what earlier runs did not end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from deepo_beam import storage
from deepo_beam.lake.audit import audit
from deepo_beam.lake.dataset import Dataset
from deepo_beam.lake.journal import Store
from deepo_beam.lake.manifest import PublishedFile
from deepo_beam.lake.publish import Intent, commit, coverage, load_intents, write_shard
from deepo_beam.lake.rebucket import sweep
from deepo_beam.lake.summary import Summary


def complete(
    output: str,
    intent: Intent,
    files: Iterable[PublishedFile],
    store: Store = storage,
    *,
    seconds: float | None = None,
) -> Summary:
    """Check the accounts of a run, and commit it: what is wrong with them is in its summary.

    Args:
        output: of the run.
        intent: durable.
        files: of all shards.
        store: where to write.
        seconds: wall time of the run by now; None keeps that of the intent.

    Raises:
        StorageError: it is not known to be complete.
    """
    files = list(files)
    accounting = audit(output, intent, files, store)
    return commit(output, intent, files, store, seconds=seconds, accounting=accounting)


class Mended(NamedTuple):
    """What an output needed: segments that were taken over from another journal, and runs that were completed."""

    swept: int
    completed: list[Summary]


def mend(output: str, dataset: Dataset, *, check_held: Callable[[], None], store: Store = storage) -> Mended:
    """End what earlier runs and re-bucketings did not; whoever holds the output does this before anything else.

    Args:
        output: held by the caller.
        dataset: what it is about, as read since then.
        check_held: raises if the output is not held any more.
        store: where it is.

    Raises:
        StorageError, RunStoppedError: as :func:`deepo_beam.lake.rebucket.sweep` and :func:`roll_forward`.
    """
    swept = sweep(output, dataset, check_held=check_held, store=store)  # first: it says which intents count
    return Mended(swept, roll_forward(output, dataset.journal, store))


def roll_forward(output: str, journal: str, store: Store = storage) -> list[Summary]:
    """Complete every publish that was begun and not ended.

    Args:
        output: held by the caller.
        journal: of it, in force.
        store: where it is.

    Raises:
        StorageError: as the steps.
    """
    done, left = load_intents(output, journal, store)
    covered = coverage(done)
    summaries = []
    for intent in left:
        files = [
            file for number in range(len(intent.shards)) for file in write_shard(output, intent, number, covered, store)
        ]
        summaries.append(complete(output, intent, files, store))
        covered = coverage([*done, *left[: len(summaries)]])
    return summaries
