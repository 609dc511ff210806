"""``dataset.json``: what an output is about. A run that means something else is refused.

Made once; only a re-bucketing replaces it, which changes ``buckets`` and ``journal``.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from deepo_beam import storage
from deepo_beam.errors import DatasetMismatchError, ObjectNotFoundError, RunStoppedError
from deepo_beam.lake.journal import FIRST_JOURNAL, Store
from deepo_beam.lake.lock import LOCK
from deepo_beam.lake.schemas import FORMAT_VERSION
from deepo_beam.types import ModelRef

ID_RULE = 1  # of deepo_beam.identity; a change of the rule would make every known image a new one


@dataclass(frozen=True, slots=True)
class Dataset:
    """What an output is about.

    Attributes:
        model: kind and id, as ``spec echo-v1``.
        api_host: of the service.
        show_discarded, max_predictions: change what an answer holds.
        buckets: parts of the journal, >= 1.
        journal: the folder of the journal that is in force; nobody reads another.
        id_rule: how image ids are made.
        format_version: of the journal.
    """

    model: str
    api_host: str
    show_discarded: bool
    max_predictions: int | None
    buckets: int
    journal: str = FIRST_JOURNAL
    id_rule: int = ID_RULE
    format_version: int = FORMAT_VERSION

    @classmethod
    def of(
        cls,
        model: ModelRef,
        *,
        api_host: str,
        show_discarded: bool,
        max_predictions: int | None,
        buckets: int,
    ) -> Dataset:
        """What a run with these options would make."""
        return cls(str(model), api_host, show_discarded, max_predictions, buckets)


def find_dataset(output: str, store: Store = storage) -> Dataset | None:
    """What an existing output is about, None if it is empty or not there.

    Raises:
        DatasetMismatchError: it is something else, or of a later format.
        StorageError: it cannot be read.
    """
    uri = store.join(output, "dataset.json")
    try:
        values = json.loads(store.read_bytes(uri))
    except ObjectNotFoundError:
        for other in store.list_objects(output):
            if other.uri == store.join(output, LOCK) or other.uri.startswith(store.join(output, "workers") + "/"):
                continue  # of runs that began, and ended before they made it one
            raise DatasetMismatchError(
                f"{output} is not empty ({other.uri}) and has no dataset.json: it is not an output of deepo-beam;"
                " give another --output"
            ) from None
        return None
    except (ValueError, RecursionError):
        raise DatasetMismatchError(f"{uri} is not JSON: restore it or give another --output") from None
    names = {field.name for field in dataclasses.fields(Dataset)}
    if isinstance(values, dict) and values.get("format_version") == FORMAT_VERSION and set(values) != names:
        odd = ", ".join(sorted(set(values) ^ names))
        raise DatasetMismatchError(
            f"{uri} lacks, or has too many, fields ({odd}): restore it, or give another --output"
        )
    if not isinstance(values, dict) or values.get("format_version") != FORMAT_VERSION:
        raise DatasetMismatchError(
            f"{uri} is of format {values.get('format_version') if isinstance(values, dict) else None!r},"
            f" this deepo-beam writes format {FORMAT_VERSION}: use the version that made it"
        )
    return Dataset(**values)


def check_same(output: str, existing: Dataset, wanted: Dataset, *, buckets_given: bool) -> None:
    """Refuse to mix two things in one output.

    Args:
        output: of ``existing``.
        existing: what the output is about.
        wanted: what this run would make.
        buckets_given: somebody asked for that number of buckets; otherwise the output's own holds, as its journal does.

    Raises:
        DatasetMismatchError: names every difference with both values.
    """
    own_affair = {"journal"} if buckets_given else {"journal", "buckets"}
    differing = [
        field.name
        for field in dataclasses.fields(Dataset)
        if field.name not in own_affair and getattr(existing, field.name) != getattr(wanted, field.name)
    ]
    differences = [
        f"{name} is {getattr(existing, name)!r}, this run wants {getattr(wanted, name)!r}" for name in differing
    ]
    if differing == ["buckets"]:
        raise DatasetMismatchError(
            f"{output} has another number of parts: {differences[0]}; leave --buckets out, or change it with"
            f" `deepo-beam compact {output} --buckets {wanted.buckets}`"
        )
    if differences:
        raise DatasetMismatchError(
            f"{output} belongs to another dataset: {'; '.join(differences)}; give another --output"
        )


def check_journal(output: str, journal: str, store: Store = storage) -> None:
    """See that the journal with which a run was planned is still in force, now that the output is held.

    Raises:
        RunStoppedError: the output was re-bucketed since.
        StorageError: it cannot be read.
    """
    dataset = find_dataset(output, store)
    if dataset is not None and dataset.journal != journal:
        raise RunStoppedError(f"{output} was re-bucketed after this run was planned: start it again")


def write_dataset(output: str, dataset: Dataset, store: Store = storage) -> None:
    """Make an output, or have another of its journals in force from now on.

    Raises:
        StorageError: it cannot be written.
    """
    data = json.dumps(dataclasses.asdict(dataset), indent=2).encode()
    store.write_bytes(store.join(output, "dataset.json"), data + b"\n")
