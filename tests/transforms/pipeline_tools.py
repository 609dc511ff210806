"""Pipelines in this process, and what came out of them."""

from __future__ import annotations

import io
import itertools
import json
from pathlib import Path
from typing import Any

import apache_beam as beam
from PIL import Image

from deepo_beam.emulator import echo_predictions

KEY = "k3y-0123456789abcdef-never-to-be-seen"
_kept: dict[int, list[Any]] = {}
_numbers = itertools.count()


def pipeline() -> beam.Pipeline:
    """To be used as a ``with`` block, at the end of which it has run."""
    return beam.Pipeline(runner="FnApiRunner")


class Keep(beam.PTransform):
    """Puts the elements into ``elements``, with their windows if asked for, when the pipeline has run."""

    def __init__(self, *, with_windows: bool = False) -> None:
        super().__init__()
        self._number = next(_numbers)
        self._with_windows = with_windows
        self.elements = _kept[self._number] = []

    def __reduce__(self) -> tuple:
        raise TypeError("stays here")

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        return elements | "Keep" >> beam.ParDo(_KeepFn(self._number, self._with_windows))


class _KeepFn(beam.DoFn):
    def __init__(self, number: int, with_windows: bool) -> None:
        self._number, self._with_windows = number, with_windows

    def process(self, element: Any, window: Any = beam.DoFn.WindowParam) -> None:
        _kept[self._number].append((element, window) if self._with_windows else element)


def picture(number: int) -> bytes:
    """The bytes of an image that no other number has."""
    stream = io.BytesIO()
    Image.new("RGB", (8, 6), (number % 256, number // 256, 7)).save(stream, "PNG")
    return stream.getvalue()


def expected_outputs(path: str, crop: dict | None = None) -> list[dict]:
    """What the echo model answers for a file, without what it discards."""
    output = echo_predictions(Path(path).read_bytes(), crop)
    return [{"labels": {"predicted": output["labels"]["predicted"], "discarded": []}}]


def outputs(result: Any) -> list[dict]:
    """The answer of a result, in the API's shape."""
    return json.loads(result.outputs)
