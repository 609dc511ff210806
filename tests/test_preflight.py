"""What is checked before the first call, and what each refusal says."""

from __future__ import annotations

import io
import json
import random
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from deepo_beam import storage
from deepo_beam.api import Client, Credentials, RetryPolicy
from deepo_beam.config import LabelConfig
from deepo_beam.emulator.testing import RunningEmulator, running_emulator
from deepo_beam.errors import ConfigError, DatasetMismatchError, PermissionDeniedError, PreflightError, StorageError
from deepo_beam.preflight import ModelFacts, check_inputs, check_model, check_output, prepare
from deepo_beam.types import ModelKind, ModelRef, Payload

KEY = "k3y-0123456789abcdef-never-to-be-seen"


@pytest.fixture(scope="module")
def emulator() -> Iterator[RunningEmulator]:
    with running_emulator(api_key=KEY) as running:
        yield running


@pytest.fixture
def service(emulator: RunningEmulator, monkeypatch: pytest.MonkeyPatch) -> RunningEmulator:
    """A service that has seen nothing yet; the environment says where it is, and holds its key."""
    monkeypatch.setenv("DEEPOMATIC_API_URL", emulator.url)
    monkeypatch.setenv("DEEPOMATIC_API_KEY", KEY)
    monkeypatch.delenv("DEEPOMATIC_API_VERIFY_TLS", raising=False)
    emulator.reset()
    return emulator


def config(**values: object) -> LabelConfig:
    if "version_id" not in values:
        values.setdefault("spec", "echo-v1")
    return LabelConfig.parse(values, where="options")


def written(output: Path, *parts: str) -> dict:
    return json.loads(output.joinpath(*parts).read_text())


# --- the plan ----------------------------------------------------------------------------------------


def test_a_plan_says_all_that_a_worker_must_know(service: RunningEmulator, tmp_path: Path) -> None:
    plan = prepare(
        config(
            output=str(tmp_path / "out"),
            run_id="nightly",
            rate="5/s",
            max_in_flight=7,
            max_buffer="4MB",
            payload="multipart",
            show_discarded=True,
            max_predictions=3,
            max_image_bytes="1MB",
            buckets=16,
            retry="all",
            max_attempts=2,
        )
    )
    assert (plan.run_id, plan.output, plan.model) == (
        "nightly",
        str(tmp_path / "out"),
        ModelRef(ModelKind.SPEC, "echo-v1"),
    )
    assert (plan.model_version_id, plan.target) == (21, ModelRef(ModelKind.VERSION, "21"))
    assert (plan.payload, plan.show_discarded, plan.max_predictions) == (Payload.MULTIPART, True, 3)
    assert (plan.max_image_bytes, plan.buckets, plan.retry, plan.max_attempts) == (1_000_000, 16, "all", 2)
    assert (plan.engine.rate_per_s, plan.engine.max_in_flight) == (5.0, 7)
    assert (plan.engine.max_buffer_bytes, plan.engine.attempts) == (4_000_000, 2)
    assert plan.expected[0].roi == "NONE"
    assert plan.api.host == service.url
    assert KEY not in repr(plan)


def test_no_image_is_sent(service: RunningEmulator, tmp_path: Path) -> None:
    prepare(config(output=str(tmp_path / "out")))
    assert (service.stats()["accepted"], service.stats()["bytes_received"]) == (0, 0)


def test_a_new_output_is_made_and_says_what_it_is_about(service: RunningEmulator, tmp_path: Path) -> None:
    plan = prepare(config(output=str(tmp_path / "new" / "out"), buckets=4))
    made = tmp_path / "new" / "out"
    assert written(made, "dataset.json")["model"] == "spec echo-v1"
    assert written(made, "dataset.json")["buckets"] == 4
    kept = written(made, "runs", plan.run_id, "config.json")
    assert LabelConfig.parse(kept["config"], where="kept") == config(output=str(made), buckets=4)


def test_an_output_keeps_its_number_of_buckets(service: RunningEmulator, tmp_path: Path) -> None:
    prepare(config(output=str(tmp_path), buckets=4))
    assert prepare(config(output=str(tmp_path))).buckets == 4
    with pytest.raises(DatasetMismatchError, match="buckets is 4, this run wants 32"):
        prepare(config(output=str(tmp_path), buckets=32))


