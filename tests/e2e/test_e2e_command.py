"""The command as a process: its streams, its exit codes, and what follows a ``--``."""

import json
import re

import pytest
from e2e_tools import (
    ROOT,
    assert_clear,
    assert_labels_follow_the_rule,
    by_name,
    command,
    finish,
    label,
    process,
    write_pictures,
)

from deepo_beam.config import label_config

COMMANDS = ("label", "plan", "status", "publish", "verify", "compact", "specs", "emulator")


# --- streams -------------------------------------------------------------------------------------------


def test_json_is_all_of_standard_output_and_standard_input_is_a_list(service, tmp_path):
    images = write_pictures(tmp_path / "images", 3)
    arguments = ("--output", tmp_path / "out", "--spec", "echo-v1", "--api-url", service.url, "--json")

    ended = finish(process("label", "-", *arguments), stdin="# of today\n\n" + "\n".join(images) + "\n")

    assert ended.code == 0, ended
    assert (ended.summary["listed"], ended.summary["succeeded"] + ended.summary["no_detection"]) == (3, 3)
    assert f"listed 3 = {ended.summary['succeeded']} succeeded" in ended.err
    assert "Traceback" not in ended.err
    assert_labels_follow_the_rule(tmp_path / "out", images)


def test_quiet_says_nothing_and_beam_options_pass_through_the_script_of_the_pipeline(service, tmp_path):
    images = write_pictures(tmp_path / "images", 2)
    arguments = (tmp_path / "images", "--output", tmp_path / "out", "--spec", "echo-v1", "--api-url", service.url)
    started = process(*arguments, "--quiet", "--runner=FnApiRunner", module="pipelines.bulk_label")

    ended = finish(started)

    assert (ended.code, ended.out) == (0, "")
    assert [line for line in ended.err.splitlines() if "apitools" not in line] == []
    assert_labels_follow_the_rule(tmp_path / "out", images)


def test_an_error_is_one_line_on_standard_error_of_the_process(tmp_path):
    ended = finish(process("label", f"{tmp_path}/*.jpg", "--output", tmp_path / "out", "--spec", "echo-v1"))

    assert_clear(ended, 2, "nothing matches", f"{tmp_path}/*.jpg")


def test_the_summary_for_people_is_on_standard_error(service, tmp_path):
    write_pictures(tmp_path / "images", 3)
    (tmp_path / "images" / "text.png").write_text("text")
    arguments = ("--output", tmp_path / "out", "--spec", "echo-v1", "--api-url", service.url, "--run-id", "monday")

    ended = command("label", tmp_path / "images", *arguments)

    assert (ended.code, ended.out) == (0, "")
    for words in ("run monday of", "spec echo-v1 version 21", "listed 4 =", "1 failed", "3 calls", "not_an_image 1"):
        assert words in ended.err


def test_log_lines_as_json_are_json(service, tmp_path):
    write_pictures(tmp_path / "images", 1)
    flags = ("--quiet", "--log-format", "json", "--log-level", "info", "--", "--runner=DirectRunner")

    ended = label(tmp_path / "images", tmp_path / "out", service, *flags)

    lines = [json.loads(line) for line in ended.err.splitlines()]
    assert [line for line in lines if line["level"] == "WARNING" and "FnApiRunner" in line["message"]]
    assert ended.summary["listed"] == 1


# --- standard input ------------------------------------------------------------------------------------


def test_relative_paths_on_standard_input_are_those_of_the_working_directory(service, tmp_path, monkeypatch):
    images = write_pictures(tmp_path / "images", 2)
    monkeypatch.chdir(tmp_path)
    names = [uri.removeprefix(f"{tmp_path}/") for uri in images]

    ended = label("-", tmp_path / "out", service, stdin="\n".join(names))

    assert (ended.code, ended.summary["failed"]) == (0, 0)
    assert_labels_follow_the_rule(tmp_path / "out", images)


def test_standard_input_and_other_inputs_are_one_listing(service, tmp_path):
    images = write_pictures(tmp_path / "images", 3)
    piped, named, _ = images

    ended = label([named, "-"], tmp_path / "out", service, stdin=f"{piped}\n{named}\n{tmp_path}/gone.png\n")

    found = {name: ended.summary[name] for name in ("listed", "duplicate", "failed", "calls")}
    assert (ended.code, found) == (0, {"listed": 4, "duplicate": 1, "failed": 1, "calls": 2})
    assert by_name(tmp_path / "out", "errors")["gone.png"]["error_code"] == "object_missing"


