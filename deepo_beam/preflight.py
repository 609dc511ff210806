"""What is checked before the first call: the key, the model, the output, the input. No Beam."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from deepo_beam import storage
from deepo_beam.api import ApiSettings, Client, OutputSpec
from deepo_beam.config import LabelConfig
from deepo_beam.engine import EngineSettings
from deepo_beam.errors import (
    ApiError,
    AuthenticationError,
    BadReplyError,
    ConfigError,
    ForbiddenError,
    NotFoundError,
    PreflightError,
    StorageError,
)
from deepo_beam.inputs import InputKind, InputOptions, classify_input, expand_input
from deepo_beam.lake.dataset import Dataset, check_same, find_dataset, write_dataset
from deepo_beam.lake.journal import FIRST_JOURNAL
from deepo_beam.lake.manifest import versions
from deepo_beam.lake.publish import is_published, run_uri
from deepo_beam.run import RunPlan, new_run_id
from deepo_beam.types import ModelKind, Payload

_WHY_NOT_AGAIN = "its rows are of lists that are to be mended, or of files that only --allow-scheme file allows"
STDIN_LIST = "stdin.txt"  # in the folder of a run: what was read from standard input, for its workers


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the service says of the model.

    Attributes:
        current_version_id: what a call runs now; None if it is not told.
        outputs: what its answers look like; None if it is not told.
    """

    current_version_id: int | None
    outputs: tuple[OutputSpec, ...] | None


def prepare(config: LabelConfig, *, alone: bool = False, launched: bool = False) -> RunPlan:
    """Check everything and decide the run. Sends no image; makes the output if there is none.

    Args:
        config: what the user asked for.
        alone: as in :class:`deepo_beam.run.RunPlan`.
        launched: as there.

    Raises:
        ConfigError, PreflightError, StorageError: as :func:`decide`; also if the output cannot be written.
    """
    plan = decide(config, alone=alone, launched=launched)
    if plan.output is not None:
        _open_output(config, plan, plan.output)
    return plan


def decide(config: LabelConfig, *, alone: bool = False, launched: bool = False) -> RunPlan:
    """Check everything but that the output can be written, and decide the run. Writes nothing.

    Args:
        config: what the user asked for.
        alone: as in :class:`deepo_beam.run.RunPlan`.
        launched: as there.

    Raises:
        ConfigError: an option cannot be meant, or the output belongs to another dataset.
        PreflightError: key, model or output cannot be used.
        StorageError: the output cannot be read.
    """
    api = config.api_settings()
    output = config.output_uri if config.output else None
    dataset = check_output(config) if output is not None else None
    with Client(api, config.credentials) as client:
        facts = check_model(client, config)
    pinned = facts.current_version_id if config.pin_version or config.version_id is not None else None
    return RunPlan(
        run_id=config.run_id or new_run_id(),
        output=output,
        model=config.model,
        model_version_id=pinned,
        expected=facts.outputs,
        api=api,
        credentials=config.credentials,
        payload=config.payload,
        show_discarded=config.show_discarded,
        max_predictions=config.max_predictions,
        max_image_bytes=config.max_image_bytes,
        buckets=dataset.buckets if dataset else config.buckets,
        journal=dataset.journal if dataset else FIRST_JOURNAL,
        retry=config.retry,
        max_attempts=config.max_attempts,
        relabel=config.relabel,
        detect_changes=config.detect_changes,
        max_calls=config.max_calls,
        allow_private_hosts=config.allow_private_hosts,
        alone=alone,
        launched=launched,
        engine=EngineSettings(
            rate_per_s=config.rate,
            max_in_flight=config.max_in_flight,
            max_buffer_bytes=config.max_buffer,
            attempts=config.max_attempts,
            max_failure_rate=config.max_failure_rate,
            pooled_budget=alone,
        ),
        started_us=time.time_ns() // 1000,
    )


def check_output(config: LabelConfig) -> Dataset | None:
    """What the output is about, None if there is none yet.

    Raises:
        DatasetMismatchError: it belongs to another dataset.
        ConfigError: the run of that name is complete.
        PreflightError: it cannot be read.
    """
    output = config.output_uri
    try:
        existing = find_dataset(output)
        complete = config.run_id is not None and is_published(output, config.run_id)
    except StorageError as error:
        raise PreflightError(f"--output {output} cannot be read: {error}") from None
    if existing is not None:
        wanted = _dataset(config, config.api_settings())
        check_same(output, existing, wanted, buckets_given="buckets" in config.model_fields_set)
    if complete:
        raise ConfigError(f"run {config.run_id} of {output} is complete: give another --run-id")
    return existing


