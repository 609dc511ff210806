"""The command as a user meets it, and the tables read back as anybody would: with pyarrow, file by file."""

import contextlib
import hashlib
import io
import json
import logging
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pyarrow.parquet as pq
from PIL import Image

from deepo_beam.cli import main
from deepo_beam.emulator import echo_predictions

ROOT = Path(__file__).parents[2]
TIME_LIMIT_S = 45  # of one command: none may hang
OUTCOMES = ("succeeded", "no_detection", "failed", "skipped", "reused", "duplicate", "not_attempted")
MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
}


# --- images ------------------------------------------------------------------------------------------


def picture(number, kind="PNG", size=None):
    """The bytes of an image that no other number has, in one of six formats."""
    colour = (number % 251, number // 251 % 251, 7 * number % 251)
    image = Image.new("RGB", size or size_of(number), colour)
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def size_of(number):
    """Width and height of a picture; different from one another, so that a swap shows."""
    return 8 + number % 40, 100 + number % 30


def kind_of(number):
    """The formats in turn."""
    return list(MEDIA_TYPES)[number % len(MEDIA_TYPES)]


def write_pictures(folder, count, first=0):
    """Pictures of all formats in turn, as ``{path: bytes}``."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for number in range(first, first + count):
        kind = kind_of(number)
        path = folder / f"image-{number:05}.{kind.lower()}"
        path.write_bytes(picture(number, kind))
        made[str(path)] = path.read_bytes()
    return made


# --- the command ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def summary(self):
        """What ``--json`` printed: one JSON object and nothing else."""
        (line,) = self.out.splitlines()
        return json.loads(line)


def command(*arguments, key="any", environ=None, stdin="", limit_s=TIME_LIMIT_S):
    """Run ``deepo-beam`` in this process: what a subprocess would do, without its seconds of imports.

    What is no error of the package leaves as an exception and fails the test, as its traceback would.
    """
    out, err = io.StringIO(), io.StringIO()
    text = io.TextIOWrapper(io.BytesIO(stdin.encode()))
    variables = mock.patch.dict(os.environ, environment(key, environ), clear=True)
    streams = (contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), mock.patch.object(sys, "stdin", text))
    with contextlib.ExitStack() as stack:
        for context in (variables, *streams, logging_kept(), time_limit(limit_s)):
            stack.enter_context(context)
        try:
            main([str(argument) for argument in arguments])
            code = 0
        except SystemExit as end:
            code = end.code
    return Ended(code, out.getvalue(), err.getvalue())


def label(inputs, output, service, *flags, spec="echo-v1", **how):
    """``deepo-beam label`` with ``--json`` against an emulator, in few buckets: each costs files."""
    model = [] if spec is None else ["--spec", spec]
    buckets = [] if "--buckets" in flags else ["--buckets", "3"]
    inputs = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    options = ["--output", output, "--api-url", service.url, "--json", *model, *buckets, *flags]
    return command("label", *inputs, *options, **how)


def process(*arguments, module="deepo_beam", key="any", environ=None, **options):
    """``python -m deepo_beam ...`` as a process of its own, pipes for its streams."""
    line = [sys.executable, "-m", module, *map(str, arguments)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(line, cwd=ROOT, env=environment(key, environ), text=True, **pipes, **options)


def finish(started, stdin="", limit_s=TIME_LIMIT_S):
    """Wait for a process; one that hangs is killed and fails the test."""
    try:
        out, err = started.communicate(stdin, timeout=limit_s)
    except subprocess.TimeoutExpired:
        started.kill()
        _, err = started.communicate()
        raise AssertionError(f"the command hangs; it said: {err}") from None
    return Ended(started.returncode, out, err)


def environment(key, more=None):
    """This process's environment, but for what would configure the command."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DEEPOMATIC_")}
    return kept | ({} if key is None else {"DEEPOMATIC_API_KEY": key}) | (more or {})


@contextlib.contextmanager
def logging_kept():
    """The command sets up logging for its process; this one has its own."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


@contextlib.contextmanager
def time_limit(seconds):
    """Raise in the main thread when the block takes too long."""

    def late(number, frame):
        raise AssertionError(f"the command hangs: it took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# --- what is left behind ------------------------------------------------------------------------------


def rows(output, table, run_id="*"):
    """All rows of a table over the runs, each with the ``run_id`` of its partition."""
    found = []
    for path in sorted(Path(output).glob(f"{table}/run_id={run_id}/part-*.parquet")):
        partition = path.parent.name.removeprefix("run_id=")
        found += [row | {"run_id": partition} for row in pq.ParquetFile(path).read().to_pylist()]
    return found


def by_name(output, table):
    """The rows of a table by the last part of their URI; there is one row for each."""
    found = {row["image_uri"].rpartition("/")[2]: row for row in rows(output, table)}
    assert len(found) == len(rows(output, table))
    return found


def label_row(row):
    """What the model decides of a row of ``labels``."""
    columns = ("image_uri", "crop", "output_index", "prediction_index", "label_id", "label_name", "score")
    return tuple(row[name] for name in (*columns, "threshold", "is_predicted"))


def expected_labels(uri, data, *, crop=None, show_discarded=False, max_predictions=None):
    """The rows of ``labels`` that the echo rule says for these bytes; ``crop`` is canonical JSON."""
    labels = echo_predictions(data, None if crop is None else json.loads(crop))["labels"]
    wanted = [(prediction, True) for prediction in labels["predicted"]]
    wanted += [(prediction, False) for prediction in labels["discarded"] if show_discarded]
    return [
        (uri, crop, 0, index, p["label_id"], p["label_name"], p["score"], p["threshold"], is_predicted)
        for index, (p, is_predicted) in enumerate(wanted[:max_predictions])
    ]


def assert_labels_follow_the_rule(output, images, **options):
    """Every row of ``labels`` over all runs is what the rule says, and none is missing or there twice."""
    wanted = [row for uri, data in images.items() for row in expected_labels(uri, data, **options)]
    assert wanted
    assert sorted(map(label_row, rows(output, "labels")), key=repr) == sorted(wanted, key=repr)


def assert_adds_up(summary):
    """Every entry of the listing has one outcome."""
    assert summary["listed"] == sum(summary[name] for name in OUTCOMES)


def assert_clear(ended, code, *words):
    """An error as it should be: the exit code, one line that names the thing and the mend, no traceback."""
    assert (ended.code, ended.out) == (code, ""), ended
    assert "Traceback" not in ended.err
    (line,) = ended.err.splitlines()
    assert line.startswith("Error: ")
    for word in words:
        assert word in line
    return line


def sha256(data):
    return hashlib.sha256(data).hexdigest()
