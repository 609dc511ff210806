"""What Beam's options mean for the job."""

from __future__ import annotations

from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import StandardOptions
from apache_beam.runners.runner import create_runner

from deepo_beam.bulk import pipeline_options, prepare_run, takes_value
from deepo_beam.cli.options import split_beam_options
from deepo_beam.config import LabelConfig
from deepo_beam.errors import ConfigError
from deepo_beam.transforms.labelling_process import is_alone


@pytest.mark.parametrize(
    ("flags", "alone"),
    [
        ([], True),
        (["--runner=DirectRunner"], True),
        (["--direct_num_workers=3"], True),  # threads of one process
        (["--direct_num_workers=3", "--direct_running_mode=multi_processing"], False),
        (["--runner=FlinkRunner", "--parallelism=1"], False),
        (["--runner=DataflowRunner"], False),
    ],
)
def test_only_beams_own_runner_in_memory_labels_alone(flags: list[str], alone: bool) -> None:
    options = pipeline_options(LabelConfig(), flags)
    assert is_alone(create_runner(options.view_as(StandardOptions).runner), options) == alone


@pytest.mark.parametrize("flags", [["--runner", "FnApiRunner"], ["--direct_num_workers", "2", "--streaming"]])
def test_a_value_may_follow_its_option(flags: list[str]) -> None:
    assert pipeline_options(LabelConfig(), flags)


@pytest.mark.parametrize("flags", [["stray"], ["--streaming", "stray"], ["--runner=FnApiRunner", "stray"]])
def test_a_word_that_belongs_to_no_option_is_named(flags: list[str]) -> None:
    with pytest.raises(ConfigError, match="'stray' among Beam's options"):
        pipeline_options(LabelConfig(), flags)


def test_options_of_label_and_of_beam_are_told_apart_with_their_values() -> None:
    given = ["a.jpg", "--output=out", "--runner", "FnApiRunner", "b.jpg", "--streaming", "c.jpg", "--no-pin-version"]
    ours, beams = split_beam_options(given, takes_value)
    assert ours == ["a.jpg", "--output=out", "b.jpg", "c.jpg", "--no-pin-version"]
    assert beams == ["--runner", "FnApiRunner", "--streaming"]


@pytest.mark.parametrize(
    ("flag", "meant"), [("--rat=20/s", "--rate"), ("--runer=FlinkRunner", "--runner"), ("--xyzzyx=1", "neither")]
)
def test_an_option_that_nobody_knows_is_refused_and_the_nearest_is_named(flag: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=meant):
        pipeline_options(LabelConfig(), [flag])


def test_dataflow_is_not_sent_to_a_folder_of_this_machine(tmp_path: Path) -> None:
    config = LabelConfig(inputs=["a.jpg"], output=str(tmp_path / "lake"), spec="echo-v1", run_id="run-a")
    with pytest.raises(ConfigError, match="which Dataflow's workers do not have: name a folder in a store"):
        prepare_run(config, ["--runner=DataflowRunner"])
    assert not list(tmp_path.iterdir())


def test_a_runner_elsewhere_may_know_more_but_a_near_miss_is_refused_for_it_too() -> None:
    pipeline_options(LabelConfig(), ["--runner=FlinkRunner", "--execution_mode_for_batch=BATCH_FORCED"])
    with pytest.raises(ConfigError, match="did you mean --rate"):
        pipeline_options(LabelConfig(), ["--runner=FlinkRunner", "--rat=20/s"])
