"""What the header of an image says, and whether the file is whole, before anything is paid for it.

Pure: bytes in, :class:`~deepo_beam.types.ImageInfo` out. The content decides, never the name; no pixel is
decoded and nothing of the claimed size is allocated, so a "bomb" costs no more than any other file. Headers
are read here because imaging libraries do more than that: they allocate the canvas of a WebP (3 GB for
10 KB), warn about broken EXIF, and refuse pixel formats that the service may well take.

A check for truncation never refuses what decoders take without complaint:

========  ======================================================================================
JPEG      an end marker (FFD9) after the first scan begins; anything may follow it
PNG       the chunks lead to IEND
WebP      the RIFF size fits
GIF       no block is cut; at least one image
BMP       the file size in the header, if any, fits
TIFF      the header and its first directory only: pixels may stand anywhere
========  ======================================================================================
"""

from __future__ import annotations

import codecs
import re
import struct
from collections.abc import Callable

from deepo_beam.errors import EmptyFileError, ImageTooLargeError, NotAnImageError, TruncatedImageError
from deepo_beam.types import ImageInfo

#: width, height, EXIF orientation
_Header = tuple[int, int, int | None]

#: what reading past the end of bytes raises; the last for the 64-bit offsets of BigTIFF
_PAST_THE_END = (struct.error, IndexError, OverflowError)
_LONGEST_SIDE = 2**31 - 1  # no format's decoder goes further, and the columns hold no more
_ORIENTATION = 274  # TIFF tag, also in EXIF
_WIDTH, _HEIGHT = 256, 257
_JPEG_MARKER = re.compile(b"\xff[^\x00\x01\xff\xd0-\xd8]")  # not stuffing, fill, markers without length
_BMP_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
_OTHERS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"<!doctype html", "HTML"),
    (0, b"<html", "HTML"),
    (0, b"<svg", "SVG"),
    (0, b"<?xml", "XML"),
    (0, b"%pdf", "PDF"),
    (0, b"pk\x03\x04", "a zip archive"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"par1", "Parquet"),
    (4, b"ftyp", "HEIC, AVIF or a video"),
    (0, bytes(12), "zeros only"),
)


def inspect_image(data: bytes, *, max_bytes: int | None) -> ImageInfo:
    """Say what image these bytes are, from the header alone.

    Args:
        data: the whole file, or its first ``max_bytes + 1`` bytes.
        max_bytes: the largest file allowed, None for any.

    Returns:
        Media type, size in pixels (each >= 1) in stored orientation, EXIF orientation (none in GIF, BMP).

    Raises:
        EmptyFileError: zero bytes.
        ImageTooLargeError: more than ``max_bytes`` bytes.
        NotAnImageError: none of the six formats, or a header that makes no sense.
        TruncatedImageError: one of the six, and it ends too early.
    """
    if not data:
        raise EmptyFileError("the file is empty (0 bytes); copy it again from its source")
    if max_bytes is not None and len(data) > max_bytes:
        raise ImageTooLargeError(f"the file has more than {max_bytes:,} bytes, the limit of --max-image-bytes")
    media_type, read_header = _sniff(data)
    try:
        width, height, orientation = read_header(data)
    except _PAST_THE_END as error:
        raise _truncated(media_type, data, "before its structure ends") from error
    if not (1 <= width <= _LONGEST_SIDE and 1 <= height <= _LONGEST_SIDE):
        raise NotAnImageError(f"{media_type} of {width} x {height} pixels: the header is broken")
    return ImageInfo(media_type, width, height, orientation)


def _sniff(data: bytes) -> tuple[str, Callable[[bytes], _Header]]:
    for magics, media_type, read_header in _FORMATS:
        if data.startswith(magics) and (read_header is not _webp or b"WEBP".startswith(data[8:12])):
            return media_type, read_header
    raise NotAnImageError(
        f"starts with {data[:8]!r}, looks like {_looks_like(data)}; send JPEG, PNG, WebP, GIF, BMP, TIFF"
    )


def _jpeg(data: bytes) -> _Header:
    """Walk the segments up to the first scan (ITU-T T.81, annex B)."""
    size: tuple[int, int] | None = None
    orientation: int | None = None
    at = 2
    while True:
        found = _JPEG_MARKER.search(data, at)  # decoders skip what stands between segments
        if found is None:
            raise _truncated("image/jpeg", data, "before its first scan")
        at = found.start() + 1
        marker = data[at]
        if marker in (0xD9, 0xDA):
            break
        (length,) = struct.unpack_from(">H", data, at + 1)
        if length < 2:
            raise NotAnImageError(f"image/jpeg with a segment of length {length} at byte {at - 1}")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # SOFn, not DHT, JPG, DAC
            height, width = struct.unpack_from(">HH", data, at + 4)
            size = (width, height)
        elif marker == 0xE1 and data[at + 3 : at + 9] == b"Exif\0\0":
            orientation = _exif_orientation(memoryview(data)[at + 9 : at + 1 + length])
        at += 1 + length
    if size is None:
        raise NotAnImageError("image/jpeg without a frame header before its first scan")
    if data.rfind(b"\xff\xd9", at) < 0:
        raise _truncated("image/jpeg", data, "without an end marker")
    return (*size, orientation)


def _png(data: bytes) -> _Header:
    """Walk the chunks from IHDR to IEND (PNG, third edition, section 5)."""
    length, kind, width, height = struct.unpack_from(">I4sII", data, 8)
    if kind != b"IHDR" or length != 13:
        raise NotAnImageError(f"image/png whose first chunk is {kind!r}, not IHDR")
    orientation = None
    at = 8
    while kind != b"IEND":
        at += 12 + length
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"eXIf":
            orientation = _exif_orientation(memoryview(data)[at + 8 : at + 8 + length])
    return width, height, orientation


