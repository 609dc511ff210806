"""The bulk job: a configuration in, a pipeline out, and a summary when it has run.

``list images -> group by bucket -> label (journal) -> publish (tables, manifest, summary, _SUCCESS)``
"""

from __future__ import annotations

import dataclasses
import difflib
import io
import json
import logging
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from functools import partial
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.pvalue import PCollection
from apache_beam.runners.runner import create_runner

from deepo_beam import storage
from deepo_beam.config import LabelConfig
from deepo_beam.errors import ConfigError, RunStoppedError, StorageError
from deepo_beam.inputs import expand_input
from deepo_beam.lake import publish
from deepo_beam.lake.compact import NIGHTS, compact
from deepo_beam.lake.complete import mend
from deepo_beam.lake.dataset import find_dataset
from deepo_beam.lake.estimate import Estimate
from deepo_beam.lake.holding import check_held, held_output
from deepo_beam.lake.publish import is_published, run_uri
from deepo_beam.lake.snapshot import snapshot_uri, write_snapshot
from deepo_beam.lake.stops import Stop, ask_to_stop
from deepo_beam.lake.summary import Summary
from deepo_beam.preflight import STDIN_LIST, check_inputs, check_output, decide, input_options, prepare
from deepo_beam.run import RunPlan, new_run_id
from deepo_beam.runners import explain_failure
from deepo_beam.storage.settings import store_variables
from deepo_beam.transforms import EstimateWork, LabelBuckets, ListImages, PublishTables, SelectImages, labelling_process
from deepo_beam.transforms.label_images import BUCKETS
from deepo_beam.types import ImageRef

_log = logging.getLogger(__name__)
DEFAULT_RUNNER = "FnApiRunner"


def build(pipeline: beam.Pipeline, config: LabelConfig, plan: RunPlan) -> PCollection[Summary]:
    """The whole job as a graph.

    Args:
        pipeline: to add it to.
        config: what to list.
        plan: how to label; it has an output.

    Returns:
        One element, when ``_SUCCESS`` is there.
    """
    labelled = _images(pipeline, config) | "LabelImages" >> LabelBuckets(plan, accounted=True)
    return labelled[BUCKETS] | "PublishTables" >> PublishTables(plan)


def _images(pipeline: beam.Pipeline, config: LabelConfig) -> PCollection[ImageRef]:
    return (
        pipeline
        | "ListImages" >> ListImages(config.inputs, input_options(config))
        | "SelectImages" >> SelectImages(limit=config.limit, sample=config.sample, seed=config.seed)
    )


def use_stores(config: LabelConfig, beam_flags: Sequence[str] = ()) -> None:
    """Let Beam's options of stores hold from now on, in this process and those that it starts.

    Args:
        config: whose own options of Beam count, too.
        beam_flags: Beam's own options, as :func:`run` will take them.
    """
    os.environ.update(store_variables([*_as_flags(config.beam), *beam_flags]))


def estimate_run(config: LabelConfig) -> Estimate:
    """What a run would do and cost; it runs in this process, calls no inference and writes nothing to the output.

    Raises:
        ConfigError, PreflightError, StorageError: as :func:`prepare_run`.
    """
    with tempfile.TemporaryDirectory(prefix="deepo-beam-") as folder:
        piped = _read_standard_input(config)
        if piped is not None:
            uri = str(Path(folder) / "stdin.txt")
            storage.write_bytes(uri, piped)
            config = config.model_copy(update={"inputs": tuple(uri if text == "-" else text for text in config.inputs)})
        check_inputs(config)
        plan = decide(config)
        found = str(Path(folder) / "estimate.json")
        pipeline = beam.Pipeline(runner=DEFAULT_RUNNER)
        estimated = _images(pipeline, config) | "EstimateWork" >> EstimateWork(plan)
        estimated | "Keep" >> beam.Map(_write_estimate, found)
        _run(pipeline)
        return Estimate(**json.loads(storage.read_bytes(found)))


def _write_estimate(found: Estimate, uri: str) -> None:
    storage.write_bytes(uri, json.dumps(dataclasses.asdict(found)).encode())


@contextmanager
def held_run(config: LabelConfig) -> Iterator[LabelConfig]:
    """Name the run, and hold its output while the block runs.

    Yields:
        The configuration, with the run's id.

    Raises:
        ConfigError: there is no model or no output, or it belongs to another dataset.
        OutputHeldError: another run holds the output.
        PreflightError, StorageError: the output cannot be read or written.
    """
    config.model  # noqa: B018 - raises if there is none, before anything is looked at
    check_output(config)  # nothing is written to a folder of somebody else's, not even a heartbeat
    named = config.model_copy(update={"run_id": config.run_id or new_run_id()})
    assert named.run_id is not None
    with held_output(named.output_uri, named.run_id):
        yield named


