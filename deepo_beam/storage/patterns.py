"""The grammar of globs, pure.

===========  ==============================================================
``*``        any characters but ``/``, also none, also a leading dot
``**``       any characters, ``/`` too; ``**/`` also no folder at all
``?``        one character but ``/``
``[a-z_]``   one of these characters; ``[!a-z]`` or ``[^a-z]`` one of the others; never ``/``
``{a,b*}``   one of these patterns; they may be nested; ``{a}`` is itself
===========  ==============================================================

All else is itself; there is no escape, for a key that exists as it is written is taken as itself. A ``[`` or
``{`` that is never closed is itself too.
"""

from __future__ import annotations

import re

from deepo_beam.errors import ConfigError


def has_magic(pattern: str) -> bool:
    """Whether any part of the text is a wildcard."""
    return len(literal_start(pattern)) < len(pattern)


def literal_start(pattern: str) -> str:
    """Return what stands before the first wildcard."""
    for i, char in enumerate(pattern):
        if char in "*?" or (char == "[" and _class_end(pattern, i)) or (char == "{" and _braces(pattern, i)):
            return pattern[:i]
    return pattern


def glob_to_regex(pattern: str) -> str:
    """Translate a glob into a regular expression for ``re.fullmatch`` with ``re.DOTALL``.

    Raises:
        ConfigError: a range of characters is the wrong way round.
    """
    out: list[str] = []
    i = 0
    while i < len(pattern):
        char = pattern[i]
        if char == "*":
            regex, i = _stars(pattern, i)
            out.append(regex)
        elif char == "?":
            out.append("[^/]")
            i += 1
        elif char == "[" and (end := _class_end(pattern, i)):
            out.append(_class(pattern[i + 1 : end], pattern))
            i = end + 1
        elif char == "{" and (parts := _braces(pattern, i)):
            out.append(f"(?:{'|'.join(map(glob_to_regex, parts))})")
            i += 1 + sum(map(len, parts)) + len(parts)
        else:
            out.append(re.escape(char))
            i += 1
    return "".join(out)


def _stars(pattern: str, start: int) -> tuple[str, int]:
    """Translate the run of ``*`` at ``start``; return also where it ends."""
    end = len(pattern) - len(pattern[start:].lstrip("*"))
    if end - start == 1:
        return "[^/]*", end
    if pattern[end : end + 1] == "/" and (start == 0 or pattern[start - 1] == "/"):
        return "(?:.*/)?", end + 1
    return ".*", end


def _class_end(pattern: str, start: int) -> int:
    """Find the ``]`` of the class that begins at ``start``, 0 if none; a leading ``]`` is a member."""
    first = start + 1 + (pattern[start + 1 : start + 2] in ("!", "^"))
    return max(pattern.find("]", first + 1), 0)


def _class(members: str, pattern: str) -> str:
    negated = members[0] in "!^"
    rest = members[1:] if negated else members
    out: list[str] = []
    i = 0
    while i < len(rest):
        if i + 2 < len(rest) and rest[i + 1] == "-":
            if rest[i] > rest[i + 2]:
                raise ConfigError(
                    f"the glob {pattern!r} has the range {rest[i : i + 3]!r} the wrong way round; turn it"
                )
            out.append(f"{re.escape(rest[i])}-{re.escape(rest[i + 2])}")
            i += 3
        else:
            out.append(re.escape(rest[i]))
            i += 1
    return f"(?!/)[{'^' if negated else ''}{''.join(out)}]"


def _braces(pattern: str, start: int) -> list[str]:
    """Split the alternatives of the brace at ``start``; none if it never closes or has no comma."""
    depth, begin = 0, start + 1
    parts: list[str] = []
    for i in range(start, len(pattern)):
        char = pattern[i]
        if char == "{":
            depth += 1
        elif char == "}":
            depth -= 1
            if depth == 0:
                return [*parts, pattern[begin:i]] if parts else []
        elif char == "," and depth == 1:
            parts.append(pattern[begin:i])
            begin = i + 1
    return []
