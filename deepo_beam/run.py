"""Everything that a worker must know to do its part of a run; picklable, and without the key."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

from deepo_beam.api import ApiSettings, Credentials, OutputSpec
from deepo_beam.engine import EngineSettings, RunFacts
from deepo_beam.lake.plan import PlanRules
from deepo_beam.types import DetectChanges, ModelKind, ModelRef, Payload, Relabel, RetryRule


@dataclass(frozen=True, slots=True)
class RunPlan:
    """One run, as decided before its first call.

    Attributes:
        run_id: names its partition and its folder.
        output: normalised URI of the output; None keeps no journal.
        model: what the user asked for.
        model_version_id: the version that all images are sent to; None if it is not pinned.
        expected: the outputs of the model, against which answers are checked; None if not known.
        api: where the service is.
        credentials: where the key is to be read, on the worker.
        payload: how images travel.
        show_discarded, max_predictions: as the API has them.
        max_image_bytes: a larger image is not sent.
        buckets: parts of the journal, >= 1.
        journal: the folder of the output's journal.
        retry: which failed images of earlier runs are tried again.
        max_attempts: failed attempts of an image over all runs (>= 1).
        relabel: which labelled images are labelled again.
        detect_changes: how changed files are noticed.
        max_calls: inference calls that this run may make (>= 0), None for no limit.
        allow_private_hosts: http(s) images may come from addresses that are not public.
        alone: one process labels, and no other could label any of its buckets.
        launched: a launcher holds the output for this run; otherwise its workers do.
        engine: numbers for each process; its rate is that of all together.
        started_us: wall clock at the start, microseconds since 1970 UTC.
    """

    run_id: str
    output: str | None
    model: ModelRef
    model_version_id: int | None
    expected: tuple[OutputSpec, ...] | None
    api: ApiSettings
    credentials: Credentials
    payload: Payload
    show_discarded: bool
    max_predictions: int | None
    max_image_bytes: int
    buckets: int
    journal: str
    retry: RetryRule
    max_attempts: int
    relabel: Relabel
    detect_changes: DetectChanges
    max_calls: int | None
    allow_private_hosts: bool
    alone: bool
    launched: bool
    engine: EngineSettings
    started_us: int

    @property
    def target(self) -> ModelRef:
        """Where images are posted to: the pinned version, else the model itself."""
        if self.model_version_id is None:
            return self.model
        return ModelRef(ModelKind.VERSION, str(self.model_version_id))

    @property
    def rules(self) -> PlanRules:
        """What is to be done with known images."""
        return PlanRules(
            run_id=self.run_id,
            retry=self.retry,
            max_attempts=self.max_attempts,
            relabel=self.relabel,
            model_version_id=self.model_version_id,
            detect_changes=self.detect_changes,
        )

    @property
    def facts(self) -> RunFacts:
        """What every record carries."""
        return RunFacts(self.run_id, self.model, self.model_version_id)


def new_run_id(now_s: float | None = None) -> str:
    """UTC time and 4 hex digits: ``20261124T003000Z-ab12``."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))
    return f"{stamp}-{secrets.token_hex(2)}"
