"""Where the API key comes from. The key itself is read on the worker and travels nowhere."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deepo_beam.errors import PreflightError
from deepo_beam.files import read_small

KEY_VARIABLE = "DEEPOMATIC_API_KEY"
REDACTED = "[API key]"

_MAX_KEY_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Credentials:
    """The source of the key: an environment variable, or a file. Holds, pickles and shows only that.

    Attributes:
        variable: name of the environment variable; the official tools read ``DEEPOMATIC_API_KEY``.
        file: path of a local file that holds the key and nothing else; wins over the variable.
    """

    variable: str = KEY_VARIABLE
    file: str | None = None

    @classmethod
    def from_file(cls, path: str | Path) -> Credentials:
        """A key file, by its absolute path: a worker's current directory may be another one."""
        return cls(file=str(Path(path).expanduser().absolute()))

    def resolve(self, environ: Mapping[str, str] = os.environ) -> str:
        """The key, read now and here; surrounding white space is dropped.

        Raises:
            PreflightError: it is missing, empty or unreadable, or has characters that no header may have.
        """
        source, text = self._read(environ)
        key = text.strip()
        if not key:
            raise PreflightError(f"{source} is empty: put the API key into it")
        if len(key) > _MAX_KEY_BYTES:
            raise PreflightError(f"{source} has more than {_MAX_KEY_BYTES} characters, which is no key")
        if any(not "!" <= character <= "~" for character in key):
            raise PreflightError(
                f"{source} holds something else than one API key: "
                "there are spaces, line breaks or non-ASCII characters in it"
            )
        return key

    def _read(self, environ: Mapping[str, str]) -> tuple[str, str]:
        if self.file is not None:
            return f"the API key file {self.file}", _read_key_file(self.file)
        text = environ.get(self.variable)
        if text is None:
            raise PreflightError(f"no API key: set the environment variable {self.variable}, or name a key file")
        return f"the environment variable {self.variable}", text


def redact(text: str, key: str) -> str:
    """Text without the key: each occurrence becomes ``[API key]``."""
    return text.replace(key, REDACTED) if key else text


def _read_key_file(path: str) -> str:
    try:
        content = read_small(path, _MAX_KEY_BYTES)
    except OSError as error:
        reason = error.strerror
    else:
        if len(content) <= _MAX_KEY_BYTES:
            return content.decode("utf-8", "replace")
        reason = f"it has more than {_MAX_KEY_BYTES} bytes, which is no key"
    raise PreflightError(f"the API key file {path} cannot be read: {reason}")
