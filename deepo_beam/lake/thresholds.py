"""Other thresholds over old answers: what is predicted is decided again from the scores. Pure."""

from __future__ import annotations

import dataclasses
import difflib
import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deepo_beam.errors import ConfigError
from deepo_beam.types import ImageResult, Status


@dataclass(frozen=True, slots=True)
class KnownLabel:
    """A label that some answer named; ``threshold``: the highest that the model had for it (0..1, single precision)."""

    id: int
    name: str
    threshold: float


def parse_thresholds(texts: Iterable[str]) -> list[tuple[str, float]]:
    """Read ``LABEL=0.7``: the label as given, and the threshold.

    Raises:
        ConfigError: one is not of this form, or not 0..1.
    """
    return [_parse(text) for text in texts]


def _parse(text: str) -> tuple[str, float]:
    label, mark, number = text.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if not mark or not label or not 0 <= value <= 1:
        raise ConfigError(f"--threshold {text!r} is not LABEL=NUMBER with a number from 0 to 1, such as cat=0.7")
    return label, value


def choose_thresholds(
    wanted: Sequence[tuple[str, float]], known: Sequence[KnownLabel], *, all_scores: bool
) -> dict[int, float]:
    """The thresholds by label id.

    Args:
        wanted: name or id of a label, and its threshold.
        known: labels of all answers.
        all_scores: answers hold labels below the model's own threshold, too.

    Raises:
        ConfigError: no answer names the label; it is named twice; or its scores are not known so far down.
    """
    chosen: dict[int, float] = {}
    for label, threshold in wanted:
        for found in _find(label, known):
            if chosen.get(found.id, threshold) != threshold:
                raise ConfigError(f"--threshold names {label!r} twice, with {chosen[found.id]:g} and {threshold:g}")
            if not all_scores and _single(threshold) < found.threshold:
                raise ConfigError(
                    f"--threshold {label}={threshold:g} is below the model's own {found.threshold:.4g}, and scores"
                    " below that were not kept: label into another output with --show-discarded"
                )
            chosen[found.id] = threshold
    return chosen


def _find(label: str, known: Sequence[KnownLabel]) -> list[KnownLabel]:
    """By name; by id if no label has that name."""
    found = [one for one in known if one.name == label] or [one for one in known if str(one.id) == label]
    if found:
        return found
    names = sorted({one.name for one in known})
    near = difflib.get_close_matches(label, names, n=3, cutoff=0.5) or names[:5]
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "there is no label yet"
    raise ConfigError(f"--threshold: no answer names a label {label!r}; {hint}")


def _single(number: float) -> float:
    """As the tables hold it."""
    single: float = struct.unpack("f", struct.pack("f", number))[0]
    return single


def apply_thresholds(result: ImageResult, thresholds: Mapping[int, float]) -> ImageResult:
    """The result as if the model had had these thresholds (0..1, by label id); others keep theirs.

    A label is predicted if its score is not below its threshold. Where that was decided again, both lists are sorted by
    falling score, as the API does. The status follows; a failed result stays as it is.
    """
    if not thresholds or result.outputs is None or result.status is Status.FAILED:
        return result
    outputs = [_decide(output, thresholds) for output in json.loads(result.outputs)]
    predicted = any(output["labels"]["predicted"] for output in outputs)
    status = Status.SUCCEEDED if predicted else Status.NO_DETECTION
    return dataclasses.replace(result, outputs=json.dumps(outputs, separators=(",", ":")), status=status)


def _decide(output: dict[str, Any], thresholds: Mapping[int, float]) -> dict[str, Any]:
    labels = output["labels"]
    told = [(one, True) for one in labels["predicted"]] + [(one, False) for one in labels.get("discarded", [])]
    if not any(one["label_id"] in thresholds for one, _ in told):
        return output
    lists: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for one, was_predicted in sorted(told, key=lambda pair: -pair[0]["score"]):
        threshold = thresholds.get(one["label_id"])
        if threshold is None:
            lists[was_predicted].append(one)
        else:
            lists[one["score"] >= threshold].append({**one, "threshold": threshold})
    return {**output, "labels": {**labels, "predicted": lists[True], "discarded": lists[False]}}