def _webp(data: bytes) -> _Header:
    """Read the first chunk, and EXIF where VP8X announces it (RFC 9649)."""
    riff_size, kind = struct.unpack_from("<I4x4s", data, 4)
    orientation = None
    if kind == b"VP8 ":
        start, width, height = struct.unpack_from("<3sHH", data, 23)
        if start != b"\x9d\x01\x2a":
            raise NotAnImageError("image/webp (lossy) without the start code of a key frame")
        width, height = width & 0x3FFF, height & 0x3FFF
    elif kind == b"VP8L":
        signature, bits = struct.unpack_from("<BI", data, 20)
        if signature != 0x2F:
            raise NotAnImageError("image/webp (lossless) without its signature")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8X":
        flags, *sides = struct.unpack_from("<B3xHBHB", data, 20)
        width, height = (sides[0] | sides[1] << 16) + 1, (sides[2] | sides[3] << 16) + 1
        orientation = _webp_orientation(data) if flags & 0x08 else None
    else:
        raise NotAnImageError(f"image/webp whose first chunk is {kind!r}")
    if riff_size + 8 > len(data):
        raise _truncated("image/webp", data, f"where its header says {riff_size + 8:,}")
    return width, height, orientation


def _webp_orientation(data: bytes) -> int | None:
    at = 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        if kind == b"EXIF":
            exif = memoryview(data)[at + 8 : at + 8 + length]
            return _exif_orientation(exif[6:] if bytes(exif[:6]) == b"Exif\0\0" else exif)
        at += 8 + length + (length & 1)
    return None


def _gif(data: bytes) -> _Header:
    """Walk the blocks to the trailer, or to where the file ends between two (GIF89a, appendix B)."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + _colour_table(flags)
    images = 0
    while at < len(data) or not images:
        block = data[at]
        if block == 0x2C:  # an image: descriptor, colours, LZW code size, data
            at += 11 + _colour_table(data[at + 9])
            images += 1
        elif block == 0x21:  # an extension: label, data
            at += 2
        elif images:  # the trailer, or something appended
            break
        else:
            raise NotAnImageError(f"image/gif without an image: block {block:#04x} at byte {at}")
        while data[at]:
            at += 1 + data[at]
        at += 1
    return width, height, None


def _colour_table(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _bmp(data: bytes) -> _Header:
    """Read the file header and the information header of any generation."""
    (kind,) = struct.unpack_from("<I", data, 14)
    if kind not in _BMP_HEADERS:
        raise NotAnImageError(f"starts with b'BM' as a BMP does, but has no header of one; {_looks_like(data)}?")
    width, height = struct.unpack_from("<HH" if kind == 12 else "<ii", data, 18)
    (file_size,) = struct.unpack_from("<I", data, 2)
    if file_size > len(data):
        raise _truncated("image/bmp", data, f"where its header says {file_size:,}")
    return width, abs(height), None  # a negative height: rows from the top


def _tiff(data: bytes) -> _Header:
    tags = _first_directory(memoryview(data))
    if _WIDTH not in tags or _HEIGHT not in tags:
        raise NotAnImageError("image/tiff whose first directory has no width and height")
    return tags[_WIDTH], tags[_HEIGHT], _valid_orientation(tags)


def _exif_orientation(exif: memoryview) -> int | None:
    """Read the orientation; a broken EXIF block is no fault of the image."""
    try:
        return _valid_orientation(_first_directory(exif))
    except _PAST_THE_END:
        return None


def _valid_orientation(tags: dict[int, int]) -> int | None:
    value = tags.get(_ORIENTATION)
    return value if value is not None and 1 <= value <= 8 else None


def _first_directory(tiff: memoryview) -> dict[int, int]:
    """Read the single integers of the first directory by tag (TIFF 6.0, section 2; BigTIFF)."""
    order = ">" if bytes(tiff[:1]) == b"M" else "<"
    (version,) = struct.unpack_from(f"{order}H", tiff, 2)
    big = version == 43
    at, number_of, entry = (8, "Q", "HHQ") if big else (4, "H", "HHI")
    (directory,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", tiff, at)
    (entries,) = struct.unpack_from(order + number_of, tiff, directory)
    at = directory + struct.calcsize(order + number_of)
    tags: dict[int, int] = {}
    for _ in range(entries):
        tag, kind, count = struct.unpack_from(order + entry, tiff, at)
        if count == 1 and kind in (3, 4):  # SHORT, LONG
            value_at = at + struct.calcsize(order + entry)
            (tags[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), tiff, value_at)
        at += 20 if big else 12
    return tags


def _truncated(media_type: str, data: bytes, where: str) -> TruncatedImageError:
    return TruncatedImageError(f"{media_type} that ends after {len(data):,} bytes, {where}; copy it again")


def _looks_like(data: bytes) -> str:
    head = data[:64].lower()
    for offset, magic, name in _OTHERS:
        if head[offset:].startswith(magic):
            return name
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(data[:256])  # the last character may be cut
    except UnicodeDecodeError:
        return "no format known here"
    is_text = all(char.isprintable() or char.isspace() for char in text)
    return "text" if is_text else "no format known here"


_FORMATS: tuple[tuple[tuple[bytes, ...], str, Callable[[bytes], _Header]], ...] = (
    ((b"\xff\xd8\xff",), "image/jpeg", _jpeg),
    ((b"\x89PNG\r\n\x1a\n",), "image/png", _png),
    ((b"RIFF",), "image/webp", _webp),
    ((b"GIF87a", b"GIF89a"), "image/gif", _gif),
    ((b"BM",), "image/bmp", _bmp),
    ((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "image/tiff", _tiff),
)
