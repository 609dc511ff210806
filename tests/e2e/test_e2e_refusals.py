"""What the command refuses before it sends anything: the exit code, and one line that says what to do."""

import functools
import os

import pytest
from e2e_tools import assert_clear, assert_labels_follow_the_rule, command, label, rows, write_pictures

from deepo_beam.api import Client
from deepo_beam.emulator.testing import running_emulator


@pytest.fixture
def image(tmp_path):
    """The path of one good image."""
    return next(iter(write_pictures(tmp_path / "images", 1)))


@pytest.fixture
def output(service, tmp_path):
    """Where the output would be; whatever was refused has sent nothing."""
    yield tmp_path / "out"
    assert service.stats()["accepted"] == 0


# --- inputs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["*.jpg", "**/*.png", "folder", "folder/"])
def test_inputs_that_match_nothing_exit_2_and_make_no_output(pattern, service, output, tmp_path):
    (tmp_path / "folder").mkdir()

    ended = label(tmp_path / "folder" / pattern if "*" in pattern else tmp_path / pattern, output, service)

    assert_clear(ended, 2, "nothing matches", str(tmp_path / "folder"), "--allow-empty")
    assert not output.exists()


def test_nothing_to_do_is_no_error_if_that_is_allowed_and_leaves_empty_tables(service, output, tmp_path):
    ended = label(f"{tmp_path}/*.jpg", output, service, "--allow-empty")

    assert (ended.code, ended.summary["listed"]) == (0, 0)
    assert len(list(output.glob("runs/*/_SUCCESS"))) == 1
    assert [len(list(output.glob(f"{table}/*/*"))) for table in ("labels", "images", "errors")] == [1, 1, 1]
    assert rows(output, "images") == []


@pytest.mark.parametrize("name", ["gone.png", "gone.csv", "gone.parquet"])
def test_an_image_or_list_that_does_not_exist_exits_2_and_is_named(name, service, output, tmp_path):
    assert_clear(label(tmp_path / name, output, service), 2, f"{tmp_path / name}", "check its name")


def test_every_input_is_looked_at_before_anything_is_sent(image, service, output, tmp_path):
    ended = label([image, tmp_path / "gone.png"], output, service)

    assert_clear(ended, 2, f"{tmp_path / 'gone.png'}", "check its name")
    assert not output.exists()


def test_each_input_that_matches_nothing_is_named(image, service, output, tmp_path):
    assert_clear(label([image, f"{tmp_path}/*.jpg"], output, service), 2, "nothing matches", f"{tmp_path}/*.jpg")


@pytest.mark.parametrize("place", ["first", "second"])
def test_a_list_without_the_column_of_uris_exits_2_and_says_which_there_are(place, image, service, output, tmp_path):
    (tmp_path / "list.csv").write_text(f"uri,colour\n{image},red\n")
    inputs = [tmp_path / "list.csv"] if place == "first" else [image, tmp_path / "list.csv"]

    ended = label(inputs, output, service)

    assert_clear(ended, 2, "list.csv", "'image_uri'", "'uri', 'colour'", "--uri-column")


@pytest.mark.parametrize("place", ["first", "second"])
def test_a_local_image_cannot_travel_by_url(place, image, service, output):
    inputs = [image] if place == "first" else ["http://127.0.0.1:9/a.png", image]

    ended = label(inputs, output, service, "--payload", "url")

    assert_clear(ended, 2, "--payload url", image, "use base64 or multipart")


def test_no_input_at_all_exits_2(service, output):
    assert_clear(label([], output, service), 2, "no input")


# --- options -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", ["fast", "20", "0/s", "-1/s", "20/week", "nan/s", "1e400/s"])
def test_a_rate_that_is_no_rate_exits_2_and_shows_one(rate, image, service, output):
    assert_clear(label(image, output, service, f"--rate={rate}"), 2, "rate", repr(rate), "20/s")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--max-image-bytes", "big"), ("max_image_bytes", "'big'", "4MB")),
        (("--payload", "fax"), ("payload", "base64")),
        (("--retry", "perhaps"), ("retry", "'failed', 'none' or 'all'")),
        (("--run-id", "../up"), ("run_id", "'../up'")),
        (("--limit", "2", "--sample", "2"), ("--limit or --sample",)),
        (("--version-id", "11"), ("--spec or --version-id",)),
        (("--log-level", "LOUD"), ("log_level", "'LOUD'", "INFO")),
    ],
)
def test_an_option_that_cannot_be_meant_exits_2_and_is_named(flags, words, image, service, output):
    assert_clear(label(image, output, service, *flags), 2, *words)


def test_an_unknown_flag_exits_2_and_names_the_nearest(image, service, output):
    ended = label(image, output, service, "--rat", "20/s")

    assert ended.code == 2
    assert "--rat" in ended.err
    assert "--rate" in ended.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ratte: 20/s", ("unknown option 'ratte'", "did you mean 'rate'?")),
        ("api_key: secret", ("unknown option 'api_key'", "'api_key_file'")),
        ("rate: often", ("rate", "'often'", "20/s")),
        ("- a list", ("not a mapping",)),
        ("a: [1", ("not YAML",)),
    ],
)
def test_a_file_that_cannot_be_meant_exits_2_and_names_file_and_key(text, words, image, service, output, tmp_path):
    (tmp_path / "job.yaml").write_text(text)

    ended = label(image, output, service, "--config", tmp_path / "job.yaml")

    assert (ended.code, ended.out) == (2, "")
    assert "Traceback" not in ended.err
    for word in (*words, str(tmp_path / "job.yaml")):
        assert word in ended.err


