"""One INPUT into its images."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import BinaryIO

from deepo_beam import storage
from deepo_beam.errors import ConfigError, ObjectNotFoundError
from deepo_beam.inputs.classify import InputKind, kind_of_name
from deepo_beam.inputs.folders import TableKind, table_kind, visible_objects
from deepo_beam.inputs.readers import open_list, reader_for, text_rows
from deepo_beam.inputs.rows import (
    InputOptions,
    Origin,
    Row,
    image_of_error,
    image_of_object,
    image_of_row,
    refused_if_local,
)
from deepo_beam.storage import StoredObject
from deepo_beam.types import ImageRef


def expand_input(text: str, *, index: int, options: InputOptions, stdin: BinaryIO | None = None) -> Iterator[ImageRef]:
    """List the images of one INPUT, in the order in which it has them.

    A row of a list that cannot be used is an image with a ``problem``, so that it is counted and reported.
    Relative paths in a list are relative to the list's own folder, those from standard input to the working
    directory. A list that is neither on this machine nor standard input may not name files of this machine,
    unless ``options`` allow it: such a row has failed, too. Hidden files of a folder (``.`` or ``_`` at the
    beginning of a name on the way) are left out; files that are no images are not, they fail when they are read.
    What is in the run's own output is left out of folders and globs.

    Args:
        text: as :func:`~deepo_beam.inputs.classify_input` takes it.
        index: its place among the inputs, from 0.
        options: the columns of lists; of an ``errors/`` folder they are known.
        stdin: what ``-`` reads; the process's standard input by default.

    Returns:
        An iterator of images, empty if nothing matches. ``line`` is the line of a list, else the place in the
        listing, from 1; ``source`` is the list and line, else the text.

    Raises:
        ConfigError: a list or a local image does not exist, or a list lacks a column that is asked for.
        StorageError: listing, or reading a list, failed.
    """
    kind = kind_of_name(text)
    if kind is InputKind.STDIN:
        if stdin is None and sys.stdin is None:
            raise ConfigError("standard input (-) is closed: pipe a list of URIs into it")
        rows = text_rows(stdin or sys.stdin.buffer, "stdin", options)
        return (image_of_row(row, Origin(f"stdin:{row.line}", index, row.line), None, options) for row in rows)
    if kind is InputKind.LIST:
        if not storage.exists(text):
            raise ConfigError(f"there is no list {text!r}; check its name")
        return _images_of_list(text, index, options)
    if kind is InputKind.FOLDER:
        return _images_of_folder(text, index, options)
    if kind is InputKind.GLOB:
        return _images_of_objects(storage.glob(text), text, index, options)
    return iter([_image_by_name(text, index)])


def _image_by_name(text: str, index: int) -> ImageRef:
    found = StoredObject(text, None, None)
    if storage.is_local(text):
        try:
            found = storage.stat(text)
        except ObjectNotFoundError as error:
            raise ConfigError(f"there is no such file: {text!r}; check its name") from error
    image = image_of_object(found, Origin(text, index, 1))
    if image.problem is not None:
        raise ConfigError(f"the input cannot be used: {image.problem.message}")
    return image


def _images_of_objects(
    objects: Iterable[StoredObject], text: str, index: int, options: InputOptions
) -> Iterator[ImageRef]:
    own = None if options.own_output is None else f"{options.own_output}/"
    for line, found in enumerate(objects, start=1):
        image = image_of_object(found, Origin(text, index, line))
        if own is None or not image.image_uri.startswith(own):
            yield image


def _images_of_list(uri: str, index: int, options: InputOptions) -> Iterator[ImageRef]:
    is_errors = table_kind(uri, options.uri_column) is TableKind.ERRORS
    images = _images_of_errors(uri, index, options) if is_errors else _images_of_rows(uri, index, options)
    if options.allow_local or storage.is_local(uri) or uri == options.own_list:
        return images
    return (refused_if_local(image, uri) for image in images)


def _images_of_rows(uri: str, index: int, options: InputOptions) -> Iterator[ImageRef]:
    folder = uri[: uri.rfind("/") + 1] or "."
    for row in _rows(uri, options):
        yield image_of_row(row, Origin(f"{uri}:{row.line}", index, row.line), folder, options)


def _images_of_errors(uri: str, index: int, options: InputOptions) -> Iterator[ImageRef]:
    for row in _rows(uri, InputOptions()):
        image = image_of_error(row, Origin(f"{uri}:{row.line}", index, row.line), options)
        if image is not None:
            yield image


def _rows(uri: str, options: InputOptions) -> Iterator[Row]:
    with open_list(uri) as stream:
        yield from reader_for(uri)(stream, uri, options)


def _images_of_folder(folder: str, index: int, options: InputOptions) -> Iterator[ImageRef]:
    """List a folder of images, or the rows of a folder of Parquet files that name images."""
    objects = visible_objects(folder)
    first = next(objects, None)
    if first is None:
        return
    objects = chain([first], objects)
    if table_kind(first.uri, options.uri_column) is None:
        yield from _images_of_objects(objects, folder, index, options)
        return
    line = 0
    for found in objects:
        if found.uri.endswith(".parquet"):
            images = _images_of_list(found.uri, index, options)
        else:
            images = iter([image_of_object(found, Origin(folder, index, 0))])
        for image in images:
            line += 1
            yield image._replace(line=line)