def prepare_run(config: LabelConfig, beam_flags: Sequence[str] = ()) -> tuple[LabelConfig, RunPlan]:
    """Everything before the first call: finish what an earlier run left half published, then check.

    Args:
        config: from :func:`held_run`.
        beam_flags: Beam's own options, as :func:`run` will take them.

    Returns:
        The configuration with every input readable by workers, and the plan.

    Raises:
        ConfigError: an option cannot be meant, nothing matches, or the output belongs to another dataset.
        PreflightError: key, model or output cannot be used.
        StorageError: the output or an input cannot be read.
    """
    options = pipeline_options(config, beam_flags)
    _check_shared(config, options)
    alone = _is_alone(options)
    dataset = check_output(config)
    if dataset is not None:
        assert config.run_id is not None
        mended = mend(config.output_uri, dataset, check_held=partial(check_held, config.output_uri, config.run_id))
        if mended.swept:
            _log.info("took over %d segments that a re-bucketing had left", mended.swept)
        for summary in mended.completed:
            _log.warning("completed run %s, which had stopped while it published", summary.run_id)
            if summary.accounting:
                _log.error("the accounts of run %s do not add up: %s", summary.run_id, summary.accounting)
        if replaced := compact(config.output_uri, dataset, at_least=NIGHTS):
            _log.info("compacted %d segments of the journal", replaced)
    piped = _read_standard_input(config)
    if piped is None:
        check_inputs(config)
        return config, prepare(config, alone=alone, launched=True)
    if config.inputs != ("-",):
        check_inputs(config.model_copy(update={"inputs": tuple(text for text in config.inputs if text != "-")}))
    plan = prepare(config, alone=alone, launched=True)
    uri = run_uri(config.output_uri, plan.run_id, STDIN_LIST)
    storage.write_bytes(uri, piped)
    return config.model_copy(update={"inputs": tuple(uri if text == "-" else text for text in config.inputs)}), plan


def run(config: LabelConfig, plan: RunPlan, beam_flags: Sequence[str] = ()) -> Summary:
    """Run the job to its end.

    Args:
        config: from :func:`prepare_run`.
        plan: from :func:`prepare_run`.
        beam_flags: Beam's own options, as on a command line; they win over those of the configuration.

    Returns:
        The summary, also of a run that stopped early.

    Raises:
        RunStoppedError: the pipeline ended and left no summary.
    """
    options = pipeline_options(config, beam_flags)
    pipeline = beam.Pipeline(options=options)
    build(pipeline, config, plan)
    with _deadline(plan, config.deadline):
        _run(pipeline)
    summary = read_summary(plan)
    if config.publish == "all":
        _write_snapshot(plan)
    return summary


def _write_snapshot(plan: RunPlan) -> None:
    """Of everything known, from this process: it reads the journal and calls nothing."""
    assert plan.output is not None
    dataset = find_dataset(plan.output)
    assert dataset is not None
    write_snapshot(plan.output, dataset, plan.run_id, snapshot_uri(plan.output, plan.run_id))


def _run(pipeline: beam.Pipeline) -> None:
    """To its end; without Beam's test of a copy of the pipeline, which leaves a temporary folder each time.

    Raises:
        DeepoBeamError: what a worker raised elsewhere.
        RunStoppedError: a worker process died, or the job was cancelled.
    """
    try:
        pipeline.run(test_runner_api=False).wait_until_finish()
    except RuntimeError as error:  # Beam has no other type for it
        explained = explain_failure(str(error))
        if explained is None:
            raise
        raise explained from None


def stop_run(plan: RunPlan, reason: str) -> None:
    """Post nothing more, in any process of the run; what is in flight is waited for, for a while."""
    labelling_process.stop_all(reason)
    if plan.alone or plan.output is None:
        return
    try:
        ask_to_stop(plan.output, plan.run_id, Stop(reason))
    except StorageError as error:
        _log.error("the workers may not hear that they are to stop: %s", error)


@contextmanager
def _deadline(plan: RunPlan, seconds: float | None) -> Iterator[None]:
    """Stop the run in order after so long."""
    if seconds is None:
        yield
        return
    reason = f"the --deadline of {seconds:g} s is over; the next run goes on"
    timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), stop_run, args=(plan, reason))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        labelling_process.forget_stop()


def read_summary(plan: RunPlan) -> Summary:
    """What the run wrote at its end.

    Raises:
        RunStoppedError: there is none.
    """
    assert plan.output is not None
    if not is_published(plan.output, plan.run_id):
        raise RunStoppedError(f"run {plan.run_id} ended before its tables were published; the next run publishes them")
    return publish.read_summary(plan.output, plan.run_id)


