"""Before paying: what a run would do; and then it does just that."""

import json
from pathlib import Path

from e2e_tools import assert_adds_up, assert_clear, command, label, picture, write_pictures


def plan(inputs, output, service, *flags, **how):
    options = ["--output", output, "--spec", "echo-v1", "--api-url", service.url, "--json", *flags]
    ended = command("plan", inputs, *options, **how)
    assert ended.code == 0, ended
    return json.loads(ended.out)


def files(folder: Path):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")} if folder.exists() else {}


def test_a_plan_says_what_label_then_does_and_touches_nothing(tmp_path, service):
    images, output = tmp_path / "images", tmp_path / "out"
    write_pictures(images, 8)
    planned = plan(images, output, service, "--rate", "4/s")
    assert (planned["listed"], planned["new"], planned["calls_min"], planned["seconds_max"]) == (8, 8, 8, 2.0)
    assert planned["bytes_max"] == sum(path.stat().st_size for path in images.iterdir())
    assert (output.exists(), service.stats()["accepted"]) == (False, 0)

    assert label(images, output, service).summary["calls"] == 8
    (images / "new.png").write_bytes(picture(50))
    before = files(output)
    planned = plan(images, output, service)
    assert (planned["known"], planned["new"], planned["calls_min"], planned["calls_max"]) == (8, 1, 1, 1)
    assert files(output) == before
    ended = label(images, output, service)
    assert_adds_up(ended.summary)
    assert (ended.summary["calls"], ended.summary["reused"]) == (1, 8)


def test_a_dry_run_of_label_is_a_plan(tmp_path, service):
    write_pictures(tmp_path / "images", 3)
    options = ("--output", tmp_path / "out", "--spec", "echo-v1", "--api-url", service.url)
    ended = command("label", tmp_path / "images", *options, "--dry-run")
    assert ended.code == 0
    assert ended.out.startswith("listed 3 = 0 known + 3 new\n3 calls, ")
    assert not (tmp_path / "out").exists()


def test_a_plan_takes_standard_input(tmp_path, service):
    images = write_pictures(tmp_path / "images", 3)
    assert plan("-", tmp_path / "out", service, stdin="\n".join(images))["new"] == 3


def test_a_plan_of_nothing_is_refused_as_label_would(tmp_path, service):
    ended = command(
        "plan", tmp_path / "*.jpg", "--output", tmp_path / "out", "--spec", "echo-v1", "--api-url", service.url
    )
    assert_clear(ended, 2, "nothing matches")
