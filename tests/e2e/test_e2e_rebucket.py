"""``compact --buckets``: later runs work with another number of buckets, and nothing else has changed."""

import json

import pytest
from e2e_tools import (
    assert_adds_up,
    assert_clear,
    assert_labels_follow_the_rule,
    command,
    finish,
    label,
    process,
    rows,
    write_pictures,
)

from deepo_beam.lake.holder import Holder
from deepo_beam.lake.lock import lock_for_run


@pytest.fixture
def made(tmp_path, service):
    """Twelve images, labelled in three buckets, and a thirteenth that is none."""
    images = write_pictures(tmp_path / "images", 12)
    (tmp_path / "images" / "text.png").write_text("text")
    assert label(tmp_path / "images", tmp_path / "out", service).code == 0
    return tmp_path, images


def compact(output, *flags, code=0):
    ended = command("compact", output, *flags, key=None)
    assert ended.code == code, ended
    return ended.out


def dataset(output):
    return json.loads((output / "dataset.json").read_text())


def segments(output):
    """By the folder of their journal and the name of their bucket."""
    return [(path.parts[-3], path.parts[-2]) for path in sorted(output.glob("journal*/*/*.parquet"))]


def published(output):
    return {path: path.read_bytes() for name in ("labels", "images", "errors") for path in output.glob(f"{name}/*/*")}


def again(folder, service):
    """``label`` with no word of buckets."""
    arguments = ("--output", folder / "out", "--spec", "echo-v1", "--api-url", service.url, "--json")
    ended = command("label", folder / "images", *arguments)
    assert ended.code == 0, ended
    assert_adds_up(ended.summary)
    return ended.summary


def test_later_runs_have_as_many_buckets_and_know_all_that_was_known(made, service):
    folder, images = made
    output, tables = folder / "out", published(folder / "out")
    before = dataset(output)

    assert f"{output}: 5 buckets instead of 3" in compact(output, "--buckets", 5)

    journal = dataset(output)["journal"]
    assert dataset(output) == before | {"buckets": 5, "journal": journal}
    assert set(segments(output)) <= {(journal, f"bucket={bucket:05d}") for bucket in range(5)}
    assert len(segments(output)) == len(set(segments(output)))  # one in each that has images
    assert published(output) == tables
    assert command("verify", output).code == 0
    known = again(folder, service)
    assert (known["reused"], known["skipped"], known["calls"]) == (12, 1, 0)

    images |= write_pictures(folder / "images", 8, first=12)
    new = again(folder, service)
    assert (new["calls"], new["reused"], new["published"]) == (8, 12, 8)
    assert {name for name, _ in segments(output)} == {journal}
    listing = output / "runs" / new["run_id"] / "listing"
    assert {path.name for path in listing.iterdir()} <= {f"bucket-{bucket:05d}.parquet" for bucket in range(5)}
    assert service.stats()["accepted"] == 20
    assert_labels_follow_the_rule(output, images)
    assert command("verify", output).code == 0


def test_it_can_be_changed_again_and_the_same_number_changes_nothing(made, service):
    folder, images = made
    for buckets in (1, 7, 3):
        assert f"{buckets} buckets instead of" in compact(folder / "out", "--buckets", buckets)
        assert again(folder, service)["calls"] == 0
    before = dataset(folder / "out")
    assert "instead of" not in compact(folder / "out", "--buckets", 3)
    assert dataset(folder / "out") == before
    assert len(rows(folder / "out", "images")) == len(images) + 1
    assert command("publish", folder / "out", "--all").code == 0
    (snapshot,) = (folder / "out" / "snapshots").iterdir()
    assert json.loads((snapshot / "manifest.json").read_text())["images"] == len(images) + 1


@pytest.mark.parametrize(
    ("given", "words"),
    [("0", ("buckets", "greater than or equal to 1")), ("100000", ("buckets", "less than or equal to 99999"))],
)
def test_a_number_that_label_would_not_take_is_refused_as_label_does(given, words, made, service):
    folder, _ = made
    refused = [
        command("compact", folder / "out", "--buckets", given),
        label(folder / "images", folder / "new", service, "--buckets", given),
    ]
    assert assert_clear(refused[0], 2, *words) == assert_clear(refused[1], 2, *words)
    assert dataset(folder / "out")["buckets"] == 3


def test_label_with_another_number_than_the_outputs_says_how_to_change_it(made, service):
    folder, _ = made
    ended = label(folder / "images", folder / "out", service, "--buckets", "5")
    assert_clear(ended, 2, "buckets is 3", "this run wants 5", f"deepo-beam compact {folder / 'out'} --buckets 5")


def test_an_output_that_is_held_is_left_alone(made):
    output = made[0] / "out"
    lock = lock_for_run(str(output), Holder.this_process("run-x"))
    try:
        ended = finish(process("compact", output, "--buckets", "5"))
    finally:
        lock.close()
    assert_clear(ended, 7, "run-x", "holds")
    assert dataset(output)["buckets"] == 3
