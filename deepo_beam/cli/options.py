"""The flags of ``label``, made from the configuration model: one field there is one flag here."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Annotated, Any

import pydantic
import typer

from deepo_beam.config import LabelConfig

_NO_FLAG = {"inputs", "beam"}
_OTHER_FLAGS = {"--config", "--yes", "--dry-run", "--json", "--quiet", "--log-level", "--log-format", "--help"}


def with_label_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command that takes every option of :class:`deepo_beam.config.LabelConfig` before its own.

    The command is called with ``flags``, a dictionary of the options that were given, and its own parameters.
    """
    hints = typing.get_type_hints(command, include_extras=True)
    own = [
        parameter.replace(annotation=hints[name])
        for name, parameter in inspect.signature(command).parameters.items()
        if name != "flags"
    ]
    fields = {name: field for name, field in LabelConfig.model_fields.items() if name not in _NO_FLAG}

    def wrapper(**given: Any) -> None:
        flags = {name: given.pop(name) for name in ("inputs", *fields)}
        command(flags=_given(flags), **given)

    parameters = [_inputs_parameter(), *(_parameter(name, field) for name, field in fields.items()), *own]
    keyword_only = inspect.Parameter.KEYWORD_ONLY
    wrapper.__signature__ = inspect.Signature([p.replace(kind=keyword_only) for p in parameters])  # type: ignore[attr-defined]
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    wrapper.__doc__ = command.__doc__
    return wrapper


def split_beam_options(arguments: Sequence[str], takes_value: Callable[[str], bool]) -> tuple[list[str], list[str]]:
    """Tell the options of ``label`` from Beam's, written ``--name=value`` or ``--name value``. Pure.

    Args:
        arguments: of a command line.
        takes_value: whether what follows one of Beam's flags is its value.

    Returns:
        (ours, Beam's), each in order; whatever is no option is ours.
    """
    ours_by_name = {f"--{name.replace('_', '-')}" for name in LabelConfig.model_fields} | _OTHER_FLAGS
    ours: list[str] = []
    beams: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        name = argument.partition("=")[0].replace("--no-", "--", 1)
        if not name.startswith("--") or name in ours_by_name:
            ours.append(argument)
            continue
        beams.append(argument)
        if rest and not rest[0].startswith("--") and takes_value(argument):
            beams.append(rest.pop(0))
    return ours, beams


def _given(flags: dict[str, Any]) -> dict[str, object]:
    flags["inputs"] = tuple(flags["inputs"] or ())
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in flags.items()
        if value is not None and value not in ((), [])
    }


def _inputs_parameter() -> inspect.Parameter:
    help_text = LabelConfig.model_fields["inputs"].description
    annotation = Annotated[list[str] | None, typer.Argument(metavar="INPUT...", help=help_text)]
    return inspect.Parameter("inputs", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _parameter(name: str, field: Any) -> inspect.Parameter:
    """Every flag is None unless given, so that a file's value is not taken for a default."""
    kind = _flag_type(field)
    flag = f"--{name.replace('_', '-')}"
    names = [f"{flag}/--no-{flag[2:]}" if name in ("pin_version", "verify_tls") else flag]
    default = field.default
    shown = default.value if isinstance(default, Enum) else default
    help_text = field.description
    if default not in (None, False, ()) and "[" not in help_text:
        help_text += f" [default: {_size(name, shown)}]"
    option = typer.Option(
        *names,
        help=help_text,
        show_default=False,
        rich_help_panel=field.json_schema_extra["group"],
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _size(name: str, value: object) -> object:
    return f"{value // 1_000_000}MB" if isinstance(value, int) and name in ("max_buffer", "max_image_bytes") else value


def _flag_type(field: Any) -> Any:
    """What the command line parses itself; all else, as quantities with a unit, is text for the model to read."""
    kinds = [kind for kind in typing.get_args(field.annotation) if kind is not types.NoneType]
    kind = kinds[0] if kinds else field.annotation
    metadata = [*field.metadata, *getattr(kind, "__metadata__", ())]  # of an Annotated, outside or inside of Optional
    kind = getattr(kind, "__origin__", kind) if hasattr(kind, "__metadata__") else kind
    parsed_by_model = any(isinstance(item, pydantic.BeforeValidator) for item in metadata)
    if typing.get_origin(kind) is tuple or field.annotation == tuple[str, ...]:
        return list[str]
    return kind if kind in (bool, int) and not parsed_by_model else str