def test_each_run_has_a_name_of_its_own(service: RunningEmulator) -> None:
    names = {prepare(config()).run_id for _ in range(5)}
    assert len(names) == 5


def test_without_an_output_nothing_is_kept(
    service: RunningEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert prepare(config()).output is None
    assert list(tmp_path.iterdir()) == []


# --- the model ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "version", "target"),
    [
        ({"spec": "echo-v1"}, 21, "version 21"),
        ({"spec": "echo-v1", "pin_version": False}, None, "spec echo-v1"),
        ({"spec": "1"}, 11, "version 11"),
        ({"version_id": 12}, 12, "version 12"),
        ({"version_id": 12, "pin_version": False}, 12, "version 12"),
    ],
)
def test_the_version_is_pinned_unless_told_otherwise(
    service: RunningEmulator, values: dict, version: int | None, target: str
) -> None:
    plan = prepare(config(**values))
    assert (plan.model_version_id, str(plan.target)) == (version, target)
    assert plan.expected is not None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"spec": "no-such-model"}, "knows no spec no-such-model: .*; list what there is with `deepo-beam specs`"),
        ({"spec": "999"}, "knows no spec 999: "),
        ({"version_id": 999}, "knows no version 999: "),
        ({"spec": "empty-v1"}, "specification empty-v1 has no current version: nothing to run yet"),
    ],
)
def test_a_model_that_cannot_be_run_is_refused(service: RunningEmulator, values: dict, message: str) -> None:
    with pytest.raises(PreflightError, match=message) as refused:
        prepare(config(**values))
    assert refused.value.exit_code == 6


def test_no_model_is_refused_before_anything_is_asked(service: RunningEmulator) -> None:
    with pytest.raises(ConfigError, match="no model: give --spec ID or --version-id N"):
        prepare(config(spec=None))


# --- the key -----------------------------------------------------------------------------------------


