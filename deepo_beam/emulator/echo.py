"""The echo models: labels derived from the SHA-256 of the bytes and the crop alone. Pure."""

from __future__ import annotations

import hashlib
from typing import Any

from deepo_beam.emulator.crop import Crop, canonical_crop

Output = dict[str, Any]

ECHO_LABELS = (
    *("amber", "basalt", "café", "dune", "ember", "fjord", "glacier", "harbour"),
    *("island", "jungle", "kelp", "lagoon", "meadow", "nebula", "oasis", "prairie"),
    *("quarry", "reef", "savanna", "tundra", "umbra", "volcano", "willow"),
)
"""Label ``i + 1`` is ``ECHO_LABELS[i]``; 23 of them, a prime, so that any step walks through all."""


def threshold(label_id: int) -> float:
    """The threshold of an echo label: 0.25 if its id is odd, else 0.5."""
    return 0.25 if label_id % 2 else 0.5


def echo_key(image_bytes: bytes, crop: str | None = None) -> bytes:
    """What an answer depends on: the SHA-256 of (the SHA-256 of the image, then the crop), 32 bytes.

    Args:
        image_bytes: the file as sent, never decoded.
        crop: canonical JSON (:func:`deepo_beam.emulator.crop.canonical_crop`) or None.
    """
    return hashlib.sha256(hashlib.sha256(image_bytes).digest() + (crop or "").encode()).digest()


def echo_predictions(image_bytes: bytes, crop: Crop | None = None) -> Output:
    """What ``echo-v1`` answers for an image: one entry of ``task.data.outputs``, as with ``show_discarded``.

    The rule, with ``k`` the :func:`echo_key` and ``L(i) = 1 + (k[2] + i * (1 + k[3] % 22)) % 23``:

    1. ``p`` labels are predicted: none if ``k[0] < 16`` (one image in 16), else ``1 + k[0] % 5``;
    2. ``d = k[1] % 4`` more are discarded;
    3. predicted ``i`` (from 0) is label ``L(i)`` with score ``(1024 - 80 * i - k[8 + i] % 80) / 1024``;
    4. discarded ``j`` (from 0) is label ``L(p + j)`` with score ``(239 - 80 * j - k[13 + j] % 80) / 1024``;
    5. a label's name is ``ECHO_LABELS[id - 1]``, its threshold 0.25 if the id is odd, else 0.5.

    So scores fall, predicted ones are >= 0.609, discarded ones < 0.25, and all are exact even as float32.
    Without ``show_discarded`` the server sends the same with ``discarded`` empty.

    Args:
        image_bytes: the file as sent.
        crop: as in the API, ``{"bbox": {...}}`` or ``{"polygon": [...]}``, None for the whole image.

    Returns:
        ``{"labels": {"predicted": [P...], "discarded": [P...]}}`` with
        ``P = {"label_id": int, "label_name": str, "score": float, "threshold": float}``.

    Raises:
        ValueError: the crop is none.
    """
    return tags_of(echo_key(image_bytes, canonical_crop(crop)))


def echo_boxes_predictions(image_bytes: bytes, crop: Crop | None = None) -> Output:
    """What ``echo-boxes-v1`` answers: :func:`echo_predictions` with a region for every prediction.

    Prediction ``n`` (from 0; predicted first, then discarded) has ``region_id = n + 1`` and, with
    ``a, b, c, d = k[(4 * n) % 32 : (4 * n) % 32 + 4]``, the box ``xmin = a / 512``, ``ymin = b / 512``,
    ``xmax = xmin + (1 + c) / 512``, ``ymax = ymin + (1 + d) / 512``, 0..1 of the whole image.

    Args:
        image_bytes: the file as sent.
        crop: as for :func:`echo_predictions`.

    Returns:
        As :func:`echo_predictions`, each ``P`` with ``"roi": {"region_id": int, "bbox": {...}}``.

    Raises:
        ValueError: the crop is none.
    """
    return boxes_of(echo_key(image_bytes, canonical_crop(crop)))


def echo_classification(image_bytes: bytes, crop: Crop | None = None) -> Output:
    """What ``imagenet-inception-v3`` answers here: at most one predicted label, scores that sum to at most 1.

    With ``k``, ``L``, ``d`` as in :func:`echo_predictions` and ``b = k[8]``: ``L(0)`` is predicted with score
    ``(1024 - b) / 1024``, unless ``k[0] < 16``; discarded ``j`` (from 0) is ``L(1 + j)`` with score
    ``(b >> (1 + j)) / 1024``.

    Args:
        image_bytes: the file as sent.
        crop: as for :func:`echo_predictions`.

    Returns:
        As :func:`echo_predictions`.

    Raises:
        ValueError: the crop is none.
    """
    return classes_of(echo_key(image_bytes, canonical_crop(crop)))


def tags_of(key: bytes) -> Output:
    """:func:`echo_predictions` for a key."""
    count = 0 if key[0] < 16 else 1 + key[0] % 5
    predicted = [_prediction(key, i, 1024 - 80 * i - key[8 + i] % 80) for i in range(count)]
    discarded = [_prediction(key, count + j, 239 - 80 * j - key[13 + j] % 80) for j in range(key[1] % 4)]
    return {"labels": {"predicted": predicted, "discarded": discarded}}


def boxes_of(key: bytes) -> Output:
    """:func:`echo_boxes_predictions` for a key."""
    output = tags_of(key)
    for n, prediction in enumerate(output["labels"]["predicted"] + output["labels"]["discarded"]):
        prediction["roi"] = {"region_id": n + 1, "bbox": _box(key, n)}
    return output


def classes_of(key: bytes) -> Output:
    """:func:`echo_classification` for a key."""
    predicted = [] if key[0] < 16 else [_prediction(key, 0, 1024 - key[8])]
    discarded = [_prediction(key, 1 + j, key[8] >> (1 + j)) for j in range(key[1] % 4)]
    return {"labels": {"predicted": predicted, "discarded": discarded}}


def _prediction(key: bytes, i: int, score: int) -> dict[str, Any]:
    index = (key[2] + i * (1 + key[3] % 22)) % 23
    return {
        "label_id": index + 1,
        "label_name": ECHO_LABELS[index],
        "score": score / 1024,
        "threshold": threshold(index + 1),
    }


def _box(key: bytes, n: int) -> dict[str, float]:
    a, b, c, d = key[(4 * n) % 32 : (4 * n) % 32 + 4]
    return {"xmin": a / 512, "ymin": b / 512, "xmax": (a + 1 + c) / 512, "ymax": (b + 1 + d) / 512}
