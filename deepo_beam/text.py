"""Text that every table, coder and terminal can hold."""

from __future__ import annotations

import re

_SURROGATE = re.compile(r"[\ud800-\udfff]")


def clean_text(text: str, max_chars: int | None = None) -> str:
    """Text that UTF-8 can encode: each lone surrogate becomes U+FFFD.

    Lone surrogates come from file names that are not UTF-8 and from JSON escapes; Arrow and Beam's coders
    refuse them. Everything else, control characters too, stays as it is. Idempotent.

    Args:
        text: any text.
        max_chars: keep at most so many characters (>= 0); None keeps all.

    Returns:
        The text, one character for one.
    """
    if max_chars is not None:
        text = text[:max_chars]
    if text.isascii():  # nearly always, and a hundred times faster than a search
        return text
    return _SURROGATE.sub("\ufffd", text)


def cut_middle(text: str, max_chars: int) -> str:
    """Cleaned text of at most ``max_chars`` (>= 5) characters, both its ends kept.

    A message that names something long says at its end what is wrong with it.
    """
    if len(text) > max_chars:
        tail = (max_chars - 5) // 3
        text = f"{text[: max_chars - 5 - tail]} ... {text[len(text) - tail :]}"
    return clean_text(text)
