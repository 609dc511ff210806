"""Images are known by their content, and known to be whole, without decoding a pixel."""

import io
import struct
import time
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from deepo_beam.errors import (
    EmptyFileError,
    ImageError,
    ImageTooLargeError,
    NotAnImageError,
    TruncatedImageError,
)
from deepo_beam.images import inspect_image
from deepo_beam.types import ImageInfo

FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]
WITH_EXIF = ["JPEG", "PNG", "WEBP", "TIFF"]


def encode(form: str, size: tuple[int, int] = (37, 21), orientation: int | None = None, **options: object) -> bytes:
    image = Image.effect_noise(size, 60).convert("RGB")
    if orientation is not None:
        exif = Image.Exif()
        exif[274] = orientation
        options["exif"] = exif
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize("form", FORMATS)
def test_each_format_is_known_by_its_content(form: str) -> None:
    info = inspect_image(encode(form), max_bytes=None)
    assert info == ImageInfo(f"image/{form.lower()}", 37, 21, None)


@pytest.mark.parametrize("form", WITH_EXIF)
@pytest.mark.parametrize("orientation", [1, 6, 8])
def test_the_exif_orientation_is_read(form: str, orientation: int) -> None:
    assert inspect_image(encode(form, orientation=orientation), max_bytes=None).exif_orientation == orientation


@pytest.mark.parametrize("form", WITH_EXIF)
def test_an_exif_orientation_that_does_not_exist_is_none(form: str) -> None:
    assert inspect_image(encode(form, orientation=9), max_bytes=None).exif_orientation is None


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("JPEG", {"progressive": True}),
        ("PNG", {"optimize": True}),
        ("WEBP", {"lossless": True}),
        ("GIF", {"save_all": True, "append_images": [Image.new("RGB", (37, 21), "red")]}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"big_tiff": True}),
    ],
)
def test_variants_of_a_format_are_known_too(form: str, options: dict[str, object]) -> None:
    info = inspect_image(encode(form, **options), max_bytes=None)
    assert (info.width, info.height) == (37, 21)


def test_bmp_rows_from_the_top_and_old_headers_are_known() -> None:
    data = bytearray(encode("BMP"))
    struct.pack_into("<i", data, 22, -21)
    assert inspect_image(bytes(data), max_bytes=None).height == 21
    old = b"BM" + struct.pack("<IHHIIHHHH", 0, 0, 0, 26, 12, 5, 7, 1, 24) + bytes(7 * 16)
    assert inspect_image(old, max_bytes=None) == ImageInfo("image/bmp", 5, 7)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_trailing_bytes_are_allowed(form: str) -> None:
    assert inspect_image(encode(form) + b"\0trailing\0" * 9, max_bytes=None).width == 37


@pytest.mark.parametrize("form", FORMATS)
def test_an_image_cut_in_its_first_half_is_truncated_or_as_a_tiff_known_by_its_header(form: str) -> None:
    data = encode(form)
    whole_header = form == "TIFF" and struct.unpack_from("<I", data, 4)[0] < 100
    for end in (12, 20, len(data) // 2):
        if whole_header and end == len(data) // 2:
            assert inspect_image(data[:end], max_bytes=None).width == 37
        else:
            with pytest.raises(TruncatedImageError, match=f"ends after {end:,}"):
                inspect_image(data[:end], max_bytes=None)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP"])
def test_an_image_without_its_last_bytes_is_truncated(form: str) -> None:
    for missing in (9,) if form == "PNG" else (1, 9):  # decoders do not miss the checksum of IEND
        with pytest.raises(TruncatedImageError, match="copy it again"):
            inspect_image(encode(form)[:-missing], max_bytes=None)


def test_a_truncated_jpeg_is_not_saved_by_the_end_marker_of_its_thumbnail() -> None:
    thumbnail = encode("JPEG")
    segment = b"Exif\0\0" + thumbnail
    data = encode("JPEG", (200, 100))
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(segment)) + segment + data[2:]
    assert inspect_image(data, max_bytes=None).width == 200
    with pytest.raises(TruncatedImageError, match="without an end marker"):
        inspect_image(data[:-50], max_bytes=None)


@pytest.mark.parametrize("marker", [0xC4, 0xC8, 0xCC])
def test_the_tables_of_a_jpeg_are_not_taken_for_its_frame(marker: int) -> None:
    data = encode("JPEG")
    scan = data.index(b"\xff\xda")
    table = bytes([0xFF, marker]) + struct.pack(">H", 10) + b"\1" * 8
    assert inspect_image(data[:scan] + table + data[scan:], max_bytes=None).width == 37


def test_the_orientation_of_a_webp_is_found_behind_a_chunk_of_odd_length() -> None:
    data = encode("WEBP", orientation=6)
    odd = b"JUNK" + struct.pack("<I", 3) + b"abc\0"  # padded to an even length, which does not count
    exif = data.index(b"EXIF")
    longer = data[:exif] + odd + data[exif:]
    longer = longer[:4] + struct.pack("<I", len(longer) - 8) + longer[8:]
    assert inspect_image(longer, max_bytes=None).exif_orientation == 6


