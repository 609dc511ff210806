"""What a user can ask for: one model of all options of ``label``, for YAML files, flags and pipelines alike.

The command line is made from this model (:mod:`deepo_beam.cli.options`), so that a new option is one field
here and its use.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import pydantic
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from deepo_beam.api.credentials import Credentials
from deepo_beam.api.settings import ApiSettings
from deepo_beam.errors import ConfigError
from deepo_beam.files import read_small
from deepo_beam.identity import normalise_uri
from deepo_beam.types import DetectChanges, ModelKind, ModelRef, Payload, Relabel, RetryRule
from deepo_beam.units import parse_duration, parse_rate, parse_size

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_CREDENTIAL = re.compile(r"secret|token|password|credential|connection_string|key_id|api_key", re.IGNORECASE)
_MAX_FILE_BYTES, _MAX_FILE_VALUES = 200_000, 10_000  # of a configuration file
_MOST_PROBLEMS = 10  # that one message names
_SPEC_ID = re.compile(r"[A-Za-z0-9_.-]+")

M = TypeVar("M", bound="ConfigModel")


def _parsed(parse: Any) -> BeforeValidator:
    """Text is parsed; a number is taken as it is, but for YAML's yes and no, which Python takes for 1 and 0."""

    def check(value: object) -> object:
        if isinstance(value, bool):
            raise ValueError(f"{value} is no quantity")  # noqa: TRY004 - what pydantic takes for a finding
        return parse(value) if isinstance(value, str) else value

    return BeforeValidator(check)


Rate = Annotated[float, _parsed(parse_rate), Field(gt=0, allow_inf_nan=False)]
Duration = Annotated[float, _parsed(parse_duration), Field(gt=0, allow_inf_nan=False)]
Size = Annotated[int, _parsed(parse_size), Field(ge=1)]
Count = Annotated[int, Field(strict=True)]
Texts = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]
Text = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) is int else value)]


def _option(default: Any, help_text: str, group: str, **extra: Any) -> Any:
    """A field that is also a flag: its help text, the panel it is shown in, and its limits."""
    return Field(default, description=help_text, json_schema_extra={"group": group}, **extra)


