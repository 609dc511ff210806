import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepo_beam.units import parse_duration, parse_rate, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("17", 17),
        ("17B", 17),
        ("4MB", 4_000_000),
        ("4mb", 4_000_000),
        (" 1.5 kB ", 1_500),
        ("2GB", 2_000_000_000),
        ("1KiB", 1_024),
        ("3MiB", 3 * 1024**2),
        (".5GiB", 512 * 1024**2),
    ],
)
def test_sizes_are_bytes_by_1000_and_with_an_i_by_1024(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "rate"), [("20/s", 20.0), ("0.5/s", 0.5), ("30/min", 0.5), ("7200/h", 2.0), (" 3 / S ", 3.0)]
)
def test_rates_are_per_second(text, rate):
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0s", 0.0), ("90s", 90.0), ("2m", 120.0), ("2min", 120.0), ("6h", 21600.0), ("1.5d", 129600.0)],
)
def test_durations_are_seconds(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "MB", "-1MB", "4XB", "4 M B", "1e3", "nan", "inf", "4MB/s", "٤MB"])
def test_what_is_no_size_is_refused_by_name_with_an_example(text):
    with pytest.raises(ValueError, match="4MB") as caught:
        parse_size(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["", "20", "/s", "0/s", "-1/s", "20/week", "20/m", "nan/s", "inf/s", "9" * 400 + "/s"])
def test_what_is_no_rate_is_refused_by_name_with_an_example(text):
    with pytest.raises(ValueError, match="20/s") as caught:
        parse_rate(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["", "6", "h", "-6h", "6 years", "nanh", "9" * 400 + "h"])
def test_what_is_no_duration_is_refused_by_name_with_an_example(text):
    with pytest.raises(ValueError, match="6h") as caught:
        parse_duration(text)
    assert repr(text) in str(caught.value)


@given(st.integers(0, 10**15), st.sampled_from([("B", 1), ("kB", 10**3), ("MB", 10**6), ("MiB", 2**20)]))
def test_whole_sizes_are_exact(number, unit):
    assert parse_size(f"{number}{unit[0]}") == number * unit[1]


@given(st.floats(min_value=1e-6, max_value=1e9))
def test_a_rate_that_is_printed_is_read_back(rate):
    assert math.isclose(parse_rate(f"{rate:.12f}/s"), rate, rel_tol=1e-5)
