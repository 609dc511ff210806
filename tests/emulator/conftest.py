import base64
import time

import pytest
import requests

from deepo_beam.emulator.testing import running_emulator


class Client:
    """Plain calls, for tests: every one returns the reply, whatever its status."""

    def __init__(self, emulator):
        self.emulator = emulator
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["X-API-KEY"] = "any"

    def get(self, path, **kwargs):
        return self.session.get(f"{self.emulator.url}/v0.7{path}", timeout=10, **kwargs)

    def post(self, path, **kwargs):
        return self.session.post(f"{self.emulator.url}/v0.7{path}", timeout=10, **kwargs)

    def infer(self, model, image, *, crop=None, **options):
        """Posts an image as base64 JSON; ``model`` is like ``public/echo-v1``."""
        content = {"source": data_uri(image)} | (crop or {})
        return self.post(f"/recognition/{model}/inference", json={"inputs": [{"image": content}], **options})

    def wait(self, reply):
        """The finished task of a post."""
        assert reply.status_code == 200, reply.text
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            task = self.get(f"/tasks/{reply.json()['task_id']}").json()
            if task["status"] != "pending":
                return task
            time.sleep(0.01)
        raise AssertionError("the task is still pending")

    def output(self, reply):
        """The only output of the finished task of a post."""
        task = self.wait(reply)
        assert task["status"] == "success", task
        (output,) = task["data"]["outputs"]
        return output


def data_uri(image, media_type="image/*"):
    return f"data:{media_type};base64,{base64.b64encode(image).decode()}"


@pytest.fixture(scope="module")
def emulator():
    """A server without faults."""
    with running_emulator() as running:
        yield running


@pytest.fixture
def client(emulator):
    emulator.reset()
    return Client(emulator)


@pytest.fixture
def start():
    """Starts a server with options, returns a client of it."""
    running = []

    def started(**options):
        context = running_emulator(**options)
        client = Client(context.__enter__())
        running.append(context)
        return client

    yield started
    for context in running:
        context.__exit__(None, None, None)