def pipeline_options(config: LabelConfig, beam_flags: Sequence[str] = ()) -> PipelineOptions:
    """Beam's options: those of the configuration, then the flags; the default runner is in process.

    Raises:
        ConfigError: there is no such runner, or an option is neither Beam's nor ours.
    """
    flags = [*_as_flags(config.beam), *beam_flags]
    options = PipelineOptions(flags)
    _check_values(options)
    _check_names(flags, options)
    runner = options.get_all_options(drop_default=True).get("runner")
    if runner is None:
        return PipelineOptions([*flags, f"--runner={DEFAULT_RUNNER}"])
    if runner == "DirectRunner":
        _log.warning("DirectRunner would look for another runner first: using %s", DEFAULT_RUNNER)
        return PipelineOptions([*flags, f"--runner={DEFAULT_RUNNER}"])
    try:
        create_runner(runner)
    except (ValueError, ImportError, AttributeError) as error:
        raise ConfigError(f"runner {runner!r}: {error}") from None
    return options


def _is_alone(options: PipelineOptions) -> bool:
    return labelling_process.is_alone(create_runner(options.view_as(StandardOptions).runner), options)


def _check_shared(config: LabelConfig, options: PipelineOptions) -> None:
    """Other runners may share a disk with their workers, which see for themselves whether they do."""
    runner = str(options.view_as(StandardOptions).runner)
    if runner.endswith("DataflowRunner") and storage.is_local(config.output_uri):
        raise ConfigError(
            f"--output {config.output_uri} is on the disk of this machine, which Dataflow's workers do not have: name a"
            " folder in a store, such as gs://my-bucket/labels"
        )


def _check_names(flags: Sequence[str], options: PipelineOptions) -> None:
    """Beam drops what it does not know with a warning: a ``--rat=20/s`` would label without a limit.

    A runner elsewhere may know more options than this Beam does; what is nearly one of ours is refused for it, too.
    """
    known = set(options.get_all_options())
    elsewhere = options.get_all_options(drop_default=True).get("runner") not in (None, DEFAULT_RUNNER, "DirectRunner")
    for position, flag in enumerate(flags):
        name = _name_of(flag)
        if not flag.startswith("--"):
            if not position or not takes_value(flags[position - 1]):
                raise ConfigError(
                    f"{flag!r} among Beam's options is neither one nor the value of one: write --name=value"
                )
            continue
        if not name.strip() or name in known or name.removeprefix("no_") in known:
            continue
        near = difflib.get_close_matches(name, [*LabelConfig.model_fields, *known], n=1, cutoff=0.75)
        if near or not elsewhere:
            hint = f", did you mean --{near[0].replace('_', '-')}?" if near else ": neither Beam nor label knows it"
            raise ConfigError(f"unknown option --{name}{hint}")


def takes_value(flag: str) -> bool:
    """Whether what follows this one of Beam's flags, written without ``=``, is its value."""
    known = PipelineOptions([]).get_all_options()
    return "=" not in flag and flag.startswith("--") and known.get(_name_of(flag), "") is not False


def _name_of(flag: str) -> str:
    return flag.removeprefix("--").partition("=")[0].replace("-", "_")


def _check_values(options: PipelineOptions) -> None:
    """Beam says what is wrong with a value below pages of usage, or breaks at it later."""
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            given = options.get_all_options()
    except SystemExit:
        reason = said.getvalue().strip().rpartition("\n")[2].partition("error: ")[2]
        raise ConfigError(f"Beam's options: {reason}") from None
    if given["direct_num_workers"] < 0:
        raise ConfigError(f"--direct_num_workers is {given['direct_num_workers']}: give 0 (one for each core) or more")


def _as_flags(options: dict[str, object]) -> list[str]:
    flags = []
    for name, value in options.items():
        if value is True:
            flags.append(f"--{name}")
        elif value is not False and value is not None:
            values = value if isinstance(value, list) else [value]
            flags += [f"--{name}={item}" for item in values]
    return flags


def _read_standard_input(config: LabelConfig) -> bytes | None:
    """Standard input as a list of absolute URIs, for workers are elsewhere; None if it is not asked for.

    Raises:
        ConfigError: it is named twice, or empty.
    """
    if "-" not in config.inputs:
        return None
    if config.inputs.count("-") > 1:
        raise ConfigError("standard input (-) is named twice: it can be read only once")
    images = expand_input("-", index=config.inputs.index("-"), options=input_options(config))
    text = "".join(f"{image.location or image.image_uri}\n" for image in images)
    if not text and not config.allow_empty:
        raise ConfigError("standard input (-) is empty: pipe a list of URIs into it, or allow it with --allow-empty")
    return text.encode("utf-8", "surrogateescape")
