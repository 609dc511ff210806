"""What Beam's options mean for the job."""

from __future__ import annotations

import pytest

from deepo_beam.bulk import pipeline_options, worker_count
from deepo_beam.config import LabelConfig
from deepo_beam.errors import ConfigError


@pytest.mark.parametrize(
    ("flags", "workers"),
    [
        ([], 1),
        (["--direct_num_workers=3"], 1),  # threads of one process
        (["--direct_num_workers=3", "--direct_running_mode=multi_processing"], 3),
        (["--runner=FlinkRunner", "--parallelism=4"], 4),
        (["--runner=DataflowRunner", "--max_num_workers=5", "--num_workers=2"], 5),
    ],
)
def test_the_workers_that_share_the_rate_are_those_that_the_options_name(flags: list[str], workers: int) -> None:
    assert worker_count(pipeline_options(LabelConfig(), flags)) == workers


@pytest.mark.parametrize(
    ("flag", "meant"), [("--rat=20/s", "--rate"), ("--runer=FlinkRunner", "--runner"), ("--xyzzyx=1", "neither")]
)
def test_an_option_that_nobody_knows_is_refused_and_the_nearest_is_named(flag: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=meant):
        pipeline_options(LabelConfig(), [flag])


def test_a_runner_elsewhere_may_know_more_but_a_near_miss_is_refused_for_it_too() -> None:
    pipeline_options(LabelConfig(), ["--runner=FlinkRunner", "--execution_mode_for_batch=BATCH_FORCED"])
    with pytest.raises(ConfigError, match="did you mean --rate"):
        pipeline_options(LabelConfig(), ["--runner=FlinkRunner", "--rat=20/s"])
