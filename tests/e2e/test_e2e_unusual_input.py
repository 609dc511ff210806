"""Whatever is named, the command ends: with one clear line, or with rows in errors/. No traceback, no hang."""

import contextlib
import errno
import gzip
import io
import json
import os
import shutil
import subprocess
import sys

import pytest
from e2e_tools import (
    ROOT,
    assert_adds_up,
    assert_clear,
    command,
    environment,
    label,
    rows,
    write_pictures,
)

from deepo_beam.cli.reporting import print_json, print_summary
from deepo_beam.errors import ConfigError, StorageError
from deepo_beam.inputs import InputOptions, expand_input
from deepo_beam.lake.summary import Summary

QUICK_S = 20  # more than any of these takes on a busy machine


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("unusual") / "images", 2)


@pytest.fixture
def image(images):
    return next(iter(images))


def refused(tmp_path, inputs, service, *flags, **how):
    """A command that is not to label anything."""
    return label(inputs, how.pop("output", tmp_path / "out"), service, *flags, limit_s=QUICK_S, **how)


# --- lists -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "code", "words"),
    [
        ("empty.txt", b"", 2, ["nothing matches", "empty.txt", "--allow-empty"]),
        ("comments.txt", b"# one\n\n   \n", 2, ["nothing matches", "comments.txt"]),
        ("empty.csv", b"", 2, ["nothing matches", "empty.csv"]),
        ("twice.csv", b"image_uri,image_uri\na,b\n", 2, ["twice.csv has a column twice", "rename one"]),
        ("none.parquet", b"PAR1 is not enough", 2, ["none.parquet is no whole Parquet file"]),
        ("none.txt.gz", b"no gzip", 2, ["none.txt.gz is no whole gzip file"]),
        ("cut.txt.gz", gzip.compress(os.urandom(9999).hex().encode())[:-9], 2, ["cut.txt.gz is no whole gzip file"]),
    ],
)
def test_a_list_that_is_none_is_named_in_one_line(name, content, code, words, service, tmp_path):
    (tmp_path / name).write_bytes(content)
    assert_clear(refused(tmp_path, tmp_path / name, service), code, *words)


def test_rows_that_are_none_are_rows_in_errors_and_the_good_ones_are_labelled(image, service, tmp_path):
    (tmp_path / "bom.csv").write_bytes(b"\xef\xbb\xbfimage_uri,n\r\n%b,1\r\n\0,2\r\n%b\r\n" % (2 * (image.encode(),)))
    (tmp_path / "open.csv").write_text(f'image_uri,n\n"{image},1\nx,2\n')
    lines = [b"\0\0", b"\xff\xfe", b"self.txt", b"a" * 2_000_000, b"b" * 5000, b"http://[", b"ftp://h/a"]
    (tmp_path / "self.txt").write_bytes(b"\n".join(lines))
    deep = "[" * 100_000
    numbers = '{"image_uri": "%s", "n": %s}' % ("gone.png", "9" * 5000)  # noqa: UP031 - braces
    (tmp_path / "rows.jsonl").write_text("\n".join(["[1]", "null", deep, numbers, '"also-gone.png"']))
    lists = [tmp_path / name for name in ("bom.csv", "open.csv", "self.txt", "rows.jsonl")]

    ended = label(lists, tmp_path / "out", service, limit_s=QUICK_S)

    assert ended.code == 0, ended
    assert_adds_up(ended.summary)
    assert (ended.summary["listed"], ended.summary["calls"], ended.summary["failed"]) == (16, 1, 15)
    found = {}
    for row in rows(tmp_path / "out", "errors"):
        found.setdefault(row["error_code"], []).append(row["error_message"])
    assert {code: len(messages) for code, messages in found.items()} == {
        "bad_manifest_row": 8,
        "invalid_uri": 4,
        "not_an_image": 1,
        "object_missing": 2,
    }
    everything = "\n".join(message for messages in found.values() for message in messages)
    for word in ("never closed", "longer than", "not UTF-8", "nested too deeply", "so long a name", "'ftp'"):
        assert word in everything, everything


def test_crops_that_are_none_are_rows_in_errors(image, service, tmp_path):
    boxes = ["[0, 0, NaN, 1]", "[0, 0, 1e999, 1]", '"[[["', "5", "[0, 0, 0, 0]", json.dumps("[" * 5000), "true"]
    lines = [f'{{"image_uri": {json.dumps(image)}, "box": {box}}}' for box in boxes]
    (tmp_path / "crops.jsonl").write_text("\n".join(lines))

    ended = label(tmp_path / "crops.jsonl", tmp_path / "out", service, "--bbox-column", "box", limit_s=QUICK_S)

    assert (ended.code, ended.summary["errors_by_code"]) == (3, {"bad_manifest_row": len(boxes)})


