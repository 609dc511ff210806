"""What a user can ask for: flags over a file over the environment, and no value that is silently misread."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepo_beam.config import LabelConfig, command_options, label_config, load_config
from deepo_beam.errors import ConfigError
from deepo_beam.types import ModelKind, ModelRef, Payload


@pytest.fixture
def yaml_file(tmp_path: Path):
    """Writes a configuration file and returns its path."""

    def write(text: str) -> str:
        path = tmp_path / "job.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def parse(**values: object) -> LabelConfig:
    return LabelConfig.parse(values, where="options")


def refusal(**values: object) -> str:
    with pytest.raises(ConfigError) as refused:
        parse(**values)
    assert refused.value.exit_code == 2
    return str(refused.value)


# --- defaults and values -----------------------------------------------------------------------------


def test_the_defaults_are_those_that_are_documented() -> None:
    config = parse()
    assert (config.payload, config.pin_version, config.show_discarded) == (Payload.BASE64, True, False)
    assert (config.retry, config.max_attempts, config.buckets) == ("failed", 5, 256)
    assert (config.max_image_bytes, config.rate, config.max_in_flight) == (20_000_000, None, None)
    assert (config.uri_column, config.seed, config.inputs) == ("image_uri", 0, ())


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("rate", "20/s", 20.0),
        ("rate", "30/min", 0.5),
        ("rate", 2, 2.0),
        ("max_buffer", "4MB", 4_000_000),
        ("max_image_bytes", "1KiB", 1024),
        ("max_image_bytes", 5, 5),
        ("spec", "faces-v1", "faces-v1"),
        ("spec", 42, "42"),
        ("version_id", 11, 11),
        ("payload", "multipart", Payload.MULTIPART),
        ("inputs", ["a", "b"], ("a", "b")),
        ("run_id", "nightly-2026.11_24", "nightly-2026.11_24"),
        ("run_id", "a" * 64, "a" * 64),
    ],
)
def test_values_are_read_as_people_write_them(name: str, value: object, expected: object) -> None:
    assert getattr(parse(**{name: value}), name) == expected


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("rate", "fast", "like 20/s"),
        ("rate", "20", "like 20/s"),
        ("rate", "0/s", "above 0"),
        ("rate", 0, "greater than 0"),
        ("rate", -1, "greater than 0"),
        ("rate", float("inf"), "finite"),
        ("rate", float("nan"), "greater than 0|finite"),
        ("max_buffer", "lots", "like 4MB"),
        ("max_buffer", 0, "greater than or equal to 1"),
        ("max_image_bytes", "-5MB", "like 4MB"),
        ("max_in_flight", 0, "greater than or equal to 1"),
        ("max_predictions", 0, "greater than or equal to 1"),
        ("max_attempts", 0, "greater than or equal to 1"),
        ("limit", 0, "greater than or equal to 1"),
        ("sample", -3, "greater than or equal to 1"),
        ("limit", 1.5, "integer"),
        ("limit", True, "integer"),
        ("rate", True, "no quantity"),
        ("max_buffer", True, "no quantity"),
        ("spec", True, "string"),
        ("seed", "x", "integer"),
        ("buckets", 0, "greater than or equal to 1"),
        ("buckets", 100_000, "less than or equal to 99999"),
        ("payload", "carrier-pigeon", "base64"),
        ("retry", "some", "failed"),
        ("pin_version", "perhaps", "boolean"),
        ("version_id", -1, "greater than or equal to 0"),
        ("version_id", "echo-v1", "integer"),
        ("spec", "a/b", "no specification id"),
        ("spec", "", "no specification id"),
        ("spec", "../accounts/me", "no specification id"),
        ("run_id", "", "no run id"),
        ("run_id", ".hidden", "no run id"),
        ("run_id", "a/b", "no run id"),
        ("run_id", "a" * 65, "no run id"),
        ("run_id", "a\n", "no run id"),
        ("output", ["a"], "string"),
        ("inputs", 7, "tuple"),
        ("inputs", [1], "string"),
        ("beam", "runner", "dictionary"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_by_the_name_of_its_option(
    name: str, value: object, reason: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^options: {name}.*({reason})"):
        parse(**{name: value})


def test_every_bad_value_is_named_at_once() -> None:
    message = refusal(rate="fast", limit=0, payload="mail")
    assert [name in message for name in ("rate:", "limit:", "payload:")] == [True] * 3


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("rates", "rate"), ("max-calls", "max_in_flight|max_.*"), ("ouput", "output"), ("Spec", "spec")],
)
def test_an_unknown_option_names_the_nearest_known_one(typed: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=rf"unknown option '{typed}', did you mean '({meant})'\?"):
        parse(**{typed: "x"})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"spec": "echo-v1", "version_id": 11}, "--spec or --version-id, not both"),
        ({"limit": 1, "sample": 1}, "--limit or --sample, not both"),
    ],
)
def test_options_that_exclude_each_other_are_refused(values: dict, message: str) -> None:
    assert message in refusal(**values)


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse().limit = 3


# --- what follows from it ----------------------------------------------------------------------------


def test_the_model_is_the_specification_or_the_version_and_one_must_be_named() -> None:
    assert parse(spec="echo-v1").model == ModelRef(ModelKind.SPEC, "echo-v1")
    assert parse(version_id=11).model == ModelRef(ModelKind.VERSION, "11")
    assert parse(version_id=0).model == ModelRef(ModelKind.VERSION, "0")
    with pytest.raises(ConfigError, match="no model: give --spec ID or --version-id N"):
        parse().model  # noqa: B018 - the access is what is tested


@pytest.mark.parametrize(
    ("output", "uri"),
    [("/data/out/", "/data/out"), ("file:///data/./out", "/data/out"), ("s3a://Lake/out/", "s3://lake/out")],
)
def test_the_output_is_known_by_one_spelling(output: str, uri: str) -> None:
    assert parse(output=output).output_uri == uri


def test_a_relative_output_is_taken_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse(output="out").output_uri == str(tmp_path / "out")


@pytest.mark.parametrize(("output", "message"), [(None, "give --output DIR"), ("s3://lake", "--output 's3://lake'")])
def test_an_output_that_is_none_is_refused(output: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(output=output).output_uri  # noqa: B018 - the access is what is tested


# --- where values come from --------------------------------------------------------------------------


def test_flags_win_over_the_file(yaml_file) -> None:
    path = yaml_file("spec: echo-v1\nrate: 20/s\nlimit: 5\ninputs: [a, b]\nbeam: {runner: FlinkRunner}\n")
    config = label_config({"rate": "5/s", "limit": None, "inputs": (), "pin_version": False}, path)
    assert (config.rate, config.limit, config.inputs, config.spec) == (5.0, 5, ("a", "b"), "echo-v1")
    assert (config.pin_version, config.beam) == (False, {"runner": "FlinkRunner"})
    assert label_config({"inputs": ("c",)}, path).inputs == ("c",)


def test_a_flag_that_says_no_wins_over_a_file_that_says_yes(yaml_file) -> None:
    path = yaml_file("show_discarded: true\nseed: 7\n")
    config = label_config({"show_discarded": False, "seed": 0}, path)
    assert (config.show_discarded, config.seed) == (False, 0)


@pytest.mark.parametrize(
    ("in_file", "flags", "model"),
    [
        ("spec: echo-v1", {"version_id": 11}, ModelRef(ModelKind.VERSION, "11")),
        ("version_id: 11", {"spec": "echo-v1"}, ModelRef(ModelKind.SPEC, "echo-v1")),
        ("spec: 1", {}, ModelRef(ModelKind.SPEC, "1")),
    ],
)
def test_a_model_named_by_a_flag_replaces_that_of_the_file_of_whichever_kind(
    yaml_file, in_file: str, flags: dict, model: ModelRef
) -> None:
    assert label_config(flags, yaml_file(in_file)).model == model


@pytest.mark.parametrize(("in_file", "flags"), [("sample: 100", {"limit": 5}), ("limit: 100", {"sample": 5})])
def test_a_choice_of_images_by_a_flag_replaces_that_of_the_file_of_whichever_kind(
    yaml_file, in_file: str, flags: dict
) -> None:
    config = label_config(flags, yaml_file(in_file))
    assert {"limit": config.limit, "sample": config.sample} == {"limit": None, "sample": None, **flags}


ENVIRONMENT = {"DEEPOMATIC_API_URL": "https://env.example.com", "DEEPOMATIC_API_VERIFY_TLS": "0"}


def test_the_environment_says_where_the_api_is_unless_file_or_flag_do(yaml_file) -> None:
    path = yaml_file("api_url: https://file.example.com\nverify_tls: true\n")
    from_environment = label_config({}).api_settings(ENVIRONMENT)
    assert (from_environment.host, from_environment.verify_tls) == ("https://env.example.com", False)
    from_file = label_config({}, path).api_settings(ENVIRONMENT)
    assert (from_file.host, from_file.verify_tls) == ("https://file.example.com", True)
    from_flag = label_config({"api_url": "https://flag.example.com", "verify_tls": False}, path).api_settings({})
    assert (from_flag.host, from_flag.verify_tls) == ("https://flag.example.com", False)
    nothing = label_config({}).api_settings({})
    assert (nothing.host, nothing.verify_tls) == ("https://api.deepomatic.com", True)


def test_a_key_file_wins_over_the_environment_and_neither_is_read_here(tmp_path: Path) -> None:
    assert parse().credentials.file is None
    assert parse().credentials.resolve({"DEEPOMATIC_API_KEY": "abc"}) == "abc"
    credentials = parse(api_key_file=str(tmp_path / "key")).credentials
    (tmp_path / "key").write_text("def\n")
    assert credentials.resolve({"DEEPOMATIC_API_KEY": "abc"}) == "def"


def test_an_unknown_key_of_a_file_is_told_with_the_file_and_the_nearest_key(yaml_file) -> None:
    path = yaml_file("spec: echo-v1\nmax_image_byte: 5MB\n")
    with pytest.raises(
        ConfigError, match=rf"--config {path}: unknown option 'max_image_byte', did you mean 'max_image_bytes'"
    ):
        label_config({}, path)


def test_a_bad_value_of_a_file_is_refused_although_a_flag_replaces_it(yaml_file) -> None:
    path = yaml_file("rate: fast\n")
    with pytest.raises(ConfigError, match=rf"--config {path}: rate: 'fast' is not a rate"):
        label_config({"rate": "5/s"}, path)


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just text", "42", "null"])
def test_a_file_that_is_no_mapping_is_refused(yaml_file, text: str) -> None:
    with pytest.raises(ConfigError, match="not a mapping of options to values"):
        load_config(yaml_file(text))


@pytest.mark.parametrize("text", ["a: [", "a: b: c", "\tx: 1", "{"])
def test_a_file_that_is_no_yaml_is_refused(yaml_file, text: str) -> None:
    path = yaml_file(text)
    with pytest.raises(ConfigError, match=rf"--config {path}: not YAML"):
        load_config(path)


def test_a_file_that_cannot_be_read_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--config .*none\.yaml: No such file"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="Is a directory"):
        load_config(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ConfigError, match="not YAML"):
        load_config(tmp_path / "binary.yaml")


def test_no_code_is_run_by_a_file(yaml_file, tmp_path: Path) -> None:
    target = tmp_path / "made"
    path = yaml_file(
        f"spec: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{target}']]"
    )
    with pytest.raises(ConfigError, match="not YAML"):
        load_config(path)
    assert not target.exists()


# --- showing it --------------------------------------------------------------------------------------

configs = st.fixed_dictionaries(
    {},
    optional={
        "inputs": st.lists(st.text(), max_size=3),
        "output": st.text(),
        "spec": st.from_regex(r"[A-Za-z0-9_.-]+", fullmatch=True),
        "rate": st.floats(0, 1e9, exclude_min=True) | st.integers(1, 1000).map(lambda n: f"{n}/min"),
        "max_buffer": st.integers(1, 2**40) | st.integers(1, 1000).map(lambda n: f"{n}MB"),
        "payload": st.sampled_from(["base64", "multipart", "url"]),
        "pin_version": st.booleans(),
        "sample": st.integers(1, 10**9),
        "seed": st.integers(-(10**9), 10**9),
        "retry": st.sampled_from(["failed", "none", "all"]),
        "verify_tls": st.none() | st.booleans(),
        "beam": st.dictionaries(st.text(max_size=5), st.integers() | st.booleans() | st.text(max_size=5), max_size=3),
    },
)


@given(configs)
def test_a_configuration_is_read_back_from_the_json_that_is_kept_of_it(values: dict) -> None:
    config = parse(**values)
    assert LabelConfig.parse(json.loads(json.dumps(config.public_dict())), where="config.json") == config


def test_what_is_shown_names_the_key_file_and_never_held_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPOMATIC_API_KEY", "k3y-never-to-be-seen")
    (tmp_path / "key").write_text("k3y-never-to-be-seen")
    config = parse(spec="echo-v1", api_key_file=str(tmp_path / "key"))
    assert config.public_dict()["api_key_file"] == str(tmp_path / "key")
    assert "k3y-never-to-be-seen" not in json.dumps(config.public_dict()) + repr(config)


def test_there_is_no_option_for_the_key_itself() -> None:
    assert [name for name in LabelConfig.model_fields if "key" in name] == ["api_key_file"]


@pytest.mark.parametrize("name", LabelConfig.model_fields)
def test_every_option_has_a_help_text(name: str) -> None:
    text = LabelConfig.model_fields[name].description
    assert text[0].isupper()
    assert len(text.split()) > 1


# --- the command's own options --------------------------------------------------------------------------


def test_the_commands_own_options_may_stand_in_the_file_and_flags_win(tmp_path: Path) -> None:
    path = tmp_path / "night.yaml"
    path.write_text("spec: echo-v1\noutput: lake\nquiet: true\njson: true\nlog_level: info\n")
    assert label_config({}, str(path)).spec == "echo-v1"
    seen = command_options({"log_format": "json", "yes": None}, str(path))
    assert (seen.quiet, seen.as_json, seen.log_level, seen.log_format, seen.yes) == (True, True, "INFO", "json", False)
    assert command_options({"log_level": "ERROR"}, str(path)).log_level == "ERROR"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("quiet: maybe", "night.yaml: quiet: "),
        ("log_level: loud", "'loud' is no log level: give one of DEBUG"),
        ("log_format: xml", "night.yaml: log_format: "),
    ],
)
def test_a_bad_option_of_the_command_is_named_with_its_file(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "night.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        command_options({}, str(path))
    assert words in str(refused.value)


def test_a_misspelt_option_of_the_command_is_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "night.yaml"
    path.write_text("quite: true")
    with pytest.raises(ConfigError, match="unknown option 'quite', did you mean 'quiet'"):
        label_config({}, str(path))


def test_what_is_kept_beside_the_tables_has_no_signature_password_or_credential_of_a_store() -> None:
    signed = "https://user:pass1@lake.example/a.jpg?X-Amz-Signature=pass2&v=1"
    beam = {"s3_secret_access_key": "pass3", "azure_connection_string": "pass4", "runner": "FlinkRunner"}
    kept = LabelConfig(inputs=(signed, "s3://lake/*.jpg"), beam=beam).public_dict()
    assert kept["inputs"] == ["https://lake.example/a.jpg?v=1", "s3://lake/*.jpg"]
    assert kept["beam"]["runner"] == "FlinkRunner"
    assert "pass" not in json.dumps(kept)


def test_one_input_may_stand_for_a_list_of_one() -> None:
    assert LabelConfig.parse({"inputs": "photos"}, where="options").inputs == ("photos",)
