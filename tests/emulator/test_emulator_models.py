import io
import json

import numpy as np
import pytest
import skimage.data
from PIL import Image
from sklearn.datasets import load_digits

from deepo_beam.emulator.models import classify_digit, predict, tag_colours
from deepo_beam.emulator.tasks import TaskFailedError


def encode(pixels, kind="PNG"):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def plain(colour, width=40, height=30):
    return np.full((height, width, 3), colour, np.uint8)


def enlarged(digit, invert=False):
    grey = np.kron(digit / 16 * 255, np.ones((5, 5))).astype(np.uint8)
    return np.dstack([255 - grey if invert else grey] * 3)


def predicted(output):
    return [p["label_name"] for p in output["labels"]["predicted"]]


@pytest.mark.parametrize("invert", [False, True])
def test_digits_that_were_held_out_are_read_in_either_polarity(invert):
    digits = load_digits()
    held_out = [i for i in range(len(digits.target)) if i % 5 == 4]
    right = sum(
        predicted(classify_digit(enlarged(digits.images[i], invert))) == [str(digits.target[i])] for i in held_out
    )
    assert right / len(held_out) > (0.8 if invert else 0.95)


def test_a_classification_has_all_labels_and_scores_that_sum_to_one():
    output = predict("digits-v1", encode(enlarged(load_digits().images[4])), None)
    labels = output["labels"]["predicted"] + output["labels"]["discarded"]
    assert sorted(p["label_id"] for p in labels) == list(range(10))
    assert sum(p["score"] for p in labels) == pytest.approx(1)
    json.dumps(output)


def test_a_face_is_found_where_it_is():
    output = predict("faces-v1", encode(skimage.data.astronaut(), "JPEG"), None)
    assert predicted(output) == ["face"]
    box = output["labels"]["predicted"][0]["roi"]["bbox"]
    assert box["xmin"] < 224 / 512 < box["xmax"]  # between the eyes
    assert box["ymin"] < 110 / 512 < box["ymax"]
    assert 0.1 < box["xmax"] - box["xmin"] < 0.3


def test_a_face_in_a_crop_is_given_in_coordinates_of_the_whole_image():
    whole = predict("faces-v1", encode(skimage.data.astronaut()), None)
    crop = json.dumps({"bbox": {"xmin": 0.2, "ymin": 0.0, "xmax": 0.8, "ymax": 0.6}})
    cropped = predict("faces-v1", encode(skimage.data.astronaut()), crop)
    for corner, value in whole["labels"]["predicted"][0]["roi"]["bbox"].items():
        assert cropped["labels"]["predicted"][0]["roi"]["bbox"][corner] == pytest.approx(value, abs=0.05)


def test_a_crop_without_the_face_has_none():
    crop = json.dumps({"polygon": [{"x": 0.0, "y": 0.6}, {"x": 1.0, "y": 0.6}, {"x": 1.0, "y": 1.0}]})
    assert predicted(predict("faces-v1", encode(skimage.data.astronaut()), crop)) == []


COLOURS = {
    "black": (0, 0, 0),
    "grey": (128, 128, 128),
    "white": (255, 255, 255),
    "red": (220, 20, 20),
    "orange": (255, 140, 0),
    "brown": (110, 65, 20),
    "yellow": (240, 230, 20),
    "green": (20, 160, 40),
    "cyan": (0, 210, 220),
    "blue": (30, 60, 220),
    "purple": (140, 40, 220),
    "pink": (250, 80, 180),
}


@pytest.mark.parametrize(("name", "colour"), COLOURS.items())
def test_a_plain_image_has_its_colour_with_score_one_and_all_others_with_none(name, colour):
    output = tag_colours(plain(colour))
    assert [(p["label_name"], p["score"]) for p in output["labels"]["predicted"]] == [(name, 1.0)]
    assert {p["score"] for p in output["labels"]["discarded"]} == {0.0}


def test_an_image_of_two_colours_has_two_tags_with_their_shares():
    pixels = np.hstack([plain((220, 20, 20), 60), plain((30, 60, 220), 20)])
    tags = [(p["label_name"], p["score"]) for p in tag_colours(pixels)["labels"]["predicted"]]
    assert tags == [("red", 0.75), ("blue", 0.25)]


def test_a_crop_leaves_only_its_colours():
    pixels = np.hstack([plain((220, 20, 20)), plain((30, 60, 220))])
    crop = json.dumps({"bbox": {"xmin": 0.5, "ymin": 0.0, "xmax": 1.0, "ymax": 1.0}})
    assert predicted(predict("colours-v1", encode(pixels), crop)) == ["blue"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_every_format_is_decoded(kind):
    assert predicted(predict("colours-v1", encode(plain((20, 160, 40)), kind), None)) == ["green"]


@pytest.mark.parametrize("model", ["digits-v1", "faces-v1", "colours-v1"])
@pytest.mark.parametrize("size", [(1, 1), (1, 500), (3000, 2)])
def test_images_of_any_shape_are_looked_at(model, size):
    crop = json.dumps({"bbox": {"xmin": 0.99, "ymin": 0.99, "xmax": 1.0, "ymax": 1.0}})
    for some in (None, crop):
        assert set(predict(model, encode(plain((255, 255, 255), *size)), some)["labels"]) == {
            "predicted",
            "discarded",
        }


@pytest.mark.parametrize(
    "broken",
    [b"no image", b"", encode(plain((1, 2, 3)))[:60], encode(skimage.data.astronaut(), "JPEG")[:5000]],
    ids=["text", "empty", "cut PNG", "cut JPEG"],
)
def test_what_cannot_be_decoded_fails_its_task(broken):
    with pytest.raises(TaskFailedError, match="cannot be decoded"):
        predict("colours-v1", broken, None)
