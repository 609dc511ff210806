"""The models on offer: specifications and versions as data, as the API shows them. Pure.

Deepomatic API v0.7: public specifications have text ids, private ones integer ids; a specification runs its
current version, which can move on; a version is fixed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from deepo_beam.emulator.echo import ECHO_LABELS, threshold

SpecId = str | int
Task = Literal["tagging", "classification", "detection"]

UPDATED = "2026-01-05T09:00:00.000000Z"
_VERSION_STEP = 100  # the version after 11 is 111, after 21 is 121


@dataclass(frozen=True, slots=True)
class Model:
    """What answers: a name for the dispatch, the task, its labels as (id, name, threshold)."""

    name: str
    task: Task
    labels: tuple[tuple[int, str, float], ...]
    description: str


@dataclass(frozen=True, slots=True)
class Spec:
    """A specification; ``version_id`` is the first version, None where there is nothing to run yet."""

    id: SpecId
    model: Model
    version_id: int | None


_ECHO = tuple((i + 1, name, threshold(i + 1)) for i, name in enumerate(ECHO_LABELS))
DIGITS_LABELS = tuple((digit, str(digit), 0.5) for digit in range(10))
FACES_LABELS = ((1, "face", 0.5),)
COLOURS_LABELS = tuple(
    (i + 1, name, 0.15)
    for i, name in enumerate(
        (
            "black",
            "grey",
            "white",
            "red",
            "orange",
            "brown",
            "yellow",
            "green",
            "cyan",
            "blue",
            "purple",
            "pink",
        )
    )
)

_ECHO_TAGS = Model("echo-v1", "tagging", _ECHO, "Labels derived from the SHA-256 of the bytes and the crop.")
_ECHO_BOXES = Model("echo-boxes-v1", "detection", _ECHO, "The labels of echo-v1, each with a region.")
_ECHO_CLASS = Model("imagenet-inception-v3", "classification", _ECHO, "At most one of the labels of echo-v1.")
_DIGITS = Model("digits-v1", "classification", DIGITS_LABELS, "Handwritten digits, trained on scikit-learn's.")
_FACES = Model("faces-v1", "detection", FACES_LABELS, "Frontal faces by OpenCV's Haar cascade.")
_COLOURS = Model("colours-v1", "tagging", COLOURS_LABELS, "The colours that cover at least 15 % of the image.")
_EMPTY = Model("empty-v1", "tagging", _ECHO, "A specification without a version: nothing to run yet.")

SPECS: dict[SpecId, Spec] = {
    spec.id: spec
    for spec in (
        Spec("echo-v1", _ECHO_TAGS, 21),
        Spec("echo-boxes-v1", _ECHO_BOXES, 22),
        Spec("imagenet-inception-v3", _ECHO_CLASS, 23),
        Spec("digits-v1", _DIGITS, 24),
        Spec("faces-v1", _FACES, 25),
        Spec("colours-v1", _COLOURS, 26),
        Spec("empty-v1", _EMPTY, None),
        Spec(1, _ECHO_TAGS, 11),
        Spec(2, _ECHO_BOXES, 12),
        Spec(3, _ECHO_CLASS, 13),
    )
}


def public_specs() -> list[Spec]:
    """Those with text ids, in a fixed order."""
    return [spec for spec in SPECS.values() if isinstance(spec.id, str)]


def private_specs() -> list[Spec]:
    """Those with integer ids, in a fixed order."""
    return [spec for spec in SPECS.values() if isinstance(spec.id, int)]


def current_version(spec: Spec, *, moved_on: bool) -> int | None:
    """The id of the version that a specification runs now; ``moved_on``: its second version is out."""
    if spec.version_id is None:
        return None
    return spec.version_id + _VERSION_STEP * moved_on


def versions(*, moved_on: bool) -> dict[int, Spec]:
    """All versions that exist, by id, each with its specification; the newest of a specification last."""
    first = {spec.version_id: spec for spec in SPECS.values() if spec.version_id is not None}
    second = {version_id + _VERSION_STEP: spec for version_id, spec in first.items()} if moved_on else {}
    return first | second


def spec_json(spec: Spec, *, moved_on: bool, listed: bool = False) -> dict[str, Any]:
    """A specification as the API shows it.

    Deepomatic API v0.7, recognition specifications: in a list ``outputs`` is hidden, and
    ``current_version_id`` is hidden for public ones.

    Args:
        spec: which one.
        moved_on: its second version is out.
        listed: as an entry of a list.
    """
    model = spec.model
    fields: dict[str, Any] = {
        "id": spec.id,
        "name": model.name,
        "description": model.description,
        "task_id": None,
        "update_date": UPDATED,
        "metadata": {},
    }
    if not listed:
        labels = [{"id": label_id, "name": name} for label_id, name, _ in model.labels]
        roi = "BBOX" if model.task == "detection" else "NONE"
        exclusive = model.task == "classification"
        fields["outputs"] = [{"labels": {"roi": roi, "exclusive": exclusive, "labels": labels}}]
    if not (listed and isinstance(spec.id, str)):
        fields["current_version_id"] = current_version(spec, moved_on=moved_on)
    return fields


def version_json(version_id: int, spec: Spec) -> dict[str, Any]:
    """A version as the API shows it, thresholds in the order of the specification's labels."""
    thresholds = [value for _, _, value in spec.model.labels]
    return {
        "id": version_id,
        "spec_id": spec.id,
        "network_id": 1000 + version_id,
        "post_processings": [{spec.model.task: {"output_tensor": "predictions", "thresholds": thresholds}}],
        "update_date": UPDATED,
    }
