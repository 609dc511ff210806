"""The key is looked for in everything that a run leaves, says, and hands to other processes."""

import base64
import bz2
import functools
import pickle
import re
import threading
import traceback
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import apache_beam as beam
import hostile_server
import pyarrow.parquet as pq
import pytest
from apache_beam.internal import pickler
from e2e_tools import command, finish, process, write_pictures

from deepo_beam import bulk, preflight
from deepo_beam.api import Client
from deepo_beam.config import LabelConfig
from deepo_beam.emulator.testing import running_emulator
from deepo_beam.errors import DeepoBeamError

KEY = "k3y/S3cret+0123456789abcdef=never"
FORMS = {KEY, quote(KEY, safe=""), base64.b64encode(KEY.encode()).decode().rstrip("="), KEY.encode().hex(), repr(KEY)}


def assert_without_key(what, content):
    """Nowhere in these bytes or this text, in no usual spelling."""
    data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape")
    for form in FORMS:
        assert form.encode() not in data, f"the key stands in {what}"


@contextmanager
def watched(started):
    """While the block runs, the command line of every process of the session that ``started`` leads; as a set."""
    lines = set()
    over = threading.Event()

    def watch():
        while not over.wait(0.05):
            for stat in Path("/proc").glob("[0-9]*/stat"):
                with suppress(OSError, IndexError):  # it has just ended
                    if int(stat.read_text().rpartition(")")[2].split()[3]) == started.pid:
                        lines.add((stat.parent / "cmdline").read_bytes())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield lines
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("by", [pytest.param("environment", marks=pytest.mark.slow), "file"])
def test_the_key_is_nowhere_in_output_log_or_processes(by, tmp_path):
    """By environment with two worker processes, by file in one; all is logged, and the service is a bad one."""
    write_pictures(tmp_path / "images", 40)
    (tmp_path / "images" / "bad.png").write_bytes(b"no image")
    (tmp_path / "key").write_text(f"{KEY}\n")
    in_file = by == "file"
    flags = ["--api-key-file", tmp_path / "key", "--log-format", "text"] if in_file else ["--log-format", "json"]
    workers = [] if in_file else ["--", "--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    with running_emulator(api_key=KEY, latency=0.1, fail_posts=0.1, cut_replies=0.05, seed=1) as service:
        started = process(
            *("label", tmp_path / "images", "--output", tmp_path / "out", "--api-url", service.url, "--json"),
            *("--spec", "echo-v1", "--buckets", "3", "--log-level", "DEBUG", *flags, *workers),
            key=None if in_file else KEY,
            start_new_session=True,
        )
        with watched(started) as lines:
            ended = finish(started)
        accepted = service.stats()["accepted"]

    assert ended.code == 0, ended
    assert accepted >= 40
    assert "accounts/me" in ended.err, "urllib3 logs its requests"
    assert_without_key("standard output", ended.out)
    assert_without_key("standard error", ended.err)
    assert len(lines) >= (1 if in_file else 3), lines
    for line in lines:
        assert_without_key("a command line", line)
    left = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {path.suffix for path in left} >= {".parquet", ".json"}
    for path in left:
        assert_without_key(path, path.read_bytes())
        assert_without_key(path.name, str(path))
        if path.suffix == ".parquet":
            table = pq.read_table(path, partitioning=None)
            assert_without_key(path, repr(table.to_pylist()) + repr(table.schema.metadata))


@pytest.mark.parametrize("by", ["environment", "file"])
def test_the_key_is_neither_in_the_pipeline_nor_in_what_is_pickled(by, tmp_path, monkeypatch):
    (tmp_path / "key").write_text(KEY)
    monkeypatch.setenv("DEEPOMATIC_API_KEY", "another" if by == "file" else KEY)
    (image, *_) = write_pictures(tmp_path / "images", 1)
    with running_emulator(api_key=KEY) as service:
        config = LabelConfig(
            inputs=(image,),
            output=str(tmp_path / "out"),
            spec="echo-v1",
            api_url=service.url,
            api_key_file=str(tmp_path / "key") if by == "file" else None,
        )
        config, plan = bulk.prepare_run(config)
    pipeline = beam.Pipeline(options=bulk.pipeline_options(config))
    bulk.build(pipeline, config, plan)
    proto = pipeline.to_runner_api()

    assert_without_key("the pipeline's proto", proto.SerializeToString())
    assert_without_key("the pipeline's proto as text", str(proto))
    pickles = list(pickles_in(proto.SerializeToString()))
    assert any(b"RunPlan" in unpacked for unpacked in pickles)
    for unpacked in pickles:
        assert_without_key("a pickle in the proto", unpacked)
    for thing in (config, plan, config.credentials, plan.api):
        assert_without_key(type(thing), repr(thing) + str(thing))
        assert_without_key(type(thing), pickle.dumps(thing))
        assert_without_key(type(thing), pickler.loads(pickler.dumps(thing)).__repr__())
    assert_without_key("the configuration as written", config.model_dump_json())


def pickles_in(proto):
    """The pickles in a proto, as they were before Beam packed them."""
    for payload in re.findall(rb"[A-Za-z0-9+/]{60,}={0,2}", proto):
        for cut in range(4):  # what stands before it may look like a part of it
            for unpack in (zlib.decompress, bz2.decompress):
                with suppress(ValueError, OSError, zlib.error):
                    yield unpack(base64.b64decode(payload[cut:] + b"=="))


def chain_of(error):
    """The error and all it came from, in every spelling a handler might print."""
    while error is not None:
        yield f"{error!r} {error} {error.args!r} {vars(error)!r}"
        yield "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("failure", ["wrong key", "no service", "html", "empty"])
def test_the_key_is_in_no_error_of_a_failed_start(failure, tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPOMATIC_API_KEY", KEY)
    monkeypatch.setattr(preflight, "Client", functools.partial(Client, sleep=lambda seconds: None))
    (image, *_) = write_pictures(tmp_path / "images", 1)
    change = {"html": hostile_server.html, "empty": hostile_server.empty}.get(failure, hostile_server.keep)

    def start(url):
        config = LabelConfig(inputs=(image,), output=str(tmp_path / "out"), spec="hostile", api_url=url)
        with pytest.raises(DeepoBeamError) as caught:
            bulk.prepare_run(config)
        return caught.value

    if failure == "wrong key":
        with running_emulator(api_key="another") as service:
            error = start(service.url)
    elif failure == "no service":
        error = start("http://127.0.0.1:9")
    else:
        with hostile_server.hostile_server(specification=change) as server:
            error = start(server.url)
    texts = list(chain_of(error))
    assert texts
    for text in texts:
        assert_without_key(f"an error: {failure}", text)


def test_a_key_in_the_arguments_is_refused_for_it_would_show_in_ps(tmp_path):
    ended = command("label", "x", "--output", tmp_path / "out", "--api-key", KEY)
    assert ended.code == 2
    assert "--api-key-file" in ended.err
    assert_without_key("standard error", ended.err)