# --- files that have no end, or no beginning ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["pipe.txt", "pipe.csv.gz", "pipe.parquet", "zero.txt"])
def test_a_list_that_is_a_pipe_or_a_device_is_not_waited_for(name, service, tmp_path):
    if name == "zero.txt":
        (tmp_path / name).symlink_to("/dev/zero")
    else:
        os.mkfifo(tmp_path / name)
    assert_clear(refused(tmp_path, tmp_path / name, service), 6, name, "not a regular file", "standard input")


@pytest.mark.parametrize("option", ["--config", "--api-key-file"])
@pytest.mark.parametrize("kind", ["pipe", "/dev/zero"])
def test_a_pipe_or_a_device_in_place_of_a_small_file_is_not_waited_for(kind, option, image, service, tmp_path):
    path = kind
    if kind == "pipe":
        path = tmp_path / "pipe"
        os.mkfifo(path)
    ended = refused(tmp_path, image, service, option, path)
    assert_clear(ended, 2 if option == "--config" else 6, str(path))


def test_a_folder_that_leads_to_itself_is_listed_once(images, service, tmp_path):
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop" / "again").symlink_to(tmp_path / "loop")
    (tmp_path / "loop" / "a.png").write_bytes(next(iter(images.values())))
    ended = label(tmp_path / "loop", tmp_path / "out", service, limit_s=QUICK_S)
    assert (ended.code, ended.summary["listed"]) == (0, 1)


# --- names -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["the URI is empty"]),
        ("ftp://h/a.jpg", ["'ftp'", "known are"]),
        ("http://", ["names no host"]),
        ("s3:///a.jpg", ["names no bucket"]),
        ("file://host/a.jpg", ["file:///folder/name"]),
        ("a\nb.jpg", ["unusable character"]),
        ("\udce9.jpg", ["unusable character"]),
        ("/" + "a" * 100_000, ["there is no such file", "check its name"]),
        ("/tmp/" + "{a," * 1000 + "}" * 1000 + "*", ["braces"]),
    ],
)
def test_an_input_that_can_name_nothing_is_refused_in_one_line(text, words, service, tmp_path):
    line = assert_clear(refused(tmp_path, [text], service), 2, *words)
    assert len(line) < 2100


def test_a_glob_may_be_longer_than_a_name(images, service, tmp_path):
    folder = os.path.dirname(next(iter(images)))  # noqa: PTH120 - a text
    others = ",".join(f"other-{number}" for number in range(60))
    ended = label(f"{folder}/{{image-*,{others}}}", tmp_path / "out", service, limit_s=QUICK_S)
    assert (ended.code, ended.summary["listed"]) == (0, 2)


# --- outputs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["folder", "glob"])
def test_an_output_within_the_input_is_never_labelled_itself(by, images, service, tmp_path):
    (tmp_path / "lake").mkdir()
    for number, data in enumerate(images.values()):
        (tmp_path / "lake" / f"{number}.png").write_bytes(data)
    named = tmp_path / "lake" if by == "folder" else f"{tmp_path}/lake/**"
    for calls in (2, 0):
        ended = label(named, tmp_path / "lake" / "out", service, limit_s=QUICK_S)
        assert (ended.code, ended.summary["listed"], ended.summary["calls"]) == (0, 2, calls)


@pytest.mark.parametrize(
    ("output", "code", "words"),
    [
        ("/", 2, ["root of all folders"]),
        ("/dev/null", 6, ["--output /dev/null cannot be read"]),
        ("ftp://h/x", 2, ["'ftp'"]),
        ("a\0b", 2, ["--output", "unusable character"]),
        ("/tmp/" + "o" * 300, 6, ["so long a name"]),
    ],
)
def test_an_output_that_cannot_be_is_refused_in_one_line(output, code, words, image, service, tmp_path):
    assert_clear(refused(tmp_path, image, service, output=output), code, *words)


# --- options ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (["--rate", "0"], "rate"),
        (["--rate", "nan"], "rate"),
        (["--deadline=-1"], "deadline"),
        (["--deadline", "0s"], "deadline"),
        (["--max-calls=-1"], "max_calls"),
        (["--max-failure-rate", "nan"], "max_failure_rate"),
        (["--buckets", "1000000000"], "buckets"),
        (["--api-url", "http://\0"], "--api-url"),
        (["--", "--direct_num_workers=x"], "direct_num_workers"),
        (["--", "--direct_num_workers=-1"], "direct_num_workers"),
    ],
)
def test_a_number_that_cannot_be_meant_is_refused_in_one_line(flags, word, image, service, tmp_path):
    assert_clear(refused(tmp_path, image, service, *flags), 2, word)


def test_a_deadline_of_many_years_is_one(image, service, tmp_path):
    ended = label(image, tmp_path / "out", service, "--deadline", "99999999999h", limit_s=QUICK_S)
    assert (ended.code, "Traceback" in ended.err) == (0, False)


