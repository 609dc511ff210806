import base64
import functools
import http.server
import io
import json
import socket
import threading
import time

import pytest
import requests
from PIL import Image

from deepo_beam.emulator import echo_boxes_predictions, echo_classification, echo_predictions

BBOX = {"bbox": {"xmin": 0.1, "ymin": 0.0, "xmax": 1.0, "ymax": 0.5}}
POLYGON = {"polygon": [{"x": 0.0, "y": 0.0}, {"x": 1.0, "y": 0.0}, {"x": 0.5, "y": 1.0}]}


def data_uri(image):
    return f"data:image/*;base64,{base64.b64encode(image).decode()}"


@pytest.fixture
def folder(tmp_path):
    """A folder and the URL under which a web server on this machine offers it."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield tmp_path, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("model", "rule"),
    [
        ("public/echo-v1", echo_predictions),
        ("specs/1", echo_predictions),
        ("versions/11", echo_predictions),
        ("versions/21", echo_predictions),
        ("public/echo-boxes-v1", echo_boxes_predictions),
        ("specs/2", echo_boxes_predictions),
        ("public/imagenet-inception-v3", echo_classification),
        ("versions/13", echo_classification),
    ],
)
def test_echo_models_answer_by_their_rule_as_spec_and_version(client, model, rule):
    for crop in (None, BBOX, POLYGON):
        reply = client.infer(model, b"some bytes", crop=crop, show_discarded=True)
        assert client.output(reply) == rule(b"some bytes", crop)


def test_the_same_bytes_give_the_same_answer_in_every_payload(client, folder):
    path, url = folder
    (path / "a b.jpg").write_bytes(b"photo 7")
    replies = [
        client.infer("public/echo-v1", b"photo 7"),
        client.post("/recognition/public/echo-v1/inference", files={"inputs[0]image.source": ("a.jpg", b"photo 7")}),
        client.post(
            "/recognition/public/echo-v1/inference",
            json={"inputs": [{"image": {"source": f"{url}/a%20b.jpg"}}]},
        ),
    ]
    expected = {"labels": {**echo_predictions(b"photo 7")["labels"], "discarded": []}}
    assert [client.output(reply) for reply in replies] == [expected] * 3


def test_multipart_crops_and_options_as_the_official_client_names_them(client):
    parts = {
        "inputs[0]image.source": ("a.jpg", b"photo"),
        "inputs[0]image.crop_uniform_background": (None, "False", "application/json"),
    }
    data = {f"inputs[0]image.bbox.{corner}": str(value) for corner, value in BBOX["bbox"].items()}
    reply = client.post("/recognition/specs/2/inference/", files=parts, data={**data, "show_discarded": "True"})
    assert client.output(reply) == echo_boxes_predictions(b"photo", BBOX)


def test_task_ids_are_digits_in_text_in_the_post_the_task_and_the_list(client):
    id_ = client.infer("public/echo-v1", b"x").json()["task_id"]
    (listed,) = client.get("/tasks/", params={"task_ids": [id_]}).json()["results"]
    assert isinstance(id_, str)
    assert id_.isdigit()
    assert listed["id"] == client.get(f"/tasks/{id_}/").json()["id"] == id_


def test_specifications_are_listed_without_what_lists_hide(client):
    public = client.get("/recognition/public").json()
    assert [spec["id"] for spec in public["results"]] == [
        *("echo-v1", "echo-boxes-v1", "imagenet-inception-v3"),
        *("digits-v1", "faces-v1", "colours-v1", "empty-v1"),
    ]
    private = client.get("/recognition/specs/").json()
    assert [(spec["id"], spec["current_version_id"]) for spec in private["results"]] == [
        (1, 11),
        (2, 12),
        (3, 13),
    ]
    for spec in public["results"]:
        assert "current_version_id" not in spec
    for spec in public["results"] + private["results"]:
        assert "outputs" not in spec
    assert (public["count"], public["next"], public["previous"]) == (7, None, None)


@pytest.mark.parametrize(
    ("spec", "roi", "exclusive", "version"),
    [
        ("public/echo-v1", "NONE", False, 21),
        ("public/faces-v1", "BBOX", False, 25),
        ("public/digits-v1", "NONE", True, 24),
        ("public/empty-v1", "NONE", False, None),
        ("specs/3", "NONE", True, 13),
    ],
)
def test_one_specification_has_its_outputs_and_its_version(client, spec, roi, exclusive, version):
    shown = client.get(f"/recognition/{spec}").json()
    (output,) = shown["outputs"]
    assert set(shown) == {
        *("id", "name", "description", "task_id", "update_date", "metadata", "outputs", "current_version_id")
    }
    assert (output["labels"]["roi"], output["labels"]["exclusive"]) == (roi, exclusive)
    assert all(set(label) == {"id", "name"} for label in output["labels"]["labels"])
    assert shown["current_version_id"] == version


def test_versions_of_a_specification_have_a_threshold_for_each_label(client):
    for spec, id_ in (("specs/1", 11), ("public/echo-v1", 21)):
        (version,) = client.get(f"/recognition/{spec}/versions/").json()["results"]
        assert version == client.get(f"/recognition/versions/{id_}").json()
        assert str(version["spec_id"]) == spec.split("/")[1]
        (processing,) = version["post_processings"]
        labels = client.get(f"/recognition/{spec}").json()["outputs"][0]["labels"]["labels"]
        assert len(processing["tagging"]["thresholds"]) == len(labels)
    assert client.get("/recognition/public/empty-v1/versions").json()["results"] == []
    assert client.get("/recognition/versions").json()["count"] == 9


def test_pages_follow_each_other_by_absolute_urls(client):
    seen, url = [], f"{client.emulator.url}/v0.7/recognition/public/?offset=0&limit=3"
    while url:
        assert url.startswith("http://127.0.0.1:")
        page = client.session.get(url, timeout=10).json()
        seen += [spec["id"] for spec in page["results"]]
        url = page["next"]
    assert len(seen) == len(set(seen)) == 7
    assert page["previous"].endswith("offset=3&limit=3")


def test_a_poll_of_many_ids_fits_in_one_request_line_of_64_kb(client):
    id_ = client.infer("public/echo-v1", b"x").json()["task_id"]
    ids = [*(str(10**8 + i) for i in range(3200)), id_]
    reply = client.get("/tasks/", params={"task_ids": ids, "offset": 0, "limit": 100})
    assert len(reply.request.path_url) > 60_000
    assert [task["id"] for task in reply.json()["results"]] == [id_]


def test_a_list_without_ids_is_empty(client):
    assert client.get("/tasks/").json()["results"] == []


def test_a_page_has_at_most_100_entries_whatever_the_limit(client):
    ids = [client.infer("public/echo-v1", b"%d" % i).json()["task_id"] for i in range(101)]
    page = client.get("/tasks/", params={"task_ids": ids, "limit": 1000}).json()
    assert len(page["results"]) == 100
    assert [task["id"] for task in client.session.get(page["next"], timeout=10).json()["results"]] == ids[100:]


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/nothing",
            "/tasks/7",
            "/tasks/x",
            "/accounts/you",
            "/recognition/public/none",
            "/recognition/specs/9",
        ),
        *(
            "/recognition/specs/echo-v1",
            "/recognition/versions/77",
            "/recognition/versions/x",
            "/recognition/other",
        ),
    ],
)
def test_what_is_not_there_is_404_in_json(client, path):
    reply = client.get(path)
    assert reply.status_code == 404
    assert reply.json()["detail"]


def test_other_methods_are_405_and_other_prefixes_404(client):
    assert client.post("/tasks/").status_code == 405
    assert client.get("/recognition/public/echo-v1/inference").status_code == 404
    outside = requests.get(f"{client.emulator.url}/v0.6/accounts/me", headers={"X-API-KEY": "k"}, timeout=10)
    assert outside.status_code == 404
    assert "/v0.7" in outside.json()["detail"]


@pytest.mark.parametrize(
    ("path", "request_", "status", "field"),
    [
        ("public/echo-v1", {"json": {"inputs": []}}, 400, "error"),
        ("public/echo-v1", {"data": b"{", "headers": {"Content-Type": "application/json"}}, 400, "error"),
        ("public/echo-v1", {"data": {"inputs": "1"}}, 415, "detail"),
        ("public/none", {"json": {"inputs": [{"image": {"source": data_uri(b"x")}}]}}, 404, "detail"),
        ("versions/77", {"json": {"inputs": [{"image": {"source": data_uri(b"x")}}]}}, 404, "detail"),
        ("public/empty-v1", {"json": {"inputs": [{"image": {"source": data_uri(b"x")}}]}}, 400, "error"),
    ],
)
def test_a_wrong_post_is_refused_in_json_and_counted(client, path, request_, status, field):
    reply = client.post(f"/recognition/{path}/inference", **request_)
    assert reply.status_code == status
    assert isinstance(reply.json()[field], str)
    stats = client.emulator.stats()
    assert (stats["accepted"], stats["rejected"]) == (0, {str(status): 1})


def test_a_call_without_a_key_is_401(client):
    reply = requests.get(f"{client.emulator.url}/v0.7/accounts/me", timeout=10)
    assert reply.status_code == 401
    assert "X-API-KEY" in reply.json()["detail"]
    assert client.get("/accounts/me").status_code == 200


def test_real_models_answer_and_broken_images_end_in_error(client):
    out = io.BytesIO()
    Image.new("RGB", (64, 48), (30, 60, 220)).save(out, "JPEG")
    output = client.output(client.infer("public/colours-v1", out.getvalue()))
    assert [p["label_name"] for p in output["labels"]["predicted"]] == ["blue"]
    assert output["labels"]["discarded"] == []
    failed = client.wait(client.infer("public/colours-v1", b"no image"))
    assert (failed["status"], failed["data"]) == ("error", None)
    assert "cannot be decoded" in failed["error"]


def test_a_digit_is_pending_while_its_model_is_trained_and_then_read(client):
    from sklearn.datasets import load_digits

    digit = load_digits().images[4]
    out = io.BytesIO()
    Image.fromarray((digit / 16 * 255).astype("uint8")).resize((64, 64), Image.Resampling.NEAREST).save(out, "PNG")
    reply = client.infer("public/digits-v1", out.getvalue(), show_discarded=True)
    started = time.monotonic()
    assert client.get("/accounts/me").status_code == 200
    assert time.monotonic() - started < 1
    labels = client.output(reply)["labels"]
    assert [p["label_name"] for p in labels["predicted"]] == ["4"]
    assert len(labels["discarded"]) == 9


@pytest.mark.parametrize(("path", "said"), [("/missing.jpg", "answered 404"), ("/empty.jpg", "the image is empty")])
def test_a_url_that_gives_no_image_makes_a_task_in_error(client, folder, path, said):
    folder[0].joinpath("empty.jpg").touch()
    source = {"inputs": [{"image": {"source": folder[1] + path}}]}
    task = client.wait(client.post("/recognition/public/echo-v1/inference", json=source))
    assert task["status"] == "error"
    assert said in task["error"]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://203.0.113.9/a.jpg", "only loopback addresses"),
        ("http://localhost.example.com/a.jpg", "only loopback addresses"),
        ("http://127.0.0.1:1/a.jpg", "127.0.0.1:1"),
        ("http://[x/a.jpg", "http://[x/a.jpg"),
        ("http:///a.jpg", "http:///a.jpg"),
        ("http://127.0.0.1:1/\ud800", "127.0.0.1:1"),
    ],
)
def test_a_url_elsewhere_or_of_nothing_makes_a_task_in_error(client, url, said):
    source = {"inputs": [{"image": {"source": url}}]}
    task = client.wait(client.post("/recognition/public/echo-v1/inference", json=source))
    assert task["status"] == "error"
    assert said in task["error"]


def test_the_stats_see_distinct_images_by_bytes_and_crop_or_by_url(client):
    inferences = [("public/echo-v1", b"a", None), ("public/echo-v1", b"a", None), ("specs/2", b"a", None)]
    inferences += [("public/echo-v1", b"a", BBOX), ("public/echo-v1", b"b", None)]
    replies = [client.infer(model, image, crop=crop) for model, image, crop in inferences]
    source = {"inputs": [{"image": {"source": "http://127.0.0.1:1/a"}}]}
    replies += [client.post("/recognition/public/echo-v1/inference", json=source) for _ in range(2)]
    stats = client.emulator.stats()
    assert (stats["accepted"], stats["distinct_images"], stats["accepted_again"]) == (7, 4, 3)
    assert sum(stats["accepted_per_second"]) == 7
    assert stats["bytes_received"] == sum(len(reply.request.body) for reply in replies)


def test_a_chunked_body_is_read_like_any_other(client):
    body = json.dumps({"inputs": [{"image": {"source": data_uri(b"chunks")}}], "show_discarded": True}).encode()
    chunks = (body[i : i + 7] for i in range(0, len(body), 7))
    headers = {"Content-Type": "application/json"}
    reply = client.post("/recognition/public/echo-v1/inference", data=chunks, headers=headers)
    assert client.output(reply) == echo_predictions(b"chunks")


def test_a_client_that_goes_away_in_the_middle_of_a_post_makes_no_task(client):
    host, port = client.emulator.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            b"POST /v0.7/recognition/public/echo-v1/inference HTTP/1.1\r\nHost: h\r\nX-API-KEY: k\r\n"
            b'Content-Type: application/json\r\nContent-Length: 5000\r\n\r\n{"inputs": '
        )
    assert client.get("/accounts/me").status_code == 200
    assert client.emulator.stats()["accepted"] == 0
