"""Beam's options of stores as variables, and HDFS as the variables say."""

import pytest

from deepo_beam import storage
from deepo_beam.errors import ConfigError
from deepo_beam.storage.settings import HdfsSettings, hdfs_settings, store_variables


def test_beams_options_of_stores_become_variables_and_the_last_one_wins() -> None:
    flags = ["--runner=FnApiRunner", "--hdfs_host=a", "--hdfs_host", "b", "--hdfs_full_urls", "--hdfs_port=1", "x"]
    assert store_variables(flags) == {"HDFS_HOST": "b", "HDFS_FULL_URLS": "true", "HDFS_PORT": "1"}
    assert store_variables(["--s3_endpoint_url=http://h:1"]) == {
        "AWS_ENDPOINT_URL": "http://h:1",
        "AWS_ENDPOINT_URL_S3": "http://h:1",
    }
    key = ["--s3_access_key_id=k", "--s3_secret_access_key=s"]
    assert store_variables(key)["AWS_SESSION_TOKEN"] == "", "that of another key"
    assert store_variables([*key, "--s3_session_token=t"])["AWS_SESSION_TOKEN"] == "t"
    text = "AccountName=a;AccountKey=a2V5==;"
    assert store_variables(["--azure_connection_string", text]) == {"AZURE_STORAGE_CONNECTION_STRING": text}
    assert store_variables(["--hdfs_user"]) == {"HADOOP_USER_NAME": ""}


def test_hdfs_is_where_the_variables_say() -> None:
    assert hdfs_settings({}) is None
    assert hdfs_settings({"HDFS_HOST": "n", "HADOOP_USER_NAME": "u"}) == HdfsSettings("n", "9870", "u", False)
    told = {"HDFS_HOST": "n", "HDFS_PORT": "1", "HADOOP_USER_NAME": "u", "HDFS_FULL_URLS": "True"}
    assert hdfs_settings(told) == HdfsSettings("n", "1", "u", True)
    with pytest.raises(ConfigError, match="HDFS_PORT is '50 070'"):
        hdfs_settings(told | {"HDFS_PORT": "50 070"})


def test_a_user_without_a_name_is_asked_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr("getpass.getuser", nobody)
    with pytest.raises(ConfigError, match="set HADOOP_USER_NAME"):
        hdfs_settings({"HDFS_HOST": "n"})


def test_an_hdfs_that_nobody_has_named_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HDFS_HOST", raising=False)
    monkeypatch.setattr("apache_beam.io.filesystems.FileSystems._pipeline_options", None)
    with pytest.raises(ConfigError, match="HDFS_HOST, HDFS_PORT and HADOOP_USER_NAME"):
        storage.read_bytes("hdfs://lake/a.jpg")
