"""The formats of lists: text, CSV, JSON lines and Parquet, each a stream of :class:`~.rows.Row`."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

from deepo_beam import storage
from deepo_beam.errors import ConfigError
from deepo_beam.inputs.rows import InputOptions, Microseconds, Row
from deepo_beam.storage.objects import named_errors

_LONGEST_LINE = 1 << 20  # bytes: more is no line of a list, and must not fill the memory
_BATCH_ROWS = 4096
_BOM = b"\xef\xbb\xbf"
_NOT_UTF8 = "is not UTF-8; convert the list"
# Of a value that Arrow holds and Python does not: a year 20000, nanoseconds, an unknown time zone, a field named twice.
_UNREADABLE = (ValueError, OverflowError, LookupError, NotImplementedError)

#: a reader of a stream: (stream, name of the list, options)
Reader = Callable[[BinaryIO, str, InputOptions], Iterator[Row]]


@contextmanager
def open_list(uri: str) -> Iterator[BinaryIO]:
    """Open a list, unpacked if its name ends in ``.gz``; errors while it is read name it.

    Raises:
        ObjectNotFoundError: there is none.
        ConfigError: it is no whole gzip file, though its name says so.
        StorageError: it cannot be read to its end.
    """
    with named_errors(uri, "read"), storage.open_input(uri) as stream:
        try:
            if uri.lower().endswith(".gz"):
                with gzip.GzipFile(fileobj=stream) as unpacked:
                    yield cast("BinaryIO", unpacked)
            else:
                yield stream
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ConfigError(f"{uri} is no whole gzip file: {error}; copy it again from its source") from error


def reader_for(uri: str) -> Reader:
    """Return the reader for a list of this name; text if the name says nothing."""
    name = uri.lower().removesuffix(".gz")
    if name.endswith(".parquet"):
        return parquet_rows
    if name.endswith(".csv"):
        return csv_rows
    return jsonl_rows if name.endswith(".jsonl") else text_rows


def text_rows(stream: BinaryIO, name: str, options: InputOptions) -> Iterator[Row]:  # noqa: ARG001 (a Reader)
    """Read a URI a line; blank lines and comments (``# ...``) are no rows."""
    for line, text, problem in _lines(stream):
        if problem:
            yield Row(line, None, text, problem)
        elif text.strip() and not text.startswith("# "):
            yield Row(line, {options.uri_column: text}, text)


def jsonl_rows(stream: BinaryIO, name: str, options: InputOptions) -> Iterator[Row]:  # noqa: ARG001 (a Reader)
    """Read a JSON object a line, or a JSON string, which is the URI; blank lines are no rows."""
    for line, text, problem in _lines(stream):
        if problem:
            yield Row(line, None, text, problem)
        elif text.strip():
            yield _json_row(line, text, options)


def _json_row(line: int, text: str, options: InputOptions) -> Row:
    try:
        value = json.loads(text)
    except RecursionError:
        return Row(line, None, text, "is JSON that is nested too deeply")
    except ValueError as error:
        return Row(line, None, text, f"is no JSON: {error}")
    if isinstance(value, str):
        return Row(line, {options.uri_column: value}, text)
    if isinstance(value, dict):
        return Row(line, value, text)
    return Row(line, None, text, "is neither a JSON object nor a JSON string")


def csv_rows(stream: BinaryIO, name: str, options: InputOptions) -> Iterator[Row]:
    """Read CSV with a header, as RFC 4180 has it; an empty field is no value.

    Raises:
        ConfigError: the header lacks a column that is asked for, or has one twice.
    """
    problems: list[str] = []
    reader = csv.reader(_csv_lines(stream, problems))
    header: list[str] | None = None
    while True:
        line = reader.line_num + 1
        problems.clear()
        try:
            fields = next(reader, None)
        except csv.Error as error:
            yield Row(line, None, "", f"is no CSV, or a quote is never closed: {error}")
            continue
        if fields is None:
            return
        if not fields:
            continue
        if header is None:
            header = fields
            _check_columns(header, name, options)
        else:
            yield _csv_row(line, header, fields, problems)


def _csv_lines(stream: BinaryIO, problems: list[str]) -> Iterator[str]:
    """Feed the CSV parser, which asks for no line before it needs it; note what is wrong with a line."""
    for _, text, problem in _lines(stream):
        if problem:
            problems.append(problem)
        yield text + "\n"


def _csv_row(line: int, header: list[str], fields: list[str], problems: list[str]) -> Row:
    text = ",".join(fields)
    if problems:
        return Row(line, None, text, problems[0])
    if len(fields) != len(header):
        why = "; it goes over several lines: is a quote never closed?" if "\n" in text else ""
        return Row(line, None, text, f"has {len(fields)} fields, the header has {len(header)}{why}")
    return Row(line, {column: field for column, field in zip(header, fields, strict=True) if field}, text)


def parquet_rows(stream: BinaryIO, name: str, options: InputOptions) -> Iterator[Row]:
    """Read Parquet, a batch of rows in memory at a time.

    Raises:
        ConfigError: it is no Parquet file, or lacks a column that is asked for.
    """
    from pyarrow import ArrowInvalid
    from pyarrow.parquet import ParquetFile

    try:
        file = ParquetFile(stream)
        _check_columns(file.schema_arrow.names, name, options)
        line = 0
        for batch in file.iter_batches(batch_size=_BATCH_ROWS):
            for values in _batch_rows(batch):
                line += 1
                if isinstance(values, str):
                    yield Row(line, None, "", values)
                else:
                    yield Row(line, values, str(values.get(options.uri_column) or ""))
    except (ArrowInvalid, UnicodeDecodeError) as error:  # the second of a column's name
        raise ConfigError(f"{name} is no whole Parquet file: {error}") from error


def _batch_rows(batch: Any) -> Iterator[dict[str, Any] | str]:
    """Turn a batch into rows by column; of a row with a value that Python cannot hold, what is wrong with it."""
    batch = _in_microseconds(batch)
    try:
        yield from _rows(batch)
    except _UNREADABLE:
        yield from (_batch_row(batch.slice(i, 1)) for i in range(batch.num_rows))


def _rows(batch: Any) -> list[dict[str, Any]]:
    columns = (_values(field.name, column) for field, column in zip(batch.schema, batch.columns, strict=True))
    return [dict(zip(batch.schema.names, row, strict=True)) for row in zip(*columns, strict=True)]


def _values(name: str, column: Any) -> list[Any]:
    import pyarrow as pa

    if name == "modified_at" and pa.types.is_timestamp(column.type):
        times = column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(pa.int64())
        return [None if time is None else Microseconds(time) for time in times.to_pylist()]
    return cast("list[Any]", column.to_pylist())


def _batch_row(row: Any) -> dict[str, Any] | str:
    field, values = None, {}
    try:
        for field, column in zip(row.schema, row.columns, strict=True):
            (values[field.name],) = _values(field.name, column)
    except UnicodeDecodeError:
        return _NOT_UTF8
    except _UNREADABLE as error:
        assert field is not None
        return f"has a value in column {field.name!r} ({field.type}) that cannot be read: {error}"
    return values


def _in_microseconds(batch: Any) -> Any:
    """Cut nanoseconds, which Python's times do not have: else it would matter whether pandas is installed."""
    import pyarrow as pa

    coarser = {pa.time64("ns"): pa.time64("us"), pa.duration("ns"): pa.duration("us")}
    for i, field in enumerate(batch.schema):
        coarse = coarser.get(field.type)
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
            coarse = pa.timestamp("us", field.type.tz)
        if coarse is not None:
            batch = batch.set_column(i, field.name, batch.column(i).cast(coarse, safe=False))
    return batch


def _check_columns(header: list[str], name: str, options: InputOptions) -> None:
    found = ", ".join(map(repr, header))
    for column in options.columns():
        if column not in header:
            raise ConfigError(
                f"{name} has no column {column!r}, it has {found}; say which with --uri-column and its like"
            )
    if len(set(header)) < len(header):
        raise ConfigError(f"{name} has a column twice: {found}; rename one")


def _lines(stream: BinaryIO) -> Iterator[tuple[int, str, str]]:
    """Yield each line's number, its text without the line's end, and what is wrong with it, if anything.

    Bytes that are not UTF-8 are kept as lone surrogates, of a line that is too long only the beginning.
    """
    number = 0
    while raw := stream.readline(_LONGEST_LINE + 1):
        number += 1
        is_long = len(raw) > _LONGEST_LINE
        if is_long:
            _skip_line(stream, raw)
        if number == 1:
            raw = raw.removeprefix(_BOM)
        text = raw.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
        problem = f"is longer than {_LONGEST_LINE:,} bytes" if is_long else ""
        yield number, text, problem or ("" if _is_unicode(text) else _NOT_UTF8)


def _skip_line(stream: BinaryIO, raw: bytes) -> None:
    while raw and not raw.endswith(b"\n"):
        raw = stream.readline(_LONGEST_LINE)


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