def test_a_wrong_key_is_refused_by_the_service_and_never_shown(
    service: RunningEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPOMATIC_API_KEY", "wr0ng-key-of-somebody")
    with pytest.raises(
        PreflightError, match=f"{service.url} refuses the API key: .*; check DEEPOMATIC_API_KEY"
    ) as refused:
        prepare(config())
    assert "wr0ng-key-of-somebody" not in str(refused.value)


def test_a_missing_key_is_told_with_the_name_of_its_variable(
    service: RunningEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DEEPOMATIC_API_KEY")
    with pytest.raises(PreflightError, match="no API key: set the environment variable DEEPOMATIC_API_KEY"):
        prepare(config())


def test_a_key_file_is_used_and_one_that_is_missing_is_named(
    service: RunningEmulator, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.delenv("DEEPOMATIC_API_KEY")
    (tmp_path / "key").write_text(f"{KEY}\n")
    assert prepare(config(api_key_file=str(tmp_path / "key"))).model_version_id == 21
    with pytest.raises(PreflightError, match=r"the API key file .*none cannot be read"):
        prepare(config(api_key_file=str(tmp_path / "none")))


# --- the output --------------------------------------------------------------------------------------


def test_an_output_of_another_dataset_is_refused_before_the_service_is_asked(
    service: RunningEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(config(output=str(tmp_path)))
    monkeypatch.delenv("DEEPOMATIC_API_KEY")
    with pytest.raises(DatasetMismatchError, match="model is 'spec echo-v1', this run wants 'version 12'"):
        prepare(config(output=str(tmp_path), version_id=12))
    with pytest.raises(
        DatasetMismatchError, match=f"api_host is '{service.url}', this run wants 'https://other.example'"
    ):
        prepare(config(output=str(tmp_path), api_url="https://other.example"))
    with pytest.raises(
        DatasetMismatchError, match="show_discarded is False, this run wants True; max_predictions is None"
    ):
        prepare(config(output=str(tmp_path), show_discarded=True, max_predictions=1))


def test_a_folder_that_is_not_ours_is_refused(service: RunningEmulator, tmp_path: Path) -> None:
    (tmp_path / "beach.jpg").write_bytes(b"x")
    with pytest.raises(DatasetMismatchError, match="is not empty"):
        prepare(config(output=str(tmp_path)))


@pytest.mark.parametrize("below", [(), ("out",)])
def test_an_output_that_is_a_file_or_below_one_is_refused(
    service: RunningEmulator, tmp_path: Path, below: tuple[str, ...]
) -> None:
    (tmp_path / "file").write_bytes(b"x")
    output = str(tmp_path.joinpath("file", *below))
    with pytest.raises(PreflightError, match=output):
        prepare(config(output=output))
    assert (tmp_path / "file").read_bytes() == b"x"


def test_an_output_that_may_not_be_written_is_refused(
    service: RunningEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(uri: str, data: bytes) -> None:
        raise PermissionDeniedError(f"{uri}: no permission to write it")

    prepare(config(output=str(tmp_path)))
    monkeypatch.setattr(storage, "write_bytes", refuse)
    with pytest.raises(PreflightError, match=r"the output cannot be written: .*no permission") as refused:
        prepare(config(output=str(tmp_path)))
    assert refused.value.exit_code == 6


def test_an_output_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(uri: str) -> bytes:
        raise StorageError(f"{uri}: input/output error")

    monkeypatch.setattr(storage, "read_bytes", fail)
    with pytest.raises(PreflightError, match=r"cannot be read: .*input/output error"):
        check_output(config(output=str(tmp_path)))


def test_a_run_that_is_complete_is_not_run_again_under_its_name(service: RunningEmulator, tmp_path: Path) -> None:
    prepare(config(output=str(tmp_path), run_id="nightly"))
    prepare(config(output=str(tmp_path), run_id="nightly"))  # was not complete
    (tmp_path / "runs" / "nightly" / "_SUCCESS").write_text("\n")
    with pytest.raises(ConfigError, match=r"run nightly of .* is complete: give another --run-id"):
        prepare(config(output=str(tmp_path), run_id="nightly"))
    assert prepare(config(output=str(tmp_path), run_id="nightly-2")).run_id == "nightly-2"


def test_an_empty_folder_and_one_that_is_not_there_are_new_outputs(tmp_path: Path) -> None:
    assert check_output(config(output=str(tmp_path))) is None
    assert check_output(config(output=str(tmp_path / "none"))) is None


# --- the inputs --------------------------------------------------------------------------------------


@pytest.fixture
def photo(tmp_path: Path) -> str:
    stream = io.BytesIO()
    Image.new("RGB", (2, 2)).save(stream, "PNG")
    path = tmp_path / "photos" / "a.png"
    path.parent.mkdir()
    path.write_bytes(stream.getvalue())
    return str(path)


def test_inputs_that_match_something_pass(photo: str, tmp_path: Path) -> None:
    check_inputs(config(inputs=(photo, str(tmp_path / "photos"), str(tmp_path / "photos" / "*.png"))))


def test_no_input_is_refused() -> None:
    with pytest.raises(ConfigError, match="no input: name images, a glob, a folder or a list"):
        check_inputs(config())


def test_inputs_that_match_nothing_are_named_and_can_be_allowed(photo: str, tmp_path: Path) -> None:
    inputs = (str(tmp_path / "none*.jpg"), photo, str(tmp_path / "nothing") + "/")
    with pytest.raises(
        ConfigError, match=r"nothing matches '.*none\*\.jpg', '.*nothing/': check the spelling.*--allow-empty"
    ):
        check_inputs(config(inputs=inputs))
    check_inputs(config(inputs=inputs, allow_empty=True))


@pytest.mark.parametrize("name", ["none.png", "none.csv"])
def test_a_file_that_is_not_there_is_refused_by_its_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"there is no .*{name}.*; check its name"):
        check_inputs(config(inputs=(str(tmp_path / name),), allow_empty=True))


def test_the_url_payload_is_refused_for_what_is_no_url(photo: str) -> None:
    with pytest.raises(ConfigError, match=rf"--payload url takes http\(s\) URIs only, and {photo} is none"):
        check_inputs(config(inputs=(photo,), payload="url"))
    check_inputs(config(inputs=("https://example.com/a.png",), payload="url"))


def test_the_columns_of_a_list_are_checked(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("uri,own\ns3://lake/a.jpg,1\n")
    check_inputs(config(inputs=(str(tmp_path / "list.csv"),), uri_column="uri", id_column="own"))
    with pytest.raises(ConfigError, match="image_uri"):
        check_inputs(config(inputs=(str(tmp_path / "list.csv"),)))


# --- a service that is not as it should be -----------------------------------------------------------


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Client]]:
    """Makes clients of a service that gives scripted answers by path: (status, body), or the body alone."""
    monkeypatch.setenv("DEEPOMATIC_API_KEY", KEY)
    script: dict[str, tuple[int, object]] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = script.get(self.path.removeprefix("/v0.7").rstrip("/"), (404, {"error": "Not found."}))
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    clients: list[Client] = []

    def make(replies: dict[str, object]) -> Client:
        script.update({path: reply if isinstance(reply, tuple) else (200, reply) for path, reply in replies.items()})
        settings = config(api_url=f"http://127.0.0.1:{server.server_address[1]}").api_settings({})
        policy = RetryPolicy(attempts=2)
        clients.append(Client(settings, Credentials(), policy=policy, sleep=lambda s: None, rng=random.Random(1)))
        return clients[-1]

    yield make
    for client in clients:
        client.close()
    server.shutdown()
    server.server_close()
    thread.join(10)


ME = {"/accounts/me": {"id": 1, "name": "somebody"}}
OUTPUTS = [{"labels": {"roi": "NONE", "exclusive": False, "labels": [{"id": 1, "name": "cat"}]}}]
SPEC = {"id": "m", "name": "m", "outputs": OUTPUTS, "current_version_id": 5}


def test_a_version_that_cannot_be_used_by_itself_names_the_option_that_helps(answers) -> None:
    client = answers({**ME, "/recognition/public/m": SPEC, "/recognition/versions/5": (403, {"detail": "no access"})})
    with pytest.raises(PreflightError, match=r"version 5 of m cannot be used by itself: .*--no-pin-version"):
        check_model(client, config(spec="m"))
    assert check_model(client, config(spec="m", pin_version=False)) == ModelFacts(5, client.specification("m").outputs)


def test_a_service_that_does_not_tell_its_outputs_is_believed_without(answers) -> None:
    client = answers({**ME, "/recognition/versions/5": {"id": 5}})
    assert check_model(client, config(version_id=5)) == ModelFacts(5, None)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ((403, {"detail": "not yours"}), "the API key may not use spec m: .*not yours"),
        ((401, {"error": "no"}), "refuses the API key: "),
        (b"<html>maintenance</html>", "does not answer as the API does: "),
        (b"", "does not answer as the API does: "),
        (b'{"id": "m", "na', "does not answer as the API does: "),
        ((500, b"oops"), "cannot be asked for spec m: "),
        ((302, b""), "cannot be asked for spec m: .*a redirect"),
        ({"id": "m", "current_version_id": "five"}, "does not answer as the API does: "),
    ],
)
def test_a_service_that_answers_something_else_is_refused_by_its_host(answers, reply: object, message: str) -> None:
    client = answers({**ME, "/recognition/public/m": reply})
    with pytest.raises(PreflightError, match=message) as refused:
        check_model(client, config(spec="m"))
    assert refused.value.exit_code == 6
    assert KEY not in str(refused.value)


def test_unknown_fields_of_the_service_are_ignored(answers) -> None:
    spec = {**SPEC, "colour": "blue", "nested": {"a": [1]}}
    client = answers({**ME, "/recognition/public/m": spec, "/recognition/versions/5": {"id": 5, "more": None}})
    assert check_model(client, config(spec="m")).current_version_id == 5


def test_a_service_that_is_not_there_is_refused_by_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPOMATIC_API_KEY", KEY)
    settings = config(api_url="http://127.0.0.1:9").api_settings({})
    client = Client(
        settings,
        Credentials(),
        policy=RetryPolicy(attempts=2),
        sleep=lambda s: None,
    )
    with client, pytest.raises(PreflightError, match=r"http://127\.0\.0\.1:9 cannot be asked for spec m: "):
        check_model(client, config(spec="m"))
