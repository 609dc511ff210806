import dataclasses
import importlib
import inspect

import pytest
import typer
from typer.testing import CliRunner

from deepo_beam.emulator.options import Options, flag_of, from_texts
from deepo_beam.errors import ConfigError

command = importlib.import_module("deepo_beam.cli.emulator")  # the package has the function of that name


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({"fail_posts": "1.5"}, "--fail-posts 1.5: give a share from 0 to 1"),
        ({"lose_tasks": "nan"}, "--lose-tasks nan: give a share"),
        ({"latency": "-1"}, "--latency -1.0: give seconds"),
        ({"latency": "inf"}, "--latency inf: give seconds"),
        ({"latency": "soon"}, "--latency: could not convert"),
        ({"rate": "0"}, "--rate 0.0: give posts per second"),
        ({"burst": "0"}, "--burst 0: give a number of posts"),
        ({"port": "70000"}, "--port 70000: give a port"),
        ({"retry_after": "later"}, "--retry-after later: give seconds, date or none"),
        ({"outage": "10"}, "--outage: '10' is not an outage"),
        ({"outage": "a:b"}, "--outage: 'a:b' is not an outage"),
        ({"outage": "1:-2"}, "--outage: '1:-2' is not an outage"),
        ({"max_body": "4XB"}, "--max-body: '4XB' is not a size"),
        ({"api_key": ""}, "--api-key : give a key"),
        ({"speed": "1"}, "--speed: no such option"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_by_the_name_of_its_flag(texts, said):
    with pytest.raises(ConfigError) as caught:
        from_texts(texts)
    assert said in str(caught.value)


def test_texts_become_the_values_of_their_options():
    assert from_texts({"max_body": "4MB", "outage": "10:5", "rate": "50", "allow_urls": "yes"}) == Options(
        max_body=4_000_000, outage=(10.0, 5.0), rate=50.0, allow_urls=True
    )


def test_the_command_has_every_option_with_its_default():
    options = {option.name: option.default for option in dataclasses.fields(Options)}
    parameters = inspect.signature(command.emulator).parameters
    assert {name: parameter.default for name, parameter in parameters.items()} == options


@pytest.fixture
def invoke():
    app = typer.Typer()
    app.command()(command.emulator)
    return lambda *arguments: CliRunner().invoke(app, arguments, env={"COLUMNS": "200", "TERM": "dumb"})


def test_the_help_names_every_flag_and_has_an_example(invoke):
    shown = invoke("--help").output
    for option in dataclasses.fields(Options):
        assert flag_of(option.name) in shown
    assert "Example: deepo-beam emulator --port 8080" in shown


@pytest.mark.parametrize("arguments", [("--fail-posts", "2"), ("--max-body", "4XB"), ("--outage", "7")])
def test_a_wrong_value_exits_2(invoke, arguments):
    assert invoke(*arguments).exit_code == 2


def test_a_missing_extra_exits_2_and_says_what_to_install(invoke, monkeypatch):
    monkeypatch.setattr(command, "_NEEDED", ("json", "no_such_package"))
    result = invoke()
    assert result.exit_code == 2
    assert "needs no_such_package: run pip install 'deepo-beam[emulator]'" in result.output
