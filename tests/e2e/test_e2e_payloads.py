"""Every way to send an image and every kind of model: the same rows, as the echo rule says."""

import csv
import functools
import http.server
import threading
from contextlib import contextmanager
from urllib.parse import quote

import pytest
from e2e_tools import (
    assert_labels_follow_the_rule,
    by_name,
    expected_labels,
    label,
    label_row,
    rows,
    sha256,
    write_pictures,
)

from deepo_beam.emulator import echo_boxes_predictions

# --- ways to send --------------------------------------------------------------------------------------


@contextmanager
def served(folder):
    """A folder over http; yields its URL."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            """Not on standard error."""

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_all_three_payload_modes_give_the_same_labels(service, tmp_path):
    images = write_pictures(tmp_path / "images", 12)
    with served(tmp_path / "images") as url:
        urls = {f"{url}/{quote(uri.rpartition('/')[2])}": data for uri, data in images.items()}
        for mode, sent in (("base64", images), ("multipart", images), ("url", urls)):
            ended = label(list(sent), tmp_path / mode, service, "--payload", mode)

            assert (ended.code, ended.summary["calls"]) == (0, 12), ended
            assert_labels_follow_the_rule(tmp_path / mode, sent)
    by_mode = [
        sorted((row[0].rpartition("/")[2], *row[2:]) for row in map(label_row, rows(tmp_path / mode, "labels")))
        for mode in ("base64", "multipart", "url")
    ]
    assert by_mode[0] == by_mode[1] == by_mode[2]
    assert by_name(tmp_path / "url", "images")["image-00000.jpeg"]["content_sha256"] is None


def test_images_of_private_hosts_are_rows_in_errors_until_they_are_allowed(service, tmp_path):
    images = write_pictures(tmp_path / "images", 6)
    with served(tmp_path / "images") as url:
        urls = {f"{url}/{quote(uri.rpartition('/')[2])}": data for uri, data in images.items()}
        gone = f"{url}/gone.png"
        refused = label([*urls, gone], tmp_path / "out", service, "--run-id", "refused")
        allowed = label([*urls, gone], tmp_path / "out", service, "--allow-private-hosts", "--retry", "all")

    assert (refused.code, refused.summary["errors_by_code"]) == (3, {"address_refused": 7})
    messages = [row["error_message"] for row in rows(tmp_path / "out", "errors", run_id="refused")]
    assert ["--allow-private-hosts" in message for message in messages] == [True] * 7
    assert (allowed.code, allowed.summary["errors_by_code"]) == (0, {"object_missing": 1})
    assert (refused.summary["calls"], allowed.summary["calls"]) == (0, 6)
    assert_labels_follow_the_rule(tmp_path / "out", urls)
    read = [row for row in rows(tmp_path / "out", "images") if row["status"] == "succeeded"]
    assert {row["content_sha256"] for row in read} == set(map(sha256, urls.values()))
    assert all(row["modified_at"] is not None for row in read)


@pytest.mark.parametrize("payload", ["base64", "multipart"])
def test_crops_from_a_list_are_sent_and_each_crop_is_an_image_of_its_own(payload, service, tmp_path):
    (uri, data), *_ = write_pictures(tmp_path / "images", 1).items()
    corner = '{"xmin": 0, "ymin": 0, "xmax": 0.5, "ymax": 0.5}'
    with (tmp_path / "crops.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image_uri", "box", "outline"])
        writer.writerow([uri, corner, ""])
        writer.writerow([uri, "[0.25, 0.25, 0.75, 1]", ""])
        writer.writerow([uri, "", "[[0, 0], [1, 0], [0.5, 1]]"])
        writer.writerow([uri, "", ""])
    columns = ("--bbox-column", "box", "--polygon-column", "outline")

    ended = label(tmp_path / "crops.csv", tmp_path / "out", service, *columns, "--payload", payload)

    assert (ended.code, ended.summary["listed"], ended.summary["calls"]) == (0, 4, 4)
    crops = [
        '{"bbox":{"xmax":0.5,"xmin":0.0,"ymax":0.5,"ymin":0.0}}',
        '{"bbox":{"xmax":0.75,"xmin":0.25,"ymax":1.0,"ymin":0.25}}',
        '{"polygon":[{"x":0.0,"y":0.0},{"x":1.0,"y":0.0},{"x":0.5,"y":1.0}]}',
        None,
    ]
    wanted = [row for crop in crops for row in expected_labels(uri, data, crop=crop)]
    assert sorted(map(label_row, rows(tmp_path / "out", "labels")), key=repr) == sorted(wanted, key=repr)
    images = rows(tmp_path / "out", "images")
    assert {row["crop"] for row in images} == set(crops)
    assert len({row["image_id"] for row in images}) == 4
    assert all(row["attributes"] == [] for row in images)


def test_show_discarded_keeps_the_labels_below_their_threshold(service, tmp_path):
    images = write_pictures(tmp_path / "images", 12)

    assert label(tmp_path / "images", tmp_path / "out", service, "--show-discarded").code == 0

    assert_labels_follow_the_rule(tmp_path / "out", images, show_discarded=True)
    assert {row["is_predicted"] for row in rows(tmp_path / "out", "labels")} == {True, False}


def test_max_predictions_is_the_most_that_an_image_has(service, tmp_path):
    images = write_pictures(tmp_path / "images", 12)

    assert label(tmp_path / "images", tmp_path / "out", service, "--max-predictions", 2).code == 0

    assert_labels_follow_the_rule(tmp_path / "out", images, max_predictions=2)


# --- models --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "flags", "model"),
    [
        (None, ("--version-id", "11"), ("version", "11", 11)),
        ("1", (), ("spec", "1", 11)),
        ("echo-v1", ("--no-pin-version",), ("spec", "echo-v1", None)),
    ],
)
def test_a_version_a_private_specification_and_an_unpinned_one_label_alike(spec, flags, model, service, tmp_path):
    images = write_pictures(tmp_path / "images", 4)

    assert label(tmp_path / "images", tmp_path / "out", service, *flags, spec=spec).code == 0

    assert_labels_follow_the_rule(tmp_path / "out", images)
    for table in ("labels", "images"):
        for row in rows(tmp_path / "out", table):
            assert (row["model_kind"], row["model_id"], row["model_version_id"]) == model


def test_a_detection_has_a_region_and_a_box_in_every_row(service, tmp_path):
    images = write_pictures(tmp_path / "images", 6)

    assert label(tmp_path / "images", tmp_path / "out", service, spec="echo-boxes-v1").code == 0

    wanted = {
        (uri, index): (p["roi"]["region_id"], *(p["roi"]["bbox"][side] for side in ("xmin", "ymin", "xmax", "ymax")))
        for uri, data in images.items()
        for index, p in enumerate(echo_boxes_predictions(data)["labels"]["predicted"])
    }
    columns = ("region_id", "bbox_xmin", "bbox_ymin", "bbox_xmax", "bbox_ymax")
    found = {
        (row["image_uri"], row["prediction_index"]): tuple(row[name] for name in columns)
        for row in rows(tmp_path / "out", "labels")
    }
    assert found == wanted