def test_flags_win_over_the_file_and_the_file_over_the_environment(service, tmp_path):
    images = write_pictures(tmp_path / "images", 3)
    (tmp_path / "job.yaml").write_text(
        f"inputs: [{tmp_path}/images]\noutput: {tmp_path}/out\nspec: empty-v1\nlimit: 1\napi_url: {service.url}\n"
    )

    ended = command(
        *("label", "--config", tmp_path / "job.yaml", "--spec", "echo-v1", "--limit", "3", "--json"),
        environ={"DEEPOMATIC_API_URL": "http://127.0.0.1:9"},
    )

    assert (ended.code, ended.summary["listed"]) == (0, 3)
    assert_labels_follow_the_rule(tmp_path / "out", images)


# --- the key and the model -----------------------------------------------------------------------------


def test_a_wrong_key_exits_6_and_the_message_names_the_variable_and_not_the_key(image, tmp_path):
    with running_emulator(api_key="right-and-secret") as service:
        ended = label(image, tmp_path / "out", service, key="wrong-and-secret")

        line = assert_clear(ended, 6, service.url, "refuses the API key", "401", "DEEPOMATIC_API_KEY")
        assert "wrong-and-secret" not in line
        assert not (tmp_path / "out").exists()

        (tmp_path / "key").write_text("right-and-secret\n")
        ended = label(image, tmp_path / "out", service, "--api-key-file", tmp_path / "key", key="wrong-and-secret")
        assert ended.code == 0, ended


def test_no_key_exits_6_and_says_where_it_is_looked_for(image, service, output):
    assert_clear(label(image, output, service, key=None), 6, "no API key", "DEEPOMATIC_API_KEY")


@pytest.mark.parametrize(
    ("spec", "flags", "named"),
    [
        ("no-such-model", (), "spec no-such-model"),
        ("99", (), "spec 99"),
        (None, ("--version-id", "99"), "version 99"),
    ],
)
def test_an_unknown_model_exits_6_and_is_named(spec, flags, named, image, service, output):
    ended = label(image, output, service, *flags, spec=spec)

    assert_clear(ended, 6, f"knows no {named}", "404", "deepo-beam specs")
    assert not output.exists()


def test_a_specification_without_a_current_version_exits_6_and_says_so(image, service, output):
    assert_clear(label(image, output, service, spec="empty-v1"), 6, "empty-v1", "no current version")
    assert not output.exists()


def test_no_model_exits_2_and_says_how_to_name_one(image, service, output):
    assert_clear(label(image, output, service, spec=None), 2, "no model", "--spec ID or --version-id N")


def test_a_service_that_does_not_answer_exits_6_and_is_named(monkeypatch):
    monkeypatch.setattr("deepo_beam.api.Client", functools.partial(Client, sleep=lambda seconds: None))

    ended = command("specs", "echo-v1", "--api-url", "http://127.0.0.1:9")

    assert_clear(ended, 6, "http://127.0.0.1:9", "no connection")


@pytest.mark.parametrize("arguments", [("specs", "no-such-model"), ("specs", "99")])
def test_specs_of_an_unknown_id_exits_6_and_names_it(arguments, service):
    assert_clear(command(*arguments, "--api-url", service.url), 6, arguments[-1], "404")


# --- the output ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def labelled(healthy_service, tmp_path_factory):
    """An image and the output of a run over it, named ``taken``."""
    folder = tmp_path_factory.mktemp("labelled")
    (image,) = write_pictures(folder / "images", 1)
    assert label(image, folder / "out", healthy_service, "--run-id", "taken").code == 0
    return image, folder / "out"


@pytest.mark.parametrize(
    ("spec", "flags", "words"),
    [
        ("echo-boxes-v1", (), ("model is 'spec echo-v1'", "'spec echo-boxes-v1'")),
        (None, ("--version-id", "11"), ("model is 'spec echo-v1'", "'version 11'")),
        ("echo-v1", ("--show-discarded",), ("show_discarded is False", "True")),
        ("echo-v1", ("--max-predictions", "3"), ("max_predictions is None", "3")),
    ],
)
def test_an_output_of_another_dataset_exits_2_and_names_both_values(spec, flags, words, labelled, service):
    image, taken = labelled

    assert_clear(label(image, taken, service, *flags, spec=spec), 2, str(taken), *words, "another --output")
    assert service.stats()["accepted"] == 0


def test_an_output_of_another_service_exits_2_and_names_both(labelled, service):
    image, taken = labelled

    ended = label(image, taken, service, "--api-url", "http://127.0.0.1:9")

    assert_clear(ended, 2, f"api_host is {service.url!r}", "'http://127.0.0.1:9'")


def test_the_name_of_a_complete_run_exits_2(labelled, service):
    image, taken = labelled

    assert_clear(label(image, taken, service, "--run-id", "taken"), 2, "run taken", "another --run-id")


def test_a_folder_that_is_not_ours_exits_2_names_a_file_of_it_and_stays_as_it_was(image, service, output):
    output.mkdir()
    (output / "notes.txt").write_text("mine")

    assert_clear(label(image, output, service), 2, str(output / "notes.txt"), "no dataset.json", "another --output")
    assert [path.name for path in output.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("below", ["", "/deeper"])
def test_an_output_that_is_a_file_or_below_one_exits_6_and_is_named(below, image, service, output):
    output.write_text("a file")

    assert_clear(label(image, f"{output}{below}", service), 6, f"--output {output}{below}", "cannot be read")


def test_an_output_that_cannot_be_written_exits_6_and_is_named(image, service, output, monkeypatch):
    def refuse(path, *args, **options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "fsync", refuse)

    assert_clear(label(image, output, service), 6, "the output cannot be written", str(output))