def test_a_gif_without_trailer_is_whole_if_no_block_is_cut() -> None:
    data = encode("GIF")
    assert data.endswith(b"\x3b")
    assert inspect_image(data[:-1], max_bytes=None).width == 37
    with pytest.raises(TruncatedImageError):
        inspect_image(data[:-2], max_bytes=None)


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (b"<html><body>404", "HTML"),
        (b"<!DOCTYPE html>", "HTML"),
        (b"%PDF-1.7", "PDF"),
        (b"PK\x03\x04....", "a zip archive"),
        (b"hello, I am a text named .jpg", "text"),
        (b"BMW, Audi, Citroen and others", "text"),
        (b"\0\0\0\x1cftypheic0000", "HEIC"),
        (bytes(100), "zeros only"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "no format known"),
        (b"\xde\xad\xbe\xef", "no format known"),
    ],
)
def test_what_is_no_image_is_named_for_what_it_looks_like(data: bytes, seen: str) -> None:
    with pytest.raises(NotAnImageError, match=seen):
        inspect_image(data, max_bytes=None)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff\xd8\xff\xe0\0\1" + bytes(50), "segment of length 1"),
        (b"\xff\xd8\xff\xda\0\x08" + bytes(50) + b"\xff\xd9", "without a frame header"),
        (b"\x89PNG\r\n\x1a\n" + png_chunk(b"CgBI", bytes(4)) + bytes(50), "not IHDR"),
        (b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", bytes(13)) + png_chunk(b"IEND", b""), "0 x 0 pixels"),
        (b"RIFF\x24\0\0\0WEBPVP9 " + bytes(30), "first chunk is b'VP9 '"),
        (b"RIFF\x24\0\0\0WEBPVP8 " + bytes(30), "start code"),
        (b"RIFF\x24\0\0\0WEBPVP8L" + bytes(30), "signature"),
        (b"GIF89a\1\0\1\0\0\0\0\x77", "block 0x77"),
        (b"II*\0\x08\0\0\0" + bytes(20), "no width and height"),
    ],
)
def test_a_header_that_makes_no_sense_is_no_image_and_says_why(data: bytes, message: str) -> None:
    with pytest.raises(NotAnImageError, match=message):
        inspect_image(data, max_bytes=None)


def test_an_empty_file_has_an_error_of_its_own() -> None:
    with pytest.raises(EmptyFileError, match="0 bytes"):
        inspect_image(b"", max_bytes=None)


def test_the_limit_is_the_largest_size_allowed() -> None:
    data = encode("PNG")
    assert inspect_image(data, max_bytes=len(data)).width == 37
    with pytest.raises(ImageTooLargeError, match="--max-image-bytes"):
        inspect_image(data, max_bytes=len(data) - 1)


def test_a_bomb_costs_neither_time_nor_memory() -> None:
    png = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
    png += png_chunk(b"IDAT", zlib.compress(bytes(1_000_000))) + png_chunk(b"IEND", b"")
    webp = encode("WEBP", (1, 1), lossless=True)
    big = struct.unpack_from("<I", webp, 21)[0] | 0x0FFFFFFF  # 16384 x 16384, as the format's fields allow
    webp = webp[:21] + struct.pack("<I", big) + webp[25:]
    tracemalloc.start()
    started = time.perf_counter()
    assert inspect_image(png, max_bytes=None).width == 50_000
    assert inspect_image(webp, max_bytes=None).height == 16_384
    seconds, (_, peak) = time.perf_counter() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 0.1
    assert peak < 100_000


def claiming(form: str, side: int) -> bytes:
    """A few hundred bytes whose header claims a square of that side."""
    data = bytearray(encode(form, (3, 3)))
    if form == "JPEG":
        struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, side, side)
    elif form == "PNG":
        struct.pack_into(">II", data, 16, side, side)
    elif form == "GIF":
        struct.pack_into("<HH", data, 6, side, side)
    elif form == "BMP":
        struct.pack_into("<ii", data, 18, side, side)
    elif form == "WEBP":
        sides = struct.pack("<HBHB", side - 1, 0, side - 1, 0)
        data[12:12] = struct.pack("<4sIB3x", b"VP8X", 10, 0) + sides
        struct.pack_into("<I", data, 4, len(data) - 8)
    else:
        entries = [struct.pack("<HHII", tag, 4, 1, side) for tag in (256, 257)]
        data = bytearray(struct.pack("<2sHIH", b"II", 42, 8, 2) + b"".join(entries) + bytes(4))
    return bytes(data)


@pytest.mark.parametrize("form", FORMATS)
def test_sixty_thousand_pixels_a_side_are_read_from_the_header_in_no_more_memory_than_three(form: str) -> None:
    peaks = []
    for side in (3, 60_000):
        data = claiming(form, side)
        tracemalloc.start()
        info = inspect_image(data, max_bytes=None)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert (info.width, info.height) == (side, side)
    assert peaks[1] <= peaks[0] + 1000


WHOLE = [encode(form, (5, 4), orientation=6 if form in WITH_EXIF else None) for form in FORMATS]


@given(st.sampled_from(WHOLE), st.data())
def test_any_part_of_an_image_with_any_damage_is_an_image_or_an_image_error(whole: bytes, data: st.DataObject) -> None:
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 5))):
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        info = inspect_image(bytes(damaged), max_bytes=None)
    except ImageError:
        return
    assert info.width >= 1
    assert info.height >= 1


_MAGICS = [
    b"",
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"RIFF....WEBP",
    b"GIF89a",
    b"BM",
    b"II*\0",
    b"MM\0+",
    b"II+\0",
]


@given(st.sampled_from(_MAGICS), st.binary(max_size=200))
def test_any_bytes_are_an_image_or_an_image_error(magic: bytes, data: bytes) -> None:
    try:
        info = inspect_image(magic + data, max_bytes=None)
    except ImageError:
        return
    assert info.media_type.startswith("image/")
