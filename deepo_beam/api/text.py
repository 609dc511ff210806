"""Text that a service sent, made safe to store and to print."""

from __future__ import annotations

from deepo_beam.text import clean_text

MAX_NAME_BYTES = 1024


def clean_name(text: str) -> str:
    """Cleaned text of at most 1,024 bytes of UTF-8, cut between two characters."""
    text = clean_text(text)
    if len(text) * 4 <= MAX_NAME_BYTES:  # no character takes more than 4 bytes
        return text
    return text.encode()[:MAX_NAME_BYTES].decode(errors="ignore")


def one_line(text: str, limit: int = 300) -> str:
    """Text for a message: one line, no control or other unprintable characters, cut to ``limit``."""
    head = text[: limit * 4]  # a reply may be megabytes
    printable = "".join(c if c.isprintable() else " " for c in clean_text(head))
    line = " ".join(printable.split())
    if len(line) > limit or len(head) < len(text):
        return line[: limit - 1].rstrip() + "…"
    return line


def shown(value: object) -> str:
    """A value as a message shows it: short whatever its size, and never walked into."""
    if isinstance(value, (dict, list)):
        return f"a JSON {'object' if isinstance(value, dict) else 'array'} of {len(value)}"
    if isinstance(value, str):
        return repr(one_line(value, 60))
    return "null" if value is None else one_line(repr(value), 60)
