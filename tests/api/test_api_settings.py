"""Settings and the source of the key: read from the names of the official tools, wrong ones explained."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from deepo_beam.api import ApiSettings, Credentials, redact
from deepo_beam.errors import ConfigError, PreflightError


def test_settings_default_to_the_service() -> None:
    assert ApiSettings.from_env({}).base_url == "https://api.deepomatic.com/v0.7"
    assert ApiSettings.from_env({"DEEPOMATIC_API_URL": "", "DEEPOMATIC_API_VERIFY_TLS": ""}) == ApiSettings()


def test_settings_come_from_the_names_of_the_official_tools() -> None:
    environ = {"DEEPOMATIC_API_URL": "http://127.0.0.1:8000/", "DEEPOMATIC_API_VERIFY_TLS": "0"}
    settings = ApiSettings.from_env(environ)
    assert (settings.base_url, settings.verify_tls) == ("http://127.0.0.1:8000/v0.7", False)
    assert ApiSettings.from_env({"DEEPOMATIC_API_VERIFY_TLS": "1"}).verify_tls


def test_a_host_has_one_spelling_and_may_have_a_path() -> None:
    assert ApiSettings(host="HTTPS://API.Example.com:8443/Gate/").host == "https://api.example.com:8443/Gate"
    assert ApiSettings(host="http://[::1]:80").base_url == "http://[::1]:80/v0.7"


@pytest.mark.parametrize(
    ("host", "flaw"),
    [
        ("api.deepomatic.com", "is not http"),
        ("ftp://h", "is not http"),
        ("https://", "is not http"),
        ("https://:80", "is not http"),
        ("https://h:port", "is not http"),
        ("https://h:99999", "is not http"),
        ("https://[::1", "is not http"),
        ("https://h\n", "is not http"),
        ("https://hé", "is not http"),
        ("https://me:pw@h", "leave them out"),
        ("https://h?x=1", "leave it out"),
        ("https://h#x", "leave it out"),
        ("https://h/v0.7/", "ends in /v0.7: leave that out"),
    ],
)
def test_a_host_that_cannot_be_meant_is_refused(host: str, flaw: str) -> None:
    with pytest.raises(ConfigError, match=flaw) as caught:
        ApiSettings(host=host)
    assert "DEEPOMATIC_API_URL" in str(caught.value)
    assert "pw" not in str(caught.value)


def test_a_verify_flag_other_than_0_and_1_is_refused() -> None:
    with pytest.raises(ConfigError, match="DEEPOMATIC_API_VERIFY_TLS is 'no': give 1"):
        ApiSettings.from_env({"DEEPOMATIC_API_VERIFY_TLS": "no"})


@pytest.mark.parametrize("name", ["connect_timeout_s", "read_timeout_s", "total_timeout_s", "max_reply_bytes"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_a_limit_that_is_not_above_zero_is_refused(name: str, value: float) -> None:
    change: dict[str, Any] = {name: value}
    with pytest.raises(ConfigError, match=name):
        ApiSettings(**change)


def test_the_key_comes_from_the_environment_without_white_space() -> None:
    assert Credentials().resolve({"DEEPOMATIC_API_KEY": " abc\n"}) == "abc"
    assert Credentials(variable="OTHER").resolve({"OTHER": "abc"}) == "abc"


def test_the_key_comes_from_a_file_without_white_space(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "key").write_text("abc\r\n")
    monkeypatch.chdir(tmp_path)
    credentials = Credentials.from_file("key")
    monkeypatch.chdir("/")
    assert credentials.resolve({"DEEPOMATIC_API_KEY": "another"}) == "abc"


def test_a_missing_key_is_explained() -> None:
    with pytest.raises(PreflightError, match="set the environment variable DEEPOMATIC_API_KEY, or name a key"):
        Credentials().resolve({})


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_key_is_explained(text: str) -> None:
    with pytest.raises(PreflightError, match="DEEPOMATIC_API_KEY is empty"):
        Credentials().resolve({"DEEPOMATIC_API_KEY": text})


@pytest.mark.parametrize("text", ["hush\nhush", "hush hush", "hushé", "hush\x00", "hush\x7f"])
def test_a_key_that_cannot_be_a_header_is_explained_and_not_shown(text: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(text)
    for credentials in (Credentials(), Credentials.from_file(tmp_path / "key")):
        with pytest.raises(PreflightError, match="holds something else than one API key") as caught:
            credentials.resolve({"DEEPOMATIC_API_KEY": text})
        assert "hush" not in str(caught.value)


def test_a_key_file_that_cannot_be_read_is_explained(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match="absent cannot be read: No such file"):
        Credentials.from_file(tmp_path / "absent").resolve()
    with pytest.raises(PreflightError, match="cannot be read: Is a directory"):
        Credentials.from_file(tmp_path).resolve()
    (tmp_path / "image").write_bytes(bytes(5000))
    with pytest.raises(PreflightError, match="more than 4096 bytes, which is no key"):
        Credentials.from_file(tmp_path / "image").resolve()


def test_credentials_pickle_and_show_the_source_and_not_the_key(key: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(key)
    for credentials in (Credentials(), Credentials.from_file(tmp_path / "key")):
        assert credentials.resolve() == key
        assert key not in repr(credentials)
        assert key.encode() not in pickle.dumps(credentials)
        assert pickle.loads(pickle.dumps(credentials)).resolve() == key


def test_redacting_strikes_out_each_occurrence() -> None:
    assert redact("a hush b hush", "hush") == "a [API key] b [API key]"
    assert redact("abc", "") == "abc"
