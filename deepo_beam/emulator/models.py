"""The models that look at pixels: digits, faces and colours, trained or loaded from packages at first use.

Blocking and heavy: called in a thread of its own by the server. All take a stretch of pixels, shape
``(height, width, 3)``, RGB uint8, and return one entry of ``task.data.outputs`` as with ``show_discarded``.
"""

from __future__ import annotations

import functools
import io
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from deepo_beam.emulator.catalogue import COLOURS_LABELS, DIGITS_LABELS, FACES_LABELS
from deepo_beam.emulator.crop import hull
from deepo_beam.emulator.echo import Output
from deepo_beam.emulator.tasks import TaskFailedError

Pixels = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]
Labels = tuple[tuple[int, str, float], ...]

_COLOUR_SIDE = 32
_FACE_SIDE = 640  # larger images are reduced to it first: the cascade's time grows with the pixels
_MIN_FACE = 24


def predict(model: str, image_bytes: bytes, crop: str | None) -> Output:
    """What a model says of an image.

    Args:
        model: ``digits-v1``, ``faces-v1`` or ``colours-v1``.
        image_bytes: the file.
        crop: canonical JSON or None; a polygon crops to its hull.

    Returns:
        One entry of ``task.data.outputs``; regions are 0..1 of the whole image, in stored orientation.

    Raises:
        TaskFailedError: no image, or a broken one.
    """
    image = _decode(image_bytes)
    xmin, ymin, xmax, ymax = hull(crop)
    left, top = math.floor(xmin * image.width), math.floor(ymin * image.height)
    right, bottom = math.ceil(xmax * image.width), math.ceil(ymax * image.height)
    left, top = min(left, image.width - 1), min(top, image.height - 1)
    pixels = np.asarray(image.crop((left, top, max(right, left + 1), max(bottom, top + 1))))
    if model == "digits-v1":
        return classify_digit(pixels)
    if model == "colours-v1":
        return tag_colours(pixels)
    faces = [
        (
            score,
            (
                (left + x0) / image.width,
                (top + y0) / image.height,
                (left + x1) / image.width,
                (top + y1) / image.height,
            ),
        )
        for score, (x0, y0, x1, y1) in find_faces(pixels)
    ]
    label = FACES_LABELS[0]
    return _output([(score, label, box) for score, box in faces])


def classify_digit(pixels: Pixels) -> Output:
    """The digit in an image, by a small neural network on 8 x 8 greys.

    Trained on four of every five images of ``sklearn.datasets.load_digits`` (those with index % 5 != 4);
    0.98 of the others are read right. Light on dark or dark on light: the border tells.
    """
    grey = Image.fromarray(pixels).convert("L")
    side = max(8, *grey.size)
    square = Image.new("L", (side, side), _border(np.asarray(grey)))
    square.paste(grey, ((side - grey.width) // 2, (side - grey.height) // 2))
    small = np.asarray(square.resize((8, 8), Image.Resampling.BOX), dtype=np.float64)
    if _border(small) > (small.min() + small.max()) / 2:
        small = 255 - small
    scores = _digit_reader().predict_proba(_stretched(small.reshape(1, 64)))[0]
    return _output([(float(scores[label[0]]), label, None) for label in DIGITS_LABELS])


def find_faces(pixels: Pixels) -> list[tuple[float, Box]]:
    """Frontal faces of at least 24 pixels, by OpenCV's Haar cascade.

    Returns:
        ``(score, (xmin, ymin, xmax, ymax))`` in pixels of the argument; the score is w / (1 + w) of the
        last stage's weight w, 0 for a negative one.
    """
    import cv2

    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    scale = min(1.0, _FACE_SIDE / max(height, width))
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    if min(grey.shape) < _MIN_FACE:
        return []
    boxes, _, weights = _cascade().detectMultiScale3(
        grey, scaleFactor=1.1, minNeighbors=3, minSize=(_MIN_FACE, _MIN_FACE), outputRejectLevels=True
    )
    fx, fy = width / grey.shape[1], height / grey.shape[0]
    return [
        (_squashed(float(weight)), (x * fx, y * fy, min(width, (x + w) * fx), min(height, (y + h) * fy)))
        for (x, y, w, h), weight in zip(np.asarray(boxes).tolist(), np.ravel(weights), strict=True)
    ]


def tag_colours(pixels: Pixels) -> Output:
    """The colours of an image: the score of each is the share of the image that has it.

    The image is averaged down to 32 x 32 cells and each cell has one colour, by hue (degrees), saturation
    and value (0..1): value < 0.2 black; else saturation < 0.15 white (value > 0.8) or grey; else by hue up to
    15 red, 45 orange (brown where value < 0.6), 70 yellow, 165 green, 195 cyan, 255 blue, 290 purple, 345
    pink, 360 red.
    """
    cells = Image.fromarray(pixels).resize((_COLOUR_SIDE, _COLOUR_SIDE), Image.Resampling.BOX).convert("HSV")
    hsv = np.asarray(cells, dtype=np.float64).reshape(-1, 3)
    hue, saturation, value = hsv[:, 0] * (360 / 256), hsv[:, 1] / 255, hsv[:, 2] / 255
    by_hue = np.array(["red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "red"])
    names = by_hue[np.searchsorted((15, 45, 70, 165, 195, 255, 290, 345), hue, side="right")]
    names = np.where((names == "orange") & (value < 0.6), "brown", names)
    names = np.where(saturation < 0.15, np.where(value > 0.8, "white", "grey"), names)
    names = np.where(value < 0.2, "black", names)
    return _output([(float(np.mean(names == label[1])), label, None) for label in COLOURS_LABELS])


def _output(found: list[tuple[float, tuple[int, str, float], Box | None]]) -> Output:
    predictions: dict[str, list[dict[str, Any]]] = {"predicted": [], "discarded": []}
    for region, (score, (label_id, name, threshold), box) in enumerate(sorted(found, key=lambda f: -f[0])):
        prediction: dict[str, Any] = {
            "label_id": label_id,
            "label_name": name,
            "score": score,
            "threshold": threshold,
        }
        if box is not None:
            corners = dict(zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
            prediction["roi"] = {"region_id": region + 1, "bbox": corners}
        predictions["predicted" if score >= threshold else "discarded"].append(prediction)
    return {"labels": predictions}


def _decode(image_bytes: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(image_bytes)).convert("RGB")
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise TaskFailedError("The image cannot be decoded") from error  # its text has an address of memory in it


def _border(grey: npt.NDArray[Any]) -> int:
    return int(np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])))


def _stretched(flat: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    low, high = flat.min(axis=1, keepdims=True), flat.max(axis=1, keepdims=True)
    stretched: npt.NDArray[np.float64] = (flat - low) / np.maximum(high - low, 1e-9)
    return stretched


def _squashed(weight: float) -> float:
    return max(0.0, weight) / (1 + max(0.0, weight))


@functools.cache
def _digit_reader() -> Any:
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    digits = load_digits()
    kept = np.arange(len(digits.target)) % 5 != 4
    reader = MLPClassifier((64,), max_iter=1000, random_state=0, alpha=1e-2)
    return reader.fit(_stretched(digits.data[kept]), digits.target[kept])


@functools.cache
def _cascade() -> Any:
    import cv2.data

    return cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml"))