BOMB = "beam:\n  a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"  {new}: &{new} [{','.join(['*' + old] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (BOMB, "10,000 values"),
        ("inputs: &a [*a]\n", "10,000 values"),
        ("beam: &a {x: *a}\n", "10,000 values"),
        ("spec: " + "y" * 1_000_000, "200,000 bytes"),
        ("[" * (sys.getrecursionlimit() * 2), "nested too deeply"),
        ("inputs: !!python/object/apply:os.system ['true']", "not YAML"),
        ("a\0b: 1", "not YAML"),
        ("run_id: 2026-99-99", "not YAML"),
        ("", "not a mapping"),
    ],
)
def test_a_configuration_that_is_a_bomb_or_none_is_refused_in_one_line(text, word, service, tmp_path):
    (tmp_path / "job.yaml").write_text(text)
    ended = command("label", "--config", tmp_path / "job.yaml", "--api-url", service.url, limit_s=QUICK_S)
    assert_clear(ended, 2, "job.yaml", word)


# --- an output that somebody has altered -------------------------------------------------------------------


@pytest.fixture(scope="module")
def labelled(healthy_service, images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("altered")
    assert label(next(iter(images)), folder / "out", healthy_service, "--run-id", "one").code == 0
    return folder / "out"


@pytest.mark.parametrize(
    "content", ["", "null", "[1]", "{}", '{"run_id": "one", "segments": [], "shards": 5}', "[" * 9999]
)
@pytest.mark.parametrize(
    ("name", "code"), [("dataset.json", 2), ("runs/one/publish.json", 6), ("journal/compacted_runs.json", 6)]
)
def test_an_output_whose_files_were_altered_is_refused_in_one_line(
    name, code, content, labelled, image, service, tmp_path
):
    shutil.copytree(labelled, tmp_path / "out")
    if (name, content) == ("journal/compacted_runs.json", "[1]"):
        pytest.skip("a list of one run")
    (tmp_path / "out" / name).write_text(content)
    assert_clear(refused(tmp_path, image, service), code, str(tmp_path / "out" / name))


def test_an_output_that_lost_what_a_run_published_is_refused_and_verify_says_so(labelled, image, service, tmp_path):
    shutil.copytree(labelled, tmp_path / "out")
    (tmp_path / "out" / "runs" / "one" / "publish.json").unlink()
    assert_clear(refused(tmp_path, image, service), 6, "publish.json is gone", "would be published again")
    checked = command("verify", tmp_path / "out")
    assert checked.code == 4
    assert "damaged runs/one/publish.json" in checked.out


@pytest.mark.parametrize("name", ["summary.json", "listing"])
def test_verify_misses_the_summary_and_the_listing_of_a_run(name, labelled, tmp_path):
    shutil.copytree(labelled, tmp_path / "out")
    path = tmp_path / "out" / "runs" / "one" / name
    shutil.rmtree(path) if path.is_dir() else path.write_text("{")
    checked = command("verify", tmp_path / "out")
    assert checked.code == 4
    assert f"runs/one/{name}" in checked.out


def test_what_a_write_that_was_cut_off_left_is_swept_by_the_next_run(labelled, image, service, tmp_path):
    shutil.copytree(labelled, tmp_path / "out")
    orphan = tmp_path / "out" / "journal" / f".{'0' * 32}.tmp"
    orphan.write_bytes(b"half")
    assert command("verify", tmp_path / "out").code == 4
    refused(tmp_path, image, service)
    assert not orphan.exists()


@pytest.mark.parametrize("output", ["", "s3://", "a\0b", "/nowhere"])
def test_what_is_no_output_is_not_compacted(output):
    assert_clear(command("compact", output), 2)


# --- streams ---------------------------------------------------------------------------------------------


@pytest.fixture
def summary(labelled):
    return Summary(**json.loads((labelled / "runs" / "one" / "summary.json").read_text()))


class Full(io.TextIOBase):
    """A stream to a full disk."""

    def write(self, text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_command_without_any_stream_labels_all_the_same(image, service, tmp_path):
    arguments = ["label", image, "--output", str(tmp_path / "out"), "--spec", "echo-v1", "--json"]
    ended = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-m", "deepo_beam", *arguments],
        env=environment("any", {"DEEPOMATIC_API_URL": service.url}),
        cwd=ROOT,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 0
    assert len(rows(tmp_path / "out", "images")) == 1


def test_a_log_on_a_full_disk_does_not_make_a_run_a_failure(summary):
    with contextlib.redirect_stderr(Full()):
        print_summary(summary)


def test_a_summary_that_cannot_be_printed_is_said_to_be_in_its_file(summary):
    with contextlib.redirect_stdout(Full()), pytest.raises(StorageError, match=r"No space .*runs/one/summary\.json"):
        print_json(summary)


def test_standard_input_that_is_closed_is_said_to_be(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ConfigError, match=r"standard input \(-\) is closed"):
        expand_input("-", index=0, options=InputOptions())
