"""The crop of an input, ``{"bbox": {...}}`` or ``{"polygon": [...]}``: checked, canonical, its hull. Pure.

Coordinates are 0..1 of the image, origin top-left (Deepomatic API v0.7, inference inputs).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

Crop = Mapping[str, Any]

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def canonical_crop(crop: Crop | None) -> str | None:
    """The one text of a crop: sorted keys, no spaces, every number a float (``0`` and ``-0.0`` are ``0.0``).

    Args:
        crop: ``{"bbox": {"xmin", "ymin", "xmax", "ymax"}}``, ``{"polygon": [{"x", "y"}, ...]}`` or None.

    Returns:
        JSON, or None for the whole image.

    Raises:
        ValueError: not one of the two, or coordinates that are no crop; the message names the field.
    """
    if crop is None:
        return None
    if set(crop) == {"bbox"}:
        value: Any = _bbox(crop["bbox"])
    elif set(crop) == {"polygon"}:
        value = _polygon(crop["polygon"])
    else:
        raise ValueError(f"crop: give either bbox or polygon, not {sorted(crop) or 'nothing'}")
    return json.dumps({next(iter(crop)): value}, sort_keys=True, separators=(",", ":"))


def hull(canonical: str | None) -> tuple[float, float, float, float]:
    """The box around a crop.

    Args:
        canonical: as :func:`canonical_crop` returns it.

    Returns:
        ``(xmin, ymin, xmax, ymax)`` in 0..1; the whole image for None.
    """
    if canonical is None:
        return 0.0, 0.0, 1.0, 1.0
    crop = json.loads(canonical)
    if "bbox" in crop:
        xmin, ymin, xmax, ymax = (crop["bbox"][corner] for corner in _CORNERS)
        return xmin, ymin, xmax, ymax
    xs = [point["x"] for point in crop["polygon"]]
    ys = [point["y"] for point in crop["polygon"]]
    return min(xs), min(ys), max(xs), max(ys)


def _bbox(value: Any) -> dict[str, float]:
    if not isinstance(value, Mapping) or set(value) != set(_CORNERS):
        raise ValueError("bbox: give an object of xmin, ymin, xmax and ymax")
    box = {corner: _coordinate(value[corner], f"bbox.{corner}") for corner in _CORNERS}
    if not (box["xmin"] < box["xmax"] and box["ymin"] < box["ymax"]):
        raise ValueError("bbox: xmin must be below xmax, and ymin below ymax")
    return box


def _polygon(value: Any) -> list[dict[str, float]]:
    if not isinstance(value, list) or len(value) < 3:
        raise ValueError("polygon: give a list of at least three points")
    points = []
    for index, point in enumerate(value):
        if not isinstance(point, Mapping) or set(point) != {"x", "y"}:
            raise ValueError(f"polygon[{index}]: give an object of x and y")
        points.append({axis: _coordinate(point[axis], f"polygon[{index}].{axis}") for axis in ("x", "y")})
    if len({point["x"] for point in points}) < 2 or len({point["y"] for point in points}) < 2:
        raise ValueError("polygon: its points enclose nothing")
    return points


def _coordinate(value: Any, name: str) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 <= value <= 1:
        raise ValueError(f"{name}: give a number from 0 to 1, not {value!r:.60}")
    return float(value) + 0.0  # -0.0 + 0.0 is 0.0