class ConfigModel(BaseModel):
    """Frozen; a key that is not known is an error that names the nearest known one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def parse(cls: type[M], values: Mapping[str, object], *, where: str) -> M:
        """Validate values.

        Args:
            values: by option name with underscores.
            where: what to call the source in messages.

        Raises:
            ConfigError: names each option that cannot be meant, and says why.
        """
        try:
            return cls.model_validate(values)
        except pydantic.ValidationError as error:
            found = error.errors(include_url=False)
            problems = "; ".join(_explain(problem, cls) for problem in found[:_MOST_PROBLEMS])
            if len(found) > _MOST_PROBLEMS:
                problems += f"; and {len(found) - _MOST_PROBLEMS} more"
            raise ConfigError(f"{where}: {problems}") from None


class LabelConfig(ConfigModel):
    """All that ``deepo-beam label`` can be told, but for the key, which is never part of it."""

    inputs: Texts = _option(
        (),
        "Images: URIs, globs, folders, lists (.txt .csv .jsonl .parquet), errors/ of an earlier run, or - "
        "for URIs on standard input.",
        "What",
    )
    output: str | None = _option(None, "Where the journal and the tables live, e.g. s3://lake/labels.", "What")
    spec: Text | None = _option(None, "Specification: a public one by its name, a private one by its number.", "What")
    version_id: Count | None = _option(None, "One fixed version instead of a specification.", "What", ge=0)

    rate: Rate | None = _option(None, "Inference calls per s, min or h, over all workers together: 20/s.", "Speed")
    max_calls: Count | None = _option(None, "Never more posts than this in this start; then exit 5.", "Limits", ge=0)
    deadline: Duration | None = _option(None, "Stop in order after this time, e.g. 6h; then exit 5.", "Limits")
    max_failure_rate: float | None = _option(
        None,
        "Stop and exit 3 once failed / settled is above it, after 100 settled and at the end.",
        "Limits",
        ge=0,
        le=1,
    )
    max_in_flight: Count | None = _option(None, "Task ids posted and not finished, per process.", "Speed", ge=1)
    max_buffer: Size = _option(256_000_000, "Image bytes held before their post, per process, e.g. 256MB.", "Speed")

    payload: Payload = _option(
        Payload.BASE64, "How an image travels: base64, multipart or url (http(s) URIs only).", "Inference"
    )
    show_discarded: bool = _option(False, "Keep labels below their threshold, too.", "Inference")
    max_predictions: Count | None = _option(None, "At most so many predictions an output.", "Inference", ge=1)
    pin_version: bool = _option(True, "Send all of a run to the version that is current at its start.", "Inference")

    retry: RetryRule = _option(
        "failed", "Failed images of earlier runs to try again: failed (retryable ones), none, all.", "Which"
    )
    max_attempts: Count = _option(5, "Attempts per image over all runs.", "Which", ge=1)
    relabel: Relabel = _option(
        "none",
        "Label known images again: none, outdated (those of another version), all (at each start; the oldest labels "
        "first).",
        "Which",
    )
    detect_changes: DetectChanges = _option(
        "listing", "How changed files are noticed: listing (its sizes and times), stat (ask for each), never.", "Which"
    )
    limit: Count | None = _option(None, "Only the first N images in the order of their URIs.", "Which", ge=1)
    sample: Count | None = _option(
        None, "Only N images, by a seeded hash of the URI: the same after a kill.", "Which", ge=1
    )
    seed: Count = _option(0, "Of --sample.", "Which")
    max_image_bytes: Size = _option(20_000_000, "A larger image becomes a row in errors/, e.g. 20MB.", "Which")
    allow_empty: bool = _option(False, "No image at all is no error (a quiet night).", "Which")

    allow_scheme: Texts = _option(
        (), "With file, lists that are neither local nor standard input may name files of this machine.", "Safety"
    )
    allow_private_hosts: bool = _option(
        False, "Read http(s) images from private, loopback and link-local addresses, too.", "Safety"
    )

    uri_column: str = _option("image_uri", "Column of a list that holds the URI.", "Lists")
    id_column: str | None = _option(None, "Column of a list that holds your own id.", "Lists")
    bbox_column: str | None = _option(None, "Column of a list that holds a crop box.", "Lists")
    polygon_column: str | None = _option(None, "Column of a list that holds a crop polygon.", "Lists")

    publish: Literal["new", "all"] = _option(
        "new", "What to write: new rows into the tables; all: a snapshot of everything known, too.", "Output"
    )
    run_id: str | None = _option(None, "Names the run_id= partition. [default: UTC time and 4 hex digits]", "Output")
    buckets: Count = _option(
        256, "Parts of the journal of a new output; `compact --buckets` changes them.", "Output", ge=1, le=99_999
    )

    api_url: str | None = _option(None, "The API's host. [env: DEEPOMATIC_API_URL]", "Service")
    api_key_file: str | None = _option(None, "A file that holds the key. [env: DEEPOMATIC_API_KEY]", "Service")
    verify_tls: bool | None = _option(
        None, "Check the server's certificate. [env: DEEPOMATIC_API_VERIFY_TLS]", "Service"
    )

    beam: dict[str, Any] = Field(default_factory=dict, description="Beam options, by name: runner, parallelism, ...")

    @pydantic.field_validator("run_id")
    @classmethod
    def _run_id_is_a_folder_name(cls, value: str | None) -> str | None:
        if value is not None and not _RUN_ID.fullmatch(value):
            raise ValueError(
                f"{value!r} is no run id: letters, digits, '.', '_', '-', at most 64, the first a letter or digit"
            )
        return value

    @pydantic.field_validator("spec")
    @classmethod
    def _spec_is_an_id(cls, value: str | None) -> str | None:
        if value is not None and not _SPEC_ID.fullmatch(value):
            raise ValueError(f"{value!r} is no specification id: list them with `deepo-beam specs`")
        return value

    @pydantic.field_validator("allow_scheme")
    @classmethod
    def _scheme_is_one_that_is_refused(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        schemes = tuple(text.lower().removesuffix("://") for text in value)
        for scheme in schemes:
            if scheme != "file":
                raise ValueError(f"{scheme!r} needs no allowance: the only scheme that is ever refused is file")
        return schemes

    @pydantic.model_validator(mode="after")
    def _combinations(self) -> LabelConfig:
        if self.spec is not None and self.version_id is not None:
            raise ValueError("give --spec or --version-id, not both")
        if self.limit is not None and self.sample is not None:
            raise ValueError("give --limit or --sample, not both")
        return self

    @property
    def model(self) -> ModelRef:
        """What is asked to label.

        Raises:
            ConfigError: neither a specification nor a version was named.
        """
        if self.version_id is not None:
            return ModelRef(ModelKind.VERSION, str(self.version_id))
        if self.spec is None:
            raise ConfigError("no model: give --spec ID or --version-id N (list them with `deepo-beam specs`)")
        return ModelRef(ModelKind.SPEC, self.spec)

    @property
    def output_uri(self) -> str:
        """The normalised output folder.

        Raises:
            ConfigError: none was named, or it is no URI.
        """
        if not self.output:
            raise ConfigError("no output: give --output DIR")
        try:
            output = normalise_uri(self.output).rstrip("/")
        except ValueError as error:
            raise ConfigError(f"--output {self.output!r}: {error}") from None
        if not output:
            raise ConfigError(f"--output {self.output!r} is the root of all folders: name a folder in it")
        return output

    def api_settings(self, environ: Mapping[str, str] = os.environ) -> ApiSettings:
        """Where the API is: flags win over the environment.

        Raises:
            ConfigError: a value cannot be meant.
        """
        overlay = dict(environ)
        if self.api_url is not None:
            overlay["DEEPOMATIC_API_URL"] = self.api_url
        if self.verify_tls is not None:
            overlay["DEEPOMATIC_API_VERIFY_TLS"] = "1" if self.verify_tls else "0"
        return ApiSettings.from_env(overlay)

    @property
    def credentials(self) -> Credentials:
        """Where the key is; it is not read here."""
        return Credentials() if self.api_key_file is None else Credentials.from_file(self.api_key_file)

    def public_dict(self) -> dict[str, Any]:
        """The configuration as JSON values, to be kept beside the tables; it never held the key.

        Signatures and passwords in URLs are left out, and what looks like a credential among Beam's options is starred.
        """
        values = self.model_dump(mode="json", exclude_none=True)
        values["inputs"] = [_without_credentials(text) for text in self.inputs]
        values["beam"] = {name: "***" if _CREDENTIAL.search(name) else value for name, value in self.beam.items()}
        return values


def _without_credentials(text: str) -> str:
    if not text.lower().startswith(("http://", "https://")):
        return text
    try:
        return normalise_uri(text)
    except ValueError:  # refused later, with a reason
        return "***"


class CommandOptions(ConfigModel):
    """What the command does beside labelling; in a YAML file these stand among the others."""

    yes: bool = False
    dry_run: bool = False
    as_json: bool = Field(False, alias="json")
    quiet: bool = False
    log_level: str = "WARNING"
    log_format: Literal["text", "json"] = "text"

    @pydantic.field_validator("log_level")
    @classmethod
    def _level_is_one(cls, value: str) -> str:
        if value.upper() not in _LOG_LEVELS:
            raise ValueError(f"{value!r} is no log level: give one of {', '.join(_LOG_LEVELS)}")
        return value.upper()


_COMMAND_OPTIONS = tuple(field.alias or name for name, field in CommandOptions.model_fields.items())


def load_config(path: str | Path) -> dict[str, Any]:
    """The options of a YAML file, by name; not validated yet, so that flags may win over them.

    Raises:
        ConfigError: it cannot be read or is not a mapping.
    """
    try:
        text = read_small(path, _MAX_FILE_BYTES)
        if len(text) > _MAX_FILE_BYTES:
            raise ConfigError(f"--config {path}: more than {_MAX_FILE_BYTES:,} bytes; images belong in a list")
        values = yaml.safe_load(text.decode("utf-8"))
    except OSError as error:
        raise ConfigError(f"--config {path}: {error.strerror}") from None
    except RecursionError:
        raise ConfigError(f"--config {path}: nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:  # the latter for bytes that are not UTF-8, and dates that are none
        raise ConfigError(f"--config {path}: not YAML: {' '.join(str(error).split())}") from None
    if _is_more_than(_MAX_FILE_VALUES, values):
        raise ConfigError(f"--config {path}: more than {_MAX_FILE_VALUES:,} values, with its anchors written out")
    if not isinstance(values, dict):
        raise ConfigError(f"--config {path}: not a mapping of options to values")
    return {str(key): value for key, value in values.items()}


def _is_more_than(limit: int, values: object) -> bool:
    """Whether a YAML document has more values than that, however its anchors multiply them; a circle has."""
    todo, count = [values], 0
    while todo and count <= limit:
        value = todo.pop()
        count += 1
        if isinstance(value, dict):
            todo += [*value.keys(), *value.values()]
        elif isinstance(value, (list, set, tuple)):
            todo += value
    return count > limit


def label_config(flags: Mapping[str, object], config_file: str | None = None) -> LabelConfig:
    """The configuration that results from a file and the flags that win over it.

    Args:
        flags: by option name with underscores; those that are None or empty were not given.
        config_file: path of a YAML file.

    Raises:
        ConfigError: names each option that cannot be meant.
    """
    given = {name: value for name, value in flags.items() if value is not None and value != ()}
    in_file = load_config(config_file) if config_file else {}
    in_file = {name: value for name, value in in_file.items() if name not in _COMMAND_OPTIONS}
    LabelConfig.parse(in_file, where=f"--config {config_file}")
    # What a flag says replaces what the file says in another way.
    for ways in (("spec", "version_id"), ("limit", "sample")):
        if any(name in given for name in ways):
            in_file = {name: value for name, value in in_file.items() if name not in ways}
    return LabelConfig.parse({**in_file, **given}, where="options")


def command_options(flags: Mapping[str, object], config_file: str | None = None) -> CommandOptions:
    """As :func:`label_config`, for the options of the command itself.

    Raises:
        ConfigError: names each option that cannot be meant.
    """
    in_file = load_config(config_file) if config_file else {}
    chosen = {name: value for name, value in in_file.items() if name in _COMMAND_OPTIONS}
    CommandOptions.parse(chosen, where=f"--config {config_file}")
    given = {name: value for name, value in flags.items() if value is not None}
    return CommandOptions.parse({**chosen, **given}, where="options")


def _explain(problem: Any, model: type[BaseModel]) -> str:
    name = ".".join(str(part) for part in problem["loc"] if not str(part).startswith("function"))
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, [*model.model_fields, *_COMMAND_OPTIONS], n=1, cutoff=0.0)
        return f"unknown option {name!r}" + (f", did you mean {near[0]!r}?" if near else "")
    message = problem["msg"].removeprefix("Value error, ")
    return f"{name}: {message}" if name else message
