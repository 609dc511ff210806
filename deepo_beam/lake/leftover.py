"""Publishing without a pipeline what the journal knows and no table has yet."""

from __future__ import annotations

import json
import time

from deepo_beam import storage
from deepo_beam.lake.complete import complete
from deepo_beam.lake.dataset import Dataset
from deepo_beam.lake.journal import Journal, Store, is_covered
from deepo_beam.lake.manifest import versions
from deepo_beam.lake.publish import (
    coverage,
    load_intents,
    next_number,
    plan_publish,
    run_uri,
    write_intent,
    write_shard,
)
from deepo_beam.lake.summary import Summary, summarise
from deepo_beam.lake.tally import COUNTED, tally_bucket


def publish_leftover(output: str, dataset: Dataset, run_id: str, store: Store = storage) -> Summary | None:
    """Publish it as a run of its own, which lists nothing and calls nothing.

    Args:
        output: held by the caller, every intent of it completed.
        dataset: what it is about.
        run_id: of the new run.
        store: where it is.

    Returns:
        Its summary; None: there was nothing to publish, and nothing was written.

    Raises:
        StorageError: the next run completes what this one began.
    """
    started = time.monotonic()
    done, _ = load_intents(output, dataset.journal, store)
    covered, journal = coverage(done), Journal(output, dataset.journal, store)
    tallies = []
    for bucket in range(dataset.buckets):
        before = covered.get(bucket, {})
        if all(is_covered(name, before) for name in journal.segments(bucket)):
            continue  # nothing is left of it, and reading it is all that this costs
        history = journal.read_history(bucket, before, COUNTED)
        tallies.append(tally_bucket(bucket, [], history, covered=before, run_id=run_id))
    if not any(tally.images for tally in tallies):
        return None
    kind, _, model_id = dataset.model.partition(" ")
    model = {"kind": kind, "id": model_id, "version_id": None}
    facts = {"versions": versions(), "model": model, "config": {"command": "publish"}}
    store.write_bytes(run_uri(output, run_id, "config.json", store), json.dumps(facts, indent=2).encode())
    summary = summarise(
        tallies, [], run_id=run_id, output=output, model=dataset.model, model_version_id=None, seconds=0.0
    )
    number = next_number(output, dataset.journal, done, store)
    intent = write_intent(output, plan_publish(tallies, summary, dataset.journal, number=number), store)
    files = [
        file for number in range(len(intent.shards)) for file in write_shard(output, intent, number, covered, store)
    ]
    return complete(output, intent, files, store, seconds=time.monotonic() - started)
