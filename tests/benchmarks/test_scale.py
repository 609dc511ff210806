"""docs/scale.md is what its script makes of the kept constants, and its formulas tell what was measured."""

from __future__ import annotations

import pytest

from benchmarks.scale import CPU_FACTOR, FACTOR, PAGE, broken, load, page, part, predictions
from benchmarks.scale_model import Work, buckets_for, journal_objects, requests, shards

MODEL = load()


def test_the_page_is_what_the_script_makes() -> None:
    assert PAGE.read_text() == page(MODEL)


@pytest.mark.parametrize(("images", "what", "predicted", "measured"), predictions(MODEL))
def test_what_is_predicted_is_near_what_was_measured(images: int, what: str, predicted: float, measured: float) -> None:
    factor = CPU_FACTOR if what.startswith("CPU") else FACTOR
    assert 1 / factor < predicted / measured < factor, (images, what)


def test_all_three_sizes_were_measured() -> None:
    assert {images for images, *_ in predictions(MODEL)} == {10_000, 100_000, 1_000_000}


@pytest.mark.parametrize(
    ("images", "buckets"), [(1, 16), (10_000, 16), (1_000_000, 256), (10**8, 32_768), (10**9, 65_536)]
)
def test_a_bucket_is_given_some_thousands_of_images(images: int, buckets: int) -> None:
    assert buckets_for(images) == buckets


def test_a_slow_quota_makes_more_objects_but_never_more_than_two_an_image() -> None:
    slow, fast = (journal_objects(Work(10**8, rate, 1, 32_768)) for rate in (20.0, 200.0))
    assert slow > 9 * fast
    assert journal_objects(Work(100, 0.1, 1, 16)) == 200


def test_a_shard_is_whole_buckets() -> None:
    assert shards(Work(240_000, 1.0, 1, 256)) == 1
    assert shards(Work(300_000, 1.0, 1, 256)) == 2
    assert shards(Work(10**9, 1.0, 1, 16)) == 16


def test_each_image_is_read_once() -> None:
    more = requests(Work(2000, 10.0, 1, 16))["GET"] - requests(Work(1000, 10.0, 1, 16))["GET"]
    assert 1000 < more < 2000


def test_what_is_far_beyond_its_limit_is_named_first() -> None:
    assert broken(MODEL, Work(1_000_000, 200.0, 1, 256)) == []
    worst, *_ = broken(MODEL, Work(10**9, 2000.0, 3, 65_536))
    assert worst.startswith("the accounts")
    assert 2 * 10**7 < part(MODEL) < 4 * 10**7
