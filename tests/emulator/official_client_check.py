"""Runs inside an environment that has ``deepomatic-api``: one scenario of its use against an emulator.

    official_client_check.py SCENARIO URL FOLDER

FOLDER has images and ``expected.json``, ``{name: output of echo-v1}``. Exits 0 if all is well.
"""

import base64
import functools
import http.server
import json
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

from deepomatic.api.client import Client
from deepomatic.api.exceptions import ClientError, TaskError, TaskTimeout
from deepomatic.api.inputs import ImageInput

BBOX = {"xmin": 0.25, "ymin": 0.0, "xmax": 1.0, "ymax": 0.5}


def reading(client, folder, expected):
    assert client.Account.retrieve("me")["id"] == 1
    public = [spec.pk for spec in client.RecognitionSpec.list(public=True)]
    assert "imagenet-inception-v3" in public
    assert [spec.pk for spec in client.RecognitionSpec.list()] == [1, 2, 3]
    assert len(list(client.RecognitionSpec.list(public=True, limit=2))) == len(public)
    spec = client.RecognitionSpec.retrieve("imagenet-inception-v3")
    assert spec["outputs"][0]["labels"]["exclusive"] is True
    (version,) = spec.versions()
    assert client.RecognitionVersion.retrieve(version.pk)["spec_id"] == "imagenet-inception-v3"
    (private,) = client.RecognitionSpec.retrieve(1).versions()
    assert private.pk == client.RecognitionSpec.retrieve(1)["current_version_id"] == 11


def payloads(client, folder, expected):
    spec = client.RecognitionSpec.retrieve("echo-v1")
    for name, output in expected.items():
        image = (folder / name).read_bytes()
        with served(folder) as url, (folder / name).open("rb") as file:
            for image_input in (
                ImageInput(f"{url}/{name}"),
                ImageInput(file),
                ImageInput(image, encoding="binary"),
                ImageInput(base64.b64encode(image), encoding="base64"),
            ):
                assert spec.inference(inputs=[image_input], show_discarded=True) == {"outputs": [output]}
    hidden = spec.inference(inputs=[ImageInput(image, encoding="binary")])
    assert hidden["outputs"][0]["labels"] == {"predicted": output["labels"]["predicted"], "discarded": []}
    capped = spec.inference(inputs=[ImageInput(image, encoding="binary")], max_predictions=1, show_discarded=True)
    assert sum(map(len, capped["outputs"][0]["labels"].values())) <= 1


def models(client, folder, expected):
    image = ImageInput((folder / "0.jpg").read_bytes(), encoding="binary")
    for pk, retrieve in (
        (1, client.RecognitionSpec),
        (11, client.RecognitionVersion),
        (21, client.RecognitionVersion),
    ):
        answer = retrieve.retrieve(pk).inference(inputs=[image], show_discarded=True)
        assert answer["outputs"] == [expected["0.jpg"]]
    classes = client.RecognitionSpec.retrieve("imagenet-inception-v3").inference(inputs=[image], show_discarded=True)
    labels = classes["outputs"][0]["labels"]
    assert len(classes["outputs"]) == 1
    assert all("roi" not in p for p in labels["predicted"] + labels["discarded"])
    with served(folder) as url:
        crop = ImageInput(f"{url}/0.jpg", bbox=BBOX)
        boxes = client.RecognitionSpec.retrieve("echo-boxes-v1").inference(inputs=[crop], show_discarded=True)
        labels = boxes["outputs"][0]["labels"]
        assert all("bbox" in p["roi"] for p in labels["predicted"] + labels["discarded"])
        polygon = [{"x": 0, "y": 0}, {"x": 1, "y": 0}, {"x": 1, "y": 1}]
        client.RecognitionSpec.retrieve(1).inference(inputs=[ImageInput(f"{url}/0.jpg", polygon=polygon)])


def batch(client, folder, expected):
    spec = client.RecognitionSpec.retrieve("echo-v1")
    names = [sorted(expected)[i % len(expected)] for i in range(250)]
    tasks = [
        spec.inference(
            inputs=[ImageInput((folder / name).read_bytes(), encoding="binary")],
            show_discarded=True,
            return_task=True,
            wait_task=False,
        )
        for name in names
    ]
    pending, success, error = client.Task.batch_wait(tasks, timeout=20)
    assert (pending, error) == ([], [])
    assert [position for position, _ in success] == list(range(250))
    for position, task in success:
        assert task["data"]["outputs"] == [expected[names[position]]]
    assert client.Task.batch_wait([]) == ([], [], [])


def errors(client, folder, expected):
    image = ImageInput((folder / "0.jpg").read_bytes(), encoding="binary")
    refused(lambda: client.RecognitionSpec.retrieve("echo-v1").inference(inputs=[]), 400, "error")
    refused(lambda: client.RecognitionSpec.retrieve("empty-v1").inference(inputs=[image]), 400, "error")
    refused(lambda: client.RecognitionSpec.retrieve("nothing").inference(inputs=[image]), 404, "detail")
    refused(lambda: client.RecognitionSpec.retrieve("nothing").data(), 404, "detail")
    refused(lambda: client.Task.retrieve("7").data(), 404, "detail")
    failed(lambda: client.RecognitionSpec.retrieve("colours-v1").inference(inputs=[image]), "cannot be decoded")
    unreachable = ImageInput("http://127.0.0.1:1/a.jpg")
    failed(lambda: client.RecognitionSpec.retrieve("echo-v1").inference(inputs=[unreachable]), "127.0.0.1:1")


def task_errors(client, folder, expected):
    image = ImageInput((folder / "0.jpg").read_bytes(), encoding="binary")
    failed(lambda: client.RecognitionSpec.retrieve(1).inference(inputs=[image]), "--task-errors")


def stuck(client, folder, expected):
    image = ImageInput((folder / "0.jpg").read_bytes(), encoding="binary")
    task = client.RecognitionSpec.retrieve(1).inference(inputs=[image], return_task=True, wait_task=False)
    assert raised(TaskTimeout, lambda: task.wait(timeout=0.5)).task["status"] == "pending"
    pending, success, error = client.Task.batch_wait([task], timeout=0.5)
    assert ([position for position, _ in pending], success, error) == ([0], [], [])


def throttled(client, folder, expected):
    image = ImageInput((folder / "0.jpg").read_bytes(), encoding="binary")
    spec = client.RecognitionSpec.retrieve(1)
    spec.inference(inputs=[image])
    refused(lambda: spec.inference(inputs=[image]), 429, "detail")


def unauthorised(client, folder, expected):
    refused(lambda: client.Account.retrieve("me").data(), 401, "detail")


def refused(call, status, field):
    error = raised(ClientError, call)
    assert error.status_code == status, error
    assert error.json()[field]


def failed(call, said):
    error = raised(TaskError, call)
    assert said in error.task["error"], error.task
    assert error.get_task_id().isdigit()


def raised(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


@contextmanager
def served(folder):
    """A web server for a folder."""
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


SCENARIOS = [reading, payloads, models, batch, errors, task_errors, stuck, throttled, unauthorised]


def main(scenario, url, folder):
    folder = Path(folder)
    expected = json.loads((folder / "expected.json").read_text())
    chosen = {one.__name__: one for one in SCENARIOS}[scenario]
    chosen(Client(api_key="any", host=url), folder, expected)


if __name__ == "__main__":
    main(*sys.argv[1:])
