"""``error_handling: {output: NAME}``, as all transforms of Beam YAML have it."""

from __future__ import annotations

from collections.abc import Mapping

from deepo_beam.errors import ConfigError

#: the name that Beam YAML has for what did not fail
GOOD = "good"


def error_output(error_handling: object, transform: str) -> str | None:
    """The output that failures go to; None if none is asked for. Pure.

    Raises:
        ConfigError: it is not ``{output: NAME}``.
    """
    if error_handling is None:
        return None
    output = error_handling.get("output") if isinstance(error_handling, Mapping) else None
    if not isinstance(error_handling, Mapping) or set(error_handling) != {"output"} or not isinstance(output, str):
        raise ConfigError(f"{transform}: error_handling is {{output: NAME}} and nothing else, not {error_handling!r}")
    if output == GOOD:
        raise ConfigError(f"{transform}: error_handling: {output!r} is the output of what did not fail; name another")
    return output
