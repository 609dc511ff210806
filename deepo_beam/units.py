"""Sizes, rates and durations as people write them: ``4MB``, ``20/s``, ``6h``. Pure text to number."""

from __future__ import annotations

import math
import re

_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([A-Za-z]*)\s*")
_RATE = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*/\s*([A-Za-z]+)\s*")

_BYTES = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_PERIODS = {"s": 1, "min": 60, "h": 3600}


def parse_size(text: str) -> int:
    """Turns a size into bytes.

    Args:
        text: a number and a unit: ``B`` (or none), ``kB``, ``MB``, ``GB`` (powers of 1000), ``KiB``, ``MiB``,
            ``GiB`` (powers of 1024); case and spaces do not matter.

    Returns:
        Bytes, rounded down; >= 0.

    Raises:
        ValueError: the text is no size; the message names it and shows a valid one.
    """
    match = _QUANTITY.fullmatch(text)
    factor = _BYTES.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise ValueError(f"{text!r} is not a size: write a number and B, kB, MB, GB, KiB, MiB or GiB, like 4MB")
    number = match[1]
    if number.isdigit():
        return int(number) * factor
    return int(_finite(number, text, "4MB") * factor)


def parse_rate(text: str) -> float:
    """Turns a rate into events per second.

    Args:
        text: a number above 0 and a period: ``/s``, ``/min`` or ``/h``.

    Returns:
        Events per second; finite, > 0.

    Raises:
        ValueError: the text is no rate; the message names it and shows a valid one.
    """
    match = _RATE.fullmatch(text)
    period = _PERIODS.get(match[2].lower()) if match else None
    if match is None or period is None:
        raise ValueError(f"{text!r} is not a rate: write a number and /s, /min or /h, like 20/s")
    rate = _finite(match[1], text, "20/s") / period
    if rate <= 0:
        raise ValueError(f"{text!r} is not a rate: it must be above 0, like 20/s")
    return rate


def parse_duration(text: str) -> float:
    """Turns a duration into seconds.

    Args:
        text: a number and a unit: ``s``, ``m`` or ``min``, ``h``, ``d``.

    Returns:
        Seconds; finite, >= 0.

    Raises:
        ValueError: the text is no duration; the message names it and shows a valid one.
    """
    match = _QUANTITY.fullmatch(text)
    factor = _SECONDS.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise ValueError(f"{text!r} is not a duration: write a number and s, min, h or d, like 6h")
    return _finite(match[1], text, "6h") * factor


def _finite(number: str, text: str, example: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is too large: write a number that can be meant, like {example}")
    return value
