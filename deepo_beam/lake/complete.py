"""The end of a publish: its accounts are checked, then the run is complete."""

from __future__ import annotations

from collections.abc import Iterable

from deepo_beam import storage
from deepo_beam.lake.audit import audit
from deepo_beam.lake.journal import Store
from deepo_beam.lake.manifest import PublishedFile
from deepo_beam.lake.publish import Intent, commit, coverage, load_intents, write_shard
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


def roll_forward(output: str, journal: str, store: Store = storage) -> list[Summary]:
    """Complete every publish that was begun and not ended; whoever holds the output does this first.

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