def check_model(client: Client, config: LabelConfig) -> ModelFacts:
    """Ask for the account and the model.

    Raises:
        PreflightError: the key is refused, there is no such model, or nothing to run yet.
    """
    model = config.model
    with named_api_errors(client.settings.host, str(model)):
        client.account()
        if model.kind is ModelKind.SPEC:
            return _check_specification(client, model.id, pin=config.pin_version)
        fixed = client.version(model.id)
        outputs = client.specification(fixed.spec_id).outputs if fixed.spec_id else None
        return ModelFacts(fixed.id, outputs)


@contextmanager
def named_api_errors(host: str, what: str) -> Iterator[None]:
    """Say of which service and which thing an API error speaks, and what to do.

    Raises:
        PreflightError: in place of any ApiError.
    """
    try:
        yield
    except AuthenticationError as error:
        raise PreflightError(
            f"{host} refuses the API key: {error}; check DEEPOMATIC_API_KEY or --api-key-file"
        ) from None
    except ForbiddenError as error:
        raise PreflightError(f"the API key may not use {what}: {error}") from None
    except NotFoundError as error:
        raise PreflightError(f"{host} knows no {what}: {error}; list what there is with `deepo-beam specs`") from None
    except BadReplyError as error:
        raise PreflightError(f"{host} does not answer as the API does: {error}; check --api-url") from None
    except ApiError as error:
        raise PreflightError(f"{host} cannot be asked for {what}: {error}") from None


def check_inputs(config: LabelConfig) -> None:
    """See that every input matches something.

    Raises:
        ConfigError: none was given, one cannot be meant, or matches nothing.
        PreflightError: one cannot be read.
    """
    if not config.inputs:
        raise ConfigError("no input: name images, a glob, a folder or a list")
    options = input_options(config)
    empty = []
    for index, text in enumerate(config.inputs):
        try:
            first = next(expand_input(text, index=index, options=options), None)
        except StorageError as error:
            raise PreflightError(f"input {text!r} cannot be read: {error}") from None
        if first is None and classify_input(text) is InputKind.ERRORS:
            raise ConfigError(f"{text!r} has no image that could be tried again: {_WHY_NOT_AGAIN}")
        if first is None:
            empty.append(text)
        else:
            _check_payload(config, first.location)
    if empty and not config.allow_empty:
        raise ConfigError(f"nothing matches {_listed(empty)}: check the spelling, or allow it with --allow-empty")


def input_options(config: LabelConfig) -> InputOptions:
    """How lists are read, and what they may name."""
    own_list = run_uri(config.output_uri, config.run_id, STDIN_LIST) if config.output and config.run_id else None
    return InputOptions(
        uri_column=config.uri_column,
        id_column=config.id_column,
        bbox_column=config.bbox_column,
        polygon_column=config.polygon_column,
        allow_local="file" in config.allow_scheme,
        own_list=own_list,
        own_output=config.output_uri if config.output else None,
    )


def _check_payload(config: LabelConfig, location: str) -> None:
    remote = location.lower().startswith(("http://", "https://"))
    if config.payload is Payload.URL and location and not remote:
        raise ConfigError(f"--payload url takes http(s) URIs only, and {location} is none: use base64 or multipart")


def _check_specification(client: Client, spec_id: str, *, pin: bool) -> ModelFacts:
    spec = client.specification(spec_id)
    if spec.current_version_id is None:
        raise PreflightError(
            f"specification {spec_id} has no current version: nothing to run yet; train or publish one first"
        )
    if spec.outputs == ():
        raise PreflightError(f"specification {spec_id} has no outputs: it would answer nothing")
    if not 0 <= spec.current_version_id < 2**63:
        raise PreflightError(f"specification {spec_id} has version {spec.current_version_id}, which is no version id")
    if pin:
        try:
            client.version(spec.current_version_id)
        except (ForbiddenError, NotFoundError) as error:
            raise PreflightError(
                f"version {spec.current_version_id} of {spec_id} cannot be used by itself: {error};"
                " send images to the specification with --no-pin-version"
            ) from None
    return ModelFacts(spec.current_version_id, spec.outputs)


def _dataset(config: LabelConfig, api: ApiSettings) -> Dataset:
    return Dataset.of(
        config.model,
        api_host=api.host,
        show_discarded=config.show_discarded,
        max_predictions=config.max_predictions,
        buckets=config.buckets,
    )


def _open_output(config: LabelConfig, plan: RunPlan, output: str) -> None:
    """Writing the run's configuration first shows that the output can be written."""
    model = {"kind": plan.model.kind.value, "id": plan.model.id, "version_id": plan.model_version_id}
    facts = {"versions": versions(), "model": model, "config": config.public_dict()}
    try:
        if find_dataset(output) is None:
            write_dataset(output, _dataset(config, plan.api))
        storage.write_bytes(run_uri(output, plan.run_id, "config.json"), json.dumps(facts, indent=2).encode())
    except StorageError as error:
        raise PreflightError(f"the output cannot be written: {error}") from None


def _listed(inputs: Iterable[str]) -> str:
    return ", ".join(repr(text) for text in inputs)
