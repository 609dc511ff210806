"""``runs/<id>/stop.json``: what tells every process of a run to stop in order."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from deepo_beam import storage
from deepo_beam.errors import RunStoppedError
from deepo_beam.lake.documents import read_document
from deepo_beam.lake.journal import Store


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a run is to stop, and what its command should exit with for that reason."""

    reason: str
    exit_code: int = RunStoppedError.exit_code


def ask_to_stop(output: str, run_id: str, stop: Stop, store: Store = storage) -> None:
    """Let every process know at its next heartbeat.

    Raises:
        StorageError: they may not hear of it.
    """
    store.write_bytes(_uri(output, run_id, store), json.dumps(dataclasses.asdict(stop)).encode())


def asked_to_stop(output: str, run_id: str, store: Store = storage) -> Stop | None:
    """What :func:`ask_to_stop` said, None if nobody did.

    Raises:
        StorageError: it cannot be read.
    """
    return read_document(_uri(output, run_id, store), store, lambda values: Stop(**values), "request to stop")


def _uri(output: str, run_id: str, store: Store) -> str:
    return store.join(output, "runs", run_id, "stop.json")
