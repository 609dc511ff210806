"""Tables from the journal, without a call and without a key."""

import json
import shutil

import pyarrow.parquet as pq
import pytest
from e2e_tools import assert_clear, assert_labels_follow_the_rule, command, label, rows, write_pictures


def publish(output, *flags, code=0):
    ended = command("publish", output, *flags, key=None)
    assert ended.code == code, ended
    return ended.out


def table(folder, name):
    return [row for path in sorted((folder / name).glob("part-*.parquet")) for row in pq.read_table(path).to_pylist()]


@pytest.fixture(scope="module")
def made(tmp_path_factory, healthy_service):
    """Eight images, labelled with all scores in two runs, and their bytes."""
    folder = tmp_path_factory.mktemp("made")
    images = write_pictures(folder / "images", 6)
    assert label(folder / "images", folder / "out", healthy_service, "--show-discarded").code == 0
    images |= write_pictures(folder / "images", 2, first=6)
    ended = label(folder / "images", folder / "out", healthy_service, "--show-discarded", "--publish", "all")
    assert ended.code == 0
    return folder, images, ended.summary["run_id"]


@pytest.fixture
def output(made, tmp_path):
    """A copy, to do anything with."""
    shutil.copytree(made[0] / "out", tmp_path / "out")
    return tmp_path / "out"


def test_label_writes_a_snapshot_of_all_runs_on_request(made):
    folder, images, run_id = made
    snapshot = folder / "out" / "snapshots" / run_id
    assert sorted(row["image_uri"] for row in table(snapshot, "images")) == sorted(images)
    assert (snapshot / "_SUCCESS").exists()
    assert_labels_follow_the_rule(folder / "out", images, show_discarded=True)  # the union has each once
    assert command("verify", folder / "out").code == 0


def files(output):
    """All that is there, but for what processes report of themselves while they are at work."""
    return sorted(path for path in output.rglob("*") if "workers" not in path.parts)


def test_nothing_is_published_where_nothing_is_left_and_it_says_so(output):
    before = files(output)
    assert "nothing to publish" in publish(output)
    assert files(output) == before


def test_what_a_killed_run_left_is_published_without_a_call(output):
    run = max((output / "runs").iterdir(), key=lambda path: (path / "config.json").stat().st_mtime)
    for name in ("labels", "images", "errors"):  # as if the last run had been killed before it published
        shutil.rmtree(output / name / f"run_id={run.name}")
    shutil.rmtree(run)
    assert len(rows(output, "images")) == 6
    assert "published 2 images" in publish(output)
    assert len(rows(output, "images")) == 8
    assert command("verify", output).code == 0


def test_a_threshold_decides_again_by_the_scores_in_a_folder_of_ones_own(output, tmp_path):
    own = {row["label_name"]: row["threshold"] for row in rows(output, "labels")}
    name, other = sorted(own)[:2]
    said = publish(output, "--threshold", f"{name}=0.9", "--threshold", f"{other}=0", "--to", tmp_path / "new")
    assert f"snapshot of 8 images, {len(rows(output, 'labels'))} labels: {tmp_path / 'new'}" in said
    labels = table(tmp_path / "new", "labels")
    wanted = own | {name: 0.9, other: 0.0}
    assert {row["label_name"] for row in labels} >= {name, other}
    for row in labels:
        assert row["threshold"] == pytest.approx(wanted[row["label_name"]])
        assert row["is_predicted"] == (row["score"] >= row["threshold"])
    for row in table(tmp_path / "new", "images"):
        predicted = [one for one in labels if one["image_uri"] == row["image_uri"] and one["is_predicted"]]
        assert row["n_predictions"] == len(predicted)
        assert row["status"] == ("succeeded" if predicted else "no_detection")
        if predicted:
            assert row["top_score"] == max(one["score"] for one in predicted)
    assert len(json.loads((tmp_path / "new" / "manifest.json").read_text())["thresholds"]) == 2
    refused = command("publish", output, "--all", "--to", tmp_path / "new", key=None)
    assert_clear(refused, 2, "--to", "not empty")


def test_a_lower_threshold_needs_the_scores_and_a_label_its_name(tmp_path, service):
    write_pictures(tmp_path / "images", 4)
    label(tmp_path / "images", tmp_path / "out", service)
    row = rows(tmp_path / "out", "labels")[0]
    lower = command("publish", tmp_path / "out", "--threshold", f"{row['label_id']}=0.01", key=None)
    assert_clear_last(lower, "0.01", "--show-discarded")
    unknown = command("publish", tmp_path / "out", "--threshold", f"{row['label_name']}x=0.9", key=None)
    assert_clear_last(unknown, "did you mean", row["label_name"])
    assert not (tmp_path / "out" / "snapshots").exists()
    assert_clear(command("publish", tmp_path / "out", "--threshold", "cat", key=None), 2, "cat=0.7")
    assert_clear(command("publish", tmp_path / "images", key=None), 2, "dataset.json")


def assert_clear_last(ended, *words):
    """A refusal after the leftovers were seen to."""
    assert ended.code == 2, ended
    assert all(word in ended.err for word in words), ended.err