def test_an_empty_standard_input_exits_2_and_makes_no_output(service, tmp_path):
    assert_clear(label("-", tmp_path / "out", service, stdin=""), 2, "standard input", "--allow-empty")
    assert not (tmp_path / "out").exists()


# --- Beam's options ------------------------------------------------------------------------------------


def test_what_follows_two_dashes_is_beams(service, tmp_path):
    images = write_pictures(tmp_path / "images", 4)
    beams = ("--", "--runner=FnApiRunner", "--direct_num_workers=2", "--direct_running_mode=multi_threading")

    assert label(tmp_path / "images", tmp_path / "out", service, *beams).code == 0

    assert_labels_follow_the_rule(tmp_path / "out", images)


def test_an_unknown_runner_exits_2_and_names_it(service, tmp_path):
    images = write_pictures(tmp_path / "images", 1)

    ended = label(list(images), tmp_path / "out", service, "--", "--runner=NoSuchRunner")

    assert_clear(ended, 2, "NoSuchRunner", "FnApiRunner")
    assert service.stats()["accepted"] == 0


# --- help and specs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_one_worked_example(name):
    ended = command(name, "--help")

    assert (ended.code, ended.err) == (0, "")
    assert len(re.findall(r"Example: +deepo-beam " + name, ended.out)) == 1


def test_the_help_of_the_whole_names_every_command():
    ended = command("--help")

    assert ended.code == 0
    assert [name for name in COMMANDS if not re.search(rf"^[ │]+{name}  ", ended.out, re.MULTILINE)] == []


def test_every_option_of_label_is_in_its_help():
    text = command("label", "--help").out

    for option in ("--rate", "--payload", "--sample", "--bbox-column", "--max-image-bytes", "--allow-empty", "--json"):
        assert re.search(rf"^[ │]+{option} +.*\S", text, re.MULTILINE), option


def test_specs_lists_public_and_private_ones_or_one_kind(service):
    def ids(*flags):
        listed = command("specs", *flags, "--api-url", service.url)
        assert (listed.code, listed.err) == (0, "")
        return [line.split()[0] for line in listed.out.splitlines()]

    assert ids("--public")[0] == "echo-v1"
    assert ids("--private") == ["1", "2", "3"]
    assert ids() == ids("--public") + ids("--private")


def test_specs_of_one_shows_its_version_its_outputs_and_their_labels(service):
    shown = command("specs", "echo-boxes-v1", "--api-url", service.url)
    empty = command("specs", "empty-v1", "--api-url", service.url)

    assert (shown.code, empty.code) == (0, 0)
    for words in ("echo-boxes-v1", "version 22", "detection, 23 labels", "amber", "willow"):
        assert words in shown.out
    assert "no current version" in empty.out


def test_specs_as_json_is_json(service):
    one = json.loads(command("specs", "1", "--json", "--api-url", service.url).out)
    many = json.loads(command("specs", "--public", "--json", "--api-url", service.url).out)

    assert (one["id"], one["public"], one["current_version_id"]) == ("1", False, 11)
    assert len(one["outputs"][0]["labels"]) == 23
    assert [spec["id"] for spec in many][:2] == ["echo-v1", "echo-boxes-v1"]


# --- configurations ------------------------------------------------------------------------------------

# Those of the command; *.beam.yaml are pipelines of Beam YAML.
CONFIGS = sorted(path for path in (ROOT / "configs").glob("*") if not path.name.endswith(".beam.yaml"))


def test_there_is_a_demo_a_nightly_job_and_a_job_for_each_cluster():
    assert {"local_demo.yaml", "nightly.yaml", "flink.yaml", "dataflow.yaml"} <= {path.name for path in CONFIGS}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_configuration_loads_names_inputs_output_and_model_and_says_how_it_is_run(path):
    config = label_config({}, str(path))

    assert config.inputs
    assert config.output_uri
    assert config.model
    assert f"--config configs/{path.name}" in path.read_text() or f"/{path.name}" in path.read_text()


def test_the_demos_configuration_labels_what_it_is_pointed_at(service, tmp_path):
    images = write_pictures(tmp_path / "images", 2)
    flags = ("--config", ROOT / "configs" / "local_demo.yaml")

    ended = label(list(images), tmp_path / "out", service, *flags)

    assert (ended.code, ended.summary["listed"]) == (0, 2)
    assert_labels_follow_the_rule(tmp_path / "out", images)
