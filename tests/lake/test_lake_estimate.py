"""What a run would do and cost: every entry counted once, calls as a range."""

from collections import Counter

import pytest
from lake_samples import failure, image, success

from deepo_beam.cli.plan import plan_lines
from deepo_beam.errors import ErrorCode, Stage
from deepo_beam.lake.estimate import Estimate, count_bucket, estimate
from deepo_beam.lake.merge import merge
from deepo_beam.lake.plan import PlanRules, plan_bucket
from deepo_beam.records import Accepted, Claimed, Finished, Reason
from deepo_beam.types import Facts, Failure

SIZES = {"size_bytes": 100, "modified_us": 1}
NAMES = [
    "new",
    "in_doubt",
    "retried",
    "relabelled",
    "changed",
    "maybe_changed",
    "known",
    "skipped",
    "open_tasks",
    "duplicate",
    "unusable",
]


def listed(number: int, **changes: object):
    return image(number, **{**SIZES, **changes})


def found(*, max_calls: int | None = None, rate: float | None = None, **rules: object) -> Estimate:
    """One entry of each kind."""
    bad = Failure(Stage.LIST, ErrorCode.INVALID_URI, "no URI", retryable=False)
    for_good = Failure(Stage.VALIDATE, ErrorCode.NOT_AN_IMAGE, "text", retryable=False)
    known = success(3, image=listed(3))
    records = [
        Claimed("a", image(1).image_id, 0, 1, Reason.FIRST, 0),
        Finished("a", failure(2, image=listed(2))),
        Finished("a", known),
        Finished("a", success(4, image=listed(4))),
        Finished("a", failure(5, image=listed(5), failure=for_good)),
        Accepted("a", image(6), 0, 1, "7", 11, Facts(), 0),
        Finished("a", success(8, image=listed(8), facts=Facts())),
    ]
    states = merge((record, 1) for record in records)
    entries = [*(listed(number) for number in range(8)), listed(8, size_bytes=150)]
    entries[4] = listed(4, size_bytes=400)
    entries[7] = image(7)._replace(problem=bad)
    entries.append(listed(3, line=5))
    planned = plan_bucket(entries, states, PlanRules("b", **rules))
    counts = count_bucket(planned, states)
    return estimate(counts, model_version_id=12, max_calls=max_calls, rate_per_s=rate)


def test_every_entry_is_counted_once() -> None:
    seen = found()
    assert {name: getattr(seen, name) for name in NAMES if name != "relabelled"} == dict.fromkeys(
        [name for name in NAMES if name != "relabelled"], 1
    )
    assert seen.listed == sum(getattr(seen, name) for name in NAMES) == 10


def test_calls_and_bytes_are_a_range_if_images_may_have_changed() -> None:
    seen = found()
    assert (seen.calls_min, seen.calls_max) == (4, 5)
    assert (seen.bytes_min, seen.bytes_max) == (450, 850)
    assert (seen.seconds_min, seen.seconds_max) == (None, None)


def test_a_rate_makes_seconds_of_it_and_a_budget_cuts_it() -> None:
    seen = found(rate=2.0)
    assert (seen.seconds_min, seen.seconds_max) == (2.0, 2.5)
    seen = found(rate=2.0, max_calls=3)
    assert (seen.calls_min, seen.calls_max, seen.seconds_max) == (3, 3, 1.5)


def test_known_images_of_another_version_are_told_and_relabelled_on_request() -> None:
    assert found().other_versions == {"11": 1}
    seen = found(relabel="all")
    assert (seen.relabelled, seen.known, seen.other_versions) == (3, 0, {})


def test_the_present_version_is_no_other_version() -> None:
    counts = Counter({"listed": 2, "known": 2, "version 12": 1, "version ": 1})
    assert estimate(counts, model_version_id=12, max_calls=None, rate_per_s=None).other_versions == {"": 1}


@pytest.mark.parametrize(
    ("estimated", "lines"),
    [
        (Estimate(listed=3, known=3), ["listed 3 = 3 known", "0 calls, 0 bytes of images"]),
        (
            Estimate(
                listed=1_200,
                new=1_000,
                maybe_changed=200,
                calls_min=1_000,
                calls_max=1_200,
                bytes_min=10**9,
                bytes_max=2 * 10**9,
                seconds_min=50.0,
                seconds_max=3_660.0,
                other_versions={"11": 5},
            ),
            [
                "listed 1,200 = 0 known + 1,000 new + 200 maybe changed",
                "1,000 to 1,200 calls, 1.0 GB to 2.0 GB of images, 50 s to 1 h 01 min at this rate",
                "5 known images carry version 11: --relabel outdated labels those of another version again",
            ],
        ),
    ],
)
def test_a_plan_is_told_in_a_few_lines(estimated: Estimate, lines: list[str]) -> None:
    assert plan_lines(estimated) == lines
